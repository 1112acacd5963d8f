"""When does a process that ended start again?

A process that was ready and was then killed comes back at once, and soon however often that happens; one that never
becomes ready is started less and less often, so that a broken configuration does not fill the disk with logs.
"""

from dataclasses import dataclass
from datetime import timedelta
from signal import Signals

AT_ONCE = timedelta(milliseconds=200)
LONGEST = timedelta(seconds=30)
LONGEST_WHEN_IT_WORKED = timedelta(seconds=3)
GOOD_RUN = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class RestartDecision:
    """Start again `after` this time; `failures` short runs in a row by now, this one included."""

    after: timedelta
    failures: int


def decide(failures: int, ran_for: timedelta, *, was_ready: bool) -> RestartDecision:
    """What to do with a process that ended.

    `failures`: short runs in a row before this one (>= 0). `ran_for`: how long this run lasted. `was_ready`: whether it
    reported ready in this run. The wait doubles from one second to `LONGEST` (to `LONGEST_WHEN_IT_WORKED` for one that
    was ready); a run of at least `GOOD_RUN` starts the count again.
    """
    before = 0 if ran_for >= GOOD_RUN else failures
    if before == 0:
        return RestartDecision(after=AT_ONCE, failures=1)
    limit = LONGEST_WHEN_IT_WORKED if was_ready else LONGEST
    doubled = timedelta(seconds=2 ** min(before - 1, 10))
    return RestartDecision(after=min(doubled, limit), failures=before + 1)


def describe_exit(code: int) -> str:
    """How a process ended, in words: `code` as `subprocess` reports it (negative: ended by that signal)."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
