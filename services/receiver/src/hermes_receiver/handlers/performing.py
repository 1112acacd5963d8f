"""Modality Performed Procedure Step: what a modality says is a record on the bus, then an event, and only then answered
(PS3.4 F.7; ADR-0026).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeVar

from pydantic import BaseModel

from hermes_common import subjects
from hermes_common.dicom import command as dimse
from hermes_common.dicom import status
from hermes_common.dicom.command import CommandField, CommandSet
from hermes_common.dicom.mpps import MAX_LENGTH, InvalidStep, parse_create, parse_set
from hermes_common.dicom.uids import MPPS, is_valid_uid
from hermes_common.records import StepRecord
from hermes_common.runtime.clock import now
from hermes_common.runtime.crashpoints import crash_point
from hermes_common.runtime.errors import ConflictError, TransientError
from hermes_receiver.core.performing import Refused, Request, event_of, on_create, on_set, refused
from hermes_receiver.core.reception import Origin
from hermes_receiver.handlers.ports import Publisher
from hermes_receiver.handlers.storing import Answer, EndlessDataSetError

log = logging.getLogger(__name__)

_DURABLE: Final = 20.0
"""Seconds within which it has to be durable; it is refused after them, and the modality may say it again."""
_ATTEMPTS: Final = 10
"""How often a record is looked at again that somebody else has changed meanwhile."""

Record = TypeVar("Record", bound=BaseModel)
Operation = Literal["create", "set"]
Decide = Callable[[StepRecord | None, Request], StepRecord | Refused]

_DECIDE: Final[dict[Operation, Decide]] = {"create": on_create, "set": on_set}


class Bus(Publisher, Protocol):
    """What keeps records, changed by compare-and-set, and publishes events. All raise TransientError."""

    async def load(self, bucket: str, key: str, model: type[Record]) -> tuple[Record, int] | None:
        """Return a record and its revision, or None."""

    async def create(self, bucket: str, key: str, record: BaseModel) -> int:
        """Write a record that does not exist yet; ConflictError if it does."""

    async def update(self, bucket: str, key: str, record: BaseModel, revision: int) -> int:
        """Replace a revision of a record; ConflictError if it is not the last."""


class Steps:
    """The performed procedure steps. Made on the event loop, called from the threads of associations."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._loop = asyncio.get_running_loop()

    def take(self, operation: Operation, request: Request) -> Answer:
        """Return the answer: Success only when what was said is durable, and published."""
        taking = asyncio.run_coroutine_threadsafe(self._take(_DECIDE[operation], request), self._loop)
        try:
            return taking.result(_DURABLE)
        except (TransientError, FutureTimeoutError, RuntimeError) as exc:
            taking.cancel()
            log.warning("a performed procedure step of %s is not taken now: %s", request.sender.calling_aet, exc)
            return Answer(status.RESOURCE_LIMITATION, "it cannot be kept now; say it again")

    async def _take(self, decide: Decide, request: Request) -> Answer:
        for _ in range(_ATTEMPTS):
            try:
                return await self._try(decide, request)
            except ConflictError as exc:
                log.debug("%s; the step is looked at again", exc)
        return Answer(status.RESOURCE_LIMITATION, "somebody else changes the step; say it again")

    async def _try(self, decide: Decide, request: Request) -> Answer:
        key = subjects.step(request.sop_instance)
        loaded = await self._bus.load(subjects.HELD, key, StepRecord)
        present, revision = loaded if loaded is not None else (None, 0)
        if present is not None and not present.said:  # whoever wrote it has not answered: it is said now
            was = present
            present, revision = await self._say(present, key, revision)
            if was.request == request.digest:
                return Answer(status.SUCCESS)
        found = decide(present, request)
        if isinstance(found, Refused):
            return answer_of(found)
        written = (
            await self._bus.create(subjects.HELD, key, found)
            if present is None
            else await self._bus.update(subjects.HELD, key, found, revision)
        )
        crash_point("mpps.recorded")
        with contextlib.suppress(ConflictError):  # the same request over another association found it, and marked it
            await self._say(found, key, written)
        crash_point("mpps.said")
        log.info("performed procedure step %s: %s", found.sop_instance_uid, found.status.value)
        return Answer(status.SUCCESS)

    async def _say(self, record: StepRecord, key: str, revision: int) -> tuple[StepRecord, int]:
        event, event_id = event_of(record)
        await self._bus.publish(event, event_id, record.updated_at)
        said = record.model_copy(update={"said": True})
        return said, await self._bus.update(subjects.HELD, key, said, revision)


def answer_of(found: Refused) -> Answer:
    """Return the answer that says no."""
    return Answer(found.status, found.comment, identifiers=found.identifiers, error_id=found.error_id)


def refusal_of(command: CommandSet) -> Answer | None:
    """Say why an N-CREATE or N-SET request is not for us, before its data set is looked at."""
    creates = command.field == CommandField.N_CREATE_RQ
    if command.text(dimse.AFFECTED_SOP_CLASS if creates else dimse.REQUESTED_SOP_CLASS) != MPPS:
        return Answer(status.SOP_CLASS_NOT_SUPPORTED, "only performed procedure steps are created and set here")
    if creates and not is_valid_uid(command.text(dimse.AFFECTED_SOP_INSTANCE)):
        return Answer(status.INVALID_INSTANCE, "the SOP Instance UID of the step is missing or invalid")
    if not creates and not is_valid_uid(command.text(dimse.REQUESTED_SOP_INSTANCE)):
        return Answer(status.NO_SUCH_INSTANCE, "there is no step with this SOP Instance UID")
    return None


@dataclass(slots=True)
class StepInbox:
    """The data set of an N-CREATE or N-SET request on its way in."""

    steps: Steps
    origin: Origin
    command: CommandSet
    transfer_syntax: str
    data: bytearray = field(default_factory=bytearray)

    def take(self, fragment: memoryview) -> None:
        """Take bytes; raises :class:`EndlessDataSetError`."""
        if len(self.data) + len(fragment) > MAX_LENGTH:
            raise EndlessDataSetError
        self.data += fragment

    def finish(self) -> Answer:
        """Have what was said made durable, and return the answer."""
        data, creates = bytes(self.data), self.command.field == CommandField.N_CREATE_RQ
        try:
            change = (parse_create if creates else parse_set)(data, self.transfer_syntax)
        except InvalidStep as exc:
            return answer_of(refused(exc))
        element = dimse.AFFECTED_SOP_INSTANCE if creates else dimse.REQUESTED_SOP_INSTANCE
        operation: Operation = "create" if creates else "set"
        request = Request(
            self.command.text(element),
            change,
            hashlib.sha256(operation.encode() + data).hexdigest(),
            self.origin.sender(),
            self.origin.association_id,
            now(),
        )
        return self.steps.take(operation, request)

    def abandon(self) -> None:
        """Nothing is held."""
