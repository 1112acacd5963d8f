"""Looking for what no event says: queues that grow old, senders that are silent, services and disks."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from prometheus_client import Gauge

from hermes_bookkeeper.core.alerts import Say
from hermes_bookkeeper.core.rhythm import WINDOW, Rhythm, learn
from hermes_bookkeeper.core.watching import SERVICES, History, Seen, Sender, changes
from hermes_bookkeeper.errors import DatabaseUnavailableError, RefusedError
from hermes_common.alerting import Alerting
from hermes_common.config import Targets
from hermes_common.events import Event
from hermes_common.room import Room
from hermes_common.runtime.errors import BusUnavailableError

log = logging.getLogger(__name__)

OPEN = Gauge("hermes_alerts_open", "Alerts that are open, by kind", ["kind"])
DELIVERIES = Gauge("hermes_deliveries_waiting", "Deliveries that have not ended, by target", ["target"])
OLDEST = Gauge(
    "hermes_deliveries_oldest_seconds", "Age of the oldest delivery that has not ended, by target", ["target"]
)
DISK_FREE = Gauge("hermes_disk_free_bytes", "Bytes that may still be written, by volume and host", ["volume", "host"])
DISK_SIZE = Gauge("hermes_disk_size_bytes", "Bytes of a volume, by volume and host", ["volume", "host"])
SPOOL_PENDING = Gauge("hermes_spool_pending_bytes", "Bytes in a receiver's spool that wait for the store", ["host"])
SPOOL_LIMIT = Gauge("hermes_spool_limit_bytes", "Bytes that may wait in a receiver's spool", ["host"])
PRESENT = Gauge("hermes_service_present", "Whether a process of a service answers on the bus: 1 or 0", ["service"])

PERIOD: Final = timedelta(seconds=15)
LEARN: Final = timedelta(minutes=10)
RECENT: Final = timedelta(hours=2)
"""How far back senders are looked for, once those of the whole window are known."""
BEHIND: Final = 500
"""With more events than this not recorded yet, the tables are not what holds now, and nothing is concluded of them."""


class Observer(Protocol):
    """What the history says."""

    async def look(self, targets: Sequence[str], before: datetime | None, since: datetime, now: datetime) -> History:
        """Return what holds now. ``before``: deliveries that wait since then are late, None: none is; ``since``: how
        far back senders are looked for.
        """
        ...

    async def visits(self, now: datetime) -> Mapping[str, Sequence[datetime]]:
        """Return when each sender sent."""
        ...


class Bus(Protocol):
    """The bus, as far as this handler needs it."""

    async def publish(self, event: Event, event_id: str | None = None) -> int:
        """Publish an event durably."""
        ...


class Fleet(Protocol):
    """The processes of the other services."""

    async def present(self) -> set[str]:
        """Return the services of which a process answers; raises BusUnavailableError."""
        ...

    async def rooms(self) -> list[Room]:
        """Return how much room there is; raises BusUnavailableError."""
        ...

    async def behind(self) -> int:
        """Return how many events are not recorded yet; raises BusUnavailableError."""
        ...


class Watcher:
    """Looks every few seconds, and says what has changed."""

    def __init__(
        self,
        observer: Observer,
        fleet: Fleet,
        bus: Bus,
        configuration: Callable[[], tuple[Alerting, Targets]],
        clock: Callable[[], datetime],
    ) -> None:
        self._observer = observer
        self._fleet = fleet
        self._bus = bus
        self._configuration = configuration
        self._clock = clock
        self._answered = dict.fromkeys(SERVICES, time.monotonic())
        self._rhythms: dict[str, Rhythm] = {}
        self._learned: tuple[datetime, str] | None = None
        self._last_sent: dict[str, datetime] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.tick()
            except (DatabaseUnavailableError, RefusedError, BusUnavailableError) as error:
                log.warning("nothing can be watched now: %s", error)
            await asyncio.sleep(PERIOD.total_seconds())

    async def tick(self) -> list[Say]:
        """Look once; return what was said. Raises what says that nothing can be concluded now."""
        present = await self._fleet.present()
        rooms = await self._fleet.rooms()
        for service in present & self._answered.keys():
            self._answered[service] = time.monotonic()
        _show(present, rooms)
        if (behind := await self._fleet.behind()) > BEHIND:
            log.info("nothing is concluded of the tables: %d events are not in them yet", behind)
            return []
        alerting, targets = self._configuration()
        now = self._clock()
        if await self._learn(alerting, now):
            self._last_sent = {}
        seen = await self._seen(alerting, targets, now, rooms, present)
        says = changes(seen, alerting.conditions)
        for say in says:
            await self._bus.publish(say.event, say.id)
        return says

    async def _learn(self, alerting: Alerting, now: datetime) -> bool:
        """Learn the rhythms again if they are old; return whether they were."""
        zone = alerting.conditions.silent.timezone
        if self._learned is not None and self._learned[1] == zone and now - self._learned[0] < LEARN:
            return False
        visits = await self._observer.visits(now)
        found = await asyncio.to_thread(lambda: {aet: learn(times, zone) for aet, times in visits.items()})
        self._rhythms = {aet: rhythm for aet, rhythm in found.items() if rhythm is not None}
        self._learned = (now, zone)
        return True

    async def _seen(
        self, alerting: Alerting, targets: Targets, now: datetime, rooms: list[Room], present: set[str]
    ) -> Seen:
        age = alerting.conditions.queue_age
        working = [target.slug for target in targets.targets if not target.is_paused(now)]
        since = now - (RECENT if self._last_sent else WINDOW)
        history = await self._observer.look(working, None if age is None else now - age, since, now)
        self._last_sent.update(history.last_sent)
        _show_history(history, now)
        senders = [Sender(aet, last, self._rhythms.get(aet)) for aet, last in self._last_sent.items()]
        silence = {
            service: timedelta(0) if service in present else timedelta(seconds=time.monotonic() - answered)
            for service, answered in self._answered.items()
        }
        return Seen(
            now=now,
            late=history.late,
            senders=senders,
            quarantined=history.quarantined,
            failing=history.failing,
            silence_of_services=silence,
            rooms=rooms,
            open_alerts=history.open_alerts,
            counts=history.counts,
        )


def _show(present: set[str], rooms: Sequence[Room]) -> None:
    for service in SERVICES:
        PRESENT.labels(service).set(service in present)
    for gauge in (DISK_FREE, DISK_SIZE, SPOOL_PENDING, SPOOL_LIMIT):
        gauge.clear()
    for room in rooms:
        if room.spool_limit:
            SPOOL_PENDING.labels(room.host).set(room.spool_pending)
            SPOOL_LIMIT.labels(room.host).set(room.spool_limit)
        for volume in room.volumes:
            DISK_FREE.labels(volume.what, room.host).set(volume.free)
            DISK_SIZE.labels(volume.what, room.host).set(volume.total)


def _show_history(history: History, now: datetime) -> None:
    for gauge in (OPEN, DELIVERIES, OLDEST):
        gauge.clear()
    for kind, count in history.open_by_kind.items():
        OPEN.labels(kind).set(count)
    for target, (count, oldest) in history.waiting.items():
        DELIVERIES.labels(target).set(count)
        OLDEST.labels(target).set((now - oldest).total_seconds())
