"""What is said about a delivery, under which id: the same thing said again has the same id, and counts once."""

from collections.abc import Sequence
from typing import assert_never

from hermes_common.commands import DeliveryCommand
from hermes_common.events import (
    DeliveryCancelled,
    DeliveryCommitmentRequested,
    DeliveryCommitted,
    DeliveryDismissed,
    DeliveryFailed,
    DeliveryHeld,
    DeliveryProgressed,
    DeliveryReleased,
    DeliveryRestarted,
    DeliveryRetrying,
    DeliveryStarted,
    DeliverySucceeded,
    DeliveryUncommitted,
    DeliveryWaiting,
    Event,
    InstanceOutcome,
)
from hermes_common.ids import derived_id
from hermes_common.ranges import parse_ranges
from hermes_common.records import CommitmentState, DeliveryRecord, DeliveryState
from hermes_dispatcher.core import committing

Saying = tuple[Event, str]
"""An event and its id."""


def _id(record: DeliveryRecord, verb: str, *more: str) -> str:
    return derived_id("delivery", record.delivery_id, str(record.generation), verb, str(record.attempt), *more)


def _about(record: DeliveryRecord) -> dict[str, str]:
    return {
        "series_uid": record.series_uid,
        "study_uid": record.study_uid,
        "delivery_id": record.delivery_id,
        "batch_id": record.batch_id,
        "target": record.target,
    }


def missing(record: DeliveryRecord) -> int:
    """Return how many instances the target has not said it has."""
    return record.instances - len(parse_ranges(record.delivered))


def started(record: DeliveryRecord, dispatcher: str, endpoint: str) -> Saying:
    """Return that an attempt began, and at which address."""
    event = DeliveryStarted.model_validate(
        {
            **_about(record),
            "attempt": record.attempt,
            "missing": missing(record),
            "dispatcher": dispatcher,
            "endpoint": endpoint,
        }
    )
    return event, _id(record, "started")


def progressed(record: DeliveryRecord, outcomes: Sequence[InstanceOutcome], token: str, number: int) -> Saying:
    """Return the outcomes of some instances; ``token`` and ``number`` tell one checkpoint from every other."""
    event = DeliveryProgressed.model_validate({**_about(record), "attempt": record.attempt, "outcomes": list(outcomes)})
    return event, _id(record, "progressed", token, str(number))


def waiting(record: DeliveryRecord) -> Saying:
    """Return that an attempt counts for nothing, because the target is down."""
    event = DeliveryWaiting.model_validate(
        {**_about(record), "attempt": record.attempt, "missing": missing(record), "reason": record.reason}
    )
    return event, _id(record, "waiting")


def standing(record: DeliveryRecord) -> Saying | None:
    """Return the event that says where a delivery stands, or None for a state that a command or a start speaks for."""
    about = _about(record)
    match record.state:
        case DeliveryState.SUCCEEDED:
            event: Event = DeliverySucceeded.model_validate(
                {**about, "attempt": record.attempt, "instances": record.instances}
            )
        case DeliveryState.FAILED:
            event = DeliveryFailed.model_validate(
                {**about, "attempt": record.attempt, "missing": missing(record), "reason": record.reason}
            )
        case DeliveryState.RETRYING:
            event = DeliveryRetrying.model_validate(
                {
                    **about,
                    "attempt": record.attempt,
                    "missing": missing(record),
                    "reason": record.reason,
                    "next_attempt_at": record.next_attempt_at,
                }
            )
        case _:
            return None
    return event, _id(record, record.state.value)


def commitment_requested(record: DeliveryRecord, transaction: str, instances: int) -> Saying:
    """Return that a target has taken a request for storage commitment."""
    tries = 1 if record.commitment is None else max(1, record.commitment.tries)
    event = DeliveryCommitmentRequested.model_validate(
        {**_about(record), "transaction_uid": transaction, "instances": instances, "tries": tries}
    )
    return event, derived_id("delivery", record.delivery_id, "commitment requested", transaction)


def commitment(record: DeliveryRecord, instances: Sequence[str]) -> Saying | None:
    """Return how the question of storage commitment ended; None while it has not.

    ``instances``: SOP instance UIDs as they were received, in the order of the manifest.
    """
    asked = record.commitment
    if asked is None or asked.ended_at is None or record.state is not DeliveryState.SUCCEEDED:
        return None
    transaction = asked.transactions[-1] if asked.transactions else ""
    when = asked.ended_at.isoformat()
    match asked.state:
        case CommitmentState.COMMITTED:
            event: Event = DeliveryCommitted.model_validate(
                {**_about(record), "transaction_uid": transaction, "instances": record.instances}
            )
        case CommitmentState.FAILED:
            event = DeliveryUncommitted.model_validate(
                {
                    **_about(record),
                    "transaction_uid": transaction,
                    "committed": len(parse_ranges(asked.committed)),
                    "refused": len(committing.not_kept(asked)),
                    "reason": asked.reason,
                    "failures": committing.uncommitted(asked, instances),
                }
            )
        case _:
            return None
    return event, _id(record, asked.state.value, transaction, when)


def commanded(record: DeliveryRecord, command: DeliveryCommand) -> Saying:
    """Return that a command was carried out; one command says one thing, however often it comes."""
    more = {**_about(record), "actor": command.actor, "reason": command.reason}
    match command.action:
        case "restart":
            event: Event = DeliveryRestarted.model_validate({**more, "scope": command.scope, "bulk": command.bulk})
        case "hold":
            event = DeliveryHeld.model_validate(more)
        case "release":
            event = DeliveryReleased.model_validate(more)
        case "cancel":
            event = DeliveryCancelled.model_validate(more)
        case "reroute":
            event = DeliveryCancelled.model_validate({**more, "rerouted_to": command.to})
        case "dismiss":
            event = DeliveryDismissed.model_validate(more)
        case _:
            assert_never(command.action)
    return event, derived_id("delivery", record.delivery_id, command.action, command.command_id)


def work_id(record: DeliveryRecord) -> str:
    """Return the id under which the work of the coming attempt is put into the queue once."""
    return f"{record.delivery_id}.{record.generation}.{record.attempt}"


def not_rerouted(record: DeliveryRecord, command: DeliveryCommand) -> Saying:
    """Return that a delivery is held, as its batch could not be sent elsewhere."""
    reason = f"it could not be rerouted to {command.to}: release or cancel it; {command.reason}"
    event = DeliveryHeld.model_validate({**_about(record), "actor": command.actor, "reason": reason})
    return event, derived_id("delivery", record.delivery_id, "not rerouted", command.command_id)
