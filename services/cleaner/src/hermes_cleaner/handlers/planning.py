"""What would be deleted, when and why: the same judgements, with nothing done about them. And sweeps by hand."""

import asyncio
import heapq
import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from hermes_cleaner.core.retention import Delete, Keep, Wait, judge, may_go_early
from hermes_cleaner.core.room import Candidate, Room, excess, octets_of, oldest_first
from hermes_cleaner.handlers.deleting import Records
from hermes_cleaner.handlers.sweeping import Sweeper
from hermes_common import subjects
from hermes_common.cleaning import (
    ASK_PLAN,
    ASK_SWEEP,
    Kept,
    Plan,
    PlanAsked,
    PlannedSeries,
    SweepAsked,
    SweepBegun,
)
from hermes_common.records import DeliveryRecord, DeliveryState, SeriesRecord, SeriesState, WatermarkRecord
from hermes_common.retention import watermark_words
from hermes_common.runtime.answering import Answering
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.errors import TransientError

log = logging.getLogger(__name__)

MOST_REASONS = 50
MOST_ORPHANS = 200
MOST_ASKED = 16
"""Questions of a kind that are answered or wait."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What a plan has to know of a delivery."""

    target: str
    state: DeliveryState
    awaits_commitment: bool
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Going:
    """A series that is deleted at some time."""

    record: SeriesRecord
    at: datetime
    why: str


class Planner:
    """Says what would be deleted."""

    def __init__(self, bus: Bus, config: ConfigView, records: Records, sweeper: Sweeper, name: str) -> None:
        self._bus = bus
        self._config = config
        self._records = records
        self._sweeper = sweeper
        self._name = name

    async def plan(self, limit: int) -> Plan:
        """Return what would be deleted, when and why. Nothing is changed."""
        await self._config.loaded.wait()
        policies, at = self._config.policies, now()
        fates = await self._fates()
        going: list[Going] = []
        early: list[Candidate] = []
        kept: Counter[str] = Counter()
        kept_octets: Counter[str] = Counter()
        series = octets = unreadable = 0
        async for found in self._records.all():
            if found is None:
                unreadable += 1
                continue
            record = found[0]
            if record.state is SeriesState.DELETED:
                continue
            series += 1
            octets += octets_of(record)
            deliveries = [fates.get(each) for batch in record.batches for each in batch.deliveries]
            judgement = judge(record, deliveries, 0, policies.retention, at)
            match judgement:
                case Wait(until=until, why=why):
                    going.append(Going(record, until, why))
                case Delete(reason=why):
                    going.append(Going(record, at, why))
                case Keep(reason=reason):
                    kept[reason] += 1
                    kept_octets[reason] += octets_of(record)
            if may_go_early(record, judgement, policies.watermark, at) and record.done_at is not None:
                early.append(Candidate(record.series_uid, octets_of(record), record.done_at))
        watermark = await self._bus.load(subjects.STATE, subjects.CLEANER_WATERMARK, WatermarkRecord)
        free = None if watermark is None else watermark[0].free
        first = _first(oldest_first(early), excess(policies.watermark, Room(octets, free)))
        due = [each for each in going if each.at <= at]
        soonest = heapq.nsmallest(limit, going, key=lambda each: (each.record.series_uid not in first, each.at))
        last = await self._sweeper.last()
        return Plan(
            at=at,
            cleaner=self._name,
            series=series,
            octets=octets,
            due=len(due),
            due_octets=sum(octets_of(each.record) for each in due),
            early=len(first),
            early_octets=sum(each.octets for each in first.values()),
            soonest=[await self._planned(each, each.record.series_uid in first) for each in soonest],
            kept=[
                Kept(reason=reason, series=count, octets=kept_octets[reason])
                for reason, count in kept.most_common(MOST_REASONS)
            ],
            unreadable=unreadable,
            watermark=None if watermark is None else watermark[0],
            watermark_words=watermark_words(policies.watermark),
            sweep=None if last is None else last[0],
            orphans=[] if last is None else last[1].orphans[:MOST_ORPHANS],
            missing=[] if last is None else last[1].missing[:MOST_ORPHANS],
            orphans_removed=policies.orphans.remove,
        )

    async def _planned(self, going: Going, is_early: bool) -> PlannedSeries:
        """Return what becomes of a series, with a look at whether something of it has just come."""
        record = going.record
        is_new = await self._records.newest(record.series_uid) > record.through_seq
        return PlannedSeries(
            series_uid=record.series_uid,
            study_uid=record.study_uid,
            octets=octets_of(record),
            instances=sum(batch.instances for batch in record.batches),
            at=None if is_new else going.at,
            why="instances have come that are not decided yet" if is_new else going.why,
            early=is_early and not is_new,
        )

    async def _fates(self) -> dict[str, Fate]:
        """Return the deliveries that there are; one that cannot be read is missing, and keeps its series."""
        found = {}
        async for key, data, _ in self._bus.scan(subjects.STATE, "delivery.*"):
            try:
                record = DeliveryRecord.model_validate_json(data)
            except ValidationError as error:
                log.warning("%s cannot be read: %s", key, error)
                continue
            found[record.delivery_id] = Fate(record.target, record.state, record.awaits_commitment, record.rules)
        return found


def _first(candidates: list[Candidate], needed: int) -> dict[str, Candidate]:
    """Return the candidates that go, by series, so that as much goes as is needed."""
    found: dict[str, Candidate] = {}
    for candidate in candidates:
        if needed <= 0:
            break
        found[candidate.series_uid] = candidate
        needed -= candidate.octets
    return found


class Answerer:
    """Answers what is asked of the cleaner, one cleaner each."""

    def __init__(self, bus: Bus, planner: Planner, sweeper: Sweeper, name: str) -> None:
        self._bus = bus
        self._planner = planner
        self._sweeper = sweeper
        self._name = name
        self._planning = asyncio.Lock()
        self._sweep: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Answer until cancelled."""
        try:
            await asyncio.gather(
                Answering(self._bus, ASK_PLAN, self._plan, MOST_ASKED, "cleaner").run(),
                Answering(self._bus, ASK_SWEEP, self._begin_sweep, MOST_ASKED, "cleaner").run(),
            )
        finally:
            if self._sweep is not None:
                self._sweep.cancel()

    async def _plan(self, question: bytes, *, is_busy: bool) -> Plan | None:
        if is_busy:
            log.warning("more than %d plans are asked for at once", MOST_ASKED)
            return None
        try:
            asked = PlanAsked.model_validate_json(question)
            async with self._planning:
                return await self._planner.plan(asked.limit)
        except (ValidationError, TransientError) as error:
            log.warning("a plan was asked for, and cannot be given: %s", error)
            return None

    async def _begin_sweep(self, question: bytes, *, is_busy: bool) -> SweepBegun | None:
        try:
            asked = SweepAsked.model_validate_json(question)
        except ValidationError as error:
            log.warning("a request for a sweep that cannot be read: %s", error)
            return None
        if is_busy or self._sweeper.is_at_work or (self._sweep is not None and not self._sweep.done()):
            return SweepBegun(state="under_way", cleaner=self._name)
        self._sweep = asyncio.create_task(self._swept(asked), name="sweep")
        return SweepBegun(state="begun", cleaner=self._name)

    async def _swept(self, asked: SweepAsked) -> None:
        try:
            await self._sweeper.sweep(remove=asked.remove, actor=asked.actor)
        except TransientError as error:
            log.warning("the sweep that %s asked for was broken off: %s", asked.actor, error)
