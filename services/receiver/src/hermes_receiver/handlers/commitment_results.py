"""Results of storage commitment that Hermes asked of a target, and that the target reports on an association of its own
(N-EVENT-REPORT, PS3.4 J.3.3): each is answered with Success when it is durable on the bus.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Final, Protocol

from hermes_common import subjects
from hermes_common.commitments import answers
from hermes_common.dicom import status
from hermes_common.dicom.commitment import (
    MAX_REQUEST_LENGTH,
    CommitmentResult,
    InvalidCommitmentResult,
    parse_result,
)
from hermes_common.records import TransactionRecord
from hermes_common.runtime.errors import TransientError
from hermes_receiver.adapters.holdings import Records
from hermes_receiver.core.reception import Origin
from hermes_receiver.handlers.ports import Publisher
from hermes_receiver.handlers.storing import Answer, EndlessDataSetError

log = logging.getLogger(__name__)

_DURABLE: Final = 20.0
"""Seconds within which a result has to be durable; it is refused after them, and the target may say it again."""

TakeResult = Callable[[Origin, CommitmentResult], Answer]
"""Makes a result durable, and says how to answer it. From any thread but that of the event loop."""


class Bus(Records, Publisher, Protocol):
    """What keeps records and publishes events."""


class ResultTaker:
    """Takes the results of targets. Made on the event loop, called from the threads of associations."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._loop = asyncio.get_running_loop()

    def __call__(self, origin: Origin, result: CommitmentResult) -> Answer:
        """Return the answer: Success only when the result is durable."""
        try:
            return asyncio.run_coroutine_threadsafe(self._take(origin, result), self._loop).result(_DURABLE)
        except (TransientError, FutureTimeoutError, RuntimeError) as exc:
            log.warning("a storage commitment result of %s is not taken now: %s", origin.calling_aet, exc)
            return Answer(status.RESOURCE_LIMITATION, "the result cannot be kept now")

    async def _take(self, origin: Origin, result: CommitmentResult) -> Answer:
        key = subjects.transaction(result.transaction_uid)
        found = await self._bus.load(subjects.HELD, key, TransactionRecord)
        if found is None:
            return Answer(status.INVALID_ARGUMENT, "the transaction UID is not one of ours")
        for event, event_id in answers(found[0], result, origin.association_id):
            await self._bus.publish(event, event_id)
        return Answer(status.SUCCESS)


@dataclass(slots=True)
class ResultInbox:
    """The data set of an N-EVENT-REPORT request on its way in."""

    take_result: TakeResult
    origin: Origin
    transfer_syntax: str
    data: bytearray = field(default_factory=bytearray)

    def take(self, fragment: memoryview) -> None:
        """Take bytes; raises :class:`EndlessDataSetError`."""
        if len(self.data) + len(fragment) > MAX_REQUEST_LENGTH:
            raise EndlessDataSetError
        self.data += fragment

    def finish(self) -> Answer:
        """Have the result made durable, and return the answer."""
        try:
            result = parse_result(bytes(self.data), self.transfer_syntax)
        except InvalidCommitmentResult as exc:
            return Answer(status.INVALID_ARGUMENT, str(exc))
        return self.take_result(self.origin, result)

    def abandon(self) -> None:
        """Nothing is held."""
