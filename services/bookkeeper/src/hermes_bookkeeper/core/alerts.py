"""Which alerts events raise and clear. An alert's id derives from the event that raises it: said again, it is the same.

delivery_failed   raised by delivery.failed; cleared by the delivery being restarted, made, cancelled or dismissed
message_parked    raised by message.parked; cleared by a person
service_crashed   raised by service.crashed; cleared by a person
study_held        raised by study.held; cleared by the study being decided
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
    StudyCompleted,
    StudyHeld,
)
from hermes_common.ids import derived_id

DELIVERY_FAILED = "delivery_failed"
MESSAGE_PARKED = "message_parked"
SERVICE_CRASHED = "service_crashed"
STUDY_HELD = "study_held"

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
        case StudyHeld() as event:
            key = _study_key(event)
            return _raised(key, STUDY_HELD, event.study_uid, "warning", f"A study is held: {event.reason}")
        case StudyCompleted() as event if event.held:
            alert_id = _alert_id(STUDY_HELD, _study_key(event))
            cleared = AlertCleared(alert_id=alert_id, kind=STUDY_HELD, about=event.study_uid, reason=event.reason)
            return Say(cleared, derived_id("alert.cleared", alert_id))
        case _:
            return None


def _study_key(event: StudyHeld | StudyCompleted) -> str:
    """What is the same for a study being held and its then being decided."""
    return f"{event.study_uid}/{event.opened_at.isoformat()}"


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
            alert_id = _alert_id(DELIVERY_FAILED, item.id)
            reason = over.event.verb
            cleared = AlertCleared(alert_id=alert_id, kind=DELIVERY_FAILED, about=about, reason=reason)
            says.append(Say(cleared, derived_id("alert.cleared", alert_id)))
    return says


def _alert_id(kind: str, event_id: str) -> str:
    return derived_id("alert", kind, event_id)


def _raised(event_id: str, kind: str, about: str, severity: Literal["warning", "critical"], message: str) -> Say:
    alert_id = _alert_id(kind, event_id)
    event = AlertRaised(alert_id=alert_id, kind=kind, about=about, severity=severity, message=message[:2000])
    return Say(event, derived_id("alert.raised", alert_id))
