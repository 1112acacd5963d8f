"""Events of targets: whether they can be reached, and whether somebody paused them."""

from typing import ClassVar

from hermes_common.events.base import Event, Time
from hermes_common.ids import Slug


class _TargetEvent(Event):
    entity: ClassVar[str] = "target"

    target: Slug

    def token(self) -> str:
        return self.target


class TargetDown(_TargetEvent):
    """A target failed, and failed its test, too: nothing is sent to it until a test passes. Said once an outage."""

    verb: ClassVar[str] = "down"

    outage: str
    """Id of the outage; the event that ends it has the same."""
    reason: str


class TargetUp(_TargetEvent):
    """An outage is over: deliveries go on."""

    verb: ClassVar[str] = "up"

    outage: str
    down_since: Time
    reason: str = ""


class TargetEndpointDown(_TargetEvent):
    """One of several endpoints of a target failed its test: others are used until it passes. Said once an outage."""

    verb: ClassVar[str] = "endpoint_down"

    endpoint: str
    outage: str
    reason: str


class TargetEndpointUp(_TargetEvent):
    """An endpoint may be used again."""

    verb: ClassVar[str] = "endpoint_up"

    endpoint: str
    outage: str
    down_since: Time
    reason: str = ""


class TargetPaused(_TargetEvent):
    """Somebody paused a target; deliveries wait."""

    verb: ClassVar[str] = "paused"

    actor: str
    reason: str = ""
    until: Time | None = None


class TargetResumed(_TargetEvent):
    """A pause is over, because somebody said so or because its end has come (``actor`` is empty)."""

    verb: ClassVar[str] = "resumed"

    actor: str = ""
    reason: str = ""
    paused_since: Time
