"""The Basic Application Level Confidentiality Profile and its options as one action for each attribute (PS3.15 E).

The profile's own column of table E.1-1 comes from the package ``dicom-anonymizer``, which generates it from the
standard; the columns of the options, which it does not have, are below, by keyword.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Final

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table
from pydicom.datadict import dictionary_VR, keyword_dict

from hermes_common.changes import Dates, Deidentification


class Act(StrEnum):
    """What becomes of an attribute."""

    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    KEEP = "K"
    SHIFT = "shift"
    CLEAN = "C"


TEMPORAL: Final = frozenset({"DA", "DT", "TM"})
_NOT_LONGITUDINAL: Final = frozenset({"PatientBirthDate", "PatientBirthTime", "GPSTimeStamp"})
_TEMPORAL_TOO: Final = frozenset({"TimezoneOffsetFromUTC"})


def _named(keywords: str) -> list[str]:
    return keywords.split()


_DEVICE: Final = _named(
    "BeamHoldTransitionDateTime CalibrationDate CalibrationDateTime CalibrationTime CassetteID DateOfInstallation "
    "DateOfLastCalibration DateOfLastDetectorCalibration DateOfManufacture DateTimeOfLastCalibration DetectorID "
    "DeviceDescription DeviceLabel DeviceSerialNumber DeviceUID GantryID GeneratorID LensMake LensModel "
    "LensSerialNumber LensSpecification ManufacturerDeviceClassUID ManufacturerDeviceIdentifier ModifyingDeviceID "
    "ModifyingSystem PerformedStationGeographicLocationCodeSequence PerformedStationName "
    "PerformedStationNameCodeSequence PlateID ScheduledProcedureStepLocation "
    "ScheduledStationGeographicLocationCodeSequence ScheduledStationName ScheduledStationNameCodeSequence "
    "ScheduledStudyLocation SourceManufacturer SourceSerialNumber StationName TimeOfLastCalibration "
    "TimeOfLastDetectorCalibration TransducerIdentificationSequence TreatmentMachineName UDISequence "
    "UniqueDeviceIdentifier XRayDetectorID XRayDetectorLabel XRaySourceID"
)
_INSTITUTION: Final = _named(
    "ClinicalTrialCoordinatingCenterName ClinicalTrialProtocolEthicsCommitteeName ClinicalTrialSiteID "
    "ClinicalTrialSiteName InstitutionAddress InstitutionalDepartmentName InstitutionalDepartmentTypeCodeSequence "
    "InstitutionCodeSequence InstitutionName SourceOfPreviousValues"
)
_PATIENT: Final = _named(
    "EthnicGroup EthnicGroupCodeSequence PatientAge PatientSex PatientSexNeutered PatientSize PatientWeight "
    "PregnancyStatus SelectorASValue SmokingStatus"
)
_DESCRIPTORS: Final = _named(
    "AcquisitionComments AcquisitionDeviceProcessingDescription AcquisitionProtocolDescription BeamDescription "
    "BolusDescription ContrastBolusAgent DerivationDescription FrameComments ImageComments LabelText "
    "PerformedProcedureStepDescription ProtocolName ReasonForStudy ReasonForTheRequestedProcedure "
    "RequestedContrastAgent RequestedProcedureDescription ROIDescription ROIGenerationDescription ROIName RTPlanLabel "
    "ScheduledProcedureStepDescription SeriesDescription StructureSetLabel StructureSetName StudyDescription "
    "TreatmentSite UserContentLabel WaveformFilterDescription"
)
"""Those of the option that radiology needs most; the others are removed, as without the option."""

SAFE_PRIVATE: Final[Mapping[tuple[int, str], frozenset[int]]] = {
    (0x0019, "GEMS_ACQU_01"): frozenset({0x23, 0x24, 0x27, 0x9E}),
    (0x0043, "GEMS_PARM_01"): frozenset({0x27, 0x6F}),
    (0x0045, "GEMS_HELIOS_01"): frozenset({0x01, 0x02}),
    (0x7053, "Philips PET Private Group"): frozenset({0x00, 0x09}),
}
"""Private attributes known to be safe (a part of table E.3.10-1), by group and creator: the low octet of the element.

Each is also on the list of the PixelMed toolkit, whose author edits the standard; the table itself was not at hand, so
no edition can be named. What is not on that list, such as the diffusion values of GE, Philips and Siemens, is removed:
compare with the table of the present edition before adding to this one.
"""

_BASIC: Final = (
    (table.D_TAGS, Act.DUMMY),
    (table.Z_TAGS, Act.EMPTY),
    (table.X_TAGS, Act.REMOVE),
    (table.U_TAGS, Act.UID),
    (table.Z_D_TAGS, Act.DUMMY),
    (table.X_Z_TAGS, Act.EMPTY),
    (table.X_D_TAGS, Act.DUMMY),
    (table.X_Z_D_TAGS, Act.DUMMY),
    (table.X_Z_U_STAR_TAGS, Act.UID),
)
"""Where the profile leaves a choice, the one that keeps every IOD valid."""

CODES: Final[Mapping[str, tuple[str, str]]] = {
    "basic": ("113100", "Basic Application Confidentiality Profile"),
    "clean_descriptors": ("113105", "Clean Descriptors Option"),
    "keep_dates": ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    "shift_dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "retain_patient_characteristics": ("113108", "Retain Patient Characteristics Option"),
    "retain_device": ("113109", "Retain Device Identity Option"),
    "retain_uids": ("113110", "Retain UIDs Option"),
    "retain_safe_private": ("113111", "Retain Safe Private Option"),
    "retain_institution": ("113112", "Retain Institution Identity Option"),
}
"""CID 7050 (PS3.16)."""


class Profile:
    """The actions of one profile with its options."""

    def __init__(self, options: Deidentification) -> None:
        self.options = options
        self._acts, self._masked = dict(_basic()[0]), _basic()[1]
        if options.retain_uids:
            self._all(Act.UID, Act.KEEP)
        if options.retain_device:
            self._some(_DEVICE, Act.KEEP)
        if options.retain_institution:
            self._some(_INSTITUTION, Act.KEEP)
        if options.retain_patient_characteristics:
            self._some(_PATIENT, Act.KEEP)
        if options.clean_descriptors:
            self._some(_DESCRIPTORS, Act.CLEAN)
        if options.dates is not Dates.REMOVE:
            self._longitudinal(Act.KEEP if options.dates is Dates.KEEP else Act.SHIFT)

    def act(self, tag: int) -> Act | None:
        """Return what becomes of an attribute of the standard; None if the profile does not name it."""
        found = self._acts.get(tag)
        if found is not None:
            return found
        return Act.REMOVE if any(tag & mask == value for value, mask in self._masked) else None

    def codes(self) -> list[tuple[str, str]]:
        """Return code value and meaning of the profile and of its options (CID 7050)."""
        options = self.options
        names = ["basic"]
        names += ["clean_descriptors"] * options.clean_descriptors
        names += ["keep_dates"] * (options.dates is Dates.KEEP) + ["shift_dates"] * (options.dates is Dates.SHIFT)
        for name in ("patient_characteristics", "device", "uids", "safe_private", "institution"):
            names += [f"retain_{name}"] * getattr(options, f"retain_{name}")
        return [CODES[name] for name in names]

    def _all(self, before: Act, after: Act) -> None:
        self._acts.update({tag: after for tag, act in self._acts.items() if act is before})

    def _some(self, keywords: list[str], act: Act) -> None:
        self._acts.update({keyword_dict[keyword]: act for keyword in keywords})

    def _longitudinal(self, act: Act) -> None:
        kept = [keyword_dict[keyword] for keyword in _NOT_LONGITUDINAL]
        for tag in self._acts:
            if tag not in kept and _vr(tag) in TEMPORAL:
                self._acts[tag] = act
        self._acts.update({keyword_dict[keyword]: Act.KEEP for keyword in _TEMPORAL_TOO})


@lru_cache(1)
def _basic() -> tuple[Mapping[int, Act], tuple[tuple[int, int], ...]]:
    acts: dict[int, Act] = {}
    masked: list[tuple[int, int]] = []
    for tags, act in _BASIC:
        for tag in tags:
            number = tag[0] << 16 | tag[1]
            if len(tag) == 2:
                acts[number] = act
            else:
                masked.append((number, tag[2] << 16 | tag[3]))
    return acts, tuple(masked)


def _vr(tag: int) -> str:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return ""
