"""The state of a series, from what is known about it. README.md gives the same rules in words.

Facts that belong to a life of the series that the cleaner has ended are left out first (:func:`_present`): a series
that is sent again after its deletion begins anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from hermes_common.records import ENDED, DeliveryState

DEFERRED = "deferred"
"""The outcome of a batch that is not decided: the rules about its study will say."""


class SeriesState(StrEnum):
    """What people see of a series."""

    RECEIVING = "receiving"
    COMPLETED = "completed"
    ROUTED = "routed"
    DELIVERED = "delivered"
    PARTLY_FAILED = "partly_failed"
    FAILED = "failed"
    UNMATCHED = "unmatched"
    DISCARDED = "discarded"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class BatchFact:
    """A batch, and where in the stream its completion was said. One without instances holds only duplicates."""

    batch_id: str
    seq: int
    instances: int = 1
    through_seq: int = 0
    """The last reception that is in it, where the event says so."""


@dataclass(frozen=True, slots=True)
class DecisionFact:
    """A decision about a batch, of the rules or of a person."""

    batch_id: str
    seq: int
    outcome: str
    planned: tuple[str, ...] = ()
    """Ids of the deliveries that it asks for."""


@dataclass(frozen=True, slots=True)
class DeliveryFact:
    """A delivery as it is now."""

    delivery_id: str
    batch_id: str
    state: DeliveryState


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """What is known about a series; sequences are 0 where there is nothing."""

    received_seq: int = 0
    """Of the last reception."""
    new_seq: int = 0
    """Of the last reception that is not a duplicate."""
    deleted_seq: int = 0
    """Of the last deletion."""
    batches: Sequence[BatchFact] = ()
    decisions: Sequence[DecisionFact] = ()
    deliveries: Sequence[DeliveryFact] = ()


def series_state(facts: SeriesFacts) -> SeriesState:  # noqa: PLR0911  # the order of precedence, line by line
    """Return the state of a series.

    What needs a person's or a target's doing comes first; what waits to be batched or decided comes before what ended
    well, so that ``delivered`` is never said of a series of which something has just come.
    """
    if facts.deleted_seq and facts.received_seq < facts.deleted_seq:
        return SeriesState.DELETED
    facts = _present(facts)
    waiting = _waiting(facts)
    outcomes = {key: outcome for key, outcome in final_outcomes(facts.decisions).items() if outcome != DEFERRED}
    if not outcomes and not facts.deliveries:
        return waiting or SeriesState.RECEIVING
    states = _delivery_states(facts)
    if any(state not in ENDED for state in states):
        return SeriesState.ROUTED
    if DeliveryState.FAILED in states:
        return SeriesState.PARTLY_FAILED if DeliveryState.SUCCEEDED in states else SeriesState.FAILED
    if waiting is not None:
        return waiting
    arrived = {item.batch_id for item in facts.deliveries if item.state is DeliveryState.SUCCEEDED}
    if any(outcome == "unmatched" and batch_id not in arrived for batch_id, outcome in outcomes.items()):
        return SeriesState.UNMATCHED
    if DeliveryState.SUCCEEDED in states:
        return SeriesState.DELIVERED
    if not states and "routed" in outcomes.values():
        return SeriesState.ROUTED
    return SeriesState.DISCARDED


def final_outcomes(decisions: Sequence[DecisionFact]) -> dict[str, str]:
    """Return the outcome that holds for each batch: the last said of it."""
    return {decision.batch_id: decision.outcome for decision in sorted(decisions, key=lambda item: item.seq)}


def _present(facts: SeriesFacts) -> SeriesFacts:
    past = {batch.batch_id for batch in facts.batches if batch.seq < facts.deleted_seq}
    return replace(
        facts,
        batches=[item for item in facts.batches if item.batch_id not in past],
        decisions=[item for item in facts.decisions if item.batch_id not in past],
        deliveries=[item for item in facts.deliveries if item.batch_id not in past],
    )


def _waiting(facts: SeriesFacts) -> SeriesState | None:
    """Return what the series waits for: more instances, or a decision; None if for neither."""
    batched = max((batch.through_seq or batch.seq for batch in facts.batches), default=0)
    if facts.new_seq > batched if batched else facts.received_seq > facts.deleted_seq:
        return SeriesState.RECEIVING
    decided = {batch_id for batch_id, outcome in final_outcomes(facts.decisions).items() if outcome != DEFERRED}
    undecided = any(batch.instances > 0 and batch.batch_id not in decided for batch in facts.batches)
    return SeriesState.COMPLETED if undecided else None


def _delivery_states(facts: SeriesFacts) -> list[DeliveryState]:
    """Return the state of every delivery, with those that were decided and not yet said to be queued."""
    states = {delivery.delivery_id: delivery.state for delivery in facts.deliveries}
    for decision in facts.decisions:
        for delivery_id in decision.planned:
            states.setdefault(delivery_id, DeliveryState.QUEUED)
    return list(states.values())
