"""Performed procedure steps that were heard of: a completed one says how many instances its series have (ADR-0026).

Every router listens for itself, outside of any consumer, and reads back once what was said of a study before its first
instance came: what it misses costs the rest of a quiet period, no more. Whether a study is complete is never decided by
what was heard, but by what the stream says then.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from hermes_common import subjects
from hermes_common.events import MalformedEventError, MppsCreated, MppsSet, StepStatus, UnknownEventError, decode
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError
from hermes_router.core.performing import Said, named

log = logging.getLogger(__name__)

MOST_SERIES = 20_000
MOST_STUDIES = 10_000
MOST_SAID = 2_000
"""Events about the steps of one study that are read; a study with more is not waited for any less."""

Listener = Callable[[MppsSet], Awaitable[None]]


class Steps:
    """What is known of performed procedure steps."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._series: OrderedDict[str, int] = OrderedDict()
        self._studies: OrderedDict[str, bool] = OrderedDict()
        self._listeners: list[Listener] = []

    def on_completed(self, listener: Listener) -> None:
        """Have ``listener`` called with each step that is heard to be completed."""
        self._listeners.append(listener)

    async def instances_of(self, study_uid: str, series_uid: str) -> int | None:
        """Return how many instances completed steps name of a series; None if none does."""
        await self.concern(study_uid)
        return self._series.get(series_uid)

    async def concern(self, study_uid: str) -> bool:
        """Return whether anything was said of steps of a study."""
        if study_uid not in self._studies:
            said = await self.of_study(study_uid)
            self._remember(named(said))
            self._know(study_uid, any_step=bool(said) or self._studies.get(study_uid, False))
        return self._studies.get(study_uid, False)

    async def of_study(self, study_uid: str) -> list[Said]:
        """Return everything that the stream has about the steps of a study; nothing, if that is too much."""
        said: list[Said] = []
        async for message in self._bus.read(subjects.EVENTS, subjects.steps_of(study_uid), 0):
            try:
                event = decode(message.headers, message.data).event
            except (MalformedEventError, UnknownEventError) as error:
                log.warning("what was said of a step of study %s cannot be read: %s", study_uid, error)
                continue
            if isinstance(event, MppsCreated | MppsSet):
                said.append(event)
            if len(said) > MOST_SAID:
                log.warning("study %s: more is said of its steps than is read; they shorten nothing", study_uid)
                return []
        return said

    async def run(self) -> None:
        """Listen until cancelled."""
        await self._bus.ready()
        subscription = await self._bus.nc.subscribe(f"{subjects.MPPS_SET}.*")
        async for message in subscription.messages:
            try:
                event = decode(message.headers or {}, message.data).event
            except (MalformedEventError, UnknownEventError) as error:
                log.warning("a step was set, but the event cannot be read: %s", error)
                continue
            if isinstance(event, MppsSet) and event.status is StepStatus.COMPLETED:
                await self._completed(event)

    async def _completed(self, event: MppsSet) -> None:
        self._remember(named([event]))
        for study_uid in event.studies:
            self._know(study_uid, any_step=True)
        for listener in self._listeners:
            try:
                await listener(event)
            except BusUnavailableError as error:
                log.warning("step %s is completed, and its series wait all the same: %s", event.sop_instance_uid, error)

    def _remember(self, counts: dict[str, int]) -> None:
        for series_uid, count in counts.items():
            self._series[series_uid] = count
            self._series.move_to_end(series_uid)
        while len(self._series) > MOST_SERIES:
            self._series.popitem(last=False)

    def _know(self, study_uid: str, *, any_step: bool) -> None:
        self._studies[study_uid] = any_step
        self._studies.move_to_end(study_uid)
        while len(self._studies) > MOST_STUDIES:
            self._studies.popitem(last=False)
