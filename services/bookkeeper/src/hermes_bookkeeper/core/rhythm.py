"""The rhythm of a sender: how often it usually sends in each hour of the week, and how much of that a silence missed.

A *visit* is ten minutes in which it sent. The rate of an hour of the week is the number of visits in that hour, over
the weeks that were looked at; it is smoothed over the hours beside it. A silence has missed the sum of the rates of the
hours that it covers: a night or a Sunday on which the sender never sends adds nothing to it. Where the rate is even, a
silence that missed n visits is n times the usual gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

HOURS: Final = 168
WINDOW: Final = timedelta(days=28)
"""How much history before the last visit is looked at."""
SHORTEST: Final = timedelta(days=14)
"""With a history that spans less, or has fewer visits or days with one, nothing is learned."""
FEWEST_VISITS: Final = 20
FEWEST_DAYS: Final = 5


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Visits that are usual in each hour of the week, from Monday 0:00 on, in a time zone."""

    rates: Sequence[float]
    timezone: str

    def missed(self, since: datetime, now: datetime) -> float:
        """Return how many visits a silence has missed. Its length is bounded by the caller (:data:`WINDOW`)."""
        total, zone, at = 0.0, ZoneInfo(self.timezone), since
        while at < now:
            end = min(at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1), now)
            total += self.rates[hour_of_week(at, zone)] * ((end - at) / timedelta(hours=1))
            at = end
        return total


def hour_of_week(at: datetime, zone: ZoneInfo) -> int:
    """Return the hour of the week of an instant: 0 is Monday from 0:00 to 1:00."""
    local = at.astimezone(zone)
    return local.weekday() * 24 + local.hour


def learn(visits: Sequence[datetime], timezone: str) -> Rhythm | None:
    """Return the rhythm that visits show; None if there are too few, over too short a time, to tell."""
    if not visits:
        return None
    last = max(visits)
    counted = sorted(visit for visit in visits if visit > last - WINDOW)
    span, zone = last - counted[0], ZoneInfo(timezone)
    days = {visit.astimezone(zone).date() for visit in counted}
    if span < SHORTEST or len(counted) < FEWEST_VISITS or len(days) < FEWEST_DAYS:
        return None
    weeks = span / timedelta(days=7)
    counts = [0] * HOURS
    for visit in counted:
        counts[hour_of_week(visit, zone)] += 1
    rates = [count / weeks for count in counts]
    smooth = [rates[hour - 1] / 4 + rates[hour] / 2 + rates[(hour + 1) % HOURS] / 4 for hour in range(HOURS)]
    return Rhythm(smooth, timezone)
