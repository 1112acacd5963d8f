"""Fuzzes the rule language with atheris: outside of the tests, because it needs minutes and a package of its own.

    just fuzz-rules            ten minutes, or: just fuzz-rules 60

What holds for every text: it is a rule, or an error with a place in the text, within 50 ms. For a rule: its canonical
text is stable and means the same; it compiles; on any tags it answers quickly, never with an error, and as its
explanation says. A finding ends the run with the input in a file ``crash-…``; that file as argument repeats it.
"""

import sys
import time
from datetime import UTC, datetime

import atheris

with atheris.instrument_imports(include=["hermes_common"]):
    from hermes_common.rules import Context, RuleError, Verdict, check, compile_rule, format_rule, parse
    from hermes_common.rules.lexer import KEYWORDS
    from hermes_common.rules.patterns import compile_pattern, searcher

NOW = datetime(2026, 3, 14, 10, 30, tzinfo=UTC)
LIMIT = 0.05
"""Seconds of processor time for a text, and for an evaluation; what is slower once is measured again."""

NAMES = (
    "Modality", "SeriesDescription", "Rows", "SliceThickness", "StudyDate", "StudyTime", "AcquisitionDateTime",
    "PatientAge", "PatientName", "ImageType", "(0019,100C)", "(0008,103E)", "ProcedureCodeSequence",
    "ProcedureCodeSequence.CodeValue", "RequestAttributesSequence.RequestedProcedureCodeSequence.CodeValue",
    "PixelData", "source.aet", "series.instances", "study.series", "received.hour", "received.weekday", "Modalty",
)  # fmt: skip
OPERANDS = (
    '"MR"', '"2026-03-01"', '"2026-03-01 08:30"', '"08:30"', '"018M"', '"sat"', '""', "' a '", '"Doe^Jane"', "1", "1.5",
    "-3e2", "9007199254740993",
)  # fmt: skip
TAILS = (
    "is present", "is missing", "within last 3 days", "within last 100000 minutes", "matches /x/i",
    "matches /^(a|b)*$/", "matches /\\pL{9}/", "matches /[^a]{99}/", "matches /(/",
)  # fmt: skip
RELATIONS = ("==", "!=", "<", "<=", ">", ">=", "~=", "contains", "starts with", "ends with", "has")
WORDS = (
    *KEYWORDS, *NAMES, *OPERANDS, *TAILS, *RELATIONS, "(", ")", "[", "]", ",", "=", "any series (", "all series (",
    "count series (", ") >= 2", "# c\n", "\n", "\\", '"', "/",
)  # fmt: skip
VALUES = (
    "", " ", "\0", "MR", "mr ", "1", "1.50", "nan", "1_0", "20260314", "2026", "083000", "045Y", "Doe^Jane=字^字",
    "20260314103000+0100", "\ud800", "x" * 256, "6", "saturday",
)  # fmt: skip
COUNTS = {"texts": 0, "rules": 0}


def main() -> None:
    """Run until libFuzzer says so."""
    atheris.Setup([*sys.argv, "-timeout=10", "-max_len=5000", "-len_control=0", "-print_final_stats=1"], examine)
    atheris.Fuzz()


def examine(data: bytes) -> None:
    """Examine what is made of some bytes: one text in either scope, on tags of its own."""
    source = atheris.FuzzedDataProvider(data)
    tags = tags_from(source)
    COUNTS["texts"] += 1
    if COUNTS["texts"] % 10_000 == 0:
        print(f"{COUNTS['texts']:,} texts, {COUNTS['rules']:,} rules of one scope evaluated", file=sys.stderr)  # noqa: T201
    series = [tags_from(source) for _ in range(source.ConsumeIntInRange(0, 3))]
    text = text_from(source)
    for scope in ("series", "study"):
        quickly(lambda scope=scope: answer(text, scope))
        answered(text, scope, Context(tags, series))


def text_from(source: atheris.FuzzedDataProvider) -> str:
    """Return any text, words of the language in any order with stray characters, or what is nearly always a rule."""
    kind = source.ConsumeIntInRange(0, 3)
    if kind == 0:
        return str(source.ConsumeUnicode(5000))
    if kind == 1:
        return " ".join(
            pick(source, WORDS) if source.ConsumeIntInRange(0, 15) else source.ConsumeUnicode(6)
            for _ in range(source.ConsumeIntInRange(1, 60))
        )
    return expression_from(source, 4)


def expression_from(source: atheris.FuzzedDataProvider, depth: int) -> str:
    """Return an expression by the grammar, of fields and values that fit each other or not."""
    kind = source.ConsumeIntInRange(0, 9) if depth else 9
    if kind <= 3:
        parts = [expression_from(source, depth - 1) for _ in range(source.ConsumeIntInRange(2, 5))]
        return f"({pick(source, (' and ', ' or ')).join(parts)})"
    if kind == 4:
        return f"not {expression_from(source, depth - 1)}"
    if kind == 5:
        quantifier = pick(source, ("any series ({})", "all series ({})", "count series ({}) >= 2"))
        return quantifier.format(expression_from(source, depth - 1))
    name, value = pick(source, NAMES), pick(source, OPERANDS)
    match source.ConsumeIntInRange(0, 4):
        case 0:
            return f"{name} {pick(source, TAILS)}"
        case 1:
            return f"{name} {pick(source, ('in', 'not in'))} [{value}, {pick(source, OPERANDS)}]"
        case 2:
            return f"{name} between {value} and {pick(source, OPERANDS)}"
        case _:
            return f"{name} {pick(source, RELATIONS)} {value}"


def pick(source: atheris.FuzzedDataProvider, among: tuple[str, ...]) -> str:
    """Return one of several texts."""
    return among[source.ConsumeIntInRange(0, len(among) - 1)]


def tags_from(source: atheris.FuzzedDataProvider) -> dict[str, list[str]]:
    """Return tags and facts with values that fit, or do not."""
    found: dict[str, list[str]] = {}
    for _ in range(source.ConsumeIntInRange(0, 6)):
        found[pick(source, NAMES)] = [
            pick(source, VALUES) if source.ConsumeIntInRange(0, 3) else source.ConsumeUnicode(8)
            for _ in range(source.ConsumeIntInRange(0, 3))
        ]
    return found


def answer(text: str, scope: str) -> bool:
    """Return whether a text is a rule; what it is refused with has a place in it."""
    try:
        check(text, scope)
        return True
    except RuleError as error:
        problems = error.problems
    assert problems, "an error without a problem"
    for problem in problems:
        span = problem.span
        assert 0 <= span.start <= span.end <= len(text), f"{span} is not in the text"
        assert span.line == text.count("\n", 0, span.start) + 1, f"{span} is on another line"
        assert span.column == span.start - text.rfind("\n", 0, span.start), f"{span} is in another column"
        assert problem.message
        problem.to_dict()
    return False


def answered(text: str, scope: str, context: Context) -> None:
    """Examine a rule: its canonical form, and what it answers."""
    try:
        rule = compile_rule(text, scope)
    except RuleError:
        return
    canonical = format_rule(rule.ast)
    assert format_rule(parse(canonical)) == canonical, "the canonical text is not stable"
    assert parse(canonical) == rule.ast, "the canonical text means something else"
    verdict = rule.evaluate(context, NOW)
    assert verdict is not Verdict.ERROR, f"an error: {rule.explain(context, NOW).reason}"
    assert compile_rule(canonical, scope).evaluate(context, NOW) is verdict, "the canonical text answers otherwise"
    explanation = rule.explain(context, NOW)
    assert explanation.verdict is verdict, f"evaluation says {verdict}, the explanation {explanation.verdict}"
    assert all(text[clause.span.start : clause.span.end] for clause in explanation.clauses)
    explanation.to_dict()
    quickly(lambda: rule.evaluate(context, NOW))
    COUNTS["rules"] += 1


def quickly(run: object) -> None:
    """Call ``run``, and refuse that it takes longer than the limit five times in a row, with nothing remembered."""
    taken = []
    for _ in range(5):
        start = time.process_time()
        run()  # type: ignore[operator]
        taken.append(time.process_time() - start)
        if taken[-1] <= LIMIT:
            return
        compile_pattern.cache_clear()
        searcher.cache_clear()
    raise AssertionError(f"it took {min(taken) * 1000:.0f} ms")


if __name__ == "__main__":
    main()
