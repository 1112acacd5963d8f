"""The places at a target: how many attempts run at a time, over all dispatchers, by compare-and-set.

A limit that spares the target, not a fence: the lease of the delivery is what keeps two from sending the same thing.
"""

import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Final

from hermes_common import subjects
from hermes_common.records import Places
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import BusUnavailableError, ConflictError

log = logging.getLogger(__name__)

_TRIES: Final = 20

Holders = dict[str, datetime]
Change = Callable[[Holders], Holders | None]


class PlacesAt:
    """The places at one target. ``lease`` is how long a place is held by somebody who died."""

    def __init__(self, bus: Bus, target: str, lease: timedelta) -> None:
        self._bus = bus
        self._target = target
        self._lease = lease

    async def take(self, holder: str, limit: int) -> bool:
        """Take a place if one of ``limit`` is free."""

        def taken(holders: Holders) -> Holders | None:
            return None if len(holders) >= limit else {**holders, holder: now() + self._lease}

        return await self._change(taken)

    async def renew(self, holders: Collection[str]) -> None:
        """Hold places for longer; ``holders`` may change meanwhile, and what it has at the end counts."""

        def renewed(found: Holders) -> Holders | None:
            return {**found, **dict.fromkeys(holders, now() + self._lease)}

        await self._quietly(renewed)

    async def give(self, holder: str) -> None:
        """Give a place back; one that cannot be given back lapses."""

        def without(found: Holders) -> Holders | None:
            return {key: until for key, until in found.items() if key != holder}

        await self._quietly(without)

    async def _quietly(self, change: Change) -> None:
        try:
            await self._change(change)
        except BusUnavailableError as error:
            log.warning("the places at %s: %s", self._target, error)

    async def _change(self, change: Change) -> bool:
        """Apply a change that may decline (None); return whether it was made."""
        key = subjects.target_places(self._target)
        for _ in range(_TRIES):
            found = await self._bus.load(subjects.STATE, key, Places)
            at = now()
            present = {} if found is None else {key: until for key, until in found[0].holders.items() if until > at}
            holders = change(present)
            if holders is None:
                return False
            record = Places(target=self._target, holders=holders)
            try:
                if found is None:
                    await self._bus.create(subjects.STATE, key, record)
                else:
                    await self._bus.update(subjects.STATE, key, record, found[1])
            except ConflictError:
                continue
            return True
        return False
