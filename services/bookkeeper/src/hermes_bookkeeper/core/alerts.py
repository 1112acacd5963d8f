"""Which alerts events raise and clear. An alert's id derives from the event that raises it: said again, it is the same.

delivery_failed   raised by delivery.failed; cleared by the delivery being restarted, made, cancelled or dismissed
message_parked    raised by message.parked; cleared by a person
service_crashed   raised by service.crashed; cleared by a person
target_down       raised by target.down; cleared by target.up of the same outage
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from hermes_bookkeeper.core.facts import Fact
from hermes_bookkeeper.core.said import Said
from hermes_common.events import (
    AlertCleared,
    AlertRaised,
    DeliveryCancelled,
    DeliveryDismissed,
    DeliveryFailed,
    DeliveryRestarted,
    DeliverySucceeded,
    Event,
    MessageParked,
    ServiceCrashed,
    TargetDown,
    TargetUp,
)
from hermes_common.ids import derived_id

DELIVERY_FAILED = "delivery_failed"
MESSAGE_PARKED = "message_parked"
SERVICE_CRASHED = "service_crashed"
TARGET_DOWN = "target_down"

CLEARING = (DeliveryRestarted, DeliverySucceeded, DeliveryCancelled, DeliveryDismissed)


@dataclass(frozen=True, slots=True)
class Say:
    """An event to publish, with its id."""

    event: AlertRaised | AlertCleared
    id: str


def concerns_deliveries(event: Event | None) -> bool:
    """Whether an event may raise or clear the alert of a delivery."""
    return isinstance(
        event, DeliveryFailed | DeliveryRestarted | DeliverySucceeded | DeliveryCancelled | DeliveryDismissed
    )


def alert_of(fact: Fact) -> Say | None:
    """Return the alert that a fact raises, or clears, by itself."""
    match fact.event:
        case MessageParked() as event:
            about = f"{event.consumer}/{event.stream_sequence}"
            message = f"{event.consumer} put a message aside: {event.reason}"
            return _raised(fact.id, MESSAGE_PARKED, about, "critical", message)
        case ServiceCrashed() as event:
            message = f"{event.service} ended without being told to: {event.reason}"
            return _raised(fact.id, SERVICE_CRASHED, event.service, "warning", message)
        case TargetDown() as event:
            message = f"Target {event.target} is down, its deliveries wait: {event.reason}"
            return _raised(event.outage, TARGET_DOWN, event.target, "critical", message)
        case TargetUp() as event:
            reason = event.reason or "the target answers again"
            return _cleared(_alert_id(TARGET_DOWN, event.outage), TARGET_DOWN, event.target, reason)
        case _:
            return None


def delivery_alerts(said: Sequence[Said], news: Collection[str]) -> list[Say]:
    """Return the alerts to raise and to clear for one delivery, in the order to say them.

    ``said``: the events of the delivery in the order of the stream; ``news``: the ids of those to react to. A failure
    is over with the first event after it that clears.
    """
    says: list[Say] = []
    for place, item in enumerate(said):
        failed = item.event
        if not isinstance(failed, DeliveryFailed):
            continue
        about = f"{failed.target}/{failed.delivery_id}"
        if item.id in news:
            message = f"Delivery to {failed.target} failed: {failed.reason}"
            says.append(_raised(item.id, DELIVERY_FAILED, about, "critical", message))
        over = next((later for later in said[place + 1 :] if isinstance(later.event, CLEARING)), None)
        if over is not None and (over.id in news or item.id in news):
            says.append(_cleared(_alert_id(DELIVERY_FAILED, item.id), DELIVERY_FAILED, about, over.event.verb))
    return says


def _alert_id(kind: str, event_id: str) -> str:
    return derived_id("alert", kind, event_id)


def _raised(event_id: str, kind: str, about: str, severity: Literal["warning", "critical"], message: str) -> Say:
    alert_id = _alert_id(kind, event_id)
    event = AlertRaised(alert_id=alert_id, kind=kind, about=about, severity=severity, message=message[:2000])
    return Say(event, derived_id("alert.raised", alert_id))


def _cleared(alert_id: str, kind: str, about: str, reason: str) -> Say:
    event = AlertCleared(alert_id=alert_id, kind=kind, about=about, reason=reason[:2000])
    return Say(event, derived_id("alert.cleared", alert_id))
