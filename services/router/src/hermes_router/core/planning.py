"""From what the rules said, or a person, to a decision: which deliveries, and why."""

from collections.abc import Sequence
from datetime import datetime

from hermes_common.config import Action, Priority, Rule, RuleSet, RuleState, Targets
from hermes_common.events import Clause, Decision, PlannedDelivery, RuleOutcome
from hermes_common.ids import delivery_id
from hermes_common.rules import RuleResult, SetDecision

LARGEST = 400_000
"""Octets of JSON that the rules of a decision may take in an event; the store has the decision whole."""


def by_rules(
    said: SetDecision, batch_id: str, revision: int, rules: RuleSet, targets: Targets, at: datetime, key: str
) -> Decision:
    """Return the decision that follows from what the rules said; a target that is not configured is a problem of it."""
    by_slug = {rule.slug: rule for rule in rules.rules}
    deliveries = [
        PlannedDelivery(
            delivery_id=delivery_id(batch_id, planned.target),
            target=planned.target,
            priority=Priority(planned.priority),
            rules=list(planned.rules),
        )
        for planned in said.targets
    ]
    problems = [f"rule {result.slug} failed: {result.reason}" for result in said.failures]
    problems += unknown_targets(deliveries, targets)
    return Decision(
        batch_id=batch_id,
        kind="rules",
        outcome=said.outcome,
        revision=revision,
        rules=[_outcome(result, by_slug[result.slug]) for result in said.results],
        deliveries=deliveries,
        problems=problems,
        decided_at=at,
        stopped_by=said.stopped_by or None,
        key=key,
    )


def unknown_targets(deliveries: Sequence[PlannedDelivery], targets: Targets) -> list[str]:
    """Return in words which targets are asked for and are not configured."""
    return [
        f"target {planned.target} is asked for by {', '.join(planned.rules)}, but is not configured"
        for planned in deliveries
        if targets.get(planned.target) is None
    ]


def with_those_by_hand(decision: Decision, previous: Sequence[Decision]) -> Decision:
    """Return a decision on late instances that also go where a person had sent their series."""
    there = {planned.target for planned in decision.deliveries}
    by_hand = {
        planned.target: planned.model_copy(
            update={"delivery_id": delivery_id(decision.batch_id, planned.target), "rules": []}
        )
        for before in previous
        if before.kind == "manual"
        for planned in before.deliveries
        if planned.target not in there
    }
    if not by_hand:
        return decision
    return decision.model_copy(update={"outcome": "routed", "deliveries": [*decision.deliveries, *by_hand.values()]})


def like_before(previous: Sequence[Decision], batch_id: str, at: datetime, key: str) -> Decision:
    """Return the decision for late instances: they go where all decisions on their series sent it, by rules or by hand.

    ``previous`` are those on one batch, in their order; the last that sent it anywhere says how, and which revision.
    """
    targets = {planned.target: planned for decision in previous for planned in decision.deliveries}
    last = next((decision for decision in reversed(previous) if decision.deliveries), previous[-1])
    return last.model_copy(
        update={
            "batch_id": batch_id,
            "kind": "late",
            "deliveries": [
                planned.model_copy(update={"delivery_id": delivery_id(batch_id, planned.target)})
                for planned in targets.values()
            ],
            "decided_at": at,
            "key": key,
        }
    )


def by_hand(
    batch_id: str,
    command_id: str,
    slugs: Sequence[str],
    actor: str,
    revision: int,
    at: datetime,
    key: str,
    priority: Priority = Priority.NORMAL,
) -> Decision:
    """Return the decision of a person: to these targets, or nowhere if there is none."""
    return Decision(
        batch_id=batch_id,
        kind="manual",
        outcome="routed" if slugs else "discarded",
        revision=revision,
        deliveries=[
            PlannedDelivery(delivery_id=delivery_id(batch_id, slug, command_id), target=slug, priority=priority)
            for slug in dict.fromkeys(slugs)
        ],
        actor=actor,
        decided_at=at,
        key=key,
    )


def for_event(decision: Decision) -> Decision:
    """Return a decision that fits into an event: without the clauses of rules that had no effect, if they are many."""
    rules = rules_for_event(decision.rules)
    return decision if rules is decision.rules else decision.model_copy(update={"rules": rules, "truncated": True})


def rules_for_event(outcomes: list[RuleOutcome]) -> list[RuleOutcome]:
    """Return what rules came to, the same list if it fits into an event, or shorter.

    Rules that fired or failed are the last to be left out: who reads events acts on them.
    """
    if sum(len(rule.model_dump_json()) for rule in outcomes) <= LARGEST:
        return outcomes
    rules = [rule if rule.status == "fired" else rule.model_copy(update={"clauses": []}) for rule in outcomes]
    if sum(len(rule.model_dump_json()) for rule in rules) <= LARGEST:
        return rules
    telling = [rule.model_copy(update={"clauses": []}) for rule in rules if rule.status in ("fired", "failed")]
    return telling[:200]


def _outcome(result: RuleResult, rule: Rule) -> RuleOutcome:
    clauses = [] if result.explanation is None else result.explanation.clauses
    return RuleOutcome(
        slug=result.slug,
        name=result.name,
        state=RuleState(result.state),
        action=Action(result.action),
        status=result.status.value,
        verdict=None if result.verdict is None else result.verdict.value,
        targets=list(result.targets),
        expression=result.expression,
        clauses=[
            Clause(
                text=clause.text,
                start=clause.span.start,
                end=clause.span.end,
                outcome=clause.outcome.value,
                seen=list(clause.seen),
                reason=clause.reason,
            )
            for clause in clauses
        ],
        reason=result.reason,
        notifications=list(rule.notifications),
        contact=rule.contact,
    )
