"""Rules against many series of the past: which condition came to what, counted without keeping the series.

A clause asks about one field, and most values of a field come again and again. So a series comes in as *columns*, the
encoded values of the fields that are needed, and what the clauses say of a value is remembered as its *class*. Series
of the same classes have the same verdicts, so a whole condition is evaluated once for each combination of classes.
Only clauses that ask for the time (``within last``) are evaluated for every series, as of the time of its decision.

What is kept is one group for each combination of answers (*codes*, one letter for each condition), with its count and
its newest series. Groups can be taken away at any time and added up by :mod:`hermes_common.rules.comparison`.
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
MOST_KNOWN = 20_000
"""Values of a column, and combinations of classes, that are remembered; then it begins anew."""

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
                fields.setdefault(str(clause.field.name))
                info = look_up(clause.field.name)
                holds = isinstance(info, FieldInfo) and info.kind in {Kind.SEQUENCE, Kind.UNTYPED}
                if holds and isinstance(clause, tree.Presence):
                    sequences.setdefault(str(clause.field.name))
        return cls(tuple(fields), tuple(sequences))


@dataclass(frozen=True, slots=True)
class Column:
    """The encoded values of some fields (of one, as a rule), and how to read them; what is absent is left out."""

    fields: tuple[str, ...]
    read: Callable[[bytes], Tags]


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
        elif (at, uid) > samples[0]:
            samples[0] = (at, uid)
        else:
            return
        samples.sort()

    def join(self, count: int, samples: Iterable[tuple[float, str]]) -> None:
        """Count what was counted elsewhere."""
        self.count += count
        self.samples = sorted([*self.samples, *samples])[-SAMPLES:]


class Replay:
    """Evaluates conditions on one series after the other. ``columns`` have what :class:`Needs` names."""

    def __init__(self, conditions: Sequence[Condition], columns: Sequence[Column]) -> None:
        self._probes = [_Probe.of(condition) for condition in conditions]
        clauses = dict.fromkeys(clause for condition in conditions for clause in _clauses(condition.text))
        self._columns = [_Classes(column, clauses) for column in columns]
        self._timed = [(place, each) for place, each in enumerate(self._columns) if each.timed]
        self._known: dict[tuple[str, ...], str] = {}
        self.groups: dict[str, Group] = {}

    def take(self, uid: str, at: float, values: Sequence[bytes]) -> None:
        """Take one series that was decided at ``at`` (seconds since 1970); ``values`` has one for each column."""
        classes = [each.known.get(value) or each.look(value) for each, value in zip(self._columns, values, strict=True)]
        if self._timed:
            now = datetime.fromtimestamp(at, UTC)
            classes += [each.now(values[place], now) for place, each in self._timed]
        combined = tuple(classes)
        codes = self._known.get(combined)
        if codes is None:
            codes = self._evaluate(combined, at, values)
        group = self.groups.get(codes)
        if group is None:
            self.groups[codes] = Group(1, [(at, uid)])
        else:
            group.take(at, uid)

    def drain(self) -> dict[str, Group]:
        """Return the groups so far and begin with none."""
        groups, self.groups = self.groups, {}
        return groups

    def _evaluate(self, combined: tuple[str, ...], at: float, values: Sequence[bytes]) -> str:
        tags: dict[str, Sequence[str]] = {}
        for each, value in zip(self._columns, values, strict=True):
            tags.update(each.column.read(value))
        context, now = Context(tags), datetime.fromtimestamp(at, UTC)
        codes = "".join(probe.code(context, now) for probe in self._probes)
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[combined] = codes
        return codes


class _Classes:
    """The classes of the values of one column: what each clause about it says, and whether there is anything."""

    def __init__(self, column: Column, clauses: Iterable[tree.Clause]) -> None:
        own = [clause for clause in clauses if clause.field.name in column.fields]
        self.column = column
        self._steady = [compile_rule(tree.Rule(each)) for each in own if not isinstance(each, tree.Within)]
        self.timed = [compile_rule(tree.Rule(each)) for each in own if isinstance(each, tree.Within)]
        self.known: dict[bytes, str] = {}
        self._read: dict[bytes, Context] = {}

    def look(self, value: bytes) -> str:
        """Return the class of a value that is not known yet; never empty."""
        tags = self.column.read(value)
        context = Context(tags)
        found = ("+" if tags else "-") + "".join(_CODES[each.evaluate(context, _SOME_TIME)] for each in self._steady)
        if len(self.known) >= MOST_KNOWN:
            self.known.clear()
        self.known[value] = found
        return found

    def now(self, value: bytes, now: datetime) -> str:
        """Return what the clauses that ask for the time say."""
        context = self._read.get(value)
        if context is None:
            if len(self._read) >= MOST_KNOWN:
                self._read.clear()
            context = self._read[value] = Context(self.column.read(value))
        return "".join(_CODES[each.evaluate(context, now)] for each in self.timed)


_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""Given where only its zone is looked at."""


@dataclass(frozen=True, slots=True)
class _Probe:
    """A condition ready to be evaluated; ``whole`` is None for one that always comes to ``fixed``."""

    whole: CompiledRule | None
    fixed: str = ERROR
    operands: tuple[CompiledRule, ...] = ()

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
        return cls(whole, ERROR, operands)

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
