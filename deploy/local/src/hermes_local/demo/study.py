"""The series of the demo, made of the sample files that come with pydicom; nothing is downloaded, no pixel is decoded.

Every instance gets fresh UIDs below :data:`ROOT`, so that each run of the demo sends series that the router has not
seen. Patients are invented.
"""

import secrets
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import Dataset, FileDataset, dcmread
from pydicom.data import get_testdata_file

from hermes_common.dicom.uids import IMPLEMENTATION_CLASS_UID
from hermes_local.errors import LocalError

ROOT = f"{IMPLEMENTATION_CLASS_UID}."
"""Root of the UIDs of the demo; with at most 19 more digits they have the 64 characters of PS3.5 9.1."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one series is made, and what it is there to show. ``values`` replace attributes of the sample."""

    name: str
    shows: str
    sample: str
    instances: int
    calling_aet: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Series:
    """A series on the disk, ready to be sent."""

    recipe: Recipe
    series_uid: str
    study_uid: str
    files: tuple[Path, ...]


RECIPES = (
    Recipe(
        "ct",
        "a CT for two targets",
        "CT_small.dcm",
        4,
        "DEMO_CT",
        {"PatientName": "Demo^Ada", "PatientID": "DEMO-1", "StudyDescription": "CT abdomen"},
    ),
    Recipe(
        "mr",
        "an MR for two targets",
        "MR_small.dcm",
        5,
        "DEMO_MR",
        {"PatientName": "Demo^Blaise", "PatientID": "DEMO-2", "StudyDescription": "MR head"},
    ),
    Recipe(
        "mr-jpeg2000",
        "JPEG 2000, sent on as it came",
        "MR_small_jp2klossless.dcm",
        3,
        "DEMO_MR",
        {"PatientName": "Demo^Blaise", "PatientID": "DEMO-2", "StudyDescription": "MR head, compressed"},
    ),
    Recipe(
        "us",
        "an ultrasound clip of 30 frames (JPEG)",
        "examples_ybr_color.dcm",
        1,
        "DEMO_US",
        {"PatientName": "Demo^Carl", "PatientID": "DEMO-3", "StudyDescription": "US heart"},
    ),
    Recipe(
        "ct-japanese",
        "a patient's name in three scripts (ISO 2022 IR 87)",
        "CT_small.dcm",
        2,
        "DEMO_CT",
        {
            "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
            "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
            "PatientID": "DEMO-4",
            "StudyDescription": "CT chest",
        },
    ),
    Recipe(
        "no-rule",
        "a series that no rule matches: kept, and waiting for a person",
        "SC_rgb_small_odd.dcm",
        2,
        "DEMO_SC",
        {
            "PatientName": "Demo^Dorothy",
            "PatientID": "DEMO-5",
            "Modality": "OT",
            "ImageComments": "",
            "StudyDescription": "Photographs",
        },
    ),
    Recipe(
        "offline",
        "a series for a target that is down",
        "MR_small.dcm",
        2,
        "DEMO_MR2",
        {"PatientName": "Demo^Emmy", "PatientID": "DEMO-6", "StudyDescription": "MR knee, second opinion"},
    ),
)


def new_uid() -> str:
    """Return a UID that nobody has used."""
    return f"{ROOT}{10**18 + secrets.randbelow(9 * 10**18)}"


def make_all(folder: Path, now: datetime) -> Iterator[Series]:
    """Write every series below ``folder`` and yield it."""
    for number, recipe in enumerate(RECIPES, start=1):
        yield make(recipe, folder / recipe.name, number, now)


def make(recipe: Recipe, folder: Path, number: int, now: datetime) -> Series:
    """Write one series into ``folder``; raise :class:`LocalError` if pydicom has come without the sample."""
    sample = _sample(recipe.sample)
    series_uid, study_uid, frame_uid = new_uid(), new_uid(), new_uid()
    common = {
        "StudyInstanceUID": study_uid,
        "SeriesInstanceUID": series_uid,
        "SeriesNumber": number,
        "SeriesDescription": f"Hermes demo: {recipe.name}",
        "AccessionNumber": f"DEMO{number}",
        "StudyDate": now.strftime("%Y%m%d"),
        "StudyTime": now.strftime("%H%M%S"),
        "StudyID": "1",
        **recipe.values,
    }
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for position in range(recipe.instances):
        instance = _instance(sample, common, position)
        if "FrameOfReferenceUID" in instance:
            instance.FrameOfReferenceUID = frame_uid
        path = folder / f"{position + 1:03}.dcm"
        instance.save_as(path, enforce_file_format=True)
        files.append(path)
    return Series(recipe, series_uid, study_uid, tuple(files))


def _sample(name: str) -> FileDataset:
    path = get_testdata_file(name, download=False)
    if not isinstance(path, str):
        raise LocalError(f"pydicom has come without its sample {name}. Install pydicom as a wheel from PyPI.")
    return dcmread(path)


def _instance(sample: FileDataset, common: dict[str, Any], position: int) -> FileDataset:
    instance = deepcopy(sample)
    for group in (0x0000, 0x0002):  # command and file meta elements do not belong into a data set (PS3.10 7.1)
        for tag in [element.tag for element in instance if element.tag.group == group]:
            del instance[tag]
    _set(instance, {**common, "SOPInstanceUID": new_uid(), "InstanceNumber": position + 1})
    if instance.get("ImagePositionPatient"):
        x, y, z = (float(value) for value in instance.ImagePositionPatient)
        instance.ImagePositionPatient = [f"{x:g}", f"{y:g}", f"{z + 5 * position:g}"]
    instance.file_meta.MediaStorageSOPClassUID = instance.SOPClassUID
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    return instance


def _set(instance: Dataset, values: dict[str, Any]) -> None:
    for keyword, value in values.items():
        setattr(instance, keyword, value)
