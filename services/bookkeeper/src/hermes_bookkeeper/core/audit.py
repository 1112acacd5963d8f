"""What people did, as rows of the audit."""

from typing import Any

from hermes_bookkeeper.core.facts import Fact
from hermes_bookkeeper.core.said import Row
from hermes_common.events import (
    AlertCleared,
    ConfigChanged,
    DeliveryCancelled,
    DeliveryDismissed,
    DeliveryHeld,
    DeliveryReleased,
    DeliveryRestarted,
    ExportMade,
    InstanceDownloaded,
    InstanceResubmitted,
    SeriesDiscarded,
    SeriesRecovered,
    SeriesRouted,
    SeriesUnmatched,
    StudyCompleted,
    UserChanged,
    UserCreated,
    UserDisabled,
    UserLoggedIn,
    UserLoggedOut,
    UserLoginFailed,
)


def audit_row(fact: Fact) -> Row | None:
    """Return the row of the audit that a fact makes; None if no person did it."""
    event = fact.event
    address = ""
    detail: dict[str, Any]
    match event:
        case UserLoggedIn() | UserLoggedOut() | UserLoginFailed() | UserCreated() | UserChanged() | UserDisabled():
            actor, about, address = event.actor, event.user, event.address
            detail = {"detail": event.detail} if event.detail else {}
        case ExportMade():
            actor, about, address = event.actor, "series", event.address
            names = ("query", "format", "columns", "masked")
            detail = {name: getattr(event, name) for name in names}
        case ConfigChanged():
            actor, about = event.author, event.kind.value
            detail = {"revision": event.revision, "comment": event.comment}
        case DeliveryRestarted() | DeliveryCancelled() | DeliveryDismissed() | DeliveryHeld() | DeliveryReleased():
            actor, about = event.actor, event.delivery_id
            detail = {"target": event.target, "series_uid": event.series_uid, "reason": event.reason}
            if isinstance(event, DeliveryRestarted):
                detail["scope"] = event.scope
            if isinstance(event, DeliveryCancelled) and event.rerouted_to is not None:
                detail["rerouted_to"] = event.rerouted_to
        case AlertCleared() if event.actor:
            actor, about = event.actor, event.about
            detail = {"alert_id": event.alert_id, "kind": event.kind, "reason": event.reason}
        case InstanceDownloaded() | InstanceResubmitted():
            actor, about, address = event.actor, event.reception_id, event.address
            detail = {"stored": event.stored, "reason": event.reason} if isinstance(event, InstanceResubmitted) else {}
        case SeriesRecovered():
            actor, about, detail = event.actor, event.series_uid, {"targets": list(event.targets)}
        case SeriesRouted() | SeriesUnmatched() | SeriesDiscarded() if event.decision.actor:
            decision = event.decision
            actor, about = decision.actor, event.series_uid
            detail = {
                "batch_id": decision.batch_id,
                "kind": decision.kind,
                "outcome": decision.outcome,
                "targets": [plan.target for plan in decision.deliveries],
            }
        case StudyCompleted() if event.actor:
            actor, about = event.actor, event.study_uid
            detail = {"outcome": event.outcome, "targets": list(event.targets), "round": event.round}
        case _:
            return None
    return {
        "event_id": fact.id,
        "time": fact.time,
        "actor": actor,
        "action": fact.type.removeprefix("hermes.v1."),
        "about": about,
        "address": address,
        "detail": detail,
    }
