"""A configuration of Mercure becomes rules and targets, and everything that does not is said with its place."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_common.config import DicomTarget, RuleSet, RuleState, Targets
from hermes_common.mercure import Imported, NoConfigurationError, Outcome, import_configuration, read
from hermes_common.rules import check

HOSPITAL: dict[str, Any] = {
    "appliance_name": "gateway",
    "port": 11112,
    "series_complete_trigger": 60,
    "retention": 259200,
    "offpeak_start": "22:00",
    "dicom_receiver": {"additional_tags": {"EchoNumbers": "1", "0019,100c": "1000", "PixelData": ""}},
    "modules": {"LegLength": {"docker_tag": "legs:1"}},
    "targets": {
        "PACS": {
            "target_type": "dicom", "ip": "10.0.0.5", "port": "104", "aet_target": "PACS", "aet_source": "GATEWAY",
            "contact": "radiology@example.org", "comment": "archive", "direction": "both",
        },
        "Research Folder": {"target_type": "folder", "folder": "/data/research", "file_filter": "*.json"},
        "Elsewhere": {"target_type": "xnat", "host": "xnat", "project_id": "P", "user": "u", "password": "hidden"},
        "Query only": {"target_type": "dicom", "ip": "a", "port": 104, "aet_target": "A", "direction": "pull"},
        "Back": {"target_type": "dicom", "ip": "sender", "port": 104, "aet_target": "A"},
        "Old": {"ip": "pacs2.example.org", "port": "11112", "aet_target": "PACS2"},
    },
    "rules": {
        "Brain MR": {
            "rule": "\"brain\" in tags.StudyDescription.lower() and @Modality@ == 'MR' and tags.SenderAET == 'MR01'",
            "target": ["PACS", "Research Folder"], "priority": "urgent", "contact": "me", "comment": "study 7",
            "tags": "neuro", "action": "route", "action_trigger": "series", "disabled": False, "fallback": "False",
        },
        "Thin": {"rule": "float(tags.SliceThickness) <= 1.5 or 'x' not in @SeriesDescription@", "target": "PACS",
                 "priority": "offpeak"},
        "Phantoms": {"rule": "@PatientName@ == 'PHANTOM'", "action": "discard"},
        "Legs": {"rule": "True", "target": "PACS", "action": "both", "processing_module": ["LegLength"]},
        "Exam": {
            "rule": "@Modality@ == 'MR'", "target": "PACS", "action_trigger": "study",
            "study_trigger_condition": "received_series", "study_trigger_series": "'SAG' or ('COR' and 'AX')",
            "study_force_completion_action": "proceed", "notification_email": "a@example.org",
        },
        "Everything else": {"rule": "False", "target": "Old", "fallback": "True"},
        "Old rule": {"rule": "@Modality@ == 'CT'", "target": "PACS", "disabled": "True"},
        "Loop": {"rule": "[x for x in range(3)]", "target": "PACS"},
        "Typo": {"rule": "@Modality@ == 'MR' and\n @StudyDescripton@ == 'x'", "target": "PACS"},
        "Nowhere": {"rule": "@Modality@ == 'US'", "target": ["Elsewhere", "Gone"]},
        "Half": {"rule": "@Modality@ == 'XA'", "target": ["PACS", "Gone"]},
        "Tell": {"rule": "True", "action": "notification", "notification_webhook": "http://x"},
        "Unset": {"rule": "", "target": "PACS"},
        "New": {"rule": "@Modality@ == 'NM'", "target": "PACS", "dynamic_routing": True, "priority": "soon"},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def made() -> Imported:
    return import_configuration(read(json.dumps(HOSPITAL)))


def rule(made: Imported, slug: str) -> dict[str, Any]:
    (found,) = (each for each in made.rules["rules"] if each["slug"] == slug)
    return found


def notes(made: Imported, place: str) -> list[tuple[str, str]]:
    return [(note.outcome.value, note.message) for note in made.notes if note.place == place]


def test_the_documents_are_valid_and_every_expression_makes_sense(made: Imported) -> None:
    rules, targets = RuleSet.model_validate(made.rules), Targets.model_validate(made.targets)
    assert [target.slug for target in targets.targets] == ["pacs", "research-folder", "old"]
    for each in rules.rules:
        assert each.fallback or check(each.expression, each.scope.value)
        assert set(each.targets) <= {target.slug for target in targets.targets}


def test_a_rule_is_translated_with_all_that_it_has(made: Imported) -> None:
    found = rule(made, "brain-mr")
    assert found["expression"] == ('StudyDescription contains "brain" and Modality == "MR" and source.aet == "MR01"')
    assert found["comment"].startswith('study 7\nLabels: neuro\nIn Mercure: "brain" in tags')
    assert {key: found[key] for key in ("name", "state", "scope", "targets", "priority", "fallback", "contact")} == {
        "name": "Brain MR", "state": "active", "scope": "series", "targets": ["pacs", "research-folder"],
        "priority": "urgent", "fallback": False, "contact": "me",
    }  # fmt: skip
    assert [outcome for outcome, _ in notes(made, 'rules["Brain MR"]')] == ["translated"]


def test_what_differs_in_meaning_is_said_at_its_place(made: Imported) -> None:
    assert rule(made, "thin")["priority"] == "off_peak"
    differences = [message for outcome, message in notes(made, "rules.Thin.rule") if outcome == "differs"]
    assert any("ignores case" in message for message in differences)
    assert any('not SeriesDescription contains "x" or SeriesDescription is missing' in m for m in differences)
    assert any("made the whole rule false" in message for message in differences)


def test_a_rule_that_discards_comes_first_and_stops(made: Imported) -> None:
    assert made.rules["rules"][0]["slug"] == "phantoms"
    assert made.rules["rules"][0]["then"] == "stop"
    assert any("precedence" in message for _, message in notes(made, "rules"))


def test_a_study_rule_asks_for_the_series_that_it_waited_for(made: Imported) -> None:
    found = rule(made, "exam")
    assert found["scope"] == "study"
    assert found["expression"].startswith('any series (Modality == "MR") and (any series (SeriesDescription contains')
    assert notes(made, "rules.Exam.notification_email")[0][0] == "lost"
    assert "proceed" in notes(made, "rules.Exam.study_force_completion_action")[0][1]


def test_a_fallback_has_no_condition_and_a_disabled_rule_is_paused(made: Imported) -> None:
    assert (rule(made, "everything-else")["fallback"], rule(made, "everything-else")["expression"]) == (True, "")
    assert rule(made, "old-rule")["state"] == "paused"


def test_a_rule_that_lost_a_part_is_a_draft(made: Imported) -> None:
    assert rule(made, "legs")["state"] == rule(made, "half")["state"] == "draft"
    assert rule(made, "legs")["expression"] == "series.instances > 0"
    assert notes(made, "rules.Half.target") == [("lost", "there is no target Gone, or it was not translated")]
    assert notes(made, "rules.Legs.processing_module")[0][0] == "lost"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("rules.Loop.rule", "no counterpart"),
        ("rules.Typo.rule", "did you mean StudyDescription"),
        ("rules.Nowhere", "none of its targets"),
        ("rules.Tell.action", "nothing does notification here"),
        ("rules.Unset.rule", "never true"),
        ("rules.New.dynamic_routing", "nothing here corresponds"),
        ("rules.New.priority", "soon is no priority"),
        ("targets.Elsewhere.target_type", "no target of the kind xnat"),
        ('targets["Query only"].direction', "only fetched"),
        ("targets.Back.ip", "whoever sent them"),
        ("dicom_receiver.additional_tags.PixelData", "pixels"),
        ("modules.LegLength", "nothing is processed"),
    ],
)
def test_what_is_lost_is_said_with_its_place_and_the_reason(made: Imported, place: str, words: str) -> None:
    assert any(outcome == "lost" and words in message for outcome, message in notes(made, place)), notes(made, place)


def test_a_mistake_in_a_condition_has_line_and_column(made: Imported) -> None:
    (note,) = (note for note in made.notes if note.place == "rules.Typo.rule")
    assert (note.line, note.column) == (2, 3)


def test_what_is_left_for_a_person_is_listed(made: Imported) -> None:
    by_hand = {note.place: note.message for note in made.notes if note.outcome is Outcome.BY_HAND}
    assert "EchoNumbers" in by_hand["dicom_receiver.additional_tags.EchoNumbers"]
    assert "(0019,100C)" in by_hand['dicom_receiver.additional_tags["0019,100c"]']
    assert "60" in by_hand["series_complete_trigger"]
    assert made.count(Outcome.BY_HAND) == len(by_hand)


def test_a_condition_on_what_is_not_read_by_default_says_so() -> None:
    target = {"T": {"target_type": "folder", "folder": "/a"}}
    made = import_configuration({"targets": target, "rules": {"R": {"rule": "@EchoNumbers@ == '1'", "target": "T"}}})
    (note,) = (note for note in made.notes if note.outcome is Outcome.BY_HAND)
    assert note.place == "rules.R.rule"
    assert "EchoNumbers is not read from the images" in note.message


def test_no_secret_is_in_the_report(made: Imported) -> None:
    assert "hidden" not in json.dumps([note.to_dict() for note in made.notes])
    assert not made.has_secrets


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"target_type": "dicomweb", "url": "https://pacs.example.org/dicom-web", "stow_url_prefix": "stow",
          "http_user": "u", "http_password": "p"}, "stow"),
        ({"target_type": "dicomweb", "url": "https://pacs.example.org", "access_token": "t"}, "stow"),
        ({"target_type": "s3", "region": "eu-central-1", "bucket": "images", "prefix": "in/", "access_key_id": "AKIA",
          "secret_access_key": "s"}, "s3"),
        ({"target_type": "dicomtls", "ip": "pacs", "port": 2762, "aet_target": "PACS", "tls_key": "/k",
          "tls_cert": "/c", "ca_cert": "/ca"}, "dicom"),
    ],
)  # fmt: skip
def test_a_target_is_translated_if_there_is_a_kind_for_it_and_else_said_to_be_lost(
    fields: dict[str, Any], kind: str
) -> None:
    made = import_configuration({"targets": {"t": fields}})
    outcomes = {note.outcome for note in made.notes}
    if made.targets["targets"]:
        assert made.targets["targets"][0]["kind"] == kind
        assert Outcome.TRANSLATED in outcomes
        assert made.has_secrets is (kind != "dicom")
    else:
        assert outcomes >= {Outcome.LOST}
        assert "tls" not in DicomTarget.model_fields


def test_an_sftp_target_needs_a_person_because_the_key_of_its_server_is_unknown() -> None:
    made = import_configuration({"targets": {"t": {"target_type": "sftp", "host": "h", "user": "u", "folder": "/f"}}})
    assert made.targets == {"targets": []}
    assert "ssh-keyscan h" in made.notes[0].message


def test_names_that_become_the_same_stay_apart() -> None:
    target = {"target_type": "folder", "folder": "/a"}
    made = import_configuration({"targets": {"A b": target, "a-B": target, "ä": target, "-": target}})
    assert [each["slug"] for each in made.targets["targets"]] == ["a-b", "a-b-2", "target", "target-2"]


def test_of_several_fallbacks_only_the_last_stays_in_force() -> None:
    fallback = {"target": "T", "fallback": True}
    made = import_configuration(
        {"targets": {"T": {"target_type": "folder", "folder": "/a"}}, "rules": {"A": fallback, "B": fallback}},
        RuleState.DRY_RUN,
    )
    assert [each["state"] for each in made.rules["rules"]] == ["draft", "dry_run"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "line 1, column 1"),
        ("[]", "neither"),
        ('{"a": 1}', "neither"),
        ('{"rules": {"a": {}, "a": {}}}', "twice"),
        ("[" * 100_000, "neither|recursion|read|Recursion"),
        ('{"rules": ' + "9" * 5000 + "}", "digits|limit"),
        ('{"rules": {}} x', "Extra data"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(source: str, words: str) -> None:
    with pytest.raises(NoConfigurationError, match=words):
        read(source)


@pytest.mark.parametrize(
    "old",
    [
        {"rules": [], "targets": "x"},
        {"rules": {"a": None, "b": [], "c": "x", "d": {}}, "targets": {"a": None, "b": [1], "c": {}}},
        {"rules": {"a": {"rule": 1, "target": {"x": 1}, "action": [], "priority": {}}}},
        {"rules": {"a": {"rule": "__import__('os').system('touch /tmp/owned')", "target": "t"}}},
        {"rules": {"\ud800": {"rule": "@Modality@ == '\ud800'", "comment": "\ud800" * 3000}}},
        {"targets": {"../../etc": {"target_type": "folder", "folder": "../../etc/passwd"}}},
        {"targets": {"x": {"target_type": "dicom", "ip": "a; rm -rf /", "port": "1e9", "aet_target": "x" * 99}}},
        {"dicom_receiver": {"additional_tags": ["x"]}, "modules": [1], "rules": {}, "retention": {"x": 1}},
        {"dicom_receiver": {"additional_tags": {"": 1, "x" * 999: 2, "(0010,0010)": 3, "\ud800": 4}}, "rules": {}},
        {"rules": {f"r{i}": {"rule": "True", "target": "t"} for i in range(2100)}},
        {"rules": {"a": {"rule": "not " * 2000 + "@Modality@", "target": "t"}}},
    ],
)
def test_whatever_a_file_holds_is_translated_or_said_to_be_lost(old: dict[str, Any]) -> None:
    made = import_configuration(old)
    assert any(note.outcome is Outcome.LOST for note in made.notes)
    json.dumps([note.to_dict() for note in made.notes], ensure_ascii=False).encode()
    json.dumps([made.rules, made.targets], ensure_ascii=False).encode()


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["dicom", "folder", "/a", "t", "route", "discard", "True", "@Modality@ == 'MR'"]),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(inner, st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3))


values = nested(nested(scalars))
RULE_KEYS = ["rule", "target", "action", "fallback", "disabled", "action_trigger", "priority", "study_trigger_series",
             "study_trigger_condition", "comment", "contact", "tags", "x"]  # fmt: skip
TARGET_KEYS = ["target_type", "ip", "port", "aet_target", "folder", "url", "bucket", "direction", "comment", "region"]


@given(
    st.dictionaries(st.text(max_size=4), st.dictionaries(st.sampled_from(RULE_KEYS), values), max_size=3),
    st.dictionaries(
        st.sampled_from(["t", "MR", ""]), st.dictionaries(st.sampled_from(TARGET_KEYS), values), max_size=3
    ),
    st.dictionaries(st.sampled_from(["dicom_receiver", "modules", "retention"]), values),
)
@settings(max_examples=60, deadline=None)
def test_any_values_give_valid_documents(rules: Any, targets: Any, more: Any) -> None:
    made = import_configuration({"rules": rules, "targets": targets, **more})
    RuleSet.model_validate(made.rules)
    Targets.model_validate(made.targets)
