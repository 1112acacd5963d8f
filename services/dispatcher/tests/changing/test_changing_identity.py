"""Pseudonyms, UIDs and dates out of a key: consistent whatever comes, whenever it comes."""

import re
import warnings
from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from hermes_common.changes import Changes, Dates, Deidentification
from hermes_common.ids import check_uid
from hermes_dispatcher.core.changing.change import change
from hermes_dispatcher.core.changing.encoding import decoded, encoded
from hermes_dispatcher.core.changing.identity import Identity, shifted_date, shifted_date_time
from hermes_dispatcher.core.changing.order import Order

EXPLICIT = "1.2.840.10008.1.2.1"
KEY = "a key of 16 or more characters"
UIDS = st.from_regex(r"1\.2\.(3|56)(\.[1-9][0-9]{0,5}){1,4}", fullmatch=True)
DATES = st.dates(date(1920, 1, 1), date(2090, 12, 31))


@settings(deadline=None)
@given(uid=UIDS, other=UIDS)
def test_a_uid_stands_for_one_uid_alone_and_is_valid(uid: str, other: str) -> None:
    identity = Identity(KEY)
    made = identity.uid(uid)
    assert made == Identity(KEY).uid(uid) == check_uid(made)
    assert made != Identity(KEY + "x").uid(uid)
    assert (identity.uid(other) == made) == (other == uid)
    assert re.fullmatch(r"2\.25\.[1-9][0-9]*", made)


def test_uids_that_the_standard_defines_stand_for_themselves() -> None:
    for uid in ("1.2.840.10008.5.1.4.1.1.2", EXPLICIT, "1.2.840.10008.1.20.1.1", ""):
        assert Identity(KEY).uid(uid) == uid


@settings(deadline=None)
@given(first=DATES, second=DATES, days=st.integers(1, 3650))
def test_the_days_between_two_dates_stay_what_they_were(first: date, second: date, days: int) -> None:
    moved = [shifted_date(f"{day:%Y%m%d}", days) for day in (first, second)]
    read = [date(int(text[:4]), int(text[4:6]), int(text[6:])) for text in moved if text is not None]
    assert len(read) == 2
    assert read[1] - read[0] == second - first
    assert first - read[0] == timedelta(days=days)


@settings(deadline=None)
@given(day=DATES, days=st.integers(1, 3650), rest=st.sampled_from(["", "10", "103000", "103000.5", "103000+0200"]))
def test_a_date_and_time_moves_with_its_date_and_keeps_its_time(day: date, days: int, rest: str) -> None:
    assert shifted_date_time(f"{day:%Y%m%d}{rest}", days) == f"{shifted_date(f'{day:%Y%m%d}', days)}{rest}"


def test_what_is_no_date_is_not_shifted_and_what_is_imprecise_stays_so() -> None:
    assert [shifted_date(text, 5) for text in ("20240230", "00000000", "x", "2024", "00010101")] == [None] * 5
    assert shifted_date("2024.03.01", 1) == "20240229"
    assert [shifted_date_time(text, 40) for text in ("2024", "202403", "20240301")] == ["2023", "202401", "20240121"]
    assert [shifted_date_time(text, 1) for text in ("2024-03-01", "2024-0301", "20240230", "20240301x")] == [None] * 4


def instance(series: str, uid: str, patient: str, day: str) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = uid, series, "1.2.3"
    dataset.PatientID, dataset.PatientName = patient, "Doe^Jane"
    dataset.StudyDate = dataset.AcquisitionDate = day
    dataset.AcquisitionDateTime = f"{day}1200"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = dataset.SOPClassUID, f"{uid}.1"
    dataset.ReferencedImageSequence = Sequence([reference])
    return encoded(dataset, EXPLICIT)


@settings(deadline=None, max_examples=40)
@given(series=UIDS, first=UIDS, day=DATES, patient=st.sampled_from(["4711", "P 1", "X-9"]))
def test_batches_of_a_series_stay_one_series_of_one_patient(series: str, first: str, day: date, patient: str) -> None:
    options = Deidentification(dates=Dates.SHIFT)
    changes = Changes(deidentify=options, key=SecretStr(KEY))
    order = Order(EXPLICIT, changes, None, None, 1 << 26)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = change(instance(series, first, patient, f"{day:%Y%m%d}"), order)
        again = change(instance(series, first, patient, f"{day:%Y%m%d}"), order)
        later = change(instance(series, f"{first}.1", patient, f"{day + timedelta(days=3):%Y%m%d}"), order)
        read, other = (decoded(found.data, EXPLICIT, 1 << 26) for found in (one, later))
    assert one == again
    assert (one.series_uid, one.study_uid) == (later.series_uid, later.study_uid) != (series, "1.2.3")
    assert one.sop_instance_uid == read.SOPInstanceUID != later.sop_instance_uid
    assert read.PatientID == other.PatientID == read.PatientName
    assert read.ReferencedImageSequence[0].ReferencedSOPInstanceUID == later.sop_instance_uid
    days = [date(int(d[:4]), int(d[4:6]), int(d[6:8])) for d in (read.StudyDate, other.StudyDate)]
    assert days[1] - days[0] == timedelta(days=3)
    assert read.AcquisitionDateTime[:8] == read.AcquisitionDate == read.StudyDate
