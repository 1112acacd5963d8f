"""An ordered set of rules to a plan: which fire, to which targets, and why.

The order of decisions, all of them made here:

- A draft or paused rule is not evaluated. A dry-run rule is evaluated and reported, and changes nothing.
- Rules are taken in order. One that fires with ``then: stop`` leaves those after it out.
- A fallback rule fires only if no other active rule matched; one without an expression matches everything.
- A rule that discards takes effect only if no rule routes; and not while an active rule could not be evaluated, because
  that rule might have routed. Either way the images stay.
- A target that several rules ask for is planned once, with the most urgent of their priorities.
- A rule that cannot be compiled or evaluated is a failure of its own: it hides no other, and is not "no match".

Rules about series and rules about studies are one ordered set (ADR-0009). A series is decided first by those about
series (:func:`decide_series`), and again when its study is complete (:func:`decide_in_study`), with the same order of
decisions over both: what no rule about series routes is deferred until then, fallback rules and discarding included.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Protocol, Self, assert_never

from hermes_common.rules.compiler import CompiledRule, compile_rule
from hermes_common.rules.decision import PlannedTarget, RuleResult, SetDecision, Status
from hermes_common.rules.explanation import Context, Explanation, Verdict
from hermes_common.rules.problems import RuleError

PRIORITIES = ("urgent", "normal", "off_peak")
"""The most urgent first."""


class RuleLike(Protocol):
    """A rule of the configuration. Enumerations of texts may stand for the texts.

    ``state`` is draft, dry_run, active or paused; ``scope`` series or study; ``priority`` urgent, normal or off_peak;
    ``action`` route or discard; ``then`` continue or stop; ``targets`` are slugs.
    """

    @property
    def slug(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def expression(self) -> str: ...
    @property
    def targets(self) -> Sequence[str]: ...
    @property
    def priority(self) -> str: ...
    @property
    def fallback(self) -> bool: ...
    @property
    def action(self) -> str: ...
    @property
    def then(self) -> str: ...


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """A :class:`RuleLike` of its own, for tests of a single rule and for callers without a configuration."""

    slug: str
    name: str
    expression: str
    targets: tuple[str, ...] = ()
    state: str = "active"
    scope: str = "series"
    priority: str = "normal"
    fallback: bool = False
    action: str = "route"
    then: str = "continue"


@dataclass(frozen=True, slots=True)
class CompiledEntry:
    """A rule of a set with what became of compiling it: ``compiled`` is None if it failed, or needs no expression.

    ``plain`` keeps its results without explanation and reason, by status: they are the same for every series.
    """

    rule: RuleLike
    compiled: CompiledRule | None
    failure: str = ""
    plain: dict[Status, RuleResult] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CompiledRuleSet:
    """Rules, compiled once and evaluated often. Whoever makes it keeps it for its revision.

    ``scope`` is that of all its rules, or empty where it holds both.
    """

    scope: str
    entries: tuple[CompiledEntry, ...]

    @classmethod
    def compile(cls, rules: Iterable[RuleLike], scope: str = "series") -> Self:
        """Compile the rules of ``scope``, in their order. Never raises for a rule: what fails is kept as a failure."""
        return cls(scope, tuple(_compile_entry(rule) for rule in rules if rule.scope == scope))

    @classmethod
    def compile_all(cls, rules: Iterable[RuleLike]) -> Self:
        """Compile the rules of both scopes, in their order; as :meth:`compile` otherwise."""
        return cls("", tuple(_compile_entry(rule) for rule in rules))

    def about(self, scope: str) -> "CompiledRuleSet":
        """Return the rules of one scope."""
        return CompiledRuleSet(scope, tuple(entry for entry in self.entries if entry.rule.scope == scope))

    @property
    def failures(self) -> tuple[CompiledEntry, ...]:
        """The rules that could not be compiled."""
        return tuple(entry for entry in self.entries if entry.failure)


def _compile_entry(rule: RuleLike) -> CompiledEntry:
    if (mistake := _mistake(rule)) is not None:
        return CompiledEntry(rule, None, mistake)
    if rule.fallback and not rule.expression.strip():
        return CompiledEntry(rule, None)
    try:
        return CompiledEntry(rule, _compiled(rule.expression, str(rule.scope)))
    except RuleError as exc:
        return CompiledEntry(rule, None, f"the expression cannot be used: {exc}")


@lru_cache(maxsize=2048)
def _compiled(expression: str, scope: str) -> CompiledRule:
    """Return a compiled expression; of two sets of rules most are the same, and compiling takes a millisecond each."""
    return compile_rule(expression, scope)


def _mistake(rule: RuleLike) -> str | None:
    """Return why a rule cannot be carried out, apart from its expression."""
    known = {
        "state": (rule.state, ("draft", "dry_run", "active", "paused")),
        "action": (rule.action, ("route", "discard")),
        "then": (rule.then, ("continue", "stop")),
        "priority": (rule.priority, PRIORITIES),
    }
    for name, (value, choices) in known.items():
        if value not in choices:
            return f"{value!r} is not a {name} of a rule"
    if rule.action == "route" and not rule.targets:
        return "the rule routes but names no target"
    return None


def decide(rules: CompiledRuleSet, context: Context, now: datetime, *, explain: bool = True) -> SetDecision:
    """Return what the set says about ``context``: what every rule came to, the targets, and the outcome.

    Never raises for a rule. ``explain=False`` leaves the explanations out and is many times faster.
    """
    return _decide(rules.entries, _Evaluation({rules.scope: context}, now, explain))


def decide_series(rules: CompiledRuleSet, context: Context, now: datetime) -> SetDecision:
    """Return what the rules about series of a set of both say, before the study of the series is complete.

    The outcome is ``deferred``, with no targets, if none of them routes and an active rule about studies is reached:
    then that one is asked before a fallback rule fires, before something is discarded, and before "unmatched" is said.
    """
    evaluation = _Evaluation({"series": context}, now, explain=True)
    results: dict[int, RuleResult] = {}
    reached = False
    for index, entry in enumerate(rules.entries):
        if entry.rule.scope != "series":
            reached = reached or (entry.rule.state == "active" and not evaluation.stopped_by)
        elif not entry.rule.fallback:
            results[index] = evaluation.take(entry)
    stopped_by, evaluation.stopped_by = evaluation.stopped_by, ""
    deferred = reached and not any(result.fired and result.action == "route" for result in results.values())
    for index, entry in enumerate(rules.entries):
        if entry.rule.scope == "series" and entry.rule.fallback:
            result = evaluation.take(entry)
            held = deferred and result.status is not Status.OFF
            results[index] = replace(result, status=Status.HELD_BACK, reason=_STUDY_FIRST) if held else result
    ordered = tuple(results[index] for index in sorted(results))
    if deferred:
        return SetDecision("deferred", tuple(_overrule(each, _STUDY_FIRST) for each in ordered), (), stopped_by)
    return _conclude(ordered, stopped_by)


_STUDY_FIRST = "the rules about its study are asked first"


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the rules about series came to when the series was decided; ``matched_by`` is empty if none routed it."""

    matched_by: str = ""
    stopped_by: str = ""


Known = dict[str, tuple[Verdict, Explanation | None, str]]
"""What rules about studies came to, by slug: the same for every series of a study."""


def decide_in_study(
    rules: CompiledRuleSet,
    series: Context,
    study: Context,
    now: datetime,
    *,
    earlier: Earlier | None = None,
    known: Known | None = None,
) -> SetDecision:
    """Return what a set of both scopes says of one series of a complete study.

    Without ``earlier`` all rules are evaluated, each on what it is about. With it only those about studies are: the
    ones about series have had their say, and what they stopped stays stopped.
    """
    evaluation = _Evaluation({"series": series, "study": study}, now, explain=True, known=known)
    if earlier is None:
        return _decide(rules.entries, evaluation)
    evaluation.matched_by = earlier.matched_by
    results: dict[int, RuleResult] = {}
    for fallback in (False, True):
        evaluation.stopped_by = ""
        for index, entry in enumerate(rules.entries):
            if entry.rule.scope == "study" and entry.rule.fallback is fallback:
                results[index] = evaluation.take(entry)
            elif not fallback and earlier.stopped_by and entry.rule.slug == earlier.stopped_by:
                evaluation.stopped_by = earlier.stopped_by
    ordered = tuple(results[index] for index in sorted(results))
    if earlier.matched_by:
        ordered = tuple(_overrule(each, f"rule {earlier.matched_by} routes") for each in ordered)
    return _conclude(ordered, earlier.stopped_by)


def _decide(entries: Sequence[CompiledEntry], evaluation: "_Evaluation") -> SetDecision:
    results: dict[int, RuleResult] = {}
    stopped_by = ""
    for fallback in (False, True):
        evaluation.stopped_by = ""
        for index, entry in enumerate(entries):
            if entry.rule.fallback is fallback:
                results[index] = evaluation.take(entry)
        if not fallback:
            stopped_by = evaluation.stopped_by
    return _conclude(tuple(results[index] for index in range(len(entries))), stopped_by)


@dataclass(slots=True)
class _Evaluation:
    """One pass over a set: what has been decided by the rules so far. ``contexts`` are by scope."""

    contexts: Mapping[str, Context]
    now: datetime
    explain: bool
    known: Known | None = None
    stopped_by: str = ""
    matched_by: str = ""

    def take(self, entry: CompiledEntry) -> RuleResult:
        """Evaluate the next rule."""
        rule = entry.rule
        if rule.state in {"draft", "paused"}:
            return _result(rule, Status.OFF, reason=f"the rule is {rule.state}")
        if self.stopped_by:
            return _result(rule, Status.NOT_REACHED, reason=f"rule {self.stopped_by} matched and stops")
        verdict, explanation, reason = self._remembered(entry)
        status, why = self._status(rule, verdict)
        if explanation is not None or why or reason:
            return _result(rule, status, verdict, explanation, why or reason)
        known = entry.plain.get(status)
        if known is None:
            known = entry.plain[status] = _result(rule, status, verdict)
        return known

    def _remembered(self, entry: CompiledEntry) -> tuple[Verdict, Explanation | None, str]:
        if self.known is None or entry.rule.scope != "study":
            return self._verdict(entry)
        if entry.rule.slug not in self.known:
            self.known[entry.rule.slug] = self._verdict(entry)
        return self.known[entry.rule.slug]

    def _verdict(self, entry: CompiledEntry) -> tuple[Verdict, Explanation | None, str]:
        if entry.failure:
            return Verdict.ERROR, None, entry.failure
        if entry.compiled is None:
            return Verdict.MATCH, None, "the rule has no condition"
        context = self.contexts[entry.rule.scope]
        if not self.explain:
            return entry.compiled.evaluate(context, self.now), None, ""
        explanation = entry.compiled.explain(context, self.now)
        return explanation.verdict, explanation, explanation.reason

    def _status(self, rule: RuleLike, verdict: Verdict) -> tuple[Status, str]:
        match verdict:
            case Verdict.NO_MATCH:
                return Status.NOT_MATCHED, ""
            case Verdict.UNKNOWN:
                return Status.UNKNOWN, ""
            case Verdict.ERROR:
                return Status.FAILED, ""
            case Verdict.MATCH:
                return self._match(rule)
            case _:
                assert_never(verdict)

    def _match(self, rule: RuleLike) -> tuple[Status, str]:
        if rule.fallback and self.matched_by:
            return Status.HELD_BACK, f"rule {self.matched_by} matched"
        if rule.state == "dry_run":
            return Status.WOULD_FIRE, "the rule is a dry run"
        if not rule.fallback:
            self.matched_by = self.matched_by or rule.slug
        if rule.then == "stop":
            self.stopped_by = rule.slug
        return Status.FIRED, ""


def _result(
    rule: RuleLike,
    status: Status,
    verdict: Verdict | None = None,
    explanation: Explanation | None = None,
    reason: str = "",
) -> RuleResult:
    return RuleResult(
        slug=rule.slug,
        name=rule.name,
        state=str(rule.state),
        action=str(rule.action),
        priority=str(rule.priority),
        status=status,
        verdict=verdict,
        targets=tuple(rule.targets),
        expression=rule.expression,
        explanation=explanation,
        reason=reason,
    )


def _conclude(results: tuple[RuleResult, ...], stopped_by: str = "") -> SetDecision:
    """Weigh routing against discarding and plan the targets."""
    routing = next((r.slug for r in results if r.fired and r.action == "route"), None)
    failing = next((r.slug for r in results if r.status is Status.FAILED and r.state != "dry_run"), None)
    if routing is not None:
        results = tuple(_overrule(result, f"rule {routing} routes") for result in results)
        return SetDecision("routed", results, _plan(results), stopped_by)
    if failing is not None:
        results = tuple(_overrule(result, f"rule {failing} could not be evaluated") for result in results)
        return SetDecision("unmatched", results, (), stopped_by)
    return SetDecision("discarded" if any(r.fired for r in results) else "unmatched", results, (), stopped_by)


def _overrule(result: RuleResult, reason: str) -> RuleResult:
    """Take the effect from a rule that discards."""
    if result.action == "discard" and result.status in {Status.FIRED, Status.WOULD_FIRE}:
        return replace(result, status=Status.OVERRULED, reason=reason)
    return result


def _plan(results: tuple[RuleResult, ...]) -> tuple[PlannedTarget, ...]:
    """Return each target once, with its most urgent priority."""
    asked: dict[str, list[RuleResult]] = {}
    for result in results:
        if result.fired:
            for target in dict.fromkeys(result.targets):
                asked.setdefault(target, []).append(result)
    return tuple(
        PlannedTarget(target, min((r.priority for r in by), key=PRIORITIES.index), tuple(r.slug for r in by))
        for target, by in asked.items()
    )
