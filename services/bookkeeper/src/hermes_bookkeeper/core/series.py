"""The row of a series, from its receptions, its events and its deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hermes_bookkeeper.core import tags
from hermes_bookkeeper.core.said import Row, Said
from hermes_bookkeeper.core.state import BatchFact, DecisionFact, DeliveryFact, SeriesFacts, SeriesState, series_state
from hermes_common.events import (
    Decision,
    SeriesCompleted,
    SeriesDeferred,
    SeriesDeleted,
    SeriesDiscarded,
    SeriesRouted,
    SeriesUnmatched,
)
from hermes_common.records import ENDED, DeliveryState


@dataclass(frozen=True, slots=True)
class Counts:
    """The receptions of a series, or of some of its SOP instances, in numbers."""

    instances: int = 0
    """Distinct SOP instances."""
    octets: int = 0
    """Of all receptions but the duplicates."""
    duplicates: int = 0
    conflicts: int = 0
    """SOP instances that came with more than one digest."""

    def changed(self, before: "Counts", after: "Counts") -> "Counts":
        """Return these counts after some SOP instances of theirs have gone from ``before`` to ``after``."""
        return Counts(
            self.instances + after.instances - before.instances,
            self.octets + after.octets - before.octets,
            self.duplicates + after.duplicates - before.duplicates,
            self.conflicts + after.conflicts - before.conflicts,
        )


@dataclass(frozen=True, slots=True)
class Span:
    """When the first and the last reception were received."""

    first: datetime
    last: datetime

    def joined(self, other: "Span") -> "Span":
        """Return the span of both."""
        return Span(min(self.first, other.first), max(self.last, other.last))


@dataclass(frozen=True, slots=True)
class Receptions:
    """What the receptions of a series say; at least one of them."""

    counts: Counts
    span: Span
    study_uid: str
    """This, the sender and the tags are those of the first reception in the stream."""
    calling_aet: str
    called_aet: str
    address: str
    tags: dict[str, list[str]]
    last_seq: int
    new_seq: int
    """Sequence of the last reception that is not a duplicate."""


@dataclass(frozen=True, slots=True)
class DeliveryNow:
    """What a series has to know of one of its deliveries."""

    fact: DeliveryFact
    ended_at: datetime | None
    last_seq: int


def series_row(
    series_uid: str, receptions: Receptions | None, said: Sequence[Said], deliveries: Sequence[DeliveryNow]
) -> Row | None:
    """Return the row of a series; None if nothing is known that makes one.

    ``said``: its events in the order of the stream, but receptions and outcomes of instances.
    """
    if receptions is None and not said:
        return None
    completed = [(item, item.event) for item in said if isinstance(item.event, SeriesCompleted)]
    decided = [
        (item, item.event.decision)
        for item in said
        if isinstance(item.event, SeriesRouted | SeriesUnmatched | SeriesDiscarded | SeriesDeferred)
    ]
    settled = [decision for _, decision in decided if decision.outcome != "deferred"]
    deleted = [item for item in said if isinstance(item.event, SeriesDeleted)]
    state = series_state(_facts(receptions, said, deliveries))
    counts = _counts([event for _, event in completed]) if receptions is None else receptions.counts
    span = _span(receptions, said)
    merged = tags.merge([event.tags for _, event in completed] or ([receptions.tags] if receptions else []))
    over = bool(deliveries) and all(item.fact.state in ENDED for item in deliveries)
    last = settled[-1] if settled else None
    return {
        "series_uid": series_uid,
        "study_uid": receptions.study_uid if receptions else _study(said),
        "state": state.value,
        "instances": counts.instances,
        "octets": counts.octets,
        "duplicates": counts.duplicates,
        "conflicts": counts.conflicts,
        "batches": len({event.batch_id for _, event in completed}),
        "calling_aet": receptions.calling_aet if receptions else "",
        "called_aet": receptions.called_aet if receptions else "",
        "address": receptions.address if receptions else "",
        **tags.flat(merged),
        "tags": merged,
        "problems": _problems([decision for _, decision in decided]),
        "rules_revision": last.revision if last else None,
        "first_received_at": span.first,
        "last_received_at": span.last,
        "completed_at": completed[-1][0].time if completed else None,
        "decided_at": last.decided_at if last else None,
        "ended_at": max((item.ended_at for item in deliveries if item.ended_at), default=None) if over else None,
        "deleted_at": deleted[-1].time if deleted and state is SeriesState.DELETED else None,
        "last_seq": max(
            receptions.last_seq if receptions else 0,
            said[-1].seq if said else 0,
            *(item.last_seq for item in deliveries),
            0,
        ),
    }


def _facts(receptions: Receptions | None, said: Sequence[Said], deliveries: Sequence[DeliveryNow]) -> SeriesFacts:
    batches: list[BatchFact] = []
    decisions: list[DecisionFact] = []
    deleted_seq = 0
    for item in said:
        event = item.event
        match event:
            case SeriesCompleted():
                batches.append(BatchFact(event.batch_id, item.seq, event.instances, event.through_seq))
            case SeriesRouted() | SeriesUnmatched() | SeriesDiscarded() | SeriesDeferred():
                decision = event.decision
                planned = tuple(plan.delivery_id for plan in decision.deliveries)
                decisions.append(DecisionFact(decision.batch_id, item.seq, decision.outcome, planned))
            case SeriesDeleted():
                deleted_seq = item.seq
            case _:
                pass
    return SeriesFacts(
        received_seq=receptions.last_seq if receptions else 0,
        new_seq=receptions.new_seq if receptions else 0,
        deleted_seq=deleted_seq,
        batches=batches,
        decisions=decisions,
        deliveries=[item.fact for item in deliveries],
    )


def _counts(completed: Sequence[SeriesCompleted]) -> Counts:
    """Return what batches say of receptions that are not known themselves."""
    once = {event.batch_id: event for event in completed}.values()
    return Counts(
        sum(event.instances for event in once),
        sum(event.octets for event in once),
        sum(event.duplicates for event in once),
        sum(event.conflicts for event in once),
    )


def _span(receptions: Receptions | None, said: Sequence[Said]) -> Span:
    """Return when the series was received; as near as its events tell while its receptions are not known."""
    if receptions is not None:
        return receptions.span
    completed = [item.event for item in said if isinstance(item.event, SeriesCompleted)]
    if completed:
        return Span(min(item.first_received_at for item in completed), max(item.last_received_at for item in completed))
    return Span(min(item.time for item in said), max(item.time for item in said))


def _study(said: Sequence[Said]) -> str:
    return next((uid for item in said if (uid := getattr(item.event, "study_uid", None))), "")


def _problems(decisions: Sequence[Decision]) -> list[str]:
    """Return the problems of the last decision about each batch, each once; one about its study adds to the others."""
    last: dict[str, list[str]] = {}
    for decision in decisions:
        added = last.get(decision.batch_id, []) if decision.kind == "study" else []
        last[decision.batch_id] = [*added, *decision.problems]
    return list(dict.fromkeys(problem for problems in last.values() for problem in problems))


def delivery_fact(delivery_id: str, batch_id: str, state: str) -> DeliveryFact:
    """Return a delivery as the state of its series sees it."""
    return DeliveryFact(delivery_id, batch_id, DeliveryState(state))
