"""Evaluations per second of 100 compiled rules of seven clauses over a context of 60 tags.

    python bench/rules/bench_rules.py [--seconds 1.0]

Compares with other engines where they are installed, for instance in an environment of their own:

    pip install cel-expr-python rule-engine asteval

An engine that is not installed is named as such. All get the same clauses; the engines that know neither missing tags
nor several values get single values as numbers and texts, which is less work than ours.
"""

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime

from hermes_common.rules import Context, compile_rule

NOW = datetime(2026, 3, 14, 10, 0, tzinfo=UTC)
MODALITIES = ("MR", "CT", "US", "DX", "MG", "PT", "NM", "XA", "CR", "OT")
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


def ours(modality: str, number: int) -> str:
    """Return a rule of seven clauses in our language."""
    return (
        f'Modality == "{modality}" and StudyDescription contains "brain" and SliceThickness <= 1.5 '
        f'and Manufacturer in ["SIEMENS", "PHILIPS"] and SeriesDescription matches /^t1.*gd$/i '
        f'and not BodyPartExamined == "ABDOMEN" and SeriesNumber < {100 + number}'
    )


def cel(modality: str, number: int) -> str:
    """Return the same for CEL."""
    return (
        f'Modality == "{modality}" && StudyDescription.contains("BRAIN") && SliceThickness <= 1.5 '
        f'&& Manufacturer in ["SIEMENS", "PHILIPS"] && SeriesDescription.matches("(?i)^t1.*gd$") '
        f'&& !(BodyPartExamined == "ABDOMEN") && SeriesNumber < {100 + number}'
    )


def rule_engine_text(modality: str, number: int) -> str:
    """Return the same for rule-engine."""
    return (
        f'Modality == "{modality}" and "BRAIN" in StudyDescription and SliceThickness <= 1.5 '
        f'and Manufacturer in ["SIEMENS", "PHILIPS"] and SeriesDescription =~ "^T1.*gd$" '
        f'and not (BodyPartExamined == "ABDOMEN") and SeriesNumber < {100 + number}'
    )


def python(modality: str, number: int) -> str:
    """Return the same for asteval, which has no regular expressions."""
    return (
        f'Modality == "{modality}" and "BRAIN" in StudyDescription and SliceThickness <= 1.5 '
        f'and Manufacturer in ["SIEMENS", "PHILIPS"] and SeriesDescription.startswith("T1") '
        f'and not (BodyPartExamined == "ABDOMEN") and SeriesNumber < {100 + number}'
    )


def texts(write: Callable[[str, int], str], all_true: bool) -> list[str]:
    """Return 100 rules: ten of each modality, or all for the modality at hand so that every clause is evaluated."""
    return [write("MR" if all_true else MODALITIES[i % 10], i) for i in range(100)]


def rate(run: Callable[[], object], per_run: int, seconds: float) -> float:
    """Return the best of three rates, in units per second of processor time."""
    best = 0.0
    for _ in range(3):
        count, start = 0, time.process_time()
        while (spent := time.process_time() - start) < seconds / 3:
            run()
            count += per_run
        best = max(best, count / spent)
    return best


def our_rates(seconds: float) -> dict[str, float]:
    """Measure evaluation (one rule in ten matches; all match), explanation and compilation."""
    tags = {name: (str(value),) for name, value in (VALUES | FILLER).items()}
    context = Context(tags)
    mixed = [compile_rule(text) for text in texts(ours, all_true=False)]
    every = [compile_rule(text) for text in texts(ours, all_true=True)]
    text = ours("MR", 1)
    return {
        "evaluate, 1 rule in 10 matches": rate(lambda: [r.evaluate(context, NOW) for r in mixed], 100, seconds),
        "evaluate, all match": rate(lambda: [r.evaluate(context, NOW) for r in every], 100, seconds),
        "explain": rate(lambda: [r.explain(context, NOW) for r in mixed], 100, seconds),
        "compile": rate(lambda: compile_rule(text), 1, seconds),
    }


def cel_runner(all_true: bool) -> Callable[[], object]:
    """Prepare cel-expr-python."""
    from cel_expr_python import cel as engine  # type: ignore[import-not-found]

    kinds = {str: engine.Type.STRING, float: engine.Type.DOUBLE, int: engine.Type.INT}
    values = VALUES | FILLER
    environment = engine.NewEnv(variables={name: kinds[type(value)] for name, value in values.items()})
    rules = [environment.compile(text) for text in texts(cel, all_true)]
    activation = environment.Activation(values)
    return lambda: [rule.eval(activation).value() for rule in rules]


def rule_engine_runner(all_true: bool) -> Callable[[], object]:
    """Prepare rule-engine."""
    import rule_engine  # type: ignore[import-not-found]

    values = VALUES | FILLER
    rules = [rule_engine.Rule(text) for text in texts(rule_engine_text, all_true)]
    return lambda: [rule.matches(values) for rule in rules]


def asteval_runner(all_true: bool) -> Callable[[], object]:
    """Prepare asteval."""
    import asteval  # type: ignore[import-not-found]

    interpreter = asteval.Interpreter()
    interpreter.symtable.update(VALUES | FILLER)
    rules = [interpreter.parse(text) for text in texts(python, all_true)]
    return lambda: [interpreter.run(rule) for rule in rules]


PEERS = {"cel-expr-python": cel_runner, "rule-engine": rule_engine_runner, "asteval": asteval_runner}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=1.0, help="time for each measurement")
    seconds = options.parse_args().seconds
    rates = our_rates(seconds)
    for name, value in rates.items():
        print(f"{name:34} {value:12,.0f} /s   {1e6 / value:8.2f} us")
    for name, prepare in PEERS.items():
        for all_true, label in ((False, "evaluate, 1 rule in 10 matches"), (True, "evaluate, all match")):
            try:
                run = prepare(all_true)
            except ImportError:
                print(f"{name}: not installed (pip install {name})")
                break
            peer = rate(run, 100, seconds)
            print(f"{name}: {label}: {peer:,.0f} /s, ours {rates[label] / peer:.1f} times that")


if __name__ == "__main__":
    main()
