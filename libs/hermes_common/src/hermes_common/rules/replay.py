"""Rules against many series of the past: which condition came to what, counted without keeping the series.

Most series differ only in tags that no rule asks about. So a series comes in as a *key*, whatever the source makes of
the values of the fields that are needed, and what the conditions say of a key is remembered. Conditions that ask for the
time (``within last``) are evaluated for every series, at the time at which it was decided.

What is kept is one group for each combination of answers (*codes*, one letter for each condition), with its count and
its newest series. Groups can be taken away at any time and added up elsewhere, by :mod:`hermes_common.rules.comparison`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from hermes_common.rules import tree
from hermes_common.rules.compiler import CompiledRule, compile_rule
from hermes_common.rules.dictionary import FieldInfo, Kind, look_up
from hermes_common.rules.explanation import Context, Tags, Verdict
from hermes_common.rules.problems import RuleError

MATCH, NO_MATCH, NEAR, UNKNOWN, NEAR_UNKNOWN, ERROR = "M", "N", "n", "U", "u", "E"
"""Codes. A near miss is true in all operands of its outermost ``and`` but one."""
SAMPLES = 6
"""Series kept of a group, the newest."""
MOST_KEYS = 20_000
"""Keys whose answers are remembered."""

_CODES = {
    Verdict.MATCH: MATCH,
    Verdict.NO_MATCH: NO_MATCH,
    Verdict.UNKNOWN: UNKNOWN,
    Verdict.ERROR: ERROR,
}
_NEARLY = {NO_MATCH: NEAR, UNKNOWN: NEAR_UNKNOWN}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of a series rule; an empty text is that of a fallback rule and matches everything.

    ``near`` asks for near misses, which cost some more evaluations.
    """

    text: str
    near: bool = False


@dataclass(frozen=True, slots=True)
class Needs:
    """What has to be known of a series: fields by canonical name, and sequences whose presence is asked for."""

    fields: tuple[str, ...]
    sequences: tuple[str, ...]

    @classmethod
    def of(cls, conditions: Iterable[Condition]) -> Self:
        """Return what the conditions ask about; one that cannot be compiled asks nothing."""
        fields: dict[str, None] = {}
        sequences: dict[str, None] = {}
        for condition in conditions:
            for clause in _clauses(condition.text):
                fields.setdefault(clause.field.name)
                info = look_up(clause.field.name)
                if isinstance(clause, tree.Presence) and isinstance(info, FieldInfo):
                    if info.kind in {Kind.SEQUENCE, Kind.UNTYPED}:
                        sequences.setdefault(clause.field.name)
        return cls(tuple(fields), tuple(sequences))


@dataclass(slots=True)
class Group:
    """The series that all conditions answered alike: how many, and the newest as (time, series UID)."""

    count: int
    samples: list[tuple[float, str]]

    def take(self, at: float, uid: str) -> None:
        """Count one more."""
        self.count += 1
        samples = self.samples
        if len(samples) < SAMPLES:
            samples.append((at, uid))
        elif at > samples[0][0]:
            samples[0] = (at, uid)
        else:
            return
        samples.sort()

    def join(self, count: int, samples: Iterable[tuple[float, str]]) -> None:
        """Count what was counted elsewhere."""
        self.count += count
        self.samples = sorted([*self.samples, *samples])[-SAMPLES:]


class Replay:
    """Evaluates conditions on one series after the other. ``read`` turns a key into the fields that are needed."""

    def __init__(self, conditions: Sequence[Condition], read: Callable[[bytes], Tags]) -> None:
        self._read = read
        self._probes = [_Probe.of(condition) for condition in conditions]
        self._timed = [place for place, probe in enumerate(self._probes) if probe.timed]
        self._known: dict[bytes, tuple[str, Context | None]] = {}
        self.groups: dict[str, Group] = {}

    def take(self, uid: str, at: float, key: bytes) -> None:
        """Take one series that was decided at ``at`` (seconds since 1970)."""
        known = self._known.get(key)
        if known is None:
            known = self._look(at, key)
        codes, context = known
        if context is not None:
            codes = self._at(codes, context, at)
        group = self.groups.get(codes)
        if group is None:
            self.groups[codes] = Group(1, [(at, uid)])
        else:
            group.take(at, uid)

    def drain(self) -> dict[str, Group]:
        """Return the groups so far and begin with none."""
        groups, self.groups = self.groups, {}
        return groups

    def _look(self, at: float, key: bytes) -> tuple[str, Context | None]:
        context, now = Context(self._read(key)), datetime.fromtimestamp(at, UTC)
        codes = "".join(NO_MATCH if probe.timed else probe.code(context, now) for probe in self._probes)
        if len(self._known) >= MOST_KEYS:
            self._known.clear()
        known = self._known[key] = (codes, context if self._timed else None)
        return known

    def _at(self, codes: str, context: Context, at: float) -> str:
        found, now = list(codes), datetime.fromtimestamp(at, UTC)
        for place in self._timed:
            found[place] = self._probes[place].code(context, now)
        return "".join(found)


@dataclass(frozen=True, slots=True)
class _Probe:
    """A condition ready to be evaluated; ``whole`` is None for one that always comes to ``fixed``."""

    whole: CompiledRule | None
    fixed: str = ERROR
    operands: tuple[CompiledRule, ...] = ()
    timed: bool = False

    @classmethod
    def of(cls, condition: Condition) -> Self:
        if not condition.text.strip():
            return cls(None, MATCH)
        try:
            whole = compile_rule(condition.text)
        except RuleError:
            return cls(None, ERROR)
        expression = whole.ast.expression
        operands: tuple[CompiledRule, ...] = ()
        if condition.near and isinstance(expression, tree.And):
            operands = tuple(compile_rule(tree.Rule(item)) for item in expression.items)
        timed = any(isinstance(clause, tree.Within) for clause in _walk(expression))
        return cls(whole, ERROR, operands, timed)

    def code(self, context: Context, now: datetime) -> str:
        if self.whole is None:
            return self.fixed
        code = _CODES[self.whole.evaluate(context, now)]
        if self.operands and code in _NEARLY and self._is_near(context, now):
            return _NEARLY[code]
        return code

    def _is_near(self, context: Context, now: datetime) -> bool:
        unmet = 0
        for operand in self.operands:
            if operand.evaluate(context, now) is not Verdict.MATCH:
                unmet += 1
                if unmet > 1:
                    return False
        return unmet == 1


def _clauses(text: str) -> Iterator[tree.Clause]:
    if not text.strip():
        return
    try:
        yield from _walk(compile_rule(text).ast.expression)
    except RuleError:
        return


def _walk(node: tree.Expression) -> Iterator[tree.Clause]:
    inside = tree.children(node)
    if not inside and isinstance(node, tree.Clause):
        yield node
    for child in inside:
        yield from _walk(child)
