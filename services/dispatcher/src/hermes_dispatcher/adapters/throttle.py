"""The bandwidth limit of a target: octets a second, shared by all attempts of all dispatchers (ADR 0018)."""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Final

from hermes_dispatcher.adapters.objects import Item, Prepared, Supply
from hermes_dispatcher.core.outcomes import NotDelivered

_BURST: Final = 0.25
_LOOK: Final = 0.25


class Throttle:
    """A token bucket for the attempts of this dispatcher. Its rate is our share of the limit, by places held."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rate = float(limit)
        self._next = 0.0
        self._guard = threading.Lock()

    def share(self, ours: int, taken: int) -> None:
        """Take note that we have ``ours`` of the ``taken`` places at the target, over all dispatchers."""
        if ours:
            self._rate = self._limit * ours / max(taken, ours)

    def wait(self, octets: int, may_wait: Callable[[], bool]) -> None:
        """Wait until so many octets may be sent; return early when there is no use in waiting any more."""
        with self._guard:
            begin = max(self._next, time.monotonic() - _BURST)
            self._next = begin + octets / self._rate
        while (left := begin - time.monotonic()) > 0 and may_wait():
            time.sleep(min(left, _LOOK))

    def over(self, supply: Supply, may_wait: Callable[[], bool]) -> Supply:
        """Return a supply whose data sets are read out at our pace."""

        def pace(octets: int) -> None:
            self.wait(octets, may_wait)

        def paced(items: Sequence[Item]) -> Generator[tuple[Item, Prepared | NotDelivered], None, None]:
            stream = supply(items)
            try:
                for item, prepared in stream:
                    yield item, replace(prepared, pace=pace) if isinstance(prepared, Prepared) else prepared
            finally:
                stream.close()

        return paced
