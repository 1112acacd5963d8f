"""What a kind of target has to be able to do: send, and be tested.

Each kind is one module. It speaks to one target over a maintained library, puts a time limit on every step, and turns
what can go wrong there into a ``Trouble`` with words that say what to do.
"""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from hermes_common.targets import AnyTarget
from hermes_dispatcher.adapters.objects import Item, Supply
from hermes_dispatcher.adapters.targets.steps import Steps
from hermes_dispatcher.core.outcomes import NotDelivered, Outcome

Report = Callable[[Item, Outcome, int], None]
"""Takes the outcome of one instance, with the octets of its data set. Called from the sending thread."""


class Permit:
    """Whether the sending thread may go on: the lease as that thread sees it, and the way to stop it from outside.

    The lease is measured on the monotonic clock, from before it was written: a thread that was stopped and comes back
    finds it expired before it sends another instance.
    """

    def __init__(self, has_place: Callable[[], bool] = lambda: True) -> None:
        self._until = 0.0
        self._has_place = has_place
        self._guard = threading.Lock()
        self._stopped = False
        self._killed = False
        self._kill: Callable[[], None] | None = None
        self.lingers = False
        """Whether the sending thread goes on though it was told to end."""

    def extend(self, since: float, lease: timedelta) -> None:
        """Allow sending until ``lease`` after the monotonic instant ``since``."""
        self._until = since + lease.total_seconds()

    @property
    def lapsed(self) -> bool:
        """Whether the lease has run out."""
        return time.monotonic() >= self._until

    @property
    def may_send(self) -> bool:
        """Whether another instance may be begun."""
        return not self._stopped and not self.lapsed and self._has_place()

    @property
    def is_killed(self) -> bool:
        """Whether the instance under way is to end, too."""
        return self._killed

    def stop(self) -> None:
        """Let the instance under way end, and begin no other."""
        self._stopped = True

    def kill(self) -> None:
        """End the instance under way, too."""
        self._stopped = True
        with self._guard:
            self._killed = True
            kill = self._kill
        if kill is not None:
            kill()

    def killed_by(self, kill: Callable[[], None] | None) -> None:
        """Say how the instance under way is ended; called at once if it is to be."""
        with self._guard:
            self._kill = kill
            late = self._killed
        if late and kill is not None:
            kill()


class Sender(Protocol):
    """Sends instances to one target, in the thread that calls it; every step has a time limit."""

    def send(self, items: Sequence[Item], supply: Supply, report: Report, permit: Permit) -> NotDelivered | None:
        """Send the instances in turn, asking ``permit`` before each, and report the outcome of each one tried.

        Returns why the attempt ended before all were tried, or None (all were, or the permit was gone). ``Delivered``
        is reported only after the target has said so of that very instance. Raises what ``supply`` raises.
        """

    def test(self, steps: Steps) -> None:
        """Try the target, step by step, without storing anything in it; StepFailedError at the first that fails.

        A target that is alive passes, whatever it may refuse later: the breaker closes by this test.
        """


class SenderOf(Protocol):
    """Makes what sends to one endpoint of a target as it is stored, its secrets sealed."""

    def __call__(self, target: AnyTarget, endpoint: str = "") -> Sender:
        """Return the sender. ``endpoint`` is an address in one line; empty for the first."""
