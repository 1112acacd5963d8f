"""A stored instance (re)arms the timer of its series: the bus itself waits for the series to be quiet."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from hermes_common import subjects
from hermes_common.durations import format_duration
from hermes_common.events import InstanceStored, MalformedEventError, MppsSet, UnknownEventError, decode
from hermes_common.ids import InvalidIdentifierError, token_uid
from hermes_common.records import SeriesRecord, SeriesState
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Consumer, Done, Message, Outcome, Park
from hermes_common.runtime.crashpoints import crash_point
from hermes_common.runtime.errors import BusUnavailableError
from hermes_common.runtime.tracing import within
from hermes_router.core.quiet import MPPS, Quiet, expected_of_series, quiet_for, read_note, shortened, why_shortened
from hermes_router.handlers.associations import Associations
from hermes_router.handlers.joining import Studies
from hermes_router.handlers.performing import Steps
from hermes_router.handlers.together import together

log = logging.getLogger(__name__)

CONSUMER = Consumer(
    stream=subjects.EVENTS,
    durable="router-assembler",
    subjects=(f"{subjects.INSTANCE_STORED}.*",),
    max_ack_pending=5000,
)

AT_A_TIME = 64
"""Series whose timers are armed at a time."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known of a series from the last of its instances that came."""

    series_uid: str
    quiet: Quiet
    expected: int | None = None
    named_by: str = ""


class Assembler:
    """Handles batches of ``instance.stored``."""

    def __init__(
        self, bus: Bus, config: ConfigView, studies: Studies, associations: Associations[Arrival], steps: Steps
    ) -> None:
        self._bus = bus
        self._config = config
        self._studies = studies
        self._associations = associations
        self._steps = steps
        associations.on_closed(self.shorten)
        steps.on_completed(self.performed)

    async def handle(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """Arm one timer for each series among the messages."""
        outcomes: list[Outcome] = []
        latest: dict[str, Message] = {}
        for message in messages:
            try:
                latest[token_uid(message.subject.rsplit(".", 1)[-1])] = message
                outcomes.append(Done())
            except InvalidIdentifierError as error:
                outcomes.append(Park(f"the subject names no series: {error}"))
        await together(self._arrived, latest.items(), AT_A_TIME)
        return outcomes

    async def performed(self, step: MppsSet) -> None:
        """Have each series of a completed step that waits for quiet looked at, if all that the step names is there."""
        for series in step.series:
            waiting = await self._bus.last(subjects.TIMERS, subjects.series_timer(series.series_uid))
            if waiting is not None and series.instances:
                note = read_note(waiting.data)
                period = note.quiet_period or self._config.policies.completion.quiet_period
                quiet = Quiet(period, note.quiet_for)
                await self.shorten(Arrival(series.series_uid, quiet, series.instances, MPPS))

    async def shorten(self, arrival: Arrival) -> None:
        """Have a series looked at soon if as many instances as it has are there; whoever looks counts for himself."""
        if arrival.expected is None:
            return
        try:
            said = await self._bus.subjects(subjects.EVENTS, subjects.instances_of(arrival.series_uid))
            if sum(said.values()) >= arrival.expected and not await self._comes_later(arrival):
                why = why_shortened(arrival.expected, arrival.named_by)
                wait = Quiet(shortened(arrival.quiet.period, arrival.named_by))
                await self._arm(arrival, wait, {"shortened_by": why, "expected": arrival.expected})
        except BusUnavailableError as error:
            log.warning("series %s waits for its whole quiet period: %s", arrival.series_uid, error)

    async def _comes_later(self, arrival: Arrival) -> bool:
        """Whether all that a step names was in batches before: what comes then is not known of it, and may be a lot."""
        if arrival.expected is None or arrival.named_by != MPPS:
            return False
        loaded = await self._bus.load(subjects.STATE, subjects.series_state(arrival.series_uid), SeriesRecord)
        if loaded is None or loaded[0].state is SeriesState.DELETED:
            return False
        return sum(batch.instances for batch in loaded[0].batches) >= arrival.expected

    async def _arrived(self, last: tuple[str, Message]) -> None:
        series_uid, message = last
        with within(message.headers.get("traceparent")):
            await self._await_quiet(series_uid, message)

    async def _await_quiet(self, series_uid: str, message: Message) -> None:
        completion = self._config.policies.completion
        try:
            event = decode(message.headers, message.data).event
        except (MalformedEventError, UnknownEventError):
            event = None  # whoever decides on the series reads it again, and says what is wrong with it
        if not isinstance(event, InstanceStored):
            await self._arm(Arrival(series_uid, Quiet(completion.quiet_period)))
            return
        quiet = quiet_for(completion, self._config.sources, event.sender, event.tags.get("Modality", ()))
        expected, named_by = expected_of_series(event.tags) or (None, "")
        arrival = Arrival(series_uid, quiet, expected, named_by)
        await self._studies.join(event.study_uid, series_uid)
        await self._arm(arrival)
        if expected is not None and self._associations.add(event.association_id, series_uid, arrival):
            await self.shorten(arrival)
        performed = await self._steps.instances_of(event.study_uid, series_uid)
        if performed is not None:
            await self.shorten(Arrival(series_uid, quiet, performed, MPPS))

    async def _arm(self, arrival: Arrival, wait: Quiet | None = None, more: dict[str, str | int] | None = None) -> None:
        uid, quiet = arrival.series_uid, arrival.quiet
        note = {"quiet_period": format_duration(quiet.period), "quiet_for": quiet.used, **(more or {})}
        due = now() + (wait or quiet).period
        await self._bus.arm_after(subjects.series_timer(uid), subjects.series_due(uid), due, note)
        crash_point("router.armed")
