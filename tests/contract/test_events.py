"""The events on the wire: what a release has published, every later one reads.

``golden`` holds one message of every type as it was first published; a file there is never changed, only added to.
``schemas`` is generated; a change of it is a change of the contract and shows up in review. ``just contracts`` writes
what is missing in ``golden`` and all of ``schemas``.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hermes_common import events, subjects
from hermes_common.events import EVENT_TYPES, Event, MalformedEventError, UnknownEventError, decode, encode

sys.path.insert(0, str(Path(__file__).parent))
from samples import SAMPLES, envelope

HERE = Path(__file__).parent
BY_TYPE = {sample.type(): sample for sample in SAMPLES}


def golden(type_: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "golden" / f"{type_}.json").read_text("utf-8"))
    return found


def schema(model: type[Event]) -> dict[str, Any]:
    return model.model_json_schema(mode="serialization")


def test_every_type_has_a_sample_a_golden_message_and_a_schema() -> None:
    assert set(BY_TYPE) == set(EVENT_TYPES)
    for folder in ("golden", "schemas"):
        assert {path.stem for path in (HERE / folder).glob("*.json")} == set(EVENT_TYPES), folder


@pytest.mark.parametrize("type_", sorted(EVENT_TYPES))
def test_the_golden_message_is_read_as_what_it_was(type_: str) -> None:
    message = golden(type_)
    assert decode(message["headers"], json.dumps(message["data"]).encode()) == envelope(BY_TYPE[type_])


@pytest.mark.parametrize("type_", sorted(EVENT_TYPES))
def test_what_is_published_today_says_all_that_the_golden_message_said(type_: str) -> None:
    message = golden(type_)
    subject, headers, body = encode(envelope(BY_TYPE[type_]))
    assert subject == message["subject"]
    assert message["headers"].items() <= headers.items()
    _contains(json.loads(body), message["data"], type_)


@pytest.mark.parametrize("type_", sorted(EVENT_TYPES))
def test_the_committed_schema_is_that_of_the_code_and_holds_for_the_golden_message(type_: str) -> None:
    committed = json.loads((HERE / "schemas" / f"{type_}.json").read_text("utf-8"))
    assert committed == schema(EVENT_TYPES[type_]), "run: just contracts, and look at the difference"
    jsonschema.validate(golden(type_)["data"], committed)


@pytest.mark.parametrize("type_", sorted(EVENT_TYPES))
def test_a_reader_ignores_fields_that_a_later_release_added(type_: str) -> None:
    message = golden(type_)
    body = json.dumps({**message["data"], "of_a_later_release": {"x": 1}}).encode()
    assert decode(message["headers"], body).event == BY_TYPE[type_]


@pytest.mark.parametrize("type_", sorted(EVENT_TYPES))
def test_every_subject_is_below_the_stream_and_has_no_text_of_a_patient_or_a_device(type_: str) -> None:
    subject = BY_TYPE[type_].subject()
    assert subject.startswith(subjects.EVENTS_ALL.removesuffix(">"))
    assert all(part and set(part) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") for part in subject.split("."))


def test_a_type_of_a_later_release_is_told_from_a_broken_message() -> None:
    with pytest.raises(UnknownEventError):
        decode({"ce-type": "hermes.v9.series.teleported"}, b"{}")
    with pytest.raises(MalformedEventError, match="series_uid"):
        decode({**golden("hermes.v1.series.deleted")["headers"]}, b"{}")
    with pytest.raises(MalformedEventError, match="ce-type"):
        decode({}, b"{}")
    with pytest.raises(MalformedEventError):
        decode({"ce-type": "hermes.v1.series.deleted"}, b"\xff not json")


def test_a_uid_that_is_none_never_gets_into_an_event() -> None:
    with pytest.raises(ValueError, match="UID"):
        events.SeriesDeleted(series_uid="../../etc/passwd", objects=0, octets=0, reason="")


def _contains(whole: Any, part: Any, where: str) -> None:
    """Assert that ``whole`` has everything that ``part`` has: fields may have been added, none has changed."""
    if isinstance(part, dict):
        for name, value in part.items():
            assert name in whole, f"{where}.{name} is gone"
            _contains(whole[name], value, f"{where}.{name}")
    elif isinstance(part, list):
        assert len(whole) == len(part), where
        for index, (mine, theirs) in enumerate(zip(whole, part, strict=True)):
            _contains(mine, theirs, f"{where}[{index}]")
    else:
        assert whole == part, where
