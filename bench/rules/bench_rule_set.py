"""A whole set of rules over 100,000 series, in memory: the part of a backtest that is not reading the history.

    .venv/bin/python bench/rules/bench_rule_set.py [--series 100000] [--rules 20] [--rounds 5] [--json result.json]

The series are those of 2,000 different ones, again and again, each with 60 tags and the facts; every context is made
anew, as for rows of the history. Figures are medians of interleaved rounds, in processor time.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from hermes_common.rules import CompiledRuleSet, Context, RuleEntry, Verdict, compile_rule, decide

NOW = datetime(2026, 3, 14, 10, 0, tzinfo=UTC)
DIFFERENT = 2000
MODALITIES = ("MR", "CT", "US", "DX", "MG", "PT", "NM", "XA", "CR", "OT")
PARTS = ("BRAIN", "CHEST", "ABDOMEN", "KNEE", "SPINE", "")
MAKERS = ("SIEMENS", "GE MEDICAL SYSTEMS", "Philips", "Canon")


def made_series(seed: int) -> list[dict[str, list[str]]]:
    """Return the tags of different series, some with gaps, always the same for a seed."""
    chance = random.Random(seed)
    found = []
    for _ in range(DIFFERENT):
        modality, part = chance.choice(MODALITIES), chance.choice(PARTS)
        tags = {f"Filler{number}": [f"value {chance.randrange(9)}"] for number in range(48)}
        tags |= {
            "Modality": [modality],
            "BodyPartExamined": [part] if part else [],
            "StudyDescription": [f"{modality} {part} {chance.randrange(50)}"],
            "SeriesDescription": [f"t{chance.randrange(1, 3)} axial {chance.choice(('', 'gd'))}".strip()],
            "SliceThickness": [str(chance.choice((0.5, 1, 1.5, 3, 5)))],
            "Manufacturer": [chance.choice(MAKERS)],
            "StudyDate": [(NOW - timedelta(days=chance.randrange(60))).strftime("%Y%m%d")],
            "ImageType": ["ORIGINAL", "PRIMARY"] if chance.random() < 0.8 else ["DERIVED", "SECONDARY"],
            "SeriesNumber": [str(chance.randrange(1, 30))],
            "PatientAge": [f"{chance.randrange(1, 95):03}Y"],
            "source.aet": [chance.choice(("MR01", "CT01", "US01"))],
            "series.instances": [str(chance.randrange(1, 500))],
        }
        if chance.random() < 0.2:
            del tags["SliceThickness"]
        found.append(tags)
    return found


def made_rules(count: int) -> list[RuleEntry]:
    """Return rules of one to seven clauses, as sites have them."""
    parts = (
        'Modality == "{modality}"',
        'StudyDescription contains "{part}"',
        "SliceThickness <= 1.5",
        'Manufacturer in ["SIEMENS", "GE MEDICAL SYSTEMS"]',
        "SeriesDescription matches /^t1.*gd$/i",
        'not ImageType has "DERIVED"',
        "StudyDate within last 30 days",
    )
    rules = []
    for number in range(count):
        text = " and ".join(parts[: 1 + number % len(parts)])
        filled = text.format(modality=MODALITIES[number % len(MODALITIES)], part=PARTS[number % 5].lower())
        rules.append(RuleEntry(f"rule-{number}", f"Rule {number}", filled, (f"target-{number % 7}",)))
    return rules


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--series", type=int, default=100_000)
    options.add_argument("--rules", type=int, default=20)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--json", type=Path, help="write the result to this file, too")
    chosen = options.parse_args()
    series = made_series(7)
    rules = made_rules(chosen.rules)
    whole = CompiledRuleSet.compile(rules)
    assert not whole.failures
    draft = compile_rule(rules[-1].expression)

    def over_all(step: Callable[[dict[str, list[str]]], bool]) -> tuple[int, float]:
        start = time.process_time()
        hits = sum(step(series[number % DIFFERENT]) for number in range(chosen.series))
        return hits, time.process_time() - start

    steps: dict[str, Callable[[dict[str, list[str]]], bool]] = {
        "one rule": lambda tags: draft.evaluate(Context(tags), NOW) is Verdict.MATCH,
        "one rule, explained": lambda tags: draft.explain(Context(tags), NOW).verdict is Verdict.MATCH,
        "the whole set": lambda tags: decide(whole, Context(tags), NOW, explain=False).outcome == "routed",
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    hits: dict[str, int] = {}
    for _ in range(chosen.rounds):
        for name, step in steps.items():
            hits[name], spent = over_all(step)
            taken[name].append(spent)
    assert hits["one rule"] == hits["one rule, explained"]
    result = {name: median(values) for name, values in taken.items()}
    for name, spent in result.items():
        print(f"{name:20} {chosen.series:,} series in {spent:6.2f} s, {hits[name]:,} matched")
    if chosen.json is not None:
        chosen.json.write_text(
            json.dumps({**vars(chosen), "json": None, "seconds": result}, indent=2), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
