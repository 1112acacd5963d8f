"""Why a data set cannot be changed is said without a value of it: reasons end in events, tables, logs and pages."""

import logging
import warnings

import pytest
from pydantic import SecretStr
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

from hermes_common.changes import BurnedIn, Changes, Deidentification
from hermes_common.dicom.errors import DicomError
from hermes_common.dicom.header import extract_header
from hermes_dispatcher.core.changing.change import change
from hermes_dispatcher.core.changing.errors import UnchangeableError, kind_of, named
from hermes_dispatcher.core.changing.order import Order

NAME = "DOE^SECRET"
EXPLICIT, RLE, J2K = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"


def image() -> Dataset:
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    dataset.PatientName = dataset.PatientID = NAME
    return dataset


def written(dataset: Dataset, **raw: str) -> bytes:
    """Return a data set as bytes, with these texts as the values of elements, whatever their VR allows."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    for keyword, text in raw.items():
        element = Dataset()
        setattr(element, keyword, None)
        [found] = element
        value = text.encode().ljust(len(text) + len(text) % 2)
        dataset[found.tag] = RawDataElement(Tag(found.tag), found.VR, len(value), value, 0, False, True)
    write_dataset(buffer, dataset)
    return bytes(buffer.getvalue())


def edited(*lines: str) -> Changes:
    return Changes(edits=lines)


CASES = {
    "a name copied to a number": ({}, edited("copy PatientName to AcquisitionNumber"), None),
    "a name copied to a date": ({}, edited("copy PatientName to StudyDate"), None),
    "a name copied to a code": ({}, edited("copy PatientName to Modality"), None),
    "a name behind which there is something": ({"PatientAge": NAME}, edited("suffix PatientAge with Y"), None),
    "a name that is a number, with edits": ({"InstanceNumber": NAME}, edited("suffix InstanceNumber with 1"), None),
    "a name that is a decimal": ({"SliceThickness": NAME}, edited("suffix SliceThickness with 1"), None),
    "frames": ({"NumberOfFrames": NAME}, None, RLE),
    "photometric interpretation": ({"PhotometricInterpretation": NAME}, None, RLE),
    "photometric interpretation, lossless": ({"PhotometricInterpretation": NAME}, None, J2K),
    "burned in": (
        {"BurnedInAnnotation": NAME},
        Changes(deidentify=Deidentification(burned_in=BurnedIn.REQUIRE_NO), key=SecretStr("k" * 40)),
        None,
    ),
    "instance": ({"SOPInstanceUID": NAME}, edited("set PatientComments to x"), None),
}


@pytest.mark.parametrize("case", CASES)
def test_no_reason_and_no_log_has_a_value_of_the_data_set(case: str, caplog, capfd) -> None:
    raw, changes, to = CASES[case]
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = written(image(), **raw)
        try:
            found = change(data, Order(EXPLICIT, changes, to, 10.0, 10**9))
        except UnchangeableError as error:
            reason = str(error)
        else:
            pytest.fail(f"it is no hostile value: {found.syntax}")
    assert reason
    for word in ("SECRET", "DOE"):
        assert word not in reason


def test_of_what_a_library_says_only_the_kind_and_attributes_of_the_dictionary_are_passed_on() -> None:
    error = ValueError(f"With tag (0020,0013) got exception: {NAME} (DEAD,BEEF) (0010,0010)")
    assert kind_of(error) == "ValueError about InstanceNumber (0020,0013), PatientName (0010,0010)"
    assert kind_of(ValueError(NAME)) == "ValueError"
    assert named(0x00091001) == "(0009,1001)"


def test_the_header_of_an_instance_whose_uid_is_a_name_does_not_quote_it() -> None:
    with pytest.raises(DicomError) as raised:
        extract_header(written(image(), SOPInstanceUID=NAME), EXPLICIT)
    assert "SECRET" not in raised.value.reason
    assert "SECRET" not in str(raised.value)
