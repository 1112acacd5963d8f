"""One C-STORE: from its command to the status that answers it (PS3.4 B.2, PS3.7 9.1.1)."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import assert_never

from hermes_common.dicom import status as dimse_status
from hermes_common.dicom.command import AFFECTED_SOP_CLASS, AFFECTED_SOP_INSTANCE, CommandSet
from hermes_common.events import InstanceRefused
from hermes_common.runtime.clock import now
from hermes_common.runtime.crashpoints import crash_point
from hermes_receiver.adapters import metrics
from hermes_receiver.adapters.spool import Folder, Spool, is_no_space
from hermes_receiver.adapters.spoolfile import SpoolFile
from hermes_receiver.core.capacity import shortage
from hermes_receiver.core.collecting import Collected
from hermes_receiver.core.limits import Ack, Limits
from hermes_receiver.core.reception import Note, Origin, file_meta
from hermes_receiver.core.verdict import Keep, Quarantine, Verdict, judge
from hermes_receiver.handlers.ports import Announcer, Uploads

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to tell the sender; ``stored`` counts for the association."""

    status: int
    comment: str = ""
    offending: tuple[int, ...] = ()
    octets: int = 0
    identifiers: tuple[int, ...] = ()
    """Attributes that are concerned, of a request that creates or sets (PS3.7 C.5)."""
    error_id: int | None = None

    @property
    def stored(self) -> bool:
        """Whether the sender was told Success."""
        return self.status == dimse_status.SUCCESS


class EndlessDataSetError(Exception):
    """A refused data set goes on beyond twice the limit: the association is not worth keeping."""


@dataclass(frozen=True, slots=True)
class Store:
    """The collaborators of every C-STORE of this receiver."""

    spool: Spool
    uploads: Uploads
    announcer: Announcer
    limits: Limits
    collected: Collected
    ack: Ack = Ack.SPOOLED


class Reception:
    """One instance on its way in: :meth:`take` each fragment, :meth:`finish`, or :meth:`abandon`. For one thread.

    A reception that cannot be kept reads on and drops the bytes, so that the association survives and the sender gets
    an
    honest status.
    """

    def __init__(
        self, store: Store, origin: Origin, command: CommandSet, transfer_syntax: str, study: str = ""
    ) -> None:
        """``study``: the study that the instance has to belong to; empty is any."""
        self._store = store
        self._origin = origin
        self._transfer_syntax = transfer_syntax
        self._study = study
        self._sop_class = command.text(AFFECTED_SOP_CLASS)
        self._sop_instance = command.text(AFFECTED_SOP_INSTANCE)
        self._received = now()
        self._note = Note(origin.association_id, self._received.isoformat(), origin.host)
        self._meta = file_meta(origin, self._note, self._sop_class, self._sop_instance, transfer_syntax)
        self._refusal: Answer | None = None
        self._seen = 0
        self._file: SpoolFile | None = None
        self._begin()

    def _begin(self) -> None:
        lack = shortage(self._store.spool.use(), self._store.limits)
        if lack is not None:
            self._refusal = Answer(dimse_status.OUT_OF_RESOURCES, lack)
            return
        try:
            self._file = self._store.spool.create(self._store.limits.head_bytes)
            self._file.begin(self._meta)
        except OSError as exc:
            self._give_up(exc)

    def take(self, fragment: memoryview) -> None:
        """Take data set bytes; raises :class:`EndlessDataSetError` and nothing else."""
        self._seen += len(fragment)
        limits = self._store.limits
        if self._file is None:
            if self._seen > 2 * limits.instance_bytes:
                raise EndlessDataSetError
            return
        if self._seen > limits.instance_bytes:
            self._refuse(Answer(dimse_status.TOO_LARGE, f"larger than {limits.instance_bytes} bytes"))
            return
        if self._store.spool.all_pending >= limits.spool_bytes:
            self._refuse(Answer(dimse_status.OUT_OF_RESOURCES, "spool full: images wait for the object store"))
            return
        try:
            self._file.write(fragment)
        except OSError as exc:
            self._give_up(exc)

    def finish(self) -> Answer:
        """Make the instance durable and return the answer: Success only when it is."""
        answer = self._decide()
        if not answer.stored:
            log.warning("C-STORE answered %04XH: %s", answer.status, answer.comment)
        if self._refusal is not None:
            self._announce_refusal(self._refusal)
        return answer

    def abandon(self) -> None:
        """Drop everything: the association ended in mid-object."""
        if self._file is not None:
            self._file.discard()
            self._file = None

    def _decide(self) -> Answer:
        if self._refusal is not None or self._file is None:
            return self._refusal if self._refusal is not None else Answer(dimse_status.OUT_OF_RESOURCES)
        verdict = judge(
            self._sop_class,
            self._sop_instance,
            self._file.header(self._transfer_syntax, self._store.collected()),
            self._study,
        )
        match verdict:
            case Keep():
                return self._keep(self._file, Folder.READY, Answer(dimse_status.SUCCESS, octets=self._seen), verdict)
            case Quarantine():
                answer = Answer(verdict.status, verdict.reason, verdict.offending)
                return self._keep(self._file, Folder.QUARANTINE, answer, verdict)
            case _:
                assert_never(verdict)

    def _keep(self, file: SpoolFile, folder: Folder, answer: Answer, verdict: Verdict) -> Answer:
        reason = verdict.reason if isinstance(verdict, Quarantine) else ""
        note = replace(self._note, check=file.check, status=answer.status, reason=reason)
        uploads = self._store.uploads
        waits = answer.stored and self._store.ack is Ack.STORED
        awaited = uploads.expect(file.entry) if waits else None  # before it can be found in the spool, and uploaded
        try:
            file.seal(note)
            self._store.spool.publish(file, folder)
        except OSError as exc:
            uploads.forget(file.entry)
            self._give_up(exc)
            return self._refusal if self._refusal is not None else Answer(dimse_status.OUT_OF_RESOURCES)
        self._file = None
        crash_point("store.durable")
        uploads.offer(file.entry, quarantined=folder is Folder.QUARANTINE)
        if awaited is not None:
            answer = self._stored(file.entry, awaited, answer)
        if self._refusal is None:
            metrics.INSTANCES.labels("stored" if answer.stored else "quarantined").inc()
        metrics.OCTETS.inc(answer.octets)
        return answer

    def _stored(self, entry: str, awaited: Future[bool], answer: Answer) -> Answer:
        """Wait until the instance is in the store and announced. If it does not get there in time the sender is told so
        and keeps it; the spool keeps it too, and goes on trying.
        """
        try:
            stored = awaited.result(self._store.limits.storing.total_seconds())
        except TimeoutError:
            stored = False
        finally:
            self._store.uploads.forget(entry)
        if stored:
            return answer
        self._refusal = Answer(dimse_status.OUT_OF_RESOURCES, "not in the object store within the time limit")
        return self._refusal

    def _give_up(self, exc: OSError) -> None:
        log.error("the spool cannot take an instance: %s", exc)
        full = is_no_space(exc)
        if full:
            self._store.spool.press()
        comment = "disk full" if full else "the spool cannot be written"
        self._refuse(Answer(dimse_status.OUT_OF_RESOURCES, comment))

    def _refuse(self, answer: Answer) -> None:
        self.abandon()
        self._refusal = answer

    def _announce_refusal(self, answer: Answer) -> None:
        metrics.INSTANCES.labels("refused").inc()
        self._store.announcer.say(
            InstanceRefused(
                association_id=self._origin.association_id,
                sop_instance_uid=self._sop_instance[:64],
                status=answer.status,
                reason=answer.comment,
                sender=self._origin.sender(),
            )
        )
