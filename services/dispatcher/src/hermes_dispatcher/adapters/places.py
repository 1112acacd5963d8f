"""The places at a target: how many attempts run at a time, over all dispatchers, by compare-and-set.

A place is held by a lease, by the clock of the bus: those of dispatchers may differ. It is fenced: whoever finds that
it has lapsed on the monotonic clock, or that somebody else has cleared it away, sends no further instance. What keeps
two from sending the same thing is the lease of the delivery.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

from hermes_common import subjects
from hermes_common.endpoints import Endpoint
from hermes_common.records import Places
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError, ConflictError
from hermes_dispatcher.core.choosing import Choice

log = logging.getLogger(__name__)

_TRIES: Final = 20
_LONGEST: Final = timedelta(minutes=10)
"""No place is held for longer without being renewed, whatever a clock said that was set back since."""

Change = Callable[[Places, datetime], Places | None]
Choose = Callable[[Mapping[str, int], Mapping[str, int]], Choice | None]
"""Takes the attempts under way and what is owed, by endpoint, and says whose turn it is."""


class Place:
    """A place that was taken: ``holder`` is its name in the record."""

    def __init__(self, holder: str, since: float, lease: timedelta) -> None:
        self.holder = holder
        self._until = since + lease.total_seconds()

    @property
    def is_held(self) -> bool:
        """Whether the place is still ours. Asked in the sending thread before every instance."""
        return time.monotonic() < self._until

    def extend(self, since: float, lease: timedelta) -> None:
        """Hold it until ``lease`` after the monotonic instant ``since``."""
        self._until = since + lease.total_seconds()

    def lose(self) -> None:
        """Take note that it has lapsed and was cleared away."""
        self._until = 0.0


class PlacesAt:
    """The places at one target. ``lease`` is how long a place is held by somebody who died."""

    def __init__(self, bus: Bus, target: str, lease: timedelta) -> None:
        self._bus = bus
        self._target = target
        self._lease = lease
        self.taken = 0
        """How many were taken when they were last looked at, over all dispatchers."""

    async def take(self, holder: str, limit: int) -> Place | None:
        """Take a place if one of ``limit`` is free."""
        since = time.monotonic()

        def taken(found: Places, at: datetime) -> Places | None:
            if len(found.holders) >= limit:
                return None
            return found.model_copy(update={"holders": {**found.holders, holder: at + self._lease}})

        return Place(holder, since, self._lease) if await self._change(taken) else None

    async def settle(self, holder: str, choose: Choose) -> Endpoint | None:
        """Take the place to the endpoint whose turn it is; None if there is none with a place free, or ours is lost."""
        chosen: list[Endpoint] = []

        def settled(found: Places, _: datetime) -> Places | None:
            chosen.clear()
            if holder not in found.holders:
                return None
            others = {key: token for key, token in found.at.items() if key != holder}
            choice = choose(Counter(others.values()), found.credits)
            if choice is None:
                return None
            chosen.append(choice.endpoint)
            at = {**others, holder: choice.endpoint.token}
            return found.model_copy(update={"at": at, "credits": dict(choice.credits)})

        return chosen[0] if await self._change(settled) else None

    async def renew(self, places: Collection[Place]) -> None:
        """Hold places for longer. One that somebody has cleared away, as it had lapsed, is lost."""
        since = time.monotonic()
        mine = {place.holder: place for place in places}
        there: set[str] = set()

        def renewed(found: Places, at: datetime) -> Places | None:
            there.clear()
            there.update(mine.keys() & found.holders.keys())
            return found.model_copy(update={"holders": {**found.holders, **dict.fromkeys(there, at + self._lease)}})

        if not await self._quietly(renewed, mine):
            return
        for holder, place in mine.items():
            if holder in there:
                place.extend(since, self._lease)
            else:
                log.warning("a place at %s has lapsed and was given to others", self._target)
                place.lose()

    async def give(self, holder: str) -> None:
        """Give a place back; one that cannot be given back lapses."""

        def without(found: Places, _: datetime) -> Places | None:
            if holder not in found.holders:
                return None
            return found.model_copy(
                update={
                    "holders": {key: until for key, until in found.holders.items() if key != holder},
                    "at": {key: token for key, token in found.at.items() if key != holder},
                }
            )

        await self._quietly(without)

    async def _quietly(self, change: Change, mine: Collection[str] = ()) -> bool:
        try:
            return await self._change(change, mine)
        except BusUnavailableError as error:
            log.warning("the places at %s: %s", self._target, error)
            return False

    async def _change(self, change: Change, mine: Collection[str] = ()) -> bool:
        """Apply a change that may decline (None); return whether it was made.

        Places that have lapsed are not shown to ``change`` and are cleared away by it, but for those of ``mine``:
        nobody else has cleared them, so nobody else was let in for them.
        """
        key = subjects.target_places(self._target)
        for _ in range(_TRIES):
            loaded = await self._bus.load(subjects.STATE, key, Places)
            at = await self._bus.common_time()
            found = Places(target=self._target) if loaded is None else _present(loaded[0], at, self._lease, mine)
            self.taken = len(found.holders)
            changed = change(found, at)
            if changed is None:
                return False
            try:
                if loaded is None:
                    await self._bus.create(subjects.STATE, key, changed)
                else:
                    await self._bus.update(subjects.STATE, key, changed, loaded[1])
            except ConflictError:
                continue
            self.taken = len(changed.holders)
            return True
        return False


async def is_sent_to(bus: Bus, target: str) -> bool:
    """Return whether anybody sends to a target at the moment."""
    loaded = await bus.load(subjects.STATE, subjects.target_places(target), Places)
    at = await bus.common_time()
    return loaded is not None and any(until > at for until in loaded[0].holders.values())


def _present(places: Places, at: datetime, lease: timedelta, mine: Collection[str]) -> Places:
    """Return what is held at an instant."""
    latest = at + max(lease, _LONGEST)
    holders = {key: min(until, latest) for key, until in places.holders.items() if until > at or key in mine}
    settled = {key: token for key, token in places.at.items() if key in holders}
    return places.model_copy(update={"holders": holders, "at": settled})
