"""Which attributes are taken out of a data set for routing: the default list, and any list compiled for the walker."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pydicom.datadict import dictionary_VR, tag_for_keyword

SPECIFIC_CHARACTER_SET: Final = 0x00080005
SOP_CLASS_UID: Final = 0x00080016
SOP_INSTANCE_UID: Final = 0x00080018
STUDY_INSTANCE_UID: Final = 0x0020000D
SERIES_INSTANCE_UID: Final = 0x0020000E

IDENTIFYING: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")

# fmt: off
DEFAULT_TAGS: Final = (
    "SpecificCharacterSet", "ImageType", "InstanceCreationDate", "InstanceCreationTime", "SOPClassUID",
    "SOPInstanceUID", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime", "StudyTime",
    "SeriesTime", "AcquisitionTime", "ContentTime", "AccessionNumber", "Modality", "ModalitiesInStudy",
    "ConversionType", "PresentationIntentType", "Manufacturer", "InstitutionName", "ReferringPhysicianName",
    "StationName", "StudyDescription", "SeriesDescription", "InstitutionalDepartmentName", "PerformingPhysicianName",
    "OperatorsName", "ManufacturerModelName", "DerivationDescription", "ProcedureCodeSequence.CodeValue",
    "ProcedureCodeSequence.CodingSchemeDesignator", "ProcedureCodeSequence.CodeMeaning", "PatientName", "PatientID",
    "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize", "PatientWeight",
    "PatientComments", "PatientIdentityRemoved", "ContrastBolusAgent", "BodyPartExamined", "ScanningSequence",
    "SequenceVariant", "ScanOptions", "MRAcquisitionType", "SequenceName", "AngioFlag", "SliceThickness", "KVP",
    "RepetitionTime", "EchoTime", "InversionTime", "MagneticFieldStrength", "SpacingBetweenSlices",
    "DataCollectionDiameter", "DeviceSerialNumber", "SoftwareVersions", "ProtocolName", "ContrastBolusRoute",
    "TriggerTime", "ReconstructionDiameter", "ExposureTime", "XRayTubeCurrent", "FilterType", "ConvolutionKernel",
    "ReceiveCoilName", "FlipAngle", "PatientPosition", "ViewPosition", "AcquisitionProtocolName",
    "AcquisitionContrast", "ComplexImageComponent", "PulseSequenceName", "StudyInstanceUID", "SeriesInstanceUID",
    "StudyID", "SeriesNumber", "AcquisitionNumber", "InstanceNumber", "ImageOrientationPatient", "Laterality",
    "ImageLaterality", "FrameOfReferenceUID", "TemporalPositionIdentifier", "NumberOfTemporalPositions",
    "ImagesInAcquisition", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
    "NumberOfSeriesRelatedInstances", "ImageComments",
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "PixelSpacing",
    "BitsAllocated", "BurnedInAnnotation", "LossyImageCompression", "RequestingPhysician", "RequestingService",
    "RequestedProcedureDescription", "RequestedProcedureCodeSequence.CodeValue",
    "RequestedProcedureCodeSequence.CodeMeaning", "RequestedContrastAgent", "PerformedStationAETitle",
    "PerformedProcedureStepID", "PerformedProcedureStepDescription", "PerformedProtocolCodeSequence.CodeValue",
    "RequestAttributesSequence.ScheduledProcedureStepID",
    "RequestAttributesSequence.ScheduledProcedureStepDescription", "RequestAttributesSequence.RequestedProcedureID",
    "RequestAttributesSequence.RequestedProcedureDescription", "RequestAttributesSequence.AccessionNumber",
    "RequestAttributesSequence.ReasonForTheRequestedProcedure",
    "RequestAttributesSequence.ReasonForRequestedProcedureCodeSequence.CodeValue",
    "ReasonForPerformedProcedureCodeSequence.CodeValue", "ReasonForTheRequestedProcedure",
    "ReasonForRequestedProcedureCodeSequence.CodeValue", "RequestedProcedureID", "RequestedProcedurePriority",
    "AnatomicRegionSequence.CodeValue", "AnatomicRegionSequence.CodeMeaning", "ViewCodeSequence.CodeValue",
    "ConceptNameCodeSequence.CodeValue", "ConceptNameCodeSequence.CodeMeaning",
)
# fmt: on
"""Keywords and sequence paths that every stored instance is announced with."""

_PRIVATE = re.compile(r"\(([0-9a-fA-F]{4}),([0-9a-fA-F]{4})\)")


class UnknownTagError(ValueError):
    """A name that is neither a keyword of PS3.6, nor ``(gggg,eeee)``, nor a path of these."""


@dataclass(frozen=True, slots=True)
class TagNode:
    """One wanted attribute on its level: the name it is reported under, its VR by dictionary, and what is wanted
    inside its items.
    """

    name: str
    vr: str
    leaf: bool = False
    children: dict[int, TagNode] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TagSelection:
    """A compiled list of wanted attributes. ``last`` is the highest top-level tag: nothing behind it needs to be
    read.
    """

    nodes: dict[int, TagNode]
    last: int

    @classmethod
    def of(cls, names: Iterable[str]) -> TagSelection:
        """Compile names (keyword, ``(gggg,eeee)``, ``A.B`` paths); the identifying UIDs are always included.

        Raises :class:`UnknownTagError` for a name that cannot be resolved.
        """
        nodes: dict[int, TagNode] = {}
        for name in ("SpecificCharacterSet", *IDENTIFYING, *names):
            _insert(nodes, name.split("."), "")
        return cls(nodes, max(nodes))


def tag_of(name: str) -> int:
    """Return the tag of a keyword or of ``(gggg,eeee)``; raises :class:`UnknownTagError`."""
    if match := _PRIVATE.fullmatch(name):
        return int(match[1], 16) << 16 | int(match[2], 16)
    tag = tag_for_keyword(name)
    if tag is None:
        raise UnknownTagError(f"{name!r} is no DICOM keyword and not of the form (gggg,eeee)")
    return int(tag)


def _insert(nodes: dict[int, TagNode], path: list[str], prefix: str) -> None:
    tag = tag_of(path[0])
    name = f"{prefix}{path[0].lower() if path[0].startswith('(') else path[0]}"
    leaf = len(path) == 1
    known = nodes.get(tag)
    if known is None or (leaf and not known.leaf):
        nodes[tag] = TagNode(name, _dictionary_vr(tag), leaf, known.children if known else {})
    if not leaf:
        nodes[tag].children.setdefault(SPECIFIC_CHARACTER_SET, TagNode("SpecificCharacterSet", "CS"))
        _insert(nodes[tag].children, path[1:], f"{name}.")


def _dictionary_vr(tag: int) -> str:
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return "UL" if tag & 0xFFFF == 0 else "UN"
    return vr.split(" or ")[0]


DEFAULT_SELECTION: Final = TagSelection.of(DEFAULT_TAGS)
