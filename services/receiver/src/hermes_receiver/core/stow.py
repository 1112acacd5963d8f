"""The answer to a STOW-RS request (PS3.18 10.5.3, I.2): status code, and the data set that says what became of each
instance.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from xml.etree.ElementTree import Element, SubElement, tostring

from hermes_common.dicom import status as dimse_status

JSON: Final = "application/dicom+json"
XML: Final = "application/dicom+xml"
RETRY_AFTER: Final = 30
"""Seconds after which a sender may come again when the spool is full."""

_CLASS: Final = ("00081150", "UI", "ReferencedSOPClassUID")
_INSTANCE: Final = ("00081155", "UI", "ReferencedSOPInstanceUID")
_REASON: Final = ("00081197", "US", "FailureReason")
_RETRIEVE: Final = ("00081190", "UR", "RetrieveURL")
_FAILED: Final = ("00081198", "SQ", "FailedSOPSequence")
_STORED: Final = ("00081199", "SQ", "ReferencedSOPSequence")
_OTHER: Final = ("0008119A", "SQ", "OtherFailuresSequence")


_Name: TypeAlias = tuple[str, str, str]
"""Tag, VR, keyword."""
_Item: TypeAlias = list[tuple[_Name, str | int]]
_Sequences: TypeAlias = list[tuple[_Name, list[_Item]]]


@dataclass(frozen=True, slots=True)
class PartOutcome:
    """What became of one part: the DIMSE status that C-STORE would have been answered with. UIDs are empty when they
    are not known.
    """

    sop_class: str
    sop_instance: str
    status: int

    @property
    def is_stored(self) -> bool:
        """Whether it is durable."""
        return self.status == dimse_status.SUCCESS


def http_status(outcomes: Sequence[PartOutcome]) -> int:
    """Return 200 if everything is stored, 202 if something is, 503 if only space was lacking, else 409."""
    stored = sum(outcome.is_stored for outcome in outcomes)
    if outcomes and stored == len(outcomes):
        return 200
    if stored:
        return 202
    if outcomes and all(outcome.status == dimse_status.OUT_OF_RESOURCES for outcome in outcomes):
        return 503
    return 409


def body(outcomes: Iterable[PartOutcome], media: str) -> bytes:
    """Return the Store Instances Response in the media type :data:`JSON` or :data:`XML`."""
    stored: list[_Item] = []
    failed: list[_Item] = []
    other: list[_Item] = []
    for outcome in outcomes:
        named: _Item = [(_CLASS, outcome.sop_class), (_INSTANCE, outcome.sop_instance)]
        if outcome.is_stored:
            stored.append([*named, (_RETRIEVE, "")])
        elif outcome.sop_class and outcome.sop_instance:
            failed.append([*named, (_REASON, outcome.status)])
        else:
            other.append([(_REASON, outcome.status)])
    sequences = [(tag, items) for tag, items in ((_FAILED, failed), (_STORED, stored), (_OTHER, other)) if items]
    return _xml(sequences) if media == XML else _json(sequences)


def _json(sequences: _Sequences) -> bytes:
    document: dict[str, Any] = {_RETRIEVE[0]: {"vr": "UR"}}
    for (tag, vr, _), items in sequences:
        values = [
            {number: {"vr": kind} | ({"Value": [value]} if value != "" else {}) for (number, kind, _), value in item}
            for item in items
        ]
        document[tag] = {"vr": vr, "Value": values}
    return json.dumps(document).encode()


def _xml(sequences: _Sequences) -> bytes:
    root = Element("NativeDicomModel", {"xmlns": "http://dicom.nema.org/PS3.19/models/NativeDICOM"})
    _attribute(root, _RETRIEVE)
    for name, items in sequences:
        sequence = _attribute(root, name)
        for number, item in enumerate(items, 1):
            node = SubElement(sequence, "Item", {"number": str(number)})
            for attribute, value in item:
                element = _attribute(node, attribute)
                if value != "":
                    SubElement(element, "Value", {"number": "1"}).text = str(value)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _attribute(parent: Element, name: _Name) -> Element:
    tag, vr, keyword = name
    return SubElement(parent, "DicomAttribute", {"tag": tag, "vr": vr, "keyword": keyword})


def wanted_media(accept: str) -> str | None:
    """Return in which media type to answer, by the Accept header; None when it wants neither (PS3.18 8.7.5)."""
    if not accept.strip():
        return JSON
    ranges = [part.split(";")[0].strip().lower() for part in accept.split(",")]
    for asked in ranges:
        if asked in (JSON, "application/json", "*/*", "application/*"):
            return JSON
        if asked in (XML, "application/xml", "text/xml"):
            return XML
    return None
