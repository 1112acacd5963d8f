"""Settings of changes on the way: what means nothing or would do harm is refused when it is saved."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, TypeAdapter, ValidationError

from hermes_common.changes import Changes
from hermes_common.config import Target, Targets
from hermes_common.edits import Edit, format_edit, parse_edit
from hermes_common.runtime.sealing import Sealer, SecretRefusedError, opened, sealed_targets
from hermes_common.secrets import mark_of
from hermes_common.targets import AnyTarget, secrets_of

TARGET: TypeAdapter[AnyTarget] = TypeAdapter(Target)
DICOM = {"kind": "dicom", "slug": "a", "name": "a", "host": "h", "port": 104, "called_aet": "A"}
J2K, LOSSY, BASELINE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.50"
KEY = "a key of 16 or more"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"transcode": "always"}, "exactly one"),
        ({"transcode": "always", "transfer_syntaxes": [J2K, "1.2.840.10008.1.2"]}, "exactly one"),
        ({"transfer_syntaxes": [J2K]}, "mean nothing"),
        ({"transcode": "if_needed", "transfer_syntaxes": [BASELINE]}, "cannot be written"),
        ({"transcode": "if_needed", "transfer_syntaxes": [J2K, J2K]}, "named once"),
        ({"transcode": "always", "transfer_syntaxes": [LOSSY]}, "together"),
        ({"transcode": "always", "transfer_syntaxes": [J2K], "lossy_ratio": 10}, "together"),
        ({"new_uids": True}, "need a key"),
        ({"deidentify": {}}, "need a key"),
        ({"deidentify": {}, "key": "short"}, "at least 16"),
        ({"deidentify": {"retain_uids": True}, "new_uids": True, "key": KEY}, "retained and be new"),
        ({"deidentify": {"words": ["a"]}, "key": KEY}, "cleaned"),
        ({"deidentify": {"profile": "none"}, "key": KEY}, "basic"),
        ({"edits": ["remove PatientNam"]}, "did you mean PatientName"),
    ],
)
def test_settings_that_mean_nothing_or_do_harm_are_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        TARGET.validate_python({**DICOM, "changes": changes})


def test_only_a_dicom_target_can_be_asked_what_it_takes() -> None:
    changes = {"transcode": "if_needed"}
    assert TARGET.validate_python({**DICOM, "changes": changes}).changes is not None
    with pytest.raises(ValidationError, match="only a DICOM target"):
        TARGET.validate_python({"kind": "folder", "slug": "f", "name": "f", "path": "/p", "changes": changes})


def test_what_changes_nothing_says_so() -> None:
    assert Changes().does_nothing
    assert Changes(key=SecretStr(KEY)).does_nothing
    assert not Changes.model_validate({"transcode": "if_needed"}).does_nothing
    assert not Changes.model_validate({"transcode": "if_needed"}).alters
    assert Changes.model_validate({"edits": ["remove PatientName"]}).alters


def test_the_key_is_sealed_shown_as_a_mark_and_bound_to_the_address() -> None:
    sealer = Sealer(SecretStr("k" * 40))
    target = TARGET.validate_python({**DICOM, "changes": {"new_uids": True, "key": KEY}})
    sealed = sealed_targets(Targets(targets=(target,)), Targets(), sealer)
    assert KEY not in sealed.model_dump_json()
    kept = secrets_of(sealed.targets[0])["changes.key"].get_secret_value()
    assert opened(sealed.targets[0], sealer).changes == target.changes
    shown = {**DICOM, "changes": {"new_uids": True, "key": mark_of(kept)}}
    assert sealed_targets(Targets(targets=(TARGET.validate_python(shown),)), sealed, sealer) == sealed
    with pytest.raises(SecretRefusedError, match="address has changed"):
        sealed_targets(Targets(targets=(TARGET.validate_python({**shown, "host": "other"}),)), sealed, sealer)


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        ("set PatientComments to for research  only", Edit("set", "PatientComments", "for research  only")),
        ("  remove ( 0019, 100c ) ", Edit("remove", "(0019,100C)")),
        ("remove (0010,0010)", Edit("remove", "PatientName")),
        ("copy AccessionNumber to StudyID", Edit("copy", "StudyID", "AccessionNumber")),
        ("prefix PatientID with R-", Edit("prefix", "PatientID", "R-")),
        ("suffix PatientID with  to B", Edit("suffix", "PatientID", "to B")),
        ("set A.B to x", None),
        ("remove OverlayRows", None),
        ("remove RequestAttributesSequence.StudyDate", Edit("remove", "RequestAttributesSequence.StudyDate")),
        ("set SOPInstanceUID to 1.2", None),
        ("remove StudyInstanceUID", None),
        ("set Rows to 3", None),
        ("remove PixelData", None),
        ("set (0002,0010) to 1.2", None),
        ("set PatientName.StudyDate to 1", None),
        ("set PatientID", None),
        ("PatientID = 1", None),
        ("set PatientID to a\nremove PatientName", None),
    ],
)
def test_an_edit_is_read_or_refused_in_words(text: str, edit: Edit | None) -> None:
    if edit is None:
        with pytest.raises(ValueError, match=r"\w"):
            parse_edit(text)
    else:
        assert parse_edit(text) == edit


@settings(deadline=None)
@given(
    action=st.sampled_from(["set", "prefix", "suffix", "remove", "copy"]),
    name=st.sampled_from(["PatientID", "(0019,100C)", "RequestAttributesSequence.StudyDate"]),
    value=st.text(st.characters(min_codepoint=32, blacklist_categories=("Cs", "Cc")), min_size=1, max_size=40),
)
def test_an_edit_that_is_written_is_read_again_as_it_was(action: Any, name: str, value: str) -> None:
    given_value = "" if action == "remove" else "StudyID" if action == "copy" else value.strip() or "x"
    edit = Edit(action, name, given_value)
    assert parse_edit(format_edit(edit)) == edit
