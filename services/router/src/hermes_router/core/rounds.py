"""What follows for each series of a study from its being complete."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from hermes_common.config import Late, Priority, RuleSet, StudyCompletion, Targets
from hermes_common.durations import Duration
from hermes_common.events import Decision, PlannedDelivery, RuleOutcome, Tags, Time
from hermes_common.ids import Slug, Uid
from hermes_common.keys import decision_key
from hermes_common.records import BatchRef, StudyRecord
from hermes_common.rules import CompiledRuleSet, Context, Earlier, Known, decide, decide_in_study
from hermes_router.core import planning
from hermes_router.core.completeness import Member


class Asked(BaseModel):
    """A target that rules about studies ask for."""

    model_config = ConfigDict(frozen=True)

    target: Slug
    priority: Priority
    rules: list[Slug]


class SeriesRound(BaseModel):
    """What a round says of one series."""

    model_config = ConfigDict(frozen=True)

    series_uid: Uid
    batches: list[str]
    """Those that were undecided until then; none of them is any more."""
    decisions: list[Decision]
    """For batches of which something is to be said."""


class StudyRound(BaseModel):
    """Everything that was decided when a study was complete, as an object in the store."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    decision_id: str
    study_uid: Uid
    round: int
    kind: Literal["rules", "late", "manual"]
    outcome: Literal["routed", "unmatched", "discarded"]
    reason: str
    revision: int
    rules: list[RuleOutcome]
    asked: list[Asked]
    problems: list[str]
    actor: str
    held: bool
    opened_at: Time
    decided_at: Time
    quiet_period: Duration
    instances: int
    routed: int = 0
    """Series that go somewhere, by whichever rule or person."""
    series: list[SeriesRound]


@dataclass(frozen=True, slots=True)
class Series:
    """A series of a complete study: what rules see of it, and what was decided on each of its batches, in order."""

    member: Member
    fields: Tags
    before: Mapping[str, Sequence[Decision]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moment:
    """What holds at the moment of a decision."""

    decision_id: str
    revision: int
    document: RuleSet
    rules: CompiledRuleSet
    """The same, compiled."""
    targets: Targets
    at: datetime


@dataclass(frozen=True, slots=True)
class Case:
    """A study that is complete, and what is known of it."""

    record: StudyRecord
    series: Sequence[Series]
    study: Context
    instances: int
    policy: StudyCompletion
    late: Late
    previous: StudyRound | None
    reason: str

    @property
    def follows(self) -> bool:
        """Whether what came late goes where the study went, under the revision of that time."""
        return self.late is Late.AS_BEFORE and not self.record.afresh and self._was_decided

    @property
    def whole(self) -> bool:
        """Whether batches are looked at that an earlier round found no rule for."""
        return not self.record.afresh and not self._was_decided

    @property
    def _was_decided(self) -> bool:
        return self.previous is not None and self.previous.outcome != "unmatched"


def decide_study(case: Case, moment: Moment) -> StudyRound:
    """Return what follows from a study being complete, for each of its series.

    What came late goes where the study went before, as the policy says; if no rule had matched it, the present rules
    are evaluated on the study as a whole, and may match all of it.
    """
    record, previous = case.record, case.previous
    common = {
        "decision_id": moment.decision_id,
        "study_uid": record.study_uid,
        "round": record.round + 1,
        "reason": case.reason,
        "actor": record.forced.actor if record.forced is not None else "",
        "held": record.was_held,
        "opened_at": record.opened_at,
        "decided_at": moment.at,
        "quiet_period": case.policy.quiet_period,
        "instances": case.instances,
    }
    if record.forced is not None and record.forced.discard:
        return _discarded(case, moment, common)
    if case.follows and previous is not None:
        series = [
            _series(each, [_follow(each, batch, previous, case, moment) for batch in _undecided(each)])
            for each in case.series
        ]
        routed = _routed(case, series)
        return previous.model_copy(update={**common, "kind": "late", "series": series, "routed": routed})
    overall = decide(_without_fallbacks(moment.rules), case.study, moment.at)
    known: Known = {}
    series = [
        _series(each, [_evaluate(each, batch, case, moment, known) for batch in _concerned(each, case)])
        for each in case.series
    ]
    by_rules = planning.by_rules(
        overall, moment.decision_id, moment.revision, moment.document, moment.targets, moment.at, ""
    )
    return StudyRound.model_validate(
        {
            **common,
            "kind": "rules",
            "outcome": overall.outcome,
            "revision": moment.revision,
            "rules": by_rules.rules,
            "asked": [Asked(target=t.target, priority=t.priority, rules=t.rules) for t in by_rules.deliveries],
            "problems": by_rules.problems,
            "series": series,
            "routed": _routed(case, series),
        }
    )


def _discarded(case: Case, moment: Moment, common: Mapping[str, object]) -> StudyRound:
    """Return what follows from a person's discarding the study: what is undecided and goes nowhere is discarded.

    What rules about series have sent stays sent. What comes later follows this decision, or the present rules, as the
    policies say.
    """
    series = [
        _series(each, [_discard(each, batch, case, moment) for batch in _undecided(each) if not batch.deliveries])
        for each in case.series
    ]
    return StudyRound.model_validate(
        {
            **common,
            "kind": "manual",
            "outcome": "discarded",
            "revision": moment.revision,
            "rules": [],
            "asked": [],
            "problems": [],
            "series": series,
            "routed": _routed(case, series),
        }
    )


def _discard(series: Series, batch: BatchRef, case: Case, moment: Moment) -> Decision:
    key = decision_key(series.member.series_uid, moment.decision_id)
    actor = case.record.forced.actor if case.record.forced is not None else ""
    decision = planning.by_hand(batch.batch_id, moment.decision_id, (), actor, moment.revision, moment.at, key)
    return decision.model_copy(update={"round": case.record.round + 1})


def _routed(case: Case, series: Sequence[SeriesRound]) -> int:
    """Return how many series of the study go somewhere, once this is decided."""
    before = {each.member.series_uid for each in case.series if any(batch.deliveries for batch in each.member.batches)}
    return len(before | {each.series_uid for each in series if any(one.deliveries for one in each.decisions)})


def _series(series: Series, decisions: Iterable[Decision | None]) -> SeriesRound:
    return SeriesRound(
        series_uid=series.member.series_uid,
        batches=[batch.batch_id for batch in _undecided(series)],
        decisions=[decision for decision in decisions if decision is not None],
    )


def _undecided(series: Series) -> list[BatchRef]:
    return [batch for batch in series.member.batches if batch.awaits_study]


def _concerned(series: Series, case: Case) -> list[BatchRef]:
    return list(series.member.batches) if case.whole else _undecided(series)


def _without_fallbacks(rules: CompiledRuleSet) -> CompiledRuleSet:
    return CompiledRuleSet("study", tuple(each for each in rules.about("study").entries if not each.rule.fallback))


def _evaluate(series: Series, batch: BatchRef, case: Case, moment: Moment, known: Known) -> Decision | None:
    """Return what the present rules say of a batch; None if nothing follows from it that is not so already."""
    if _is_settled_nowhere(batch):
        return None
    before = series.before.get(batch.batch_id, ())
    earlier = earlier_of(before) if batch.outcome == "routed" and not batch.deferred else None
    said = decide_in_study(moment.rules, Context(series.fields), case.study, moment.at, earlier=earlier, known=known)
    decision = planning.by_rules(
        said,
        batch.batch_id,
        moment.revision,
        moment.document,
        moment.targets,
        moment.at,
        decision_key(series.member.series_uid, moment.decision_id),
    )
    decision = decision.model_copy(update={"kind": "study", "round": case.record.round + 1})
    return _worth_saying(batch, _new_deliveries(decision, before), failed=bool(said.failures))


def _follow(series: Series, batch: BatchRef, previous: StudyRound, case: Case, moment: Moment) -> Decision | None:
    """Return the decision for a batch that came after its study was decided: it goes where the study went.

    If it goes nowhere by that, because of a rule about series that stops, the present rules are asked.
    """
    if _is_settled_nowhere(batch):
        return None
    before = series.before.get(batch.batch_id, ())
    stopped_by = next((each.stopped_by for each in before if each.stopped_by), None)
    deliveries = []
    for asked in previous.asked:
        rules = [slug for slug in asked.rules if not _is_stopped(slug, stopped_by, moment.rules)]
        if rules:
            key = planning.delivery_id(batch.batch_id, asked.target)
            planned = PlannedDelivery(delivery_id=key, target=asked.target, priority=asked.priority, rules=rules)
            deliveries.append(planned)
    if batch.deferred and not deliveries and previous.outcome == "routed":
        return _evaluate(series, batch, case, moment, {})
    decision = Decision(
        batch_id=batch.batch_id,
        kind="late",
        outcome="routed" if deliveries else "discarded",
        revision=previous.revision,
        rules=previous.rules,
        deliveries=deliveries,
        problems=planning.unknown_targets(deliveries, moment.targets),
        decided_at=moment.at,
        round=previous.round,
        key=decision_key(series.member.series_uid, moment.decision_id),
    )
    return _worth_saying(batch, _new_deliveries(decision, before), failed=False)


def _is_settled_nowhere(batch: BatchRef) -> bool:
    """Whether a person, or a rule that stops, has said that the batch goes nowhere."""
    return batch.outcome == "discarded" and not batch.deferred


def earlier_of(before: Sequence[Decision]) -> Earlier:
    """Return what the rules about series had said of a batch that they routed."""
    fired = (rule.slug for each in before for rule in each.rules if rule.status == "fired" and rule.targets)
    stopped = (each.stopped_by for each in before if each.stopped_by)
    return Earlier(next(fired, ""), next(stopped, None) or "")


def _is_stopped(slug: str, stopped_by: str | None, rules: CompiledRuleSet) -> bool:
    order = [entry.rule.slug for entry in rules.entries]
    return stopped_by in order and slug in order and order.index(slug) > order.index(stopped_by)


def _new_deliveries(decision: Decision, before: Sequence[Decision]) -> Decision:
    """Return the decision without the targets that the batch goes to already."""
    there = {planned.target for each in before for planned in each.deliveries}
    return decision.model_copy(
        update={"deliveries": [planned for planned in decision.deliveries if planned.target not in there]}
    )


def _worth_saying(batch: BatchRef, decision: Decision, *, failed: bool) -> Decision | None:
    """Return the decision with the outcome that holds for the batch; None if it changes nothing."""
    if batch.deferred:
        routed = batch.outcome == "routed" or decision.outcome == "routed"
        return decision.model_copy(update={"outcome": "routed"}) if routed else decision
    if batch.outcome == "routed":
        news = bool(decision.deliveries) or failed
        return decision.model_copy(update={"outcome": "routed"}) if news else None
    return decision if decision.outcome != "unmatched" else None
