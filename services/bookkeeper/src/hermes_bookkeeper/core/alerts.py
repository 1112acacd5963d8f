"""Which alerts events raise and clear. An alert's id derives from the event that raises it: said again, it is the same.

delivery_failed   raised by delivery.failed; cleared by the delivery being restarted, made, cancelled or dismissed
commitment_failed raised by delivery.uncommitted; cleared by the target committing, or the delivery being restarted or
                  dismissed
message_parked    raised by message.parked; cleared by a person
service_crashed   raised by service.crashed; cleared by a person
rule_failed       raised by a decision for which an active rule could not be evaluated, once for each rule and revision;
                  cleared by a newer revision of the rules
rule_matched      raised by a decision on a series for which a rule fired that asks for it; cleared by a person
target_down       raised by target.down; cleared by target.up of the same outage
endpoint_down     raised by target.endpoint_down; cleared by target.endpoint_up of the same outage
study_held        raised by study.held; cleared by the study being decided
store_full        raised by store.pressed; cleared by store.relieved of the same episode
store_cleaned     raised by store.cleaned, once an episode; cleared by a person
objects_missing   raised by store.swept that misses objects, once for the same objects; cleared by a person

What no event says (``hermes_common.alerting.WATCHED``) is found by looking: ``core.watching``.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from hermes_bookkeeper.core.facts import Fact
from hermes_bookkeeper.core.said import Said
from hermes_common.config import Kind, Notification, RuleState
from hermes_common.events import (
    AlertCleared,
    AlertRaised,
    ConfigChanged,
    DeliveryCancelled,
    DeliveryCommitted,
    DeliveryDismissed,
    DeliveryFailed,
    DeliveryRestarted,
    DeliverySucceeded,
    DeliveryUncommitted,
    Event,
    MessageParked,
    RuleOutcome,
    SeriesDiscarded,
    SeriesRouted,
    SeriesUnmatched,
    ServiceCrashed,
    StoreCleaned,
    StorePressed,
    StoreRelieved,
    StoreSwept,
    StudyCompleted,
    StudyHeld,
    TargetDown,
    TargetEndpointDown,
    TargetEndpointUp,
    TargetUp,
)
from hermes_common.ids import derived_id

DELIVERY_FAILED = "delivery_failed"
COMMITMENT_FAILED = "commitment_failed"
MESSAGE_PARKED = "message_parked"
SERVICE_CRASHED = "service_crashed"
RULE_FAILED = "rule_failed"
RULE_MATCHED = "rule_matched"
TARGET_DOWN = "target_down"
ENDPOINT_DOWN = "endpoint_down"
STUDY_HELD = "study_held"
STORE_FULL = "store_full"
STORE_CLEANED = "store_cleaned"
OBJECTS_MISSING = "objects_missing"

CLEARING = (DeliveryRestarted, DeliverySucceeded, DeliveryCancelled, DeliveryDismissed)
COMMITTING = (DeliveryCommitted, DeliveryRestarted, DeliveryDismissed, DeliveryUncommitted)
"""What ends the alert about storage commitment; one that fails again has an alert of its own."""


@dataclass(frozen=True, slots=True)
class Say:
    """An event to publish, with its id."""

    event: AlertRaised | AlertCleared
    id: str


def concerns_deliveries(event: Event | None) -> bool:
    """Whether an event may raise or clear the alert of a delivery."""
    return isinstance(
        event,
        DeliveryFailed
        | DeliveryRestarted
        | DeliverySucceeded
        | DeliveryCancelled
        | DeliveryDismissed
        | DeliveryUncommitted
        | DeliveryCommitted,
    )


def alerts_of(fact: Fact) -> list[Say]:  # noqa: PLR0911  # a table: one line an event
    """Return the alerts that a fact raises, or clears, by itself."""
    match fact.event:
        case MessageParked() as event:
            about = f"{event.consumer}/{event.stream_sequence}"
            message = f"{event.consumer} put a message aside: {event.reason}"
            return [raised(fact.id, MESSAGE_PARKED, about, "critical", message)]
        case ServiceCrashed() as event:
            message = f"{event.service} ended without being told to: {event.reason}"
            return [raised(fact.id, SERVICE_CRASHED, event.service, "warning", message)]
        case SeriesRouted() | SeriesUnmatched() | SeriesDiscarded() as event:
            return [*_failed_rules(event), *_matched_rules(event)]
        case TargetDown() as event:
            message = f"Target {event.target} is down, its deliveries wait: {event.reason}"
            return [raised(event.outage, TARGET_DOWN, event.target, "critical", message)]
        case TargetUp() as event:
            reason = event.reason or "the target answers again"
            return [cleared(alert_id_of(TARGET_DOWN, event.outage), TARGET_DOWN, event.target, reason)]
        case TargetEndpointDown() as event:
            message = f"Endpoint {event.endpoint} of target {event.target} is down, others are used: {event.reason}"
            return [raised(event.outage, ENDPOINT_DOWN, f"{event.target}/{event.endpoint}", "warning", message)]
        case TargetEndpointUp() as event:
            reason, about = event.reason or "the endpoint answers again", f"{event.target}/{event.endpoint}"
            return [cleared(alert_id_of(ENDPOINT_DOWN, event.outage), ENDPOINT_DOWN, about, reason)]
        case StudyHeld() as event:
            message = f"A study is held: {event.reason}"
            return [raised(_study_key(event), STUDY_HELD, event.study_uid, "warning", message)]
        case StudyCompleted() as event if event.held:
            return [cleared(alert_id_of(STUDY_HELD, _study_key(event)), STUDY_HELD, event.study_uid, event.reason)]
        case StorePressed() | StoreCleaned() | StoreRelieved() | StoreSwept() as event:
            return _about_the_store(event)
        case _:
            return []


def _about_the_store(event: StorePressed | StoreCleaned | StoreRelieved | StoreSwept) -> list[Say]:
    """Return the alerts about the object store; ids derive from the crossing of the watermark that they are about."""
    match event:
        case StorePressed():
            message = f"{event.reason[:1].upper()}{event.reason[1:]}"
            return [raised(event.episode, STORE_FULL, "store", "critical", message)]
        case StoreCleaned():
            message = f"The object store was too full: {event.reason}"
            return [raised(event.episode, STORE_CLEANED, "store", "warning", message)]
        case StoreRelieved():
            reason = "the object store is below its limit again"
            return [cleared(alert_id_of(STORE_FULL, event.episode), STORE_FULL, "store", reason)]
        case StoreSwept() if event.missing:
            message = (
                f"{event.missing} objects that live series name are not in the object store, such as "
                f"{', '.join(event.examples[:3])}. Restore them from a copy of the store, or have them sent again"
            )
            same = f"{event.missing}/{'/'.join(event.examples)}"
            return [raised(same, OBJECTS_MISSING, "store", "critical", message)]
        case StoreSwept():
            return []
        case _:
            assert_never(event)


def _failed_rules(event: SeriesRouted | SeriesUnmatched | SeriesDiscarded) -> list[Say]:
    """Return the alerts about rules that could not be evaluated: the same for every series of a revision."""
    decision = event.decision
    fate = (
        "no other rule matched it, so it is kept as unmatched" if decision.outcome == "unmatched" else "others decided"
    )
    return [
        raised(
            f"{rule.slug}/{decision.revision}",
            RULE_FAILED,
            f"{rule.slug}/{decision.revision}",
            "critical",
            f"Rule {rule.slug} of revision {decision.revision} could not be evaluated: {rule.reason}. "
            f"First on series {event.series_uid}: {fate}{_ask(rule)}",
        )
        for rule in decision.rules
        if rule.status == "failed" and rule.state is not RuleState.DRY_RUN
    ]


def _matched_rules(event: SeriesRouted | SeriesUnmatched | SeriesDiscarded) -> list[Say]:
    """Return the alerts that rules ask for which fired: one for each rule and series, late instances included."""
    return [
        raised(
            f"{rule.slug}/{event.series_uid}",
            RULE_MATCHED,
            f"{rule.slug}/{event.series_uid}",
            "warning",
            f"Rule {rule.slug} matched series {event.series_uid}, which is {event.verb}{_ask(rule)}",
        )
        for rule in event.decision.rules
        if rule.status == "fired" and Notification.MATCHED in rule.notifications
    ]


def _ask(rule: RuleOutcome) -> str:
    return f". Contact: {rule.contact}" if rule.contact else ""


def is_about_a_rule(say: Say) -> bool:
    """Whether this raises an alert about a rule."""
    return isinstance(say.event, AlertRaised) and say.event.kind in (RULE_FAILED, RULE_MATCHED)


def may_outdate(event: Event | None) -> bool:
    """Whether an event may make alerts about rules outdated: a new revision, or such an alert that came late."""
    changed = isinstance(event, ConfigChanged) and event.kind is Kind.RULES
    return changed or (isinstance(event, AlertRaised) and event.kind == RULE_FAILED)


def outdated(open_alerts: Iterable[tuple[str, str]], revision: int) -> list[Say]:
    """Return the clearing of alerts about rules, given as id and what they are about, that are of older revisions."""
    says: list[Say] = []
    for alert_id, about in open_alerts:
        number = about.rpartition("/")[2]
        if number.isascii() and number.isdigit() and int(number) < revision:
            reason = f"the rules are at revision {revision}"
            event = AlertCleared(alert_id=alert_id, kind=RULE_FAILED, about=about, reason=reason)
            says.append(Say(event, derived_id("alert.cleared", alert_id)))
    return says


def _study_key(event: StudyHeld | StudyCompleted) -> str:
    """What is the same for a study being held and its then being decided."""
    return f"{event.study_uid}/{event.opened_at.isoformat()}"


def delivery_alerts(said: Sequence[Said], news: Collection[str]) -> list[Say]:
    """Return the alerts to raise and to clear for one delivery, in the order to say them.

    ``said``: the events of the delivery in the order of the stream; ``news``: the ids of those to react to. A failure
    is over with the first event after it that clears.
    """
    says: list[Say] = []
    clearing: tuple[type[Event], ...]
    for place, item in enumerate(said):
        failed = item.event
        match failed:
            case DeliveryFailed():
                kind, clearing = DELIVERY_FAILED, CLEARING
                message = f"Delivery to {failed.target} failed: {failed.reason}"
            case DeliveryUncommitted():
                kind, clearing = COMMITMENT_FAILED, COMMITTING
                message = f"{failed.target} has not committed to keeping a delivery: {failed.reason}"
            case _:
                continue
        about = f"{failed.target}/{failed.delivery_id}"
        if item.id in news:
            says.append(raised(item.id, kind, about, "critical", message))
        over = next((later for later in said[place + 1 :] if isinstance(later.event, clearing)), None)
        if over is not None and (over.id in news or item.id in news):
            says.append(cleared(alert_id_of(kind, item.id), kind, about, over.event.verb))
    return says


def alert_id_of(kind: str, event_id: str) -> str:
    """Return the id of the alert that something raises, by the id of that."""
    return derived_id("alert", kind, event_id)


def raised(event_id: str, kind: str, about: str, severity: Literal["warning", "critical"], message: str) -> Say:
    """Return the raising of an alert; ``event_id`` is the id of what raises it."""
    alert_id = alert_id_of(kind, event_id)
    event = AlertRaised(alert_id=alert_id, kind=kind, about=about, severity=severity, message=message[:2000])
    return Say(event, derived_id("alert.raised", alert_id))


def cleared(alert_id: str, kind: str, about: str, reason: str) -> Say:
    """Return the clearing of an alert."""
    event = AlertCleared(alert_id=alert_id, kind=kind, about=about, reason=reason[:2000])
    return Say(event, derived_id("alert.cleared", alert_id))
