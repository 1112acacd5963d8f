"""The routing header: identifying UIDs and routing attributes out of an encoded data set, never its pixels."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pydicom.datadict import private_dictionary_VR

from hermes_common.dicom.errors import HeadTooShort, InvalidUid, MissingUid, UnreadableDataset
from hermes_common.dicom.names import creator_of, number_of
from hermes_common.dicom.reference import read_elements
from hermes_common.dicom.tags import DEFAULT_SELECTION, IDENTIFYING, SPECIFIC_CHARACTER_SET, TagNode, TagSelection
from hermes_common.dicom.text import MAX_CHARACTERS, MAX_VALUES, Warnings, codecs_of, values_of
from hermes_common.dicom.uids import Encoding, encoding_of, uid_problem
from hermes_common.dicom.walker import Data, RawElement, SurprisingDataset, Walker

MAX_TOTAL: Final = 512 * 1024
"""Bytes of values that are taken of one instance; what comes after them is left out, so that its event stays small."""
_MOST: Final = MAX_VALUES * MAX_CHARACTERS
INFLATE_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of a deflated data set that are inflated to find its header; pixels are not needed."""


@dataclass(frozen=True, slots=True)
class Header:
    """What routing knows of one instance.

    ``tags`` maps a keyword, ``(gggg,eeee)`` or an ``A.B`` path to text values: a missing key is an absent attribute,
    ``[]`` a present
    but empty one. ``warnings`` say what was odd and read nevertheless.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    tags: dict[str, list[str]]
    warnings: list[str]


def extract_header(
    data: Data, transfer_syntax: str, *, truncated: bool = False, selection: TagSelection = DEFAULT_SELECTION
) -> Header:
    """Read the header from the first bytes of the data set (without file meta) encoded in ``transfer_syntax``.

    ``truncated`` says that the data set goes on behind ``data``; then :class:`HeadTooShort` may ask for more.
    Otherwise raises
    :class:`UnreadableDataset`, :class:`MissingUid` or :class:`InvalidUid`. Text in a wrong character set never raises.
    """
    warnings = Warnings()
    try:
        elements, little = _elements(data, transfer_syntax, truncated, selection, warnings)
        return _header(elements, little, warnings)
    except RecursionError as exc:
        raise UnreadableDataset("its sequences are nested too deep") from exc
    except MemoryError as exc:
        raise UnreadableDataset("reading it takes more memory than there is") from exc


def _elements(
    data: Data, transfer_syntax: str, truncated: bool, selection: TagSelection, warnings: Warnings
) -> tuple[list[RawElement], bool]:
    encoding = encoding_of(transfer_syntax)
    if not encoding.deflated:
        return _read(data, encoding, truncated, selection, warnings), encoding.little
    inflated, cut = _inflate(data)
    try:
        return _read(inflated, encoding, cut or truncated, selection, warnings), encoding.little
    except HeadTooShort as exc:
        if truncated and not cut:
            raise
        raise UnreadableDataset(f"the routing attributes are not in the first {INFLATE_LIMIT} inflated bytes") from exc


def _inflate(data: Data) -> tuple[bytes, bool]:
    """Inflate (RFC 1951, PS3.5 A.5) up to the limit; the second value says that more would have followed."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(bytes(data[:INFLATE_LIMIT]), INFLATE_LIMIT)
    except zlib.error as exc:
        if bytes(data[:2]) == b"\x08\x00" and bytes(data[4:6]).isalpha():
            raise UnreadableDataset("the data set is not deflated, although its transfer syntax says so") from exc
        raise UnreadableDataset("the deflated data set cannot be inflated") from exc
    return inflated, bool(inflater.unconsumed_tail) or len(data) > INFLATE_LIMIT


def _read(
    data: Data, encoding: Encoding, truncated: bool, selection: TagSelection, warnings: Warnings
) -> list[RawElement]:
    explicit = _looks_explicit(data, encoding, warnings)
    walker = Walker(data, little=encoding.little, truncated=truncated)
    try:
        walker.walk(explicit=explicit, nodes=selection.nodes, last=selection.last)
    except SurprisingDataset as exc:
        if truncated:
            raise HeadTooShort(f"{exc.reason}; the whole data set is needed") from exc
        elements = read_elements(
            data, explicit=explicit, little=encoding.little, nodes=selection.nodes, last=selection.last
        )
        warnings.add(f"odd structure: {exc.reason}")
        return elements
    return walker.found


def _looks_explicit(data: Data, encoding: Encoding, warnings: Warnings) -> bool:
    """Decide by the first element whether VRs are written; senders that contradict their own transfer syntax exist."""
    vr = bytes(data[4:6])
    looks = len(vr) == 2 and vr.isalpha() and vr.isupper() and vr.isascii()
    if looks == encoding.explicit or len(data) < 8 or not encoding.little:
        return encoding.explicit
    warnings.add(f"the data set is {'explicit' if looks else 'implicit'} VR, unlike its transfer syntax")
    return looks


def _header(elements: Iterable[RawElement], little: bool, warnings: Warnings) -> Header:
    tags: dict[str, list[str]] = {}
    uids: dict[str, str] = {}
    codecs: dict[bytes | None, tuple[str, ...]] = {}
    creators: dict[str, str] = {}
    left = MAX_TOTAL
    for element in elements:
        name = element.node.name
        size = len(element.value)
        left -= size if size < _MOST else _MOST
        if left < 0 and name not in IDENTIFYING:
            warnings.add(f"{name} is left out: the attributes before it have more than {MAX_TOTAL} bytes")
            continue
        if element.charset not in codecs:
            codecs[element.charset] = _charset(element.charset, warnings)
        vr = element.node.vr if element.vr == "UN" else element.vr
        if vr == "SQ":
            values = _items(element.value)
        else:
            if vr == "UN":
                vr = _private_vr(name, creators)
            values = values_of(
                element.value, vr, codecs=codecs[element.charset], little=little, name=name, warnings=warnings
            )
        if name[-1] == ")":
            creators[name] = values[0] if values else ""
        if "." in name:
            tags[name] = (tags.get(name, []) + values)[:MAX_VALUES]
        else:
            tags[name] = values
        if name in IDENTIFYING:
            uids[name] = element.value[:256].decode("latin-1").strip(" \0")
    for keyword in IDENTIFYING:
        _check(keyword, uids.get(keyword, ""))
    return Header(
        sop_class_uid=uids["SOPClassUID"],
        sop_instance_uid=uids["SOPInstanceUID"],
        series_uid=uids["SeriesInstanceUID"],
        study_uid=uids["StudyInstanceUID"],
        tags=tags,
        warnings=warnings.texts,
    )


def _items(count: bytes) -> list[str]:
    """Return what is said of a sequence: nothing if it has no items."""
    number = int(count)
    return [f"{number} item{'' if number == 1 else 's'}"] if number else []


def _private_vr(name: str, creators: Mapping[str, str]) -> str:
    """Return the VR of a private attribute where none is written, from pydicom's dictionary of private creators.

    ``creators`` has the values of the private attributes before it; the creator of its block is one of them.
    """
    prefix, _, last = name.rpartition("(")
    number = number_of(f"({last}") if last.endswith(")") else None
    creator = None if number is None else creator_of(number)
    if number is None or creator is None:
        return "UN"
    owner = creators.get(f"{prefix}({creator >> 16:04X},{creator & 0xFFFF:04X})", "")
    try:
        return str(private_dictionary_VR(number, owner)).split(" or ", maxsplit=1)[0]
    except KeyError:
        return "UN"


def _charset(raw: bytes | None, warnings: Warnings) -> tuple[str, ...]:
    terms = (raw or b"").decode("latin-1").replace("\0", "").split("\\")
    return codecs_of([term.strip() for term in terms][:MAX_VALUES], warnings)


def _check(keyword: str, uid: str) -> None:
    if not uid:
        raise MissingUid(keyword)
    problem = uid_problem(uid)
    if problem is not None:
        raise InvalidUid(keyword, problem)


__all__ = ["INFLATE_LIMIT", "SPECIFIC_CHARACTER_SET", "Header", "TagNode", "TagSelection", "extract_header"]
