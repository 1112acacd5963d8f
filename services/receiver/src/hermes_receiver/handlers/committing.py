"""Storage commitment: a request is kept on the disk, looked into, answered, and only then forgotten (PS3.4 J)."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from hermes_common.config import CommitmentAddress
from hermes_common.dicom.commitment import CommitmentRequest, CommitmentResult
from hermes_common.events import CommitmentFailed, CommitmentReported, CommitmentRequested, Sender
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.errors import TransientError
from hermes_common.runtime.objectstore import StoreError
from hermes_receiver.adapters.commitments import KeptRequest, RequestFolder, once_more
from hermes_receiver.adapters.reporter import NotReportedError
from hermes_receiver.core.commitment import MAX_WAITING, PATIENCE, SETTLE, look_again, missing, offer_again, result_of
from hermes_receiver.core.reception import Origin
from hermes_receiver.handlers.ports import Announcer

log = logging.getLogger(__name__)

_PARALLEL: Final = 4
_PAUSE: Final = timedelta(milliseconds=300)
"""Before a result is offered on the association of its request: a sender that releases at once is not talked into."""
_ANSWER: Final = timedelta(seconds=30)
"""How long the sender may take to acknowledge a result on its own association."""


class Holder(Protocol):
    """Knows what is durably held."""

    async def held(self, instances: Sequence[str]) -> dict[str, str]:
        """Return SOP class by SOP instance; raises TransientError, StoreError or OSError when it cannot be known."""


Report = Callable[[CommitmentAddress, str, str, CommitmentResult], None]
"""Gives a result to an address (our AE title, theirs); raises NotReportedError."""
Find = Callable[[Sender], CommitmentAddress | None]
"""Where a sender wants its results, if somebody has said so."""


@dataclass(slots=True)
class Letter:
    """A result for the association that its request came on; ``delivered`` is set by whoever serves that."""

    result: CommitmentResult
    delivered: Future[bool] = field(default_factory=Future)

    def settle(self, delivered: bool) -> None:
        """Say how it ended; the first word counts."""
        if not self.delivered.done():
            self.delivered.set_result(delivered)


class Mailbox:
    """Results on their way to one association. Filled by the event loop, emptied by the thread of the association."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._letters: deque[Letter] = deque()
        self._expected = 0
        self._closed = False

    @property
    def is_expecting(self) -> bool:
        """Whether a request of this association has no answer yet."""
        return self._expected > 0

    def expect(self) -> None:
        """Note a request."""
        with self._guard:
            self._expected += 1

    def put(self, letter: Letter) -> None:
        """Leave a result; it is settled at once if the association has ended."""
        with self._guard:
            if not self._closed:
                self._letters.append(letter)
                return
        letter.settle(False)

    def take(self) -> Letter | None:
        """Take a result out."""
        with self._guard:
            if not self._letters:
                return None
            self._expected -= 1
            return self._letters.popleft()

    def forget(self) -> None:
        """Note that a request will not be answered here."""
        with self._guard:
            self._expected = max(self._expected - 1, 0)

    def close(self) -> None:
        """The association has ended."""
        with self._guard:
            self._closed = True
            left, self._letters = self._letters, deque()
        for letter in left:
            letter.settle(False)


class TooManyRequestsError(Exception):
    """As many requests wait as may wait."""


class DuplicateTransactionError(Exception):
    """The sender's transaction UID is in use for another request of its own."""


class Commitments:
    """The requests of this receiver. :meth:`submit` may be called from any thread; everything else on the loop."""

    def __init__(self, folder: RequestFolder, holder: Holder, report: Report, find: Find, announcer: Announcer) -> None:
        self._folder = folder
        self._holder = holder
        self._report = report
        self._find = find
        self._announcer = announcer
        self._loop = asyncio.get_running_loop()
        self._guard = threading.Lock()
        self._waiting: dict[str, KeptRequest] = {}
        self._queue: asyncio.Queue[tuple[KeptRequest, Mailbox | None]] = asyncio.Queue()
        self._slots = asyncio.Semaphore(_PARALLEL)

    def replay(self) -> int:
        """Take up what waits on the disk; return how many. Once, before anything is received."""
        kept, damaged = self._folder.load()
        for name in damaged:
            log.error("the storage commitment request %s cannot be read and stays where it is", name)
        for item in kept:
            self._waiting[item.id] = item
            self._queue.put_nowait((item, None))
        return len(kept)

    def submit(self, origin: Origin, request: CommitmentRequest, mailbox: Mailbox) -> None:
        """Keep a request; on return it survives a power cut.

        Raises TooManyRequestsError, DuplicateTransactionError, or OSError. The same request again while it waits is
        taken as one.
        """
        kept = KeptRequest(new_id().replace("-", ""), request, origin.association_id, origin.sender(), now())
        with self._guard:
            same = [k for k in self._waiting.values() if _is_same_transaction(k, kept)]
            if any(item.request != request for item in same):
                raise DuplicateTransactionError
            if same:
                return
            if len(self._waiting) >= MAX_WAITING:
                raise TooManyRequestsError
            self._waiting[kept.id] = kept
        try:
            self._folder.write(kept)
        except OSError:
            with self._guard:
                self._waiting.pop(kept.id, None)
            raise
        mailbox.expect()
        self._announcer.say(CommitmentRequested(**_about(kept)))
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, (kept, mailbox))
        except RuntimeError:
            log.debug("the event loop has ended; request %s waits for the next start", kept.id)

    async def run(self) -> None:
        """Answer until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                kept, mailbox = await self._queue.get()
                group.create_task(self._answer(kept, mailbox))

    async def _answer(self, kept: KeptRequest, mailbox: Mailbox | None) -> None:
        if mailbox is not None:
            await asyncio.sleep(_PAUSE.total_seconds())
        while True:
            result = await self._look_into(kept)
            if result is None:
                await self._end(kept, "what is held could not be found out for a day", mailbox)
                return
            attempt = once_more(kept)
            reason = await self._offer(attempt, result, mailbox)
            if reason is None:
                return
            mailbox = None
            pause = offer_again(attempt.attempts)
            if pause is None or self._find(kept.sender) is None:
                await self._end(attempt, reason, None)
                return
            kept = attempt
            await asyncio.to_thread(self._note, kept)
            await asyncio.sleep(pause.total_seconds())

    async def _look_into(self, kept: KeptRequest) -> CommitmentResult | None:
        """Return the answer as soon as every instance is found or has had its time; None after a day of not knowing."""
        wanted = [item.sop_instance for item in kept.request.references]
        looks = 0
        while True:
            try:
                async with self._slots:
                    held = await self._holder.held(wanted)
            except (TransientError, StoreError, OSError) as exc:
                log.warning("storage commitment %s waits: %s", kept.request.transaction_uid, exc)
                if _age(kept.asked_at) > PATIENCE:
                    return None
            else:
                if not missing(kept.request, held) or _age(kept.asked_at) > SETTLE:
                    return result_of(kept.request, held)
            await asyncio.sleep(look_again(looks).total_seconds())
            looks += 1

    async def _offer(self, kept: KeptRequest, result: CommitmentResult, mailbox: Mailbox | None) -> str | None:
        """Give the result to the sender; return why it did not take it, or None."""
        if mailbox is not None and await _by_mail(mailbox, result):
            await self._reported(kept, result, "same association")
            return None
        address = self._find(kept.sender)
        if address is None:
            return "its association has ended, and no source entry says where it takes results"
        theirs = address.aet if address.aet is not None else kept.sender.calling_aet
        try:
            async with self._slots:
                await asyncio.to_thread(self._report, address, kept.sender.called_aet, theirs, result)
        except NotReportedError as exc:
            log.warning("storage commitment %s: %s", kept.request.transaction_uid, exc)
            return str(exc)
        await self._reported(kept, result, f"{address.host}:{address.port}")
        return None

    async def _reported(self, kept: KeptRequest, result: CommitmentResult, where: str) -> None:
        counts = {"committed": len(result.committed), "failed": len(result.failed)}
        self._announcer.say(CommitmentReported(**_about(kept), **counts, where=where, attempts=kept.attempts))
        await self._forget(kept)

    async def _end(self, kept: KeptRequest, reason: str, mailbox: Mailbox | None) -> None:
        log.error("storage commitment %s of %s: %s", kept.request.transaction_uid, kept.sender.calling_aet, reason)
        if mailbox is not None:
            mailbox.forget()
        self._announcer.say(CommitmentFailed(**_about(kept), reason=reason, attempts=kept.attempts))
        await self._forget(kept)

    async def _forget(self, kept: KeptRequest) -> None:
        with self._guard:
            self._waiting.pop(kept.id, None)
        try:
            await asyncio.to_thread(self._folder.remove, kept.id)
        except OSError as exc:
            log.error("the storage commitment request %s cannot be removed: %s", kept.id, exc)

    def _note(self, kept: KeptRequest) -> None:
        try:
            self._folder.write(kept)
        except OSError as exc:
            log.warning("the attempts of storage commitment %s cannot be noted: %s", kept.id, exc)


async def _by_mail(mailbox: Mailbox, result: CommitmentResult) -> bool:
    letter = Letter(result)
    mailbox.put(letter)
    try:
        return await asyncio.wait_for(asyncio.wrap_future(letter.delivered), _ANSWER.total_seconds())
    except TimeoutError:
        return False


def _is_same_transaction(one: KeptRequest, other: KeptRequest) -> bool:
    return (one.sender.calling_aet, one.request.transaction_uid) == (
        other.sender.calling_aet,
        other.request.transaction_uid,
    )


def _age(since: datetime) -> timedelta:
    return now() - since


def _about(kept: KeptRequest) -> dict[str, object]:
    return {
        "request_id": kept.id,
        "transaction_uid": kept.request.transaction_uid,
        "association_id": kept.association_id,
        "sender": kept.sender,
        "instances": len(kept.request.references),
    }
