"""Making room in an object store that is over its watermark: only what is done goes, oldest first."""

import logging
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import ValidationError

from hermes_cleaner.adapters.volume import Volume
from hermes_cleaner.core.retention import judge, may_go_early
from hermes_cleaner.core.room import (
    Candidate,
    Room,
    blind_spot,
    candidate_of,
    describe,
    excess,
    octets_of,
    oldest_first,
)
from hermes_cleaner.handlers import turns
from hermes_cleaner.handlers.deleting import Deleter, Records
from hermes_common import subjects
from hermes_common.config import Watermark
from hermes_common.events import StoreCleaned, StorePressed, StoreRelieved
from hermes_common.ids import derived_id
from hermes_common.records import Pressure, WatermarkRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.errors import ConflictError, TransientError
from hermes_common.sizes import size_words

log = logging.getLogger(__name__)

_AGAIN = timedelta(minutes=2)
"""When a deletion that broke off is gone on with."""

EVERY = timedelta(seconds=60)
TURN = timedelta(minutes=10)
"""How long other cleaners leave the looking to the one that took its turn."""

LONGEST = timedelta(minutes=8)
"""How long room is made in one turn; the next goes on."""

SLOWEST = 20
"""A look that took a while is made again after that many times as long at the soonest."""

SETTLES = timedelta(minutes=15)
"""How long what was deleted is counted as free in a store that frees late: else one shortage would take everything."""

EXAMPLES = 100


@dataclass(frozen=True, slots=True)
class Removed:
    """What went."""

    series: tuple[str, ...] = ()
    octets: int = 0


class Reliever:
    """Looks whether the store is too full, and makes room."""

    def __init__(self, bus: Bus, config: ConfigView, records: Records, deleter: Deleter, volume: Volume) -> None:
        self._bus = bus
        self._config = config
        self._records = records
        self._deleter = deleter
        self._volume = volume

    async def look(self, *, at_once: bool = False) -> None:
        """Look, if it is this cleaner's turn, and do what follows."""
        await self._config.loaded.wait()
        taken = await turns.take(self._bus, subjects.CLEANER_WATERMARK, WatermarkRecord, TURN, at_once=at_once)
        policy = self._config.policies.watermark
        if taken is None:
            return
        if not policy.is_set and taken[0].pressure is None:
            await self._next(now() + EVERY)
            return
        began = now()
        room, candidates = await self._survey(policy, self._unsettled(taken[0]))
        removed = Removed()
        if (needed := excess(policy, room)) > 0:
            pressure = taken[0].pressure or Pressure(episode=new_id(), since=now(), excess=needed)
            removed = await self._make_room(candidates, needed, policy, describe(policy, room))
            free = None if room.free is None else room.free + removed.octets
            room = replace(room, stored=room.stored - removed.octets, free=free)
            await self._say(policy, room, pressure, removed, excess(policy, room))
        elif (over := taken[0].pressure) is not None:
            pressure = None
            event = StoreRelieved(episode=over.episode, stored=room.stored, free=room.free)
            await self._bus.publish(event, derived_id("store.relieved", over.episode))
        else:
            pressure = None
        left = excess(policy, room)
        if pressure is not None:
            pressure = pressure.model_copy(update={"excess": left, "stuck": left > 0, "reason": describe(policy, room)})
        later = now() + min(max(EVERY, (now() - began) * SLOWEST), turns.FURTHEST)

        def change(record: WatermarkRecord) -> WatermarkRecord:
            changes = {"next_at": later, "looked_at": now(), "stored": room.stored, "free": room.free}
            if removed.series:
                series, octets = len(removed.series), removed.octets
                if turns.soon(record.removed_at, SETTLES):
                    series, octets = series + record.removed_series, octets + record.removed_octets
                changes |= {"removed_at": now(), "removed_series": series, "removed_octets": octets}
            return record.model_copy(update={**changes, "pressure": pressure})

        await turns.note(self._bus, subjects.CLEANER_WATERMARK, WatermarkRecord, change)
        if words := blind_spot(policy, room):
            log.warning("%s", words)

    async def _next(self, at: datetime) -> None:
        """Say when the next look is."""
        await turns.note(
            self._bus,
            subjects.CLEANER_WATERMARK,
            WatermarkRecord,
            lambda record: record.model_copy(update={"next_at": at}),
        )

    def _unsettled(self, record: WatermarkRecord) -> int:
        """Return the octets that were deleted and may not be seen as free yet."""
        return record.removed_octets if self._volume.frees_late and turns.soon(record.removed_at, SETTLES) else 0

    async def _survey(self, policy: Watermark, unsettled: int) -> tuple[Room, list[Candidate]]:
        stored, candidates, at = 0, [], now()
        async for found in self._records.all():
            if found is None:
                continue
            stored += octets_of(found[0])
            if (candidate := candidate_of(found[0], policy, at)) is not None:
                candidates.append(candidate)
        free = self._free()
        return Room(stored, None if free is None else free + unsettled), oldest_first(candidates)

    def _free(self) -> int | None:
        try:
            return self._volume.free()
        except OSError as error:
            log.warning("the volume of the object store does not tell how much is free: %s", error)
            return None

    async def _make_room(self, candidates: list[Candidate], needed: int, policy: Watermark, why: str) -> Removed:
        """Delete candidates until enough has gone. Each is judged again, from its record and deliveries as they are."""
        gone: list[str] = []
        octets, began = 0, time.monotonic()
        for candidate in candidates:
            if octets >= needed or time.monotonic() - began > LONGEST.total_seconds():
                break
            try:
                if await self._removed(candidate, policy, why):
                    gone.append(candidate.series_uid)
                    octets += candidate.octets
            except (ConflictError, ValidationError) as error:
                log.info("series %s stays: %s", candidate.series_uid, error)
            except TransientError as error:
                log.warning("making room ends early, it goes on with the next look: %s", error)
                break
        return Removed(tuple(gone), octets)

    async def _removed(self, candidate: Candidate, policy: Watermark, why: str) -> bool:
        loaded = await self._records.series(candidate.series_uid)
        if loaded is None:
            return False
        record, revision = loaded
        deliveries = await self._records.deliveries(record)
        newest = await self._records.newest(record.series_uid)
        judgement = judge(record, deliveries, newest, self._config.policies.retention, now())
        if not may_go_early(record, judgement, policy, now()):
            return False
        soon = now() + _AGAIN  # should this break off in the middle, the timer goes on with it
        uid = record.series_uid
        await self._bus.arm_after(subjects.retention_timer(uid), subjects.retention_due(uid), soon)
        return await self._deleter.delete(record, revision, f"the object store is too full: {why}")

    async def _say(self, policy: Watermark, room: Room, pressure: Pressure, removed: Removed, left: int) -> None:
        why = describe(policy, room)
        if removed.series:
            event = StoreCleaned(
                episode=pressure.episode,
                series=len(removed.series),
                octets=removed.octets,
                examples=list(removed.series[:EXAMPLES]),
                reason=f"{len(removed.series)} series that were done went early ({size_words(removed.octets)}): {why}",
            )
            await self._bus.publish(event)
            log.warning("%s", event.reason)
        if left > 0 and not pressure.stuck:
            reason = (
                f"the object store is too full by {size_words(left)}, and nothing more that is done may be removed: "
                f"{why}. Make room, restart or dismiss failed deliveries, or raise the limit"
            )
            stuck = StorePressed(
                episode=pressure.episode,
                since=pressure.since,
                excess=left,
                stored=room.stored,
                free=room.free,
                reason=reason,
            )
            await self._bus.publish(stuck, derived_id("store.pressed", pressure.episode))
            log.error("%s", reason)
