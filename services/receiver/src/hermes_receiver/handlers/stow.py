"""One STOW-RS request (PS3.18 10.5): each part goes into the spool as a C-STORE would, and has its own answer."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, assert_never

from hermes_common.dicom import command as dimse
from hermes_common.dicom import status as dimse_status
from hermes_common.dicom.command import CommandSet
from hermes_common.dicom.errors import NotPart10
from hermes_common.dicom.part10 import MAX_META_LENGTH, PREAMBLE_LENGTH, parse_file_meta
from hermes_common.dicom.uids import IMPLICIT_LITTLE, is_standard_transfer_syntax, is_storage_class
from hermes_common.events import AssociationAborted, AssociationClosed, AssociationOpened
from hermes_receiver.core.multipart import MultipartReader, PartBegins, PartData, PartEnds
from hermes_receiver.core.reception import Origin
from hermes_receiver.core.stow import PartOutcome
from hermes_receiver.handlers.ports import Announcer
from hermes_receiver.handlers.storing import Reception, Store

log = logging.getLogger(__name__)

MAX_PARTS: Final = 50_000
_HEAD: Final = PREAMBLE_LENGTH + 4 + MAX_META_LENGTH


class TooManyPartsError(Exception):
    """The request has more parts than one request may have."""


class PartReception:
    """One part on its way in: file meta information first, then its data set like that of a C-STORE."""

    def __init__(self, store: Store, origin: Origin, study: str) -> None:
        self._store = store
        self._origin = origin
        self._study = study
        self._head: bytearray | None = bytearray()
        self._reception: Reception | None = None
        self._named = ("", "")
        self._refusal: int | None = None

    def take(self, data: bytes) -> None:
        """Take bytes of the part; raises EndlessDataSetError."""
        if self._head is not None:
            self._head += data
            if len(self._head) >= _HEAD:
                self._begin()
        elif self._reception is not None:
            self._reception.take(memoryview(data))

    def finish(self) -> tuple[PartOutcome, int]:
        """Make it durable; return what became of it, and the bytes of its data set if it is stored."""
        if self._head is not None:
            self._begin()
        if self._reception is None:
            refusal = dimse_status.CANNOT_UNDERSTAND if self._refusal is None else self._refusal
            return PartOutcome(*self._named, refusal), 0
        answer = self._reception.finish()
        self._reception = None
        return PartOutcome(*self._named, answer.status), answer.octets

    def abandon(self) -> None:
        """Drop everything: the body ended in the middle of the part."""
        if self._reception is not None:
            self._reception.abandon()
            self._reception = None

    def _begin(self) -> None:
        head, self._head = bytes(self._head or b""), None
        syntax, offset = IMPLICIT_LITTLE, 0
        try:
            part10 = parse_file_meta(head)
        except NotPart10 as exc:
            log.warning("a part of a STOW-RS request is no DICOM file: %s", exc.reason)
        else:
            self._named = (part10.meta.sop_class_uid, part10.meta.sop_instance_uid)
            syntax, offset = part10.meta.transfer_syntax, part10.offset
            if not is_standard_transfer_syntax(syntax):
                self._refusal = dimse_status.TRANSFER_SYNTAX_NOT_SUPPORTED
            elif self._named[0] and not is_storage_class(self._named[0]):
                self._refusal = dimse_status.SOP_CLASS_NOT_SUPPORTED
            if self._refusal is not None:
                return
        names = {dimse.AFFECTED_SOP_CLASS: self._named[0], dimse.AFFECTED_SOP_INSTANCE: self._named[1]}
        command = CommandSet({element: text.encode("ascii", "replace") for element, text in names.items()})
        self._reception = Reception(self._store, self._origin, command, syntax, self._study)
        self._reception.take(memoryview(head)[offset:])


@dataclass(slots=True)
class StowRequest:
    """The body of one request. For one thread: :meth:`feed`, then :meth:`finish` or :meth:`abort`."""

    store: Store
    announcer: Announcer
    origin: Origin
    reader: MultipartReader
    study: str = ""
    """Study Instance UID that the request is for; empty is any."""
    outcomes: list[PartOutcome] = field(default_factory=list)
    _part: PartReception | None = None
    _octets: int = 0
    _started: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """Say that a request has come; it counts as an association."""
        self.announcer.say(
            AssociationOpened(
                association_id=self.origin.association_id,
                sender=self.origin.sender(),
                contexts=0,
                protocol="stow",
                tls=self.origin.tls,
                certificate=self.origin.certificate,
                user=self.origin.user,
            )
        )

    def feed(self, data: bytes) -> None:
        """Take the next bytes; raises MalformedMultipart, EndlessDataSetError, TooManyPartsError."""
        for piece in self.reader.feed(data):
            match piece:
                case PartBegins():
                    if len(self.outcomes) >= MAX_PARTS:
                        raise TooManyPartsError
                    self._part = PartReception(self.store, self.origin, self.study)
                case PartData():
                    if self._part is not None:
                        self._part.take(piece.data)
                case PartEnds():
                    self._end_part()
                case _:
                    assert_never(piece)

    def _end_part(self) -> None:
        if self._part is None:
            return
        outcome, octets = self._part.finish()
        self._part = None
        self._octets += octets
        self.outcomes.append(outcome)

    def finish(self) -> None:
        """The body has come whole."""
        self.announcer.say(AssociationClosed(**self._counts()))

    def abort(self, reason: str) -> None:
        """The body will not come whole: what is unfinished is dropped, what was finished before stands."""
        if self._part is not None:
            self._part.abandon()
            self._part = None
        self.announcer.say(AssociationAborted(**self._counts(), reason=reason))

    def _counts(self) -> dict[str, object]:
        stored = sum(outcome.is_stored for outcome in self.outcomes)
        seconds = time.monotonic() - self._started
        return {
            "association_id": self.origin.association_id,
            "sender": self.origin.sender(),
            "instances": stored,
            "refused": len(self.outcomes) - stored,
            "octets": self._octets,
            "duration": timedelta(seconds=seconds),
            "instances_per_second": round(stored / max(seconds, 0.001), 3),
            "octets_per_second": round(self._octets / max(seconds, 0.001)),
        }
