"""De-identification: nothing that identifies is left anywhere, options keep what they say, and doubt is a refusal."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from pydicom.datadict import DicomDictionary, dictionary_VR
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from hermes_common.changes import BurnedIn, Changes, Dates, Deidentification
from hermes_dispatcher.core.changing.change import Changed, change
from hermes_dispatcher.core.changing.descriptors import cleaned
from hermes_dispatcher.core.changing.encoding import decoded, encoded, everything
from hermes_dispatcher.core.changing.errors import UnchangeableError
from hermes_dispatcher.core.changing.order import Order
from hermes_dispatcher.core.changing.profile import Act, Profile

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
PLANTED = "ZZPLANTED"
TEXT = ("LO", "LT", "PN", "SH", "ST", "UC", "UT", "AE", "CS", "UR")
KEPT_BY_NATURE = {"SpecificCharacterSet", "BurnedInAnnotation"}


def sample() -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.1"
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "1.2.3", "1.2"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = f"{PLANTED}^Ann", f"{PLANTED}1", "19700102"
    dataset.PatientSex, dataset.PatientAge, dataset.PatientWeight = "F", "054Y", "70"
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "20240301", "101500", f"A{PLANTED}"
    dataset.Modality, dataset.StationName, dataset.DeviceSerialNumber = "CT", "CT-NORTH-7", "SN-77812"
    dataset.InstitutionName, dataset.StudyDescription = "St. Example", f"CT thorax of {PLANTED}"
    return dataset


def changed(dataset: Dataset, options: Deidentification | None = None) -> Changed:
    changes = Changes(deidentify=options or Deidentification(), key=SecretStr("k" * 20))
    return change(encoded(dataset, EXPLICIT), Order(EXPLICIT, changes, None, None, 1 << 27))


def read(found: Changed) -> Dataset:
    return decoded(found.data, EXPLICIT, 1 << 27)


def every_text_attribute(dataset: Dataset, value: Callable[[str], str]) -> int:
    """Write a text into every attribute of the standard that takes one; return how many."""
    count = 0
    for tag, entry in DicomDictionary.items():
        if entry[0] in TEXT and tag >> 16 > 2 and tag >> 16 < 0x7FE0 and entry[4] not in KEPT_BY_NATURE:
            dataset.add_new(tag, entry[0], value(entry[0]))
            count += 1
    return count


def test_a_planted_name_is_left_in_no_attribute_of_the_standard_nested_or_private() -> None:
    dataset = sample()
    assert every_text_attribute(dataset, lambda vr: PLANTED) > 700
    dataset.PatientName = f"{PLANTED}^Ann"
    inner, middle = Dataset(), Dataset()
    every_text_attribute(inner, lambda vr: f"seen by {PLANTED}" if vr not in ("AE", "SH") else PLANTED)
    inner.add_new(0x00291010, "UN", PLANTED.encode())
    middle.PatientOrientation = PLANTED
    middle.add_new(0x00081140, "SQ", [inner])
    for keyword in (
        "ReferencedSeriesSequence",
        "RequestAttributesSequence",
        "ProcedureCodeSequence",
        "SourceImageSequence",
    ):
        setattr(dataset, keyword, Sequence([middle]))
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", PLANTED.encode() + b"\0")
    block.add_new(0x11, "SQ", [Dataset()])
    dataset.add_new(0x60003000, "OB", PLANTED.encode() + b"\0")
    dataset.add_new(0x50003000, "OB", PLANTED.encode() + b"\0")
    dataset.add_new(0x00080FF0, "UN", PLANTED.encode() + b"\0")
    assert PLANTED.encode() not in changed(dataset).data


@pytest.mark.parametrize("everything_on", [False, True])
def test_what_the_profile_removes_is_gone_without_the_last_search(everything_on: bool) -> None:
    """Each attribute of table E.1-1 has a text of its own, that is in no name: the table alone has to treat it."""
    options = Deidentification(
        retain_uids=everything_on, retain_safe_private=everything_on, clean_descriptors=everything_on
    )
    profile, dataset, planted = Profile(options), sample(), {}
    for tag, entry in DicomDictionary.items():
        act = profile.act(tag)
        if entry[0] in TEXT and act in (Act.REMOVE, Act.EMPTY, Act.DUMMY, Act.CLEAN) and tag >> 16 > 2:
            planted[tag] = f"QX{len(planted)}XQ"
            dataset.add_new(tag, entry[0], planted[tag])
    nested = Dataset()
    for tag, text in planted.items():
        nested.add_new(tag, dictionary_VR(tag), text)
    dataset.ReferencedSeriesSequence = Sequence([nested])
    assert len(planted) > 250
    data = changed(dataset, options).data
    assert [text for text in planted.values() if text.encode() in data] == []


def test_it_says_that_and_how_it_was_done() -> None:
    found = read(changed(sample(), Deidentification(dates=Dates.SHIFT, retain_device=True)))
    assert (found.PatientIdentityRemoved, found.LongitudinalTemporalInformationModified) == ("YES", "MODIFIED")
    codes = [item.CodeValue for item in found.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107", "113109"]
    assert all(item.CodingSchemeDesignator == "DCM" for item in found.DeidentificationMethodCodeSequence)
    assert found.PatientID == found.PatientName
    assert str(found.PatientID).startswith("P")
    assert found.PatientBirthDate == ""


@pytest.mark.parametrize(
    ("option", "kept"),
    [
        ({"retain_device": True}, {"StationName": "CT-NORTH-7", "DeviceSerialNumber": "SN-77812"}),
        ({"retain_institution": True}, {"InstitutionName": "St. Example"}),
        ({"retain_patient_characteristics": True}, {"PatientAge": "054Y", "PatientWeight": 70, "PatientSex": "F"}),
        ({"retain_uids": True}, {"SOPInstanceUID": "1.2.3.1", "StudyInstanceUID": "1.2"}),
        ({"dates": Dates.KEEP}, {"StudyDate": "20240301", "StudyTime": "101500"}),
        ({"clean_descriptors": True}, {"StudyDescription": "CT thorax of"}),
        ({"clean_descriptors": True, "words": ("EXAMPLE",)}, {"StudyDescription": "CT thorax of"}),
    ],
)
def test_an_option_keeps_what_it_names_and_the_profile_without_it_does_not(
    option: dict[str, Any], kept: dict[str, Any]
) -> None:
    without, found = read(changed(sample())), read(changed(sample(), Deidentification(**option)))
    assert {name: found.get(name) for name in kept} == kept
    assert all(without.get(name) != value for name, value in kept.items())
    assert PLANTED.encode() not in changed(sample(), Deidentification(**option)).data


def test_safe_private_attributes_stay_and_those_beside_them_go() -> None:
    dataset = sample()
    block = dataset.private_block(0x0019, "GEMS_ACQU_01", create=True)
    block.add_new(0x23, "DS", "10.5")
    block.add_new(0x30, "LO", "who knows")
    dataset.private_block(0x0021, "GEMS_ACQU_01", create=True).add_new(0x23, "LO", "safe in group 0019 only")
    dataset.private_block(0x0021, "ACME", create=True).add_new(0x01, "LO", "who knows")
    found = read(changed(dataset, Deidentification(retain_safe_private=True)))
    assert [(int(e.tag), str(e.value)) for _, e in everything(found) if e.tag.is_private] == [  # type: ignore[attr-defined]
        (0x00190010, "GEMS_ACQU_01"),
        (0x00191023, "10.5"),
    ]
    assert not [tag for tag in read(changed(dataset)) if tag.tag.is_private]


def test_patients_are_told_apart_by_issuer_and_without_an_id_by_name() -> None:
    def pseudonym(**values: str) -> str:
        dataset = sample()
        for name, value in values.items():
            setattr(dataset, name, value)
        return str(read(changed(dataset)).PatientID)

    assert pseudonym() == pseudonym(PatientName="Other^Name") == pseudonym(StudyDate="20200101")
    assert pseudonym(IssuerOfPatientID="B") != pseudonym(IssuerOfPatientID="C")
    assert pseudonym(PatientID="", PatientName="A^B") == pseudonym(PatientID="", PatientName="A^B") != pseudonym()
    assert pseudonym(PatientID="", PatientName="A^B") != pseudonym(PatientID="", PatientName="A^C")


@pytest.mark.parametrize(
    ("said", "policy", "is_sent"),
    [
        ("YES", BurnedIn.REFUSE, False),
        ("NO", BurnedIn.REFUSE, True),
        (None, BurnedIn.REFUSE, True),
        (None, BurnedIn.REQUIRE_NO, False),
        ("YES", BurnedIn.REQUIRE_NO, False),
        ("NO", BurnedIn.REQUIRE_NO, True),
        ("YES", BurnedIn.SEND, True),
    ],
)
def test_burned_in_annotation_is_refused_as_configured(said: str | None, policy: BurnedIn, is_sent: bool) -> None:
    dataset = sample()
    if said is not None:
        dataset.BurnedInAnnotation = said
    options = Deidentification(burned_in=policy)
    if is_sent:
        assert changed(dataset, options).data
    else:
        with pytest.raises(UnchangeableError, match="Burned In Annotation"):
            changed(dataset, options)


def test_what_cannot_be_deidentified_is_refused_with_the_reason() -> None:
    report, document, odd, deep = sample(), sample(), sample(), sample()
    report.ContentSequence = Sequence([Dataset()])
    document.EncapsulatedDocument = b"%PDF"
    for dataset, words in ((report, "structured report"), (document, "encapsulated document")):
        with pytest.raises(UnchangeableError, match=words):
            changed(dataset)
    unknown_vr = encoded(odd, EXPLICIT).replace(b"\x08\x00\x60\x00CS", b"\x08\x00\x60\x00QQ")
    innermost = deep
    for _ in range(40):
        item = Dataset()
        innermost.add_new(0x00081140, "SQ", [item])
        innermost = item
    order = Order(EXPLICIT, Changes(deidentify=Deidentification(), key=SecretStr("k" * 20)), None, None, 1 << 27)
    for data in (unknown_vr, encoded(deep, EXPLICIT), encoded(odd, EXPLICIT)[:-3], b"\x08\x00", b"garbage" * 20):
        with pytest.raises(UnchangeableError):
            change(data, order)


@settings(max_examples=150, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8))
def test_bytes_that_were_damaged_are_changed_or_refused_and_never_raise_anything_else(
    changes: list[tuple[int, int]],
) -> None:
    dataset = sample()
    dataset.private_block(0x0019, "GEMS_ACQU_01", create=True).add_new(0x23, "DS", "10.5")
    dataset.ReferencedImageSequence = Sequence([Dataset()])
    data = bytearray(encoded(dataset, EXPLICIT))
    for place, octet in changes:
        data[place % len(data)] = octet
    options = Deidentification(dates=Dates.SHIFT, clean_descriptors=True, retain_safe_private=True)
    order = Order(EXPLICIT, Changes(deidentify=options, key=SecretStr("k" * 20)), IMPLICIT, None, 1 << 24)
    try:
        found = change(bytes(data), order)
    except UnchangeableError:
        return
    assert decoded(found.data, IMPLICIT, 1 << 24).PatientIdentityRemoved == "YES"


def test_cleaning_leaves_known_words_and_short_numbers_alone() -> None:
    assert cleaned("CT Thorax Mr. Smith 2mm, born 12/3/1970 3.12.70 tel 030-1234567", (), ()) == "CT Thorax Mr 2mm"
    assert cleaned("Knee Brain ACME", ("acme",), ("brain",)) == "Knee ACME"
