"""Which attributes are taken out of a data set for routing: the default list, and any list compiled for the walker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from hermes_common.dicom.names import canonical_name, creator_of, number_of
from hermes_common.dicom.standard import vr_of

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
    "ConceptNameCodeSequence.CodeValue", "ConceptNameCodeSequence.CodeMeaning", "RetrieveAETitle", "StationAETitle",
    "DeviceUID", "AcquisitionType", "AdmittingDiagnosesDescription", "Exposure", "CTDIvol",
    "ImageAndFluoroscopyAreaDoseProduct", "EntranceDoseInmGy", "EchoTrainLength", "DiffusionBValue",
    "ContrastBolusAgentSequence.CodeValue", "ContrastBolusAgentSequence.CodeMeaning",
    "RadiopharmaceuticalInformationSequence.Radiopharmaceutical",
    "RadiopharmaceuticalInformationSequence.RadionuclideTotalDose", "ClinicalTrialProtocolID",
    "ClinicalTrialSubjectID", "RequestAttributesSequence.RequestedProcedureCodeSequence.CodeValue",
)
# fmt: on
"""Keywords and sequence paths that every stored instance is announced with."""


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
    read. ``names`` are those under which values may be reported.
    """

    nodes: dict[int, TagNode]
    last: int
    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str]) -> TagSelection:
        """Compile names (keyword, ``(gggg,eeee)``, ``A.B`` paths); the identifying UIDs are always included, and so is
        the creator of the block of each private element, without which its number means nothing (PS3.5 7.8.1).

        Raises :class:`UnknownTagError` for a name that cannot be resolved.
        """
        nodes: dict[int, TagNode] = {}
        for name in ("SpecificCharacterSet", *IDENTIFYING, *names):
            _insert(nodes, canonical_name(name).split("."), "")
        return cls(nodes, max(nodes), frozenset(_leaves(nodes)))


def tag_of(name: str) -> int:
    """Return the tag of a keyword or of ``(gggg,eeee)``; raises :class:`UnknownTagError`."""
    tag = number_of(name)
    if tag is None:
        raise UnknownTagError(f"{name!r} is no DICOM keyword and not of the form (gggg,eeee)")
    return tag


def _leaves(nodes: dict[int, TagNode]) -> Iterable[str]:
    for node in nodes.values():
        if node.leaf:
            yield node.name
        yield from _leaves(node.children)


def _insert(nodes: dict[int, TagNode], path: list[str], prefix: str) -> None:
    tag = tag_of(path[0])
    name = f"{prefix}{path[0]}"
    leaf = len(path) == 1
    creator = creator_of(tag)
    if creator is not None:
        _insert(nodes, [f"({creator >> 16:04X},{creator & 0xFFFF:04X})"], prefix)
    known = nodes.get(tag)
    if known is None or (leaf and not known.leaf):
        nodes[tag] = TagNode(name, _dictionary_vr(tag), leaf, known.children if known else {})
    if not leaf:
        nodes[tag].children.setdefault(SPECIFIC_CHARACTER_SET, TagNode("SpecificCharacterSet", "CS"))
        _insert(nodes[tag].children, path[1:], f"{name}.")


def _dictionary_vr(tag: int) -> str:
    try:
        vr = vr_of(tag)
    except KeyError:
        return "UL" if tag & 0xFFFF == 0 else "UN"
    return vr.split(" or ")[0]


DEFAULT_SELECTION: Final = TagSelection.of(DEFAULT_TAGS)
