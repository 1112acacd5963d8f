"""What pages decide without a server: drawings, causes, searches, the menu, and what is masked."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_common.events import Clause, Decision
from hermes_common.runtime.dicom.errors import Aborted, AssociationRejected, ContextRefused, PeerSilent, Unreachable
from hermes_web.core.causes import CODE, cause_of
from hermes_web.core.columns import parse_columns
from hermes_web.core.navigation import menu
from hermes_web.core.search import chips, parse_search
from hermes_web.core.view import View, parse_view
from hermes_web.errors import InvalidError
from hermes_web.features.deliveries.views import AttemptView, DeliveryItem
from hermes_web.features.series.explaining import parts_of
from hermes_web.features.series.export import CsvWriter
from hermes_web.features.series.views import BatchView, SeriesDetail
from hermes_web.features.series.waterfall import WIDTH, draw
from hermes_web.features.status.sparkline import HEIGHT, strokes
from hermes_web.http.assets import Assets, find_assets
from hermes_web.http.forms import Form
from hermes_web.http.rendering import NAVIGATION, Renderer

START = datetime(2026, 11, 24, 3, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def a_series(**more: object) -> dict[str, object]:
    texts = dict.fromkeys(("called_aet", "address", "modality", "patient_id", "accession_number"), "")
    times = {"first_received_at": START, "last_received_at": after(4)}
    numbers = {"instances": 3, "octets": 3000, "duplicates": 0, "conflicts": 0, "batches": 1}
    words = {"patient_name": "DOE^JANE", "study_description": "", "series_description": "", "calling_aet": "MR01"}
    return {"series_uid": "1.2.3", "study_uid": "1.2", "state": "failed", **texts, **times, **numbers, **words, **more}


def a_delivery(state: str, *attempts: tuple[float, float | None, str]) -> dict[str, object]:
    ended = after(attempts[-1][1] or 0) if attempts and state in {"succeeded", "failed"} else None
    texts = {"study_uid": "1.2", "batch_id": "b", "priority": "normal", "reason": "", "actor": ""}
    item = {"delivery_id": "d", "series_uid": "1.2.3", "target": "pacs", "state": state, "rules": [], **texts}
    item |= {"instances": 3, "octets": 3000, "delivered": 0, "attempt": len(attempts)}
    item |= {"queued_at": after(14), "updated_at": after(14), "ended_at": ended}
    tries = [
        AttemptView(
            delivery_id="d",
            attempt=number,
            dispatcher="",
            started_at=after(began),
            ended_at=None if over is None else after(over),
            result=result,
            reason="",
        )
        for number, (began, over, result) in enumerate(attempts, 1)
    ]
    return {"deliveries": [DeliveryItem.model_validate(item)], "attempts": tries}


def a_detail(**more: object) -> SeriesDetail:
    batch = {"batch_id": "b", "batch": 1, "instances": 3, "octets": 3000, "duplicates": 0, "conflicts": 0}
    times = {"first_received_at": START, "last_received_at": after(4), "completed_at": after(14)}
    rest = {"tags": {}, "problems": [], "decisions": [], "deliveries": [], "attempts": []}
    batches = [BatchView.model_validate({**batch, **times})]
    return SeriesDetail.model_validate({**a_series(), "batch_list": batches, **rest, **more})


def test_the_drawing_has_a_lane_for_the_batch_and_for_each_delivery_with_every_attempt() -> None:
    detail = a_detail(**a_delivery("failed", (15, 16, "retrying"), (21, 22, "failed")))
    drawing = draw(detail, after(100))
    assert drawing is not None
    received, pacs = drawing.rows
    assert [box.segment.title for box in received.boxes if not box.segment.is_wait] == ["received in 4.0 s"]
    attempts = [box for box in pacs.boxes if not box.segment.is_wait]
    assert [box.segment.tone for box in attempts] == ["warn", "bad"]
    assert pacs.lasted == timedelta(seconds=8)
    assert drawing.breaks == ()
    assert drawing.ticks == tuple(timedelta(seconds=22 / 4 * step) for step in range(5))


def test_a_wait_of_hours_is_shortened_and_what_was_done_is_not() -> None:
    detail = a_detail(**a_delivery("failed", (15, 20, "retrying"), (20_000, 20_005, "failed")))
    drawing = draw(detail, after(30_000))
    assert drawing is not None
    assert len(drawing.breaks) == 1
    first, second = (box for box in drawing.rows[-1].boxes if not box.segment.is_wait)
    assert first.width > WIDTH / 10
    assert second.width == pytest.approx(first.width, rel=0.01)
    assert drawing.ticks[-1] == timedelta(seconds=20_005)


@pytest.mark.parametrize("outcome", get_args(Decision.model_fields["outcome"].annotation))
def test_every_outcome_of_a_decision_has_its_place_in_the_drawing(outcome: str) -> None:
    decision = {"batch_id": "b", "kind": "rules", "outcome": outcome, "revision": 1, "decided_at": after(14)}
    drawing = draw(a_detail(decisions=[decision]), after(30))
    assert drawing is not None
    assert drawing.rows[1].lane.state == outcome


def test_a_delivery_that_is_under_way_goes_on_until_now() -> None:
    drawing = draw(a_detail(**a_delivery("sending", (15, None, ""))), after(30))
    assert drawing is not None
    assert drawing.rows[-1].boxes[-1].segment.end == after(30)


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e5)), max_size=8),
    st.sampled_from(["queued", "sending", "retrying", "succeeded", "failed"]),
)
def test_nothing_of_a_drawing_is_outside_of_it(spans: list[tuple[float, float]], state: str) -> None:
    attempts, at = [], 15.0
    for wait, length in spans:
        attempts.append((at + wait, at + wait + length, "retrying"))
        at += wait + length
    drawing = draw(a_detail(**a_delivery(state, *attempts)), after(at + 5))
    assert drawing is not None
    for row in drawing.rows:
        for box in row.boxes:
            assert 0 <= box.x <= WIDTH
            assert box.width > 0
            assert box.x + box.width <= WIDTH + 6


def test_an_expression_is_shown_whole_whatever_the_spans_of_its_clauses_are() -> None:
    text = 'Modality == "MR" and Rows > 1'
    clauses = [
        Clause(text="Rows > 1", start=21, end=29, outcome="unknown"),
        Clause(text='Modality == "MR"', start=0, end=16, outcome="true"),
        Clause(text="inside", start=3, end=8, outcome="false"),
        Clause(text="far away", start=500, end=900, outcome="error"),
    ]
    parts = parts_of(text, clauses)
    assert "".join(part.text for part in parts) == text
    assert [part.outcome for part in parts] == ["true", "", "unknown"]


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (str(Unreachable("h", 104, "connection refused")), "connection-refused"),
        (str(Unreachable("h", 104, "the name cannot be resolved (x)")), "name-unknown"),
        (str(Unreachable("name cannot be", 104, "no answer within 10 s")), "unreachable"),
        (str(AssociationRejected(1, 1, 3, "HERMES", "PACS")), "calling-unknown"),
        (str(AssociationRejected(1, 1, 7, "HERMES", "PACS")), "called-unknown"),
        (str(AssociationRejected(2, 3, 2, "HERMES", "PACS")), "rejected"),
        (str(ContextRefused("1.2", "1.3", "abstract syntax not supported")), "not-supported"),
        (str(Aborted("no reason", "sending", by_peer=True)), "aborted"),
        (str(PeerSilent("sending", 30)), "silent"),
        ("the peer answered 0xA700: refused: out of resources", "status-a700"),
        ("the peer answered 0x0124: not authorized", "status-0124"),
        ("look for the folder: the folder /mnt/pacs does not exist; make or mount it", "folder-missing"),
        ("something nobody has seen", "other"),
    ],
)
def test_every_error_of_ours_has_a_cause_with_advice(reason: str, code: str) -> None:
    cause = cause_of(f"2 of 2 instances missing: 2 target ({reason}); given up after 2 attempts")
    assert cause.code == code
    assert CODE.fullmatch(cause.code)
    assert cause.title
    assert cause.means
    assert cause.to_do


def test_a_chip_takes_its_part_out_of_the_search() -> None:
    text = 'modality:MR,CT received:24h "left knee"'
    found = chips(text)
    assert [(chip.name, chip.value) for chip in found] == [
        ("modality", "MR,CT"),
        ("received", "24h"),
        ("", "left knee"),
    ]
    assert found[1].without == 'modality:MR,CT "left knee"'
    assert parse_search(found[0].without).received == timedelta(hours=24)


@pytest.mark.parametrize("text", ["received:yesterday", "received:9999999d", "colour:red"])
def test_a_search_that_means_nothing_says_so(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_search(text)


def test_the_menu_marks_the_page_that_is_open_and_only_that() -> None:
    def here(path: str, query: str = "") -> list[str]:
        return [entry.text for group in menu(NAVIGATION, path, query) for entry in group.entries if entry.is_here]

    assert here("/") == ["Overview"]
    assert here("/series/1.2.3") == ["Series"]
    assert here("/series", "q=status:unmatched") == here("/series", "q=status%3Aunmatched") == ["Unmatched"]
    assert here("/series", "q=brain") == ["Series"]
    assert here("/history/rules") == here("/history/rules/3") == ["Rules"]
    assert here("/studies/1.2.3") == ["Series"]
    assert here("/history/alerting") == here("/history/alerting/2") == here("/alerts/channels") == ["Alerts"]
    assert here("/password") == ["Users and tokens"]
    assert here("/sign-in") == []
    assert {entry.link for group in menu(NAVIGATION, "/") for entry in group.entries} == {
        link for link, _ in NAVIGATION
    }


@pytest.mark.parametrize("text", [None, "", "dark", "a.b.c", "dark.utc.shown.more", "<script>"])
def test_a_cookie_of_nonsense_is_the_default_view(text: str | None) -> None:
    assert parse_view(text) == View()


def test_a_masked_view_shows_no_whole_name_and_no_value_of_a_tag_about_the_patient() -> None:
    masked = parse_view("dark.relative.masked")
    assert "JANE" not in masked.person("DOE^JANE=山田^太郎")
    assert masked.values("PatientBirthDate", ["19700101"]) == ["•••"]
    assert masked.values('PatientName == "DOE"', ["DOE"]) == ["•••"]
    assert masked.values("Modality", ["MR"]) == ["MR"]
    assert View().person("DOE^JANE") == "DOE^JANE"


def test_the_csv_is_no_program_for_a_spreadsheet_and_has_no_name_where_names_are_masked() -> None:
    row = a_series(series_description='=HYPERLINK("x"),\n"y"')
    columns = parse_columns("series_uid,series_description,patient_name", masked=False)
    writer = CsvWriter(columns)
    whole = writer.begin() + writer.rows([row]) + writer.end()
    (read,) = csv.DictReader(io.StringIO(whole.decode()))
    assert read["series_description"] == '\'=HYPERLINK("x"),\n"y"'
    assert "DOE" in read["patient_name"]
    assert not {"patient_name", "patient_id"} & set(parse_columns("", masked=True).names)
    with pytest.raises(InvalidError):
        parse_columns("modality,patient_name", masked=True)


def test_the_largest_number_is_as_high_as_the_drawing_and_nothing_is_a_line() -> None:
    bars = strokes([0, 5, 10])
    assert [bar.height for bar in bars] == [1.0, HEIGHT / 2, HEIGHT]
    assert strokes([]) == []


@given(st.text(max_size=20) | st.from_regex(r"-{0,3}[0-9¹٤]{0,16}", fullmatch=True))
def test_whatever_is_typed_for_a_number_is_one_or_is_refused_by_the_name_of_the_field(typed: str) -> None:
    form = Form([("port", typed)])
    if re.fullmatch(r"-?[0-9]+", typed.strip()) and len(typed.strip()) <= 15:
        assert form.number("port") == int(typed)
    else:
        with pytest.raises(InvalidError) as refused:
            form.number("port")
        assert [problem.field for problem in refused.value.problems] == ["port"]


def test_a_page_without_what_is_built_is_whole_and_says_how_to_build_it() -> None:
    values = {"target": "/", "name": "", "error": None, "local": True, "sso": None, "label": "", "was_external": False}
    plain = Renderer("0", Assets()).page("signin/form.html", values, principal=None, nonce="n", path="/sign-in")
    assert "services/web/assets/build.py" in plain
    assert "<script" not in plain
    assert "Sign in" in plain
    styled = Renderer("0", find_assets()).page("signin/form.html", values, principal=None, nonce="n", path="/sign-in")
    assert "build.py" not in styled
