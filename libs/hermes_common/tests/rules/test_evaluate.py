"""What a rule answers: every operator on every type, over missing, empty, unreadable and several values."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest

from hermes_common.rules import Context, Verdict, compile_rule
from hermes_common.rules.clauses import clause_test
from hermes_common.rules.kleene import all_of, any_of, both, count_of, either, opposite
from hermes_common.rules.tree import COUNTABLE, Field, Presence, Relation

NOW = datetime(2026, 3, 14, 10, 30, tzinfo=UTC)
"""A Saturday."""

TRUTHS = (True, False, None)
VERDICTS = {"T": Verdict.MATCH, "F": Verdict.NO_MATCH, "?": Verdict.UNKNOWN}


def verdict(text: str, tags: dict[str, Sequence[str]], now: datetime = NOW) -> Verdict:
    rule = compile_rule(text)
    context = Context(tags)
    answer = rule.evaluate(context, now)
    assert rule.explain(context, now).verdict is answer
    return answer


MISSING = {"absent": None, "empty": [], "blank": ["", "  \0"]}

EQUALITY = """
Modality == "MR"            | MR      T | CT F | mr F | MR\\0 T | CT,MR T | CT,US F | ,MR T
Modality == " MR "          | MR      T
Modality != "MR"            | MR      F | CT T | CT,MR F | CT,US T
Modality ~= "mr"            | MR      T | CT F | CT,Mr T
Modality in ["MR", "CT"]    | CT      T | US F | US,CT T | US,XA F
Modality not in ["MR"]      | MR      F | CT T | MR,CT F
ImageType has "DERIVED"     | DERIVED T | ORIGINAL F | ORIGINAL,DERIVED T
StudyDescription contains "BrAin"    | MRI brain T | liver F | liver,BRAIN T
StudyDescription contains "n w"      | brain w/o T | brainw F
StudyDescription starts with "MRI"   | mri brain T | a MRI F | x,MRIb T
StudyDescription ends with "gd"      | T1 GD   T | gd T1 F | x,gd T
StudyDescription matches /^t1.*gd$/i | T1 x gd T | t2 gd F | t2,t1gd T
StudyDescription matches /T[12]/     | xT1     T | t1 F
StudyDescription matches /a\\/b/     | a/b     T | a\\b F
PatientName == "Doe^Jane"            | Doe^Jane T | Doe^Jane^^ T | Doe^John F | Doe^Jane=字^字 T | x=Doe^Jane T
PatientName == "Doe^Jane^^"          | Doe^Jane T
PatientName == "Doe^Jane=字^字"      | Doe^Jane=字^字 T | Doe^Jane T | Roe^Jo F
PatientName != "Doe^Jane"            | Doe^Jane F | Roe^Jo T
PatientName in ["A^B", "C^D"]        | C^D      T | E F
PatientName ~= "DOE^jane"            | Doe^Jane^ T | Doe F
PatientName contains "jane"          | Doe^Jane T | Doe F
PatientName ends with "jane"         | Doe^Jane^^ T
PatientName matches /^Doe/           | x=Doe^Jane T | Roe F
(0019,100C) == "7"                   | 7 T | 7.0 F
(0019,100C) == 7                     | 7.0 T | 8 F | x ?
(0019,100C) in [7, 8]                | 8 T | 9 F
(0019,100C) < 7                      | 6 T | 7 F | x ?
(0019,100C) between 1 and 2          | 2 T | 3 F
(0019,100C) contains "x"             | AXB T | b F
"""

ORDER = """
SliceThickness == 1.5       | 1.50 T | 1.6 F | 1.6,+15e-1 T | x ? | 1_5 ? | nan ? | inf ? | x,1.5 T | 1,x ?
SliceThickness != 1.5       | 1.5 F | 1.6 T | x ?
SliceThickness < 1.5        | 1.4 T | 1.5 F | 2,1 T
SliceThickness <= 1.5       | 1.5\\0 T | 1.6 F
SliceThickness > 1.5        | 1.6 T | 1.5 F
SliceThickness >= 1.5       | 1.5 T | 1.4 F
SliceThickness in [1, 2]    | 2.0 T | 3 F
SliceThickness not in [1]   | 1 F | 3 T
SliceThickness has 3        | 1,3 T | 1 F
SliceThickness between 1 and 2       | 1 T | 2 T | 0.9 F | 2.1 F | 3,1.5 T
PatientAge == 1.5           | 018M T | 001Y F | 18M T | 45 ? | 0450Y ?
PatientAge < "018M"         | 001Y T | 002Y F | 077W T | 400D T
PatientAge >= 18            | 018Y T | 017Y F
StudyDate == "2026-01-31"   | 20260131 T | 2026.01.31 T | 20260201 F | 20260230 ? | 2026 ? | 202601-31 ?
StudyDate >= "20260101"     | 20260101 T | 20251231 F
StudyDate in ["20260101"]   | 20260101 T | 20251231 F
StudyDate between "2026-01-01" and "2026-12-31" | 20260601 T | 20270101 F
StudyDate within last 7 days | 20260307 T | 20260306 F | 20260314 T | 20260315 F | x ? | x,20260314 T
StudyTime < "08:30"         | 0829 T | 083000 F | 08 T | 082959.999999 T | 24 ? | 0860 ? | 235960 F | 8 ?
StudyTime == "08:30"        | 083000.000 T | 08:30:00 T | 083000.1 F
StudyTime between "22:00" and "23:59" | 2230 T | 21 F
AcquisitionDateTime == "2026-03-14 10:00" | 20260314100000 T | 202603141000 T | 20260314110000+0100 T | 20260314 F
AcquisitionDateTime < "2026-03-14"        | 20260313 T | 20260314 F | 2026 ? | 20260314100000+9900 ? | 2026031425 ?
AcquisitionDateTime > "2026-03-14T10:00:00.5" | 20260314100001 T | 00010101000000+1400 ? | 20260231 ?
AcquisitionDateTime within last 30 minutes | 20260314100000 T | 20260314095959 F | 20260314103001 F
AcquisitionDateTime within last 2 hours   | 202603140930+0100 T | 202603140900+0100 F | x ?
AcquisitionDateTime within last 1 day     | 202603131030 T | 202603131029 F
received.hour >= 22         | 23 T | 7 F
received.weekday == "sat"   | 6 T | saturday T | Sun F | someday ?
received.weekday in ["Sunday", 6] | 6 T | 1 F
received.weekday != 7       | 7 F | 1 T
series.bytes > 10000000000  | 10000000001 T | 1 F
series.bytes == 9007199254740993 | 9007199254740993 T | 9007199254740992 F | +9007199254740993 T | 9e15 F
series.bytes < 90071992547409930 | 90071992547409929 T | 90071992547409930 F | -90071992547409931 T
SliceThickness > 1          | \uff12 ? | 1e400 ?
PatientAge == 0.25          | 003M T | 004M F
source.aet == "MR 01."      | MR 01. T | MR F
ProcedureCodeSequence.CodeValue in ["IMG1"] | IMG1 T | IMG2 F
"""


def cases() -> list[tuple[str, str, str]]:
    found = []
    for line in f"{EQUALITY}{ORDER}".replace("\\0", "\0").strip().splitlines():
        text, *rest = (part.strip() for part in line.split(" | "))
        for case in filter(None, (part.strip() for part in rest)):
            values, wanted = case.rsplit(" ", 1)
            found.append((text.replace("\\\\", "\\"), values, wanted))
    return found


@pytest.mark.parametrize(("text", "values", "wanted"), cases())
def test_an_operator_answers_as_the_table_says(text: str, values: str, wanted: str) -> None:
    name = text.split(" ", 1)[0]
    assert verdict(text, {name: values.strip(" ").split(",")}) is VERDICTS[wanted]


@pytest.mark.parametrize("name", ["StudyDescription", "PatientName", "(0019,100C)"])
def test_a_pattern_cannot_read_half_of_a_surrogate_pair(name: str) -> None:
    assert verdict(f"{name} matches /x/", {name: ["\ud800"]}) is Verdict.UNKNOWN
    assert verdict(f"{name} matches /x/", {name: ["\ud800", "a"]}) is Verdict.UNKNOWN
    assert verdict(f"{name} matches /x/", {name: ["\ud800", "x"]}) is Verdict.MATCH


@pytest.mark.parametrize("pattern", ["(a|b)x", "(a|b){200}x", "\\pL+x"])
def test_a_large_pattern_is_found_as_a_small_one_is(pattern: str) -> None:
    text = f"StudyDescription matches /{pattern}$/i"
    assert verdict(text, {"StudyDescription": ["AB" * 100 + "X"]}) is Verdict.MATCH
    assert verdict(text, {"StudyDescription": ["AB" * 100 + "Y"]}) is Verdict.NO_MATCH


@pytest.mark.parametrize(("text", "kind"), [*product(sorted({case[0] for case in cases()}), MISSING)])
def test_every_comparison_with_a_missing_or_empty_field_is_unknown_and_so_is_its_negation(text: str, kind: str) -> None:
    values = MISSING[kind]
    tags = {} if values is None else {text.split(" ", 1)[0]: values}
    assert verdict(text, tags) is Verdict.UNKNOWN
    assert verdict(f"not {text}", tags) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("name", "tags", "present"),
    [
        ("PatientID", {"PatientID": ["1"]}, True),
        ("PatientID", {"PatientID": ["", "1"]}, True),
        ("PatientID", {"PatientID": [" "]}, False),
        ("PatientID", {"PatientID": []}, False),
        ("PatientID", {}, False),
        ("ProcedureCodeSequence", {}, False),
        ("ProcedureCodeSequence", {"ProcedureCodeSequence": []}, False),
        ("ProcedureCodeSequence", {"ProcedureCodeSequence": ["1 item"]}, True),
        ("ProcedureCodeSequence", {"ProcedureCodeSequence.CodeValue": []}, True),
        ("(0019,1010)", {"(0019,1010).CodeValue": ["x"]}, True),
        ("PixelData", {"PixelData": ["binary"]}, True),
        ("source.aet", {"source.aet": ["X"]}, True),
    ],
)
def test_a_field_is_present_if_it_has_a_value_that_is_not_blank(name: str, tags: dict, present: bool) -> None:
    assert verdict(f"{name} is present", tags) is (Verdict.MATCH if present else Verdict.NO_MATCH)
    assert verdict(f"{name} is missing", tags) is (Verdict.NO_MATCH if present else Verdict.MATCH)


TAGS = {"Rows": ["1"], "Columns": ["0"]}
ATOMS = {True: "Rows == 1", False: "Columns == 1", None: "PatientAge == 1"}


@pytest.mark.parametrize(("left", "right"), [*product(TRUTHS, TRUTHS)])
def test_connectives_follow_kleene(left: bool | None, right: bool | None) -> None:
    conjunction = False if False in (left, right) else None if None in (left, right) else True
    disjunction = True if True in (left, right) else None if None in (left, right) else False
    answers = {True: Verdict.MATCH, False: Verdict.NO_MATCH, None: Verdict.UNKNOWN}
    a, b = ATOMS[left], ATOMS[right]
    assert verdict(f"{a} and {b}", TAGS) is answers[conjunction]
    assert verdict(f"{a} or {b}", TAGS) is answers[disjunction]
    assert verdict(f"not ({a} and {b})", TAGS) is answers[None if conjunction is None else not conjunction]
    assert verdict(f"not {a} or not {b}", TAGS) is verdict(f"not ({a} and {b})", TAGS)
    assert verdict(f"Rows == 1 and ({a} and {b} or {a})", TAGS) is verdict(f"({a} and {b}) or {a}", TAGS)


@pytest.mark.parametrize("truths", [*product(TRUTHS, repeat=3)])
def test_connectives_of_three_follow_kleene(truths: tuple[bool | None, ...]) -> None:
    parts = tuple((lambda t, s, n, truth=truth: truth) for truth in truths)
    assert both(parts)({}, (), NOW) is all_of(truths)
    assert either(parts)({}, (), NOW) is any_of(truths)
    assert opposite(both(parts))({}, (), NOW) is any_of([None if t is None else not t for t in truths])


@pytest.mark.parametrize("size", range(4))
@pytest.mark.parametrize("relation", sorted(COUNTABLE))
def test_a_count_is_unknown_exactly_if_the_unknown_series_could_change_the_answer(
    size: int, relation: Relation
) -> None:
    compare = {"==": int.__eq__, "!=": int.__ne__, "<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__}
    for truths, amount in product(product(TRUTHS, repeat=size), range(5)):
        settled = product(*((True, False) if truth is None else (truth,) for truth in truths))
        possible = {compare[relation.value](sum(each), amount) for each in settled}
        assert count_of(truths, relation, amount) is (possible.pop() if len(possible) == 1 else None)


def test_series_cannot_be_counted_with_an_operator_on_text() -> None:
    with pytest.raises(ValueError, match="contains"):
        count_of([], Relation.CONTAINS, 1)


MR, CT, NONE = {"Modality": ["MR"]}, {"Modality": ["CT"]}, {}


@pytest.mark.parametrize(
    ("text", "series", "wanted"),
    [
        ('any series (Modality == "MR")', (MR, CT), "T"),
        ('any series (Modality == "MR")', (CT, CT), "F"),
        ('any series (Modality == "MR")', (CT, NONE), "?"),
        ('any series (Modality == "MR")', (MR, NONE), "T"),
        ('any series (Modality == "MR")', (), "F"),
        ('all series (Modality == "MR")', (MR, MR), "T"),
        ('all series (Modality == "MR")', (MR, CT, NONE), "F"),
        ('all series (Modality == "MR")', (MR, NONE), "?"),
        ('all series (Modality == "MR")', (), "?"),
        ('count series (Modality == "MR") >= 2', (MR, MR, CT), "T"),
        ('count series (Modality == "MR") >= 2', (MR, CT, NONE), "?"),
        ('count series (Modality == "MR") >= 2', (MR, CT), "F"),
        ('count series (Modality == "MR") == 0', (), "T"),
        ('study.series >= 2 and any series (Modality == "MR" and series.instances > 3)', (MR,), "F"),
        ('any series (Modality == "CT" or series.instances > 3)', ({"series.instances": ["4"]},), "T"),
    ],
)
def test_quantifiers_ask_every_series_of_a_study(text: str, series: tuple, wanted: str) -> None:
    context = Context({"study.series": ["1"]}, series)
    rule = compile_rule(text, "study")
    assert rule.evaluate(context, NOW) is VERDICTS[wanted]
    assert rule.explain(context, NOW).verdict is VERDICTS[wanted]


def test_dates_and_times_are_read_in_the_zone_of_now() -> None:
    tokyo = datetime(2026, 3, 15, 0, 30, tzinfo=ZoneInfo("Asia/Tokyo"))
    tags = {"AcquisitionDateTime": ["20260315001000"], "StudyDate": ["20260315"]}
    assert verdict("AcquisitionDateTime within last 30 minutes", tags, tokyo) is Verdict.MATCH
    assert verdict("AcquisitionDateTime within last 30 minutes", tags, tokyo.astimezone(UTC)) is Verdict.NO_MATCH
    assert verdict("StudyDate within last 1 day", tags, tokyo) is Verdict.MATCH
    assert verdict("StudyDate within last 1 day", tags, tokyo.astimezone(UTC)) is Verdict.NO_MATCH
    other = {"AcquisitionDateTime": ["20260314160000+0000"]}
    assert verdict('AcquisitionDateTime == "2026-03-15 01:00"', other, tokyo) is Verdict.MATCH


def test_half_hours_are_counted_right_when_the_clocks_change() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    now = datetime(2026, 3, 29, 3, 10, tzinfo=berlin)
    tags = {"AcquisitionDateTime": ["20260329015000"]}
    assert verdict("AcquisitionDateTime within last 30 minutes", tags, now) is Verdict.MATCH


@pytest.mark.parametrize("text", ["StudyDate within last 1 day", "AcquisitionDateTime < '2026-01-01'"])
def test_a_present_without_a_zone_is_an_error_and_not_a_no(text: str) -> None:
    tags = {"StudyDate": ["20260314"], "AcquisitionDateTime": ["20260314"]}
    assert verdict(text, tags, NOW.replace(tzinfo=None)) is Verdict.ERROR


def test_a_value_that_is_not_text_is_an_error_and_not_a_no() -> None:
    assert verdict("Rows == 1", {"Rows": [object()]}) is Verdict.ERROR
    assert verdict('any_text == "x"'.replace("any_text", "Modality"), {"Modality": [3]}) is Verdict.ERROR


def test_a_no_before_an_error_stands_and_an_error_before_a_no_does_too() -> None:
    tags = {"Rows": [None], "Columns": ["0"]}
    assert verdict("Columns == 1 and Rows == 1", tags) is Verdict.NO_MATCH
    assert verdict("Rows == 1 and Columns == 1", tags) is Verdict.ERROR
    assert verdict("Columns == 0 or Rows == 1", tags) is Verdict.MATCH
    assert verdict("not (Rows == 1 or Columns == 0)", tags) is Verdict.ERROR


def test_text_that_cannot_be_encoded_is_unknown_to_a_pattern() -> None:
    assert verdict("StudyDescription matches /x/", {"StudyDescription": ["\udcff"]}) is Verdict.UNKNOWN
    assert verdict("StudyDescription contains 'x'", {"StudyDescription": ["\udcffx"]}) is Verdict.MATCH


def test_one_text_instead_of_a_sequence_is_refused() -> None:
    with pytest.raises(TypeError, match="Modality"):
        Context({"Modality": "MR"})
    with pytest.raises(TypeError, match="Modality"):
        Context({}, [{"Modality": "MR"}])


def test_the_truth_of_a_verdict_cannot_be_asked() -> None:
    result = compile_rule("Modality is present").explain(Context({}), NOW)
    for answer in (result.verdict, result.clauses[0].outcome):
        with pytest.raises(TypeError, match="four values"):
            bool(answer)


def test_a_clause_that_was_not_checked_is_not_compiled() -> None:
    with pytest.raises(ValueError, match="was not checked"):
        clause_test(Presence(Field("Foo"), present=True))


def test_a_pattern_that_backtracking_engines_never_finish_is_answered_at_once() -> None:
    tags = {"StudyDescription": ["a" * 5000]}
    start = datetime.now(UTC)
    assert verdict("StudyDescription matches /^(a+)+$/", tags) is Verdict.MATCH
    assert verdict("StudyDescription matches /^(a|aa)+b$/", tags) is Verdict.NO_MATCH
    assert datetime.now(UTC) - start < timedelta(seconds=1)
