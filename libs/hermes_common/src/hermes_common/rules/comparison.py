"""A draft of the rules against the active ones, over series of the past: what each rule matches, gains and loses.

What a rule matches is what its condition is true for, whatever the rules before it do and whatever its state is;
outcomes and targets are those of the whole set. Fallback rules are left out where rules overlap: that is their purpose.

Fed with the groups of :mod:`hermes_common.rules.replay`, wherever they were counted. What a whole set decides follows
from what its conditions came to, so it is decided once for each combination, by the same code as everywhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, cast

from hermes_common.rules.compiler import CompiledRule
from hermes_common.rules.explanation import Context, Explanation, Verdict
from hermes_common.rules.replay import (
    ERROR,
    MATCH,
    NEAR,
    NEAR_UNKNOWN,
    NO_MATCH,
    SAMPLES,
    UNKNOWN,
    Condition,
    Group,
)
from hermes_common.rules.ruleset import CompiledEntry, CompiledRuleSet, RuleLike, decide

Change = Literal["new", "removed", "changed", "same"]
Sample = tuple[float, str]

MOST_GROUPS = 20_000
"""Combinations of answers that are kept apart; more are added up on the way."""
MOST_OVERLAPS = 20
"""Other rules that are named beside a rule, those with the most series in common."""

_VERDICTS = {
    MATCH: Verdict.MATCH,
    NO_MATCH: Verdict.NO_MATCH,
    NEAR: Verdict.NO_MATCH,
    UNKNOWN: Verdict.UNKNOWN,
    NEAR_UNKNOWN: Verdict.UNKNOWN,
    ERROR: Verdict.ERROR,
}
_KINDS = ("matched", "gained", "lost", "near_misses", "unknown", "errors")


@dataclass(slots=True)
class Finding:
    """Series of one kind: how many, and the newest of them."""

    count: int = 0
    samples: list[Sample] = field(default_factory=list)

    def add(self, group: Group) -> None:
        """Count a group."""
        self.count += group.count
        self.samples = sorted([*self.samples, *group.samples])[-SAMPLES:]

    def uids(self) -> list[str]:
        """Return the series UIDs of the samples, the newest first."""
        return [uid for _, uid in reversed(self.samples)]


@dataclass(slots=True)
class _Pair:
    """A rule as it is drafted and as it is active; ``None`` and -1 where it is not."""

    draft: RuleLike | None
    active: RuleLike | None
    here: int
    there: int
    found: dict[str, Finding] = field(default_factory=lambda: {kind: Finding() for kind in _KINDS})
    before: int = 0
    alone: int = 0
    overlaps: dict[int, int] = field(default_factory=dict)

    @property
    def rule(self) -> RuleLike:
        return cast(RuleLike, self.draft if self.draft is not None else self.active)

    @property
    def change(self) -> Change:
        if self.draft is None:
            return "removed"
        if self.active is None:
            return "new"
        same = all(getattr(self.draft, name) == getattr(self.active, name) for name in _ATTRIBUTES)
        return "same" if same else "changed"


_ATTRIBUTES = ("state", "scope", "expression", "targets", "priority", "fallback", "action", "then")


class Comparison:
    """Adds up. Rules of other scopes than ``series`` are not compared: :attr:`left_out` names them."""

    def __init__(self, draft: Sequence[RuleLike], active: Sequence[RuleLike]) -> None:
        places: dict[str, int] = {}
        old = {rule.slug: rule for rule in active if rule.scope == "series"}
        new = [rule for rule in draft if rule.scope == "series"]
        self.left_out = tuple(rule.slug for rule in draft if rule.scope != "series")
        self._pairs = [
            _Pair(rule, old.get(rule.slug), _place(places, rule), _place(places, old.get(rule.slug))) for rule in new
        ]
        known = {rule.slug for rule in new}
        self._pairs += [_Pair(None, rule, -1, _place(places, rule)) for slug, rule in old.items() if slug not in known]
        near = {pair.here for pair in self._pairs if pair.change in ("new", "changed")}
        if all(pair.change == "same" for pair in self._pairs):
            near = set(range(len(places)))
        self.conditions = tuple(Condition(text, place in near) for text, place in places.items())
        self._after = _Set(CompiledRuleSet.compile(new), places)
        self._before = _Set(CompiledRuleSet.compile(old.values()), places)
        self._groups: dict[str, Group] = {}
        self.series = 0
        self.changed = Finding()
        self._outcomes = {name: [0, 0] for name in ("routed", "unmatched", "discarded")}
        self._targets: dict[str, list[int]] = {}

    def add(self, groups: Iterable[tuple[str, int, Iterable[Sample]]]) -> None:
        """Take groups: the codes of :attr:`conditions`, how many series, and some of them."""
        for codes, count, samples in groups:
            self.series += count
            group = self._groups.setdefault(codes, Group(0, []))
            group.join(count, ((at, uid) for at, uid in samples))
        if len(self._groups) > MOST_GROUPS:
            self._fold()

    def failures(self) -> dict[str, str]:
        """Return why rules of the draft cannot be evaluated at all, by slug."""
        return {entry.rule.slug: entry.failure for entry in self._after.compiled.failures}

    def result(self) -> dict[str, Any]:
        """Return everything that was found, as JSON-ready values; samples are series UIDs."""
        self._fold()
        return {
            "series": self.series,
            "outcomes": {name: {"before": two[0], "after": two[1]} for name, two in self._outcomes.items()},
            "changed": {"count": self.changed.count, "samples": self.changed.uids()},
            "targets": [
                {"target": name, "before": four[0], "after": four[1], "gained": four[2], "lost": four[3]}
                for name, four in sorted(self._targets.items())
            ],
            "rules": [self._rule(pair) for pair in self._pairs],
            "left_out": list(self.left_out),
        }

    def explained(self, slug: str, tags: Mapping[str, Sequence[str]], at: datetime) -> Explanation | None:
        """Return what a rule of the draft says of a series, clause by clause; None if it has no condition."""
        for entry in self._after.compiled.entries:
            if entry.rule.slug == slug and entry.compiled is not None:
                return entry.compiled.explain(Context(tags), at)
        return None

    def _rule(self, pair: _Pair) -> dict[str, Any]:
        names = [other.rule.slug for other in self._pairs]
        shared = sorted(pair.overlaps.items(), key=lambda item: (-item[1], item[0]))[:MOST_OVERLAPS]
        return {
            "slug": pair.rule.slug,
            "name": pair.rule.name,
            "state": str(pair.rule.state),
            "fallback": pair.rule.fallback,
            "change": pair.change,
            "before": pair.before,
            **{kind: found.count for kind, found in pair.found.items()},
            "alone": pair.alone,
            "overlaps": [{"rule": names[place], "series": count} for place, count in shared],
            "samples": {kind: found.uids() for kind, found in pair.found.items()},
        }

    def _fold(self) -> None:
        groups, self._groups = self._groups, {}
        for codes, group in groups.items():
            self._count_rules(codes, group)
            self._count_deliveries(codes, group)

    def _count_rules(self, codes: str, group: Group) -> None:
        matching: list[int] = []
        for number, pair in enumerate(self._pairs):
            here = codes[pair.here] if pair.here >= 0 else ""
            is_now, was = here == MATCH, pair.there >= 0 and codes[pair.there] == MATCH
            found = pair.found
            if was:
                pair.before += group.count
            if is_now:
                found["matched"].add(group)
                if not pair.rule.fallback:
                    matching.append(number)
            if is_now is not was:
                found["gained" if is_now else "lost"].add(group)
            if here in (NEAR, NEAR_UNKNOWN):
                found["near_misses"].add(group)
            if here in (UNKNOWN, NEAR_UNKNOWN):
                found["unknown"].add(group)
            elif here == ERROR:
                found["errors"].add(group)
        if len(matching) == 1:
            self._pairs[matching[0]].alone += group.count
        for one in matching:
            overlaps = self._pairs[one].overlaps
            for other in matching:
                if other != one:
                    overlaps[other] = overlaps.get(other, 0) + group.count

    def _count_deliveries(self, codes: str, group: Group) -> None:
        (was, sent), (becomes, sends) = self._before.decide(codes), self._after.decide(codes)
        self._outcomes[was][0] += group.count
        self._outcomes[becomes][1] += group.count
        for target in sent | sends:
            four = self._targets.setdefault(target, [0, 0, 0, 0])
            four[0] += group.count if target in sent else 0
            four[1] += group.count if target in sends else 0
            four[2] += group.count if target not in sent else 0
            four[3] += group.count if target not in sends else 0
        if was != becomes or sent != sends:
            self.changed.add(group)


def _place(places: dict[str, int], rule: RuleLike | None) -> int:
    """Return the place of a rule's condition among the distinct ones."""
    return -1 if rule is None else places.setdefault(rule.expression, len(places))


@dataclass(frozen=True, slots=True)
class _Told:
    """Stands for a compiled condition of which is known what it came to."""

    verdict: Verdict

    def evaluate(self, _context: Context, _now: datetime) -> Verdict:
        return self.verdict


class _Set:
    """A set of rules that decides on what its conditions came to."""

    def __init__(self, compiled: CompiledRuleSet, places: Mapping[str, int]) -> None:
        self.compiled = compiled
        self._places = [places[entry.rule.expression] for entry in compiled.entries]
        self._known: dict[tuple[str, ...], tuple[str, frozenset[str]]] = {}

    def decide(self, codes: str) -> tuple[str, frozenset[str]]:
        """Return the outcome and the targets."""
        own = tuple(codes[place] for place in self._places)
        if (known := self._known.get(own)) is not None:
            return known
        entries = tuple(
            entry
            if entry.compiled is None
            else CompiledEntry(entry.rule, cast(CompiledRule, _Told(_VERDICTS[code])), entry.failure)
            for entry, code in zip(self.compiled.entries, own, strict=True)
        )
        said = decide(CompiledRuleSet("series", entries), _NOTHING, _SOME_TIME, explain=False)
        if len(self._known) >= MOST_GROUPS:
            self._known.clear()
        known = self._known[own] = (said.outcome, frozenset(planned.target for planned in said.targets))
        return known


_NOTHING = Context({})
_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""Not looked at: every condition has been evaluated."""
