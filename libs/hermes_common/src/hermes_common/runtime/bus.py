"""The bus: publishing, live records, timers and reading back, over one NATS connection.

Every call has a time limit and raises :class:`BusUnavailableError` when the bus does not answer; the connection is
made again for ever in the background.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamConfig
from pydantic import BaseModel

from hermes_common.events import Envelope, Event, encode
from hermes_common.runtime import topology
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.errors import BusLostError, BusUnavailableError, ConflictError, MessageTooLargeError
from hermes_common.runtime.settings import RuntimeSettings
from hermes_common.runtime.tracing import traceparent
from hermes_common.subjects import TIMERS

log = logging.getLogger(__name__)

Record = TypeVar("Record", bound=BaseModel)
T = TypeVar("T")

NEEDED_PAYLOAD = 8 * 1024 * 1024
"""Octets of a message that the bus should take (``max_payload``)."""

WAIT = "Hermes-Wait"
"""Header of a timer: the seconds that it was to wait."""

_LIMIT = 5.0
_PATIENCE = 2.0
"""Seconds for which a lost connection is waited for: the client tries again every second."""
_HEAD = 64
_SCAN_IDLE = 60.0
"""Seconds after which the server forgets a reader of :meth:`Bus.scan` that takes nothing more."""
_NO_MESSAGE = 10037
_NO_ROOM = (10047, 10028, 10023)
_WRONG_SEQUENCE = (10071, 10164)
_ASK_TIME = 10.0
"""Seconds for which the difference of the server's clock is taken to be the same."""
_SAME_CLOCK = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message read back from a stream."""

    subject: str
    sequence: int
    headers: Mapping[str, str]
    data: bytes
    time: datetime | None = None
    """When the server took it, by the server's clock; None where it was not asked for."""


class Bus:
    """A connection to NATS with the streams and buckets of Hermes."""

    def __init__(self, settings: RuntimeSettings, name: str) -> None:
        self._settings = settings
        self.name = name
        """CloudEvents source of what is published: service and instance."""
        self.nc = Client()
        self.js: JetStreamContext = self.nc.jetstream(timeout=_LIMIT)
        self.connection = 1
        """Which connection this is, counted from 1: what a server held for an earlier one may be gone."""
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._lost = asyncio.Event()
        self._lost_at = time.monotonic()
        self._mending: set[asyncio.Task[None]] = set()
        self._trouble = ""
        self._server_ahead: tuple[float, float] | None = None

    # -- life cycle

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._task = asyncio.create_task(self._connect(), name="bus-connect")

    async def ready(self) -> None:
        """Wait until the bus has been connected once and its streams exist."""
        await self._ready.wait()

    def problem(self) -> str | None:
        """Return what is wrong with the connection, in words, or None."""
        if self._ready.is_set() and self.nc.is_connected:
            return None
        return "the bus (NATS) is not connected"

    async def connected(self) -> None:
        """Return when there is a connection; raise :class:`BusUnavailableError` where there has been none for a while.

        For what a person waits for: a connection that was lost a moment ago is waited for, a bus that is away is not.
        """
        while (problem := self.problem()) is not None:
            if time.monotonic() - self._lost_at > _PATIENCE:
                raise BusUnavailableError(problem)
            await asyncio.sleep(0.05)

    async def watch(self) -> None:
        """Wait; raise :class:`BusLostError` when the client has given the connection up, as it does on some errors."""
        await self._lost.wait()
        raise BusLostError("the bus closed the connection for good; see the messages before this one")

    async def close(self) -> None:
        """Publish what is under way and disconnect."""
        self._closing = True
        for task in self._mending:
            task.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
            if self.nc.is_connected:
                await asyncio.wait_for(self.nc.flush(2), 3)
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
            await asyncio.wait_for(self.nc.close(), 3)

    async def _connect(self) -> None:
        servers = [url.strip() for url in self._settings.nats_url.get_secret_value().split(",")]
        while not self.nc.is_connected:
            try:
                await self.nc.connect(
                    servers,
                    name=self.name,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=1,
                    connect_timeout=3,
                    ping_interval=10,
                    max_outstanding_pings=2,
                    pending_size=32 * 1024 * 1024,
                    error_cb=self._on_error,
                    disconnected_cb=self._on_disconnected,
                    reconnected_cb=self._on_reconnected,
                    closed_cb=self._on_closed,
                )
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("the bus is not reachable yet: %s", error or type(error).__name__)
                await asyncio.sleep(1)
        await self._make_streams()
        if self.nc.max_payload < NEEDED_PAYLOAD:
            log.warning("the bus takes messages of %d octets; set max_payload to 8MB", self.nc.max_payload)
        self._ready.set()

    async def _make_streams(self) -> None:
        while not self._closing:
            try:
                await self._ensure_topology()
                return
            except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
                log.warning("the streams cannot be made yet: %s", error)
                await asyncio.sleep(1)

    async def _on_error(self, error: Exception) -> None:
        """Say what is wrong, once for as long as it stays the same: the client tries again every second."""
        words = str(error) or type(error).__name__
        if words != self._trouble:
            log.warning("bus: %s", words)
        self._trouble = words

    async def _on_disconnected(self) -> None:
        self._lost_at = time.monotonic()
        log.info("the bus is disconnected")

    async def _on_reconnected(self) -> None:
        self._trouble = ""
        self.connection += 1
        log.info("the bus is connected again")
        task = asyncio.create_task(self._make_streams(), name="bus-streams")  # it may have come back empty
        self._mending.add(task)
        task.add_done_callback(self._mending.discard)

    async def _on_closed(self) -> None:
        if not self._closing and self._ready.is_set():
            self._lost.set()

    async def _ensure_topology(self) -> None:
        settings = self._settings
        for stream in topology.streams(
            settings.nats_replicas, settings.nats_events_max_bytes, settings.nats_events_max_days
        ):
            await self._ensure_stream(stream)
        for bucket in topology.buckets(settings.nats_replicas, settings.nats_events_max_days):
            with contextlib.suppress(nats.js.errors.BadRequestError):
                await self.js.create_key_value(bucket)

    async def _ensure_stream(self, stream: StreamConfig) -> None:
        """Make a stream, or change it to what it should be; that of copies is smaller where there is little room.

        The server sets aside what a stream may hold at most, and refuses what it cannot set aside.
        """
        while True:
            try:
                try:
                    await self.js.add_stream(stream)
                except nats.js.errors.BadRequestError:
                    await self.js.update_stream(stream)
            except nats.js.errors.APIError as error:
                smaller = topology.smaller(stream) if error.err_code in _NO_ROOM else None
                if smaller is None:
                    raise
                stream = smaller
            else:
                return

    # -- publishing

    async def publish(self, event: Event, event_id: str | None = None, time: datetime | None = None) -> int:
        """Publish an event durably and return its sequence in the stream.

        ``event_id`` is given where saying a thing again must count once: derive it from what happened.
        """
        envelope = Envelope(
            id=event_id if event_id is not None else new_id(),
            source=self.name,
            time=time if time is not None else now(),
            traceparent=traceparent.get(),
            event=event,
        )
        subject, headers, body = encode(envelope)
        return await self.send(subject, body, headers)

    async def publish_all(self, events: Sequence[tuple[Event, str]]) -> None:
        """Publish several events with their ids at once; return when every one is durable."""
        await asyncio.gather(*(self.publish(event, event_id) for event, event_id in events))

    async def tell(self, subject: str, body: bytes) -> None:
        """Tell whoever listens now. Nobody keeps it, and while the bus is away it is lost."""
        if self.nc.is_connected:
            with contextlib.suppress(nats.errors.Error, OSError):
                await self.nc.publish(subject, body)

    async def send(self, subject: str, body: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Publish a message to whichever stream holds its subject; return its sequence.

        :class:`MessageTooLargeError` if the server would not take it: it closes the connection on whoever tries.
        """
        size = len(body) + sum(len(name) + len(str(value).encode()) + 4 for name, value in (headers or {}).items())
        if self.nc.is_connected and size + _HEAD > self.nc.max_payload:
            raise MessageTooLargeError(f"a message of {size} octets on {subject}: the bus takes {self.nc.max_payload}")
        ack = await _limited(self.js.publish(subject, body, headers=dict(headers) if headers else None, timeout=_LIMIT))
        return int(ack.seq)

    async def enqueue(self, subject: str, work: BaseModel, message_id: str) -> None:
        """Put a piece of work into the queue of its subject, once for each ``message_id`` (within two minutes)."""
        headers = {"Nats-Msg-Id": message_id, "content-type": "application/json"}
        if (trace := traceparent.get()) is not None:
            headers["traceparent"] = trace
        await self.send(subject, work.model_dump_json().encode(), headers)

    # -- timers

    async def arm(self, timer: str, due: str, at: datetime, note: Mapping[str, str | int] | None = None) -> None:
        """Have the server publish to ``due`` at the given instant; replaces what was armed for the same timer.

        ``note`` becomes part of the JSON that is published then.
        """
        await self._arm(timer, due, at, at, note, {})

    async def arm_after(self, timer: str, due: str, at: datetime, note: Mapping[str, str | int] | None = None) -> None:
        """Do as :meth:`arm` for an instant by our clock, which may be wrong: what counts is how far away it is.

        That goes along in the header :data:`WAIT`, for when it turns out that the server's clock was wrong.
        """
        wait = at - now()
        by_server = await self.common_time() + wait
        fires = by_server if abs(by_server - at) > _SAME_CLOCK else at
        await self._arm(timer, due, fires, at, note, {WAIT: f"{max(0.0, wait.total_seconds()):.3f}"})

    async def arm_at(self, timer: str, due: str, at: datetime, note: Mapping[str, str | int] | None = None) -> None:
        """Do as :meth:`arm_after` for an instant by the common clock, :meth:`now`."""
        wait = at - await self.common_time()
        await self._arm(timer, due, at, at, note, {WAIT: f"{max(0.0, wait.total_seconds()):.3f}"})

    async def _arm(
        self,
        timer: str,
        due: str,
        fires: datetime,
        at: datetime,
        note: Mapping[str, str | int] | None,
        more: Mapping[str, str],
    ) -> None:
        headers = {
            "Nats-Schedule": f"@at {fires.isoformat().replace('+00:00', 'Z')}",
            "Nats-Schedule-Target": due,
            **more,
        }
        if (trace := traceparent.get()) is not None:
            headers["traceparent"] = trace
        await self.send(timer, json.dumps({**(note or {}), "due": at.isoformat()}).encode(), headers)

    async def armed(self, timer: str) -> datetime | None:
        """Return when a timer that is armed is due; None if none is, or once the server has fired it."""
        try:
            raw = await _limited(self.js.get_last_msg(TIMERS, timer))
        except nats.js.errors.NotFoundError:
            return None
        return datetime.fromisoformat(json.loads(raw.data or b"{}")["due"])

    async def server_time(self) -> datetime:
        """Return the present instant by the server's clock."""
        answer = await _limited(self.nc.request(f"$JS.API.STREAM.INFO.{TIMERS}", b"", timeout=_LIMIT))
        found = json.loads(answer.data)
        if "ts" not in found:
            raise BusUnavailableError(f"the bus does not say its time: {found.get('error', {}).get('description')}")
        return datetime.fromisoformat(found["ts"])

    async def common_time(self) -> datetime:
        """Return the present instant by the server's clock, which is the same for all; it is not asked each time."""
        over = await self._server_over_monotonic()
        return datetime.fromtimestamp(time.monotonic() + over, UTC)

    def now(self) -> datetime:
        """Return the present instant by the server's clock, as :meth:`common_time` found it last.

        By our own clock until it was asked; whoever compares instants with those of other processes asks at the start,
        and has :meth:`keep_time` ask again.
        """
        if self._server_ahead is None:
            return now()
        return datetime.fromtimestamp(time.monotonic() + self._server_ahead[1], UTC)

    async def keep_time(self, stopping: asyncio.Event) -> None:
        """Ask the server for its time again and again until the service stops: it may be set."""
        while not stopping.is_set():
            with contextlib.suppress(BusUnavailableError):
                await self.common_time()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _ASK_TIME)

    def forget_server_time(self) -> None:
        """Ask the server for its time again before the next timer: it may have been set."""
        if self._server_ahead is not None:
            self._server_ahead = (float("-inf"), self._server_ahead[1])  # what was known is better than our own clock

    async def _server_over_monotonic(self) -> float:
        """Return the seconds from our monotonic clock, which nobody sets, to the server's; asked for now and then."""
        asked = time.monotonic()
        if self._server_ahead is None or asked - self._server_ahead[0] > _ASK_TIME:
            at = await self.server_time()
            self._server_ahead = (asked, at.timestamp() - (asked + time.monotonic()) / 2)
        return self._server_ahead[1]

    async def last(self, stream: str, subject: str) -> StoredMessage | None:
        """Return the last message of a subject, or None."""
        try:
            raw = await _limited(self.js.get_last_msg(stream, subject))
        except nats.js.errors.NotFoundError:
            return None
        return StoredMessage(subject, int(raw.seq or 0), dict(raw.headers or {}), raw.data or b"", raw.time)

    async def try_send(self, subject: str, body: bytes, headers: Mapping[str, str]) -> bool:
        """Publish a message that expects a last sequence; return whether it was as expected."""
        try:
            await self.send(subject, body, headers)
        except nats.js.errors.APIError as error:
            if error.err_code in _WRONG_SEQUENCE:
                return False
            raise
        return True

    # -- live records

    async def load(self, bucket: str, key: str, model: type[Record]) -> tuple[Record, int] | None:
        """Return a record and its revision, or None if there is none."""
        subject = f"$KV.{bucket}.{key}"
        try:
            raw = await _limited(self.js.get_last_msg(f"KV_{bucket}", subject))
        except nats.js.errors.NotFoundError:
            return None
        if raw.headers and raw.headers.get("KV-Operation") in ("DEL", "PURGE"):
            return None
        return model.model_validate_json(raw.data or b""), int(raw.seq or 0)

    async def create(self, bucket: str, key: str, record: BaseModel) -> int:
        """Write a record that does not exist yet; raise :class:`ConflictError` if it does."""
        kv = await _limited(self.js.key_value(bucket))
        try:
            return int(await _limited(kv.create(key, record.model_dump_json().encode())))
        except nats.js.errors.KeyWrongLastSequenceError as error:
            raise ConflictError(f"{key} exists already") from error

    async def update(self, bucket: str, key: str, record: BaseModel, revision: int) -> int:
        """Replace a revision of a record and return the new one; :class:`ConflictError` if it is not the last."""
        headers = {"Nats-Expected-Last-Subject-Sequence": str(revision)}
        try:
            return await self.send(f"$KV.{bucket}.{key}", record.model_dump_json().encode(), headers)
        except nats.js.errors.APIError as error:
            if error.err_code in _WRONG_SEQUENCE:
                raise ConflictError(f"{key} was changed by somebody else") from error
            raise

    async def forget(self, bucket: str, key: str, revision: int) -> None:
        """Remove the given revision of a record with its history; :class:`ConflictError` if it is not the last."""
        headers = {
            "KV-Operation": "PURGE",
            "Nats-Rollup": "sub",
            "Nats-Expected-Last-Subject-Sequence": str(revision),
        }
        try:
            await self.send(f"$KV.{bucket}.{key}", b"", headers)
        except nats.js.errors.APIError as error:
            if error.err_code in _WRONG_SEQUENCE:
                raise ConflictError(f"{key} was changed by somebody else") from error
            raise

    async def keys(self, bucket: str, pattern: str) -> list[str]:
        """Return the keys of a bucket that match a subject pattern, such as ``series.*``; some may just be removed."""
        prefix = f"$KV.{bucket}."
        return [subject.removeprefix(prefix) for subject in await self.subjects(f"KV_{bucket}", prefix + pattern)]

    async def scan(self, bucket: str, pattern: str, batch: int = 500) -> AsyncIterator[tuple[str, bytes, int]]:
        """Yield the key, the value and the revision of each record whose key matches a subject pattern.

        What is written meanwhile may be seen or not, as it was or as it is.
        """
        prefix = f"$KV.{bucket}."
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=_SCAN_IDLE,
            mem_storage=True,
            num_replicas=1,
        )
        reader = await _limited(self.js.pull_subscribe(prefix + pattern, stream=f"KV_{bucket}", config=config))
        try:
            left = int((await _limited(reader.consumer_info())).num_pending or 0)
            while left:
                for message in await _limited(reader.fetch(min(batch, left), timeout=_LIMIT)):
                    left = int(message.metadata.num_pending)
                    if (message.headers or {}).get("KV-Operation") not in ("DEL", "PURGE"):
                        yield message.subject.removeprefix(prefix), message.data, int(message.metadata.sequence.stream)
        finally:
            with contextlib.suppress(nats.errors.Error):
                await reader.unsubscribe()

    async def subjects(self, stream: str, pattern: str) -> dict[str, int]:
        """Return how many messages a stream holds on each subject that matches a pattern."""
        found: dict[str, int] = {}
        while True:
            request = json.dumps({"subjects_filter": pattern, "offset": len(found)}).encode()
            answer = await _limited(self.nc.request(f"$JS.API.STREAM.INFO.{stream}", request, timeout=_LIMIT))
            info = json.loads(answer.data)
            if "error" in info:
                raise BusUnavailableError(f"the bus refused: {info['error'].get('description')}")
            page: dict[str, int] = info["state"].get("subjects") or {}
            found.update(page)
            if not page or len(found) >= int(info.get("total", 0)):
                return found

    async def purge(self, stream: str, pattern: str, before: int) -> int:
        """Remove the messages on the subjects of a pattern whose sequence is below ``before``; return how many."""
        if before <= 1:  # the server takes 0 for "all of them"
            return 0
        request = json.dumps({"filter": pattern, "seq": before}).encode()
        answer = await _limited(self.nc.request(f"$JS.API.STREAM.PURGE.{stream}", request, timeout=_LIMIT))
        found = json.loads(answer.data)
        if "error" in found:
            raise BusUnavailableError(f"the bus refused: {found['error'].get('description')}")
        return int(found.get("purged", 0))

    # -- reading back

    async def read(self, stream: str, subject: str, after: int, batch: int = 500) -> AsyncIterator[StoredMessage]:
        """Yield the messages of one subject whose sequence is greater than ``after``, in their order."""
        position = after
        while messages := await self._read_batch(stream, subject, position + 1, batch):
            for message in messages:
                yield message
            position = messages[-1].sequence  # the server may have ended a batch early, at a bound of its own

    async def following(self, stream: str, subject: str, after: int) -> StoredMessage | None:
        """Return the first message of a subject whose sequence is greater than ``after``, left where it is, or None."""
        try:
            raw = await _limited(self.js.get_msg(stream, seq=after + 1, subject=subject, next=True))
        except nats.js.errors.NotFoundError:
            return None
        return StoredMessage(str(raw.subject), int(raw.seq or 0), dict(raw.headers or {}), raw.data or b"")

    async def last_sequence(self, stream: str, subject: str) -> int:
        """Return the sequence of the last message of a subject, or 0 if there is none."""
        try:
            raw = await _limited(self.js.get_last_msg(stream, subject))
        except nats.js.errors.NotFoundError:
            return 0
        return int(raw.seq or 0)

    async def end_of(self, stream: str) -> int:
        """Return the sequence of the last message that a stream has had, whether it is still there or not."""
        return int((await _limited(self.js.stream_info(stream))).state.last_seq)

    async def _read_batch(self, stream: str, subject: str, first: int, batch: int) -> list[StoredMessage]:
        inbox = self.nc.new_inbox()
        subscription = await _limited(self.nc.subscribe(inbox))
        request = {"seq": max(first, 1), "batch": batch, "next_by_subj": subject}
        messages: list[StoredMessage] = []
        try:
            await _limited(self.nc.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(request).encode(), reply=inbox))
            while True:
                message = await _limited(subscription.next_msg(timeout=_LIMIT))
                headers: dict[str, str] = dict(message.headers or {})
                status = headers.get("Status")
                if status in ("204", "404"):
                    return messages
                if status is not None:
                    raise BusUnavailableError(f"reading {subject} back: status {status}")
                at = datetime.fromisoformat(headers["Nats-Time-Stamp"])
                messages.append(
                    StoredMessage(headers["Nats-Subject"], int(headers["Nats-Sequence"]), headers, message.data, at)
                )
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()


async def _limited(call: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(call, _LIMIT + 1)
    except nats.js.errors.KeyWrongLastSequenceError:
        raise
    except nats.errors.MaxPayloadError as error:
        raise MessageTooLargeError(str(error)) from error
    except nats.js.errors.APIError as error:
        if error.err_code in (*_WRONG_SEQUENCE, _NO_MESSAGE):
            raise
        raise BusUnavailableError(f"the bus refused: {error.description or error}") from error
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError) as error:
        raise BusUnavailableError(f"the bus did not answer: {str(error) or type(error).__name__}") from error
