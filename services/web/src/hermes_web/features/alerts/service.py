"""A person says that an alert has been seen to."""

from hermes_common.events import AlertCleared
from hermes_common.ids import derived_id
from hermes_web.errors import FieldProblem, InvalidError, NotFoundError, StateConflictError
from hermes_web.features.alerts.queries import get_alert
from hermes_web.web import Web

BY_ITSELF = {
    "delivery_failed": "restart, cancel or dismiss the delivery",
    "store_full": "it clears when the object store is below its limit again",
    "study_held": "complete or discard the study",
    "target_down": "it clears when the target answers again",
}
"""Kinds that are over with what they were raised for, and what makes that so."""


async def clear(web: Web, alert_id: str, actor: str, reason: str) -> None:
    """Publish that an alert is over. Raises what says why not."""
    if len(reason) > 2000:
        raise InvalidError(problems=[FieldProblem("reason", "at most 2000 characters")])
    alert = await web.database.run(get_alert, alert_id)
    if alert is None:
        raise NotFoundError(f"no alert {alert_id[:64]!r} is known")
    if alert.cleared_at is not None:
        raise StateConflictError("the alert is cleared already")
    if (instead := BY_ITSELF.get(alert.kind)) is not None:
        raise StateConflictError(f"an alert of this kind is not cleared by hand: {instead}")
    event = AlertCleared(alert_id=alert.alert_id, kind=alert.kind, about=alert.about, reason=reason, actor=actor)
    await web.bus.publish(event, derived_id("alert.cleared", alert.alert_id))
