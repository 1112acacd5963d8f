"""Replaying rules over many series, and comparing two sets: the same answers as evaluating each series by itself."""

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from hermes_common.rules import CompiledRuleSet, Context, RuleEntry, compile_rule, decide
from hermes_common.rules.comparison import Comparison
from hermes_common.rules.facts import received_facts, series_facts
from hermes_common.rules.replay import Column, Condition, Needs, Replay

NOW = datetime(2026, 3, 14, 10, 0, tzinfo=UTC)
EXPRESSIONS = (
    'Modality == "MR"',
    'Modality == "MR" and SliceThickness <= 1.5 and not (ImageType has "DERIVED")',
    'StudyDate within last 2 days and Modality in ["MR", "CT"]',
    'ContrastBolusAgent is present or StudyDescription contains "brain"',
    "ProcedureCodeSequence is present and series.instances > 3",
    '(0019,100C) is missing and SliceThickness between 1 and 3 and Modality != "US"',
    'received.hour >= 8 and received.weekday == "mon"',
    "",
    "Modality ==",
)
VALUES: dict[str, Sequence[list[str] | None]] = {
    "Modality": (["MR"], ["CT"], ["US"], None),
    "SliceThickness": (["1.0"], ["3"], ["thick"], [], None),
    "ImageType": (["ORIGINAL", "PRIMARY"], ["DERIVED"], None),
    "StudyDate": (["20260313"], ["20260310"], ["soon"], None),
    "ContrastBolusAgent": (["Gadovist"], [" "], [], None),
    "StudyDescription": (["MR Brain"], ['odd\\ "one"\t|'], None),
    "ProcedureCodeSequence.CodeValue": (["IMG1"], None),
    "(0019,100C)": (["1"], None),
    "series.instances": (["2"], ["30"]),
    "received.hour": (["7"], ["9"]),
    "received.weekday": (["monday"], ["sunday"]),
}


def columns(needs: Needs) -> list[Column]:
    """Return a column for each field and each sequence, encoded as JSON."""

    def reader(name: str):
        return lambda value: {} if value == b"-" else {name: json.loads(value)}

    return [Column((name,), reader(name)) for name in (*needs.fields, *(f"{name}." for name in needs.sequences))]


def encode(needs: Needs, tags: dict[str, list[str]]) -> list[bytes]:
    found = [json.dumps(tags[name]).encode() if name in tags else b"-" for name in needs.fields]
    inside = [any(name.startswith(f"{sequence}.") for name in tags) for sequence in needs.sequences]
    return [*found, *(b"[]" if there else b"-" for there in inside)]


def some_series(count: int) -> list[tuple[str, float, dict[str, list[str]]]]:
    rng = random.Random(3)
    found = []
    for number in range(count):
        chosen = {name: rng.choice(values) for name, values in VALUES.items()}
        at = (NOW - timedelta(hours=rng.randrange(100))).timestamp()
        found.append((f"1.2.{number}", at, {name: values for name, values in chosen.items() if values is not None}))
    return found


def test_a_replay_says_of_every_series_what_the_rule_says_of_it_alone() -> None:
    conditions = [Condition(text, near=True) for text in EXPRESSIONS]
    needs = Needs.of(conditions)
    assert set(needs.sequences) == {"ProcedureCodeSequence", "(0019,100C)"}
    replay = Replay(conditions, columns(needs))
    compiled = [compile_rule(text) if text and not text.endswith("==") else None for text in EXPRESSIONS]
    seen = set()
    for uid, at, tags in some_series(3000):
        replay.take(uid, at, encode(needs, tags))
        [(codes, group)] = replay.drain().items()
        assert (group.count, group.samples) == (1, [(at, uid)])
        assert codes[-2:] == "ME", "a fallback without condition matches, what is no rule is an error"
        for code, rule in zip(codes, compiled, strict=True):
            if rule is not None:
                said = rule.explain(Context(tags), datetime.fromtimestamp(at, UTC))
                wanted = {"match": "M", "no_match": "N", "unknown": "U"}[said.verdict.value]
                near = said.near_miss and wanted != "M"
                assert code == (wanted.lower() if near else wanted), (rule.ast.source, tags)
                seen.add(code)
    assert seen == set("MNnUu")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hermes_common.rules.replay.MOST_KNOWN", 10)
    conditions = [Condition('SeriesDescription contains "7" and StudyDate within last 9 days')]
    needs = Needs.of(conditions)
    replay = Replay(conditions, columns(needs))
    for number in range(500):
        tags: dict[str, list[str]] = {"SeriesDescription": [f"n{number}"], "StudyDate": [f"202603{1 + number % 28:02}"]}
        replay.take(f"1.{number}", NOW.timestamp(), encode(needs, tags))
    assert sum(group.count for group in replay.groups.values()) == 500
    assert all(len(group.samples) <= 6 for group in replay.groups.values())
    [kept] = [group for codes, group in replay.groups.items() if codes == "M"]
    assert kept.count == sum("7" in str(n) and 5 <= 1 + n % 28 <= 14 for n in range(500))


def rule(slug: str, expression: str, *targets: str, **more: object) -> RuleEntry:
    return RuleEntry(slug, slug.upper(), expression, targets or ("pacs",), **more)  # type: ignore[arg-type]


def compare(draft: list[RuleEntry], active: list[RuleEntry], parts: int = 1) -> tuple[Comparison, dict]:
    comparison = Comparison(draft, active)
    needs = Needs.of(comparison.conditions)
    replays = [Replay(comparison.conditions, columns(needs)) for _ in range(parts)]
    for number, (uid, at, tags) in enumerate(some_series(1500)):
        replays[number % parts].take(uid, at, encode(needs, tags))
    for replay in replays:
        comparison.add((codes, group.count, group.samples) for codes, group in replay.drain().items())
    return comparison, comparison.result()


ACTIVE = [
    rule("mr", 'Modality == "MR"', "pacs"),
    rule("thin", "SliceThickness <= 1.5", "ai", "pacs"),
    rule("ct", 'Modality == "CT"', "archive"),
    rule("rest", "", "backup", fallback=True),
    rule("off", 'Modality == "US"', state="draft"),
]
DRAFT = [
    rule("mr", 'Modality == "MR" and SliceThickness <= 1.5', "pacs", then="stop"),
    rule("thin", "SliceThickness <= 1.5", "ai", "pacs"),
    rule("us", 'Modality == "US"', action="discard"),
    rule("dry", 'Modality == "CT"', "ai", state="dry_run"),
    rule("rest", "", "backup", fallback=True),
    rule("study", 'study.series > 1 and any series (Modality == "CT")', scope="study"),
]


def test_a_comparison_counts_what_deciding_each_series_would_count() -> None:
    before, after = CompiledRuleSet.compile(ACTIVE), CompiledRuleSet.compile(DRAFT)
    outcomes = {name: [0, 0] for name in ("routed", "unmatched", "discarded")}
    targets: dict[str, list[int]] = {}
    changed, gained, lost = 0, 0, 0
    for _, at, tags in some_series(1500):
        now, context = datetime.fromtimestamp(at, UTC), Context(tags)
        old, new = decide(before, context, now), decide(after, context, now)
        outcomes[old.outcome][0] += 1
        outcomes[new.outcome][1] += 1
        sent, sends = {t.target for t in old.targets}, {t.target for t in new.targets}
        changed += (old.outcome, sent) != (new.outcome, sends)
        for name in sent | sends:
            four = targets.setdefault(name, [0, 0, 0, 0])
            for place, yes in enumerate((name in sent, name in sends, name not in sent, name not in sends)):
                four[place] += yes
        matched = [decision.results[0].verdict.value == "match" for decision in (old, new)]  # type: ignore[union-attr]
        gained += matched == [False, True]
        lost += matched == [True, False]
    _, result = compare(DRAFT, ACTIVE)
    assert result["series"] == 1500
    assert {name: [two["before"], two["after"]] for name, two in result["outcomes"].items()} == outcomes
    assert {t["target"]: [t["before"], t["after"], t["gained"], t["lost"]] for t in result["targets"]} == targets
    assert result["changed"]["count"] == changed > 0
    mr = result["rules"][0]
    assert (mr["gained"], mr["lost"]) == (gained, lost)
    assert lost > gained == 0
    assert mr["near_misses"] > 0
    assert [(r["slug"], r["change"]) for r in result["rules"]] == [
        ("mr", "changed"),
        ("thin", "same"),
        ("us", "new"),
        ("dry", "new"),
        ("rest", "same"),
        ("ct", "removed"),
        ("off", "removed"),
    ]
    removed = result["rules"][5]
    assert (removed["matched"], removed["lost"]) == (0, removed["before"])
    assert result["left_out"] == ["study"]


def test_parts_counted_apart_and_folded_on_the_way_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = compare(DRAFT, ACTIVE)
    monkeypatch.setattr("hermes_common.rules.comparison.MOST_GROUPS", 3)
    _, parts = compare(DRAFT, ACTIVE, parts=4)
    assert parts == whole


def test_overlaps_and_rules_alone_are_counted() -> None:
    rules = [rule("a", 'Modality == "MR"'), rule("b", 'Modality in ["MR", "CT"]'), rule("c", 'Modality == "XA"')]
    rules.append(rule("rest", "", fallback=True))
    _, result = compare(rules, rules)
    a, b, c, rest = result["rules"]
    assert (rest["matched"], rest["overlaps"], rest["alone"]) == (1500, [], 0), "fallback rules are left out"
    assert a["overlaps"] == [{"rule": "b", "series": a["matched"]}]
    assert (a["alone"], b["alone"]) == (0, b["matched"] - a["matched"])
    assert (c["matched"], c["overlaps"]) == (0, [])
    assert result["changed"] == {"count": 0, "samples": []}


def test_a_rule_that_cannot_be_compiled_is_an_error_of_every_series_and_named() -> None:
    comparison, result = compare([rule("broken", "Modality ==")], [])
    assert result["rules"][0]["errors"] == 1500
    assert "broken" in comparison.failures()
    assert comparison.explained("broken", {}, NOW) is None
    assert result["outcomes"]["unmatched"]["after"] == 1500


def test_samples_are_the_newest_and_are_explained() -> None:
    comparison, result = compare([rule("mr", 'Modality == "MR" and SliceThickness <= 1.5')], [])
    known = {uid: (at, tags) for uid, at, tags in some_series(1500)}
    samples = result["rules"][0]["samples"]
    times = [known[uid][0] for uid in samples["matched"]]
    assert times == sorted(times, reverse=True)
    matching = sorted(
        (at for at, tags in known.values() if tags.get("Modality") == ["MR"] and tags.get("SliceThickness") == ["1.0"]),
        reverse=True,
    )
    assert times == matching[:6]
    near = samples["near_misses"][0]
    explained = comparison.explained("mr", known[near][1], NOW)
    assert explained is not None
    assert explained.near_miss


def test_combinations_that_are_remembered_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hermes_common.rules.replay.MOST_KNOWN", 3)
    conditions = [Condition(text) for text in EXPRESSIONS[:6]]
    needs = Needs.of(conditions)
    small, whole = Replay(conditions, columns(needs)), []
    for uid, at, tags in some_series(300):
        small.take(uid, at, encode(needs, tags))
        whole.append((uid, at, tags))
    monkeypatch.undo()
    large = Replay(conditions, columns(needs))
    for uid, at, tags in whole:
        large.take(uid, at, encode(needs, tags))
    assert small.groups == large.groups


def test_the_facts_of_a_series_have_each_sender_once_and_the_day_by_its_name() -> None:
    facts = series_facts(["MR1", "MR1", "MR2"], ["HERMES"], ["10.0.0.1"], 20, 4000)
    assert facts["source.aet"] == ["MR1", "MR2"]
    assert (facts["series.instances"], facts["series.bytes"]) == (["20"], ["4000"])
    assert received_facts(NOW) == {"received.hour": ["10"], "received.weekday": ["saturday"]}
