"""Whose turn it is when several deliveries wait for one target: the urgent first, and nothing starves."""

from collections.abc import Collection
from dataclasses import dataclass

from hermes_common.targets import Priority

IN_A_ROW = 4
"""Turns of one priority in a row, while a lower one waits."""

LONGEST_WAIT = (IN_A_ROW + 1) ** 2
"""Turns after which whoever waits at the head of any priority has had one."""


@dataclass(frozen=True, slots=True)
class Served:
    """How many turns in a row the higher priorities have had."""

    urgent: int = 0
    normal: int = 0


def choose(waiting: Collection[Priority], served: Served) -> tuple[Priority, Served]:
    """Return which of the priorities that wait (at least one) has the next turn, and the count after it."""
    rest = [priority for priority in (Priority.NORMAL, Priority.OFF_PEAK) if priority in waiting]
    if Priority.URGENT in waiting and (not rest or served.urgent < IN_A_ROW):
        return Priority.URGENT, Served(min(served.urgent + 1, IN_A_ROW), served.normal)
    if Priority.NORMAL in rest and (Priority.OFF_PEAK not in rest or served.normal < IN_A_ROW):
        return Priority.NORMAL, Served(0, min(served.normal + 1, IN_A_ROW))
    return Priority.OFF_PEAK, Served()
