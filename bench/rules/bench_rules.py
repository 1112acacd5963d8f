"""Evaluations per second of 100 compiled rules of seven clauses over a context of 60 tags, beside other engines.

    just bench-rules [--rounds 5] [--seconds 0.5] [--json result.json]

All engines get the same clauses over the same values, each in its own syntax, and are compared only after each has
given the answer that is right for every rule. The others know neither missing tags nor several values and get single
values as numbers and texts, and compare text in the capitals at hand, which is less work than ours. Rounds are
interleaved, so that a busy machine disturbs all alike; each figure is the median, in processor time. An engine that is
not installed is named as such.

Three mixes: *spread*: the clause that decides is each of the seven in turn, or none; *first*: the first clause is false
in nine rules of ten, as when rules begin with the modality; *all*: every clause is true, so that all are evaluated.
"""

import argparse
import json
import platform
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from hermes_common.rules import Context, Verdict, compile_rule

NOW = datetime(2026, 3, 14, 10, 0, tzinfo=UTC)
VALUES = {
    "Modality": "MR",
    "StudyDescription": "MRI BRAIN W CONTRAST",
    "SliceThickness": 1.0,
    "Manufacturer": "SIEMENS",
    "SeriesDescription": "T1 mprage gd",
    "BodyPartExamined": "BRAIN",
    "SeriesNumber": 5,
}
FILLER = {f"Tag{i}": "value" for i in range(60 - len(VALUES))}
RULES = 100
GOALS = {"evaluate": 400_000, "ratio": 2.0, "explain": 50_000, "compile": 1_000}
"""Per second; the ratio is to cel-expr-python."""

MIXES: dict[str, Callable[[int], int | None]] = {
    "spread": lambda number: number % 8 if number % 8 < 7 else None,
    "first": lambda number: 0 if number % 10 else None,
    "all": lambda _number: None,
}
"""Which clause of the rule of a number is false."""

CLAUSES = {
    "hermes": (
        'Modality == "{MR|CT}"', 'StudyDescription contains "{brain|liver}"', "SliceThickness <= {1.5|0.5}",
        'Manufacturer in ["{SIEMENS|GE}", "PHILIPS"]', "SeriesDescription matches /^{t1|t2}.*gd$/i",
        'not BodyPartExamined == "{ABDOMEN|BRAIN}"', "SeriesNumber < {100|3}",
    ),
    "cel-expr-python": (
        'Modality == "{MR|CT}"', 'StudyDescription.contains("{BRAIN|LIVER}")', "SliceThickness <= {1.5|0.5}",
        'Manufacturer in ["{SIEMENS|GE}", "PHILIPS"]', 'SeriesDescription.matches("(?i)^{t1|t2}.*gd$")',
        '!(BodyPartExamined == "{ABDOMEN|BRAIN}")', "SeriesNumber < {100|3}",
    ),
    "rule-engine": (
        'Modality == "{MR|CT}"', '"{BRAIN|LIVER}" in StudyDescription', "SliceThickness <= {1.5|0.5}",
        'Manufacturer in ["{SIEMENS|GE}", "PHILIPS"]', 'SeriesDescription =~~ "(?i)^{t1|t2}.*gd$"',
        'not (BodyPartExamined == "{ABDOMEN|BRAIN}")', "SeriesNumber < {100|3}",
    ),
    "asteval": (
        'Modality == "{MR|CT}"', '"{BRAIN|LIVER}" in StudyDescription', "SliceThickness <= {1.5|0.5}",
        'Manufacturer in ["{SIEMENS|GE}", "PHILIPS"]', "{t1|t2}(SeriesDescription)",
        'not (BodyPartExamined == "{ABDOMEN|BRAIN}")', "SeriesNumber < {100|3}",
    ),
}  # fmt: skip
"""The same clauses for each engine; of ``{a|b}`` the first makes it true, the second false. asteval has no regular
expressions and is given the compiled ones as functions."""

Run = Callable[[], list[object]]


def texts(engine: str, mix: str) -> list[str]:
    """Return the rules of a mix in the syntax of an engine; no two are the same."""
    joint = " && " if engine == "cel-expr-python" else " and "
    return [joint.join(_clauses(engine, number, MIXES[mix](number))) for number in range(RULES)]


def _clauses(engine: str, number: int, wrong: int | None) -> list[str]:
    chosen = []
    for index, clause in enumerate(CLAUSES[engine]):
        text = re.sub(r"\{([^|{}]*)\|([^{}]*)\}", lambda found, at=index: found[2] if at == wrong else found[1], clause)
        chosen.append(text.replace("< 100", f"< {100 + number}"))
    return chosen


def right_answers(mix: str) -> list[bool]:
    """Return what every rule of a mix should say."""
    return [MIXES[mix](number) is None for number in range(RULES)]


def our_runner(mix: str) -> Run:
    """Prepare this language."""
    context = Context({name: (str(value),) for name, value in (VALUES | FILLER).items()})
    rules = [compile_rule(text) for text in texts("hermes", mix)]
    return lambda: [rule.evaluate(context, NOW) for rule in rules]


def cel_runner(mix: str) -> Run:
    """Prepare cel-expr-python."""
    from cel_expr_python import cel as engine  # type: ignore[import-not-found]

    kinds = {str: engine.Type.STRING, float: engine.Type.DOUBLE, int: engine.Type.INT}
    values = VALUES | FILLER
    environment = engine.NewEnv(variables={name: kinds[type(value)] for name, value in values.items()})
    rules = [environment.compile(text) for text in texts("cel-expr-python", mix)]
    activation = environment.Activation(values)
    return lambda: [rule.eval(activation).value() for rule in rules]


def rule_engine_runner(mix: str) -> Run:
    """Prepare rule-engine."""
    import rule_engine  # type: ignore[import-not-found]

    values = VALUES | FILLER
    rules = [rule_engine.Rule(text) for text in texts("rule-engine", mix)]
    return lambda: [rule.matches(values) for rule in rules]


def asteval_runner(mix: str) -> Run:
    """Prepare asteval."""
    import asteval  # type: ignore[import-not-found]

    interpreter = asteval.Interpreter()
    patterns = {name: re.compile(f"^{name}.*gd$", re.IGNORECASE).search for name in ("t1", "t2")}
    interpreter.symtable.update(VALUES | FILLER | patterns)
    rules = [interpreter.parse(text) for text in texts("asteval", mix)]
    return lambda: [interpreter.run(rule) for rule in rules]


ENGINES: dict[str, Callable[[str], Run]] = {
    "hermes": our_runner,
    "cel-expr-python": cel_runner,
    "rule-engine": rule_engine_runner,
    "asteval": asteval_runner,
}


def prepared(mix: str) -> dict[str, Run]:
    """Return the engines that are installed; each has given the right answer to every rule."""
    found: dict[str, Run] = {}
    for name, prepare in ENGINES.items():
        try:
            found[name] = prepare(mix)
        except ImportError:
            continue
        said = [answer is Verdict.MATCH if isinstance(answer, Verdict) else bool(answer) for answer in found[name]()]
        assert said == right_answers(mix), f"{name} answers {mix} wrongly"
    return found


def rates(runs: dict[str, tuple[Run, int]], rounds: int, seconds: float) -> dict[str, float]:
    """Return the median rate of each, per second of processor time, over interleaved rounds."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (run, size) in runs.items():
            count, start = 0, time.process_time()
            while (spent := time.process_time() - start) < seconds:
                run()
                count += size
            found[name].append(count / spent)
    return {name: median(values) for name, values in found.items()}


def own_rates(rounds: int, seconds: float) -> dict[str, float]:
    """Measure what the others do not have: explaining; and compiling, with parsing, checking and a new pattern."""
    context = Context({name: (str(value),) for name, value in (VALUES | FILLER).items()})
    rules = [compile_rule(text) for text in texts("hermes", "spread")]
    source = texts("hermes", "all")[0]
    number = iter(range(10**9))
    runs = {
        "explain": (lambda: [rule.explain(context, NOW) for rule in rules], RULES),
        "compile": (lambda: [compile_rule(source.replace("gd$", f"gd{next(number)}$"))], 1),
    }
    return rates(runs, rounds, seconds)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=0.5, help="processor time for each figure in each round")
    options.add_argument("--json", type=Path, help="write the result to this file, too")
    chosen = options.parse_args()
    result: dict[str, object] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "rounds": chosen.rounds,
        "seconds": chosen.seconds,
        "versions": {name: _version(name) for name in ENGINES if name != "hermes"},
        "goals": GOALS,
    }
    for mix in MIXES:
        runs = {name: (run, RULES) for name, run in prepared(mix).items()}
        measured = rates(runs, chosen.rounds, chosen.seconds)
        result[mix] = measured
        for name, value in measured.items():
            ratio = "" if name == "hermes" else f"   ours is {measured['hermes'] / value:5.1f} times that"
            print(f"evaluate, {mix:7} {name:16} {value:12,.0f} /s{ratio}")
    own = own_rates(chosen.rounds, chosen.seconds)
    result["own"] = own
    for name, value in own.items():
        print(f"{name:17} {'hermes':16} {value:12,.0f} /s   {1e6 / value:8.1f} us")
    for name in ENGINES:
        if name not in measured:
            print(f"{name} is not installed")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
