"""A draft on the series that came last: what it comes to for each, and for how many each of its clauses is true."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hermes_common.rules import ClauseResult, Context, Explanation, RuleError, Verdict, compile_rule
from hermes_web.core.view import View, without_names
from hermes_web.features.rules.stored import StoredSeries, StoredStudy

SERIES = 200
STUDIES = 40
"""How many of the last ones are looked at while somebody types."""
SHOWN = 4
"""Of each answer that are shown clause by clause."""

Stored = StoredSeries | StoredStudy


@dataclass(slots=True)
class _Tally:
    """For how many a clause came to what."""

    text: str
    start: int
    end: int
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("true", "false", "unknown", "error"), 0))


def context_of(stored: Stored) -> Context:
    """Return what rules see of a series or of a study."""
    if isinstance(stored, StoredStudy):
        return Context(stored.fields, [each.fields for each in stored.series])
    return Context(stored.fields)


def try_draft(
    expression: str, scope: str, recent: Sequence[Stored], chosen: Stored | None, view: View
) -> dict[str, Any]:
    """Return what a condition comes to for those that came last, and for one that was chosen; empty if it is no rule.

    ``matching`` and ``others`` are the newest of each kind, of the others those first that fail in one clause only.
    """
    try:
        rule = compile_rule(expression, scope) if expression.strip() else None
    except RuleError:
        return {}
    counts = {verdict.value: 0 for verdict in Verdict}
    tallies: dict[int, _Tally] = {}
    matching: list[tuple[Stored, Explanation]] = []
    others: list[tuple[Stored, Explanation]] = []
    for stored in recent:
        said = Explanation(Verdict.MATCH, ()) if rule is None else rule.explain(context_of(stored), stored.at)
        counts[said.verdict.value] += 1
        _count(said.clauses, tallies)
        (matching if said.verdict is Verdict.MATCH else others).append((stored, said))
    others.sort(key=lambda each: not each[1].near_miss)
    whole = None
    if chosen is not None:
        said = Explanation(Verdict.MATCH, ()) if rule is None else rule.explain(context_of(chosen), chosen.at)
        whole = _one(chosen, said, view)
    return {
        "looked_at": len(recent),
        **counts,
        "clauses": [{"text": t.text, "start": t.start, "end": t.end, **t.outcomes} for t in tallies.values()],
        "chosen": whole,
        "matching": [_one(*each, view) for each in matching[:SHOWN]],
        "others": [_one(*each, view) for each in others[:SHOWN]],
    }


def _count(clauses: Sequence[ClauseResult], tallies: dict[int, _Tally]) -> None:
    for place, clause in enumerate(clauses):
        tally = tallies.get(place)
        if tally is None:
            tally = tallies[place] = _Tally(clause.text, clause.span.start, clause.span.end)
        tally.outcomes[clause.outcome.value] += 1


def _one(stored: Stored, said: Explanation, view: View) -> dict[str, Any]:
    return {
        **stored.to_dict(),
        "verdict": said.verdict.value,
        "near": said.near_miss,
        "clauses": [_clause(clause, view) for clause in said.clauses],
    }


def _clause(clause: ClauseResult, view: View) -> dict[str, Any]:
    """Return a clause; of a quantifier how many series it was true of, not what each of them said."""
    told = clause.to_dict()
    told.pop("series", None)
    found: dict[str, Any] = without_names(view, {**told, "reason": clause.reason})
    return found
