"""Which files are DICOM, and what an association must know of each; only the beginning of a file is read.

A file of PS3.10 names its transfer syntax in its file meta information. SOP class and instance are those of the data
set, because the request must agree with it (PS3.4 B.2.2); where that cannot be read, the file meta's. A
file without file meta information is taken when its data set holds the identifying UIDs; its transfer syntax is then
the one that its first element looks like.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hermes_common.dicom.errors import DicomError
from hermes_common.dicom.header import extract_header
from hermes_common.dicom.part10 import MAX_META_LENGTH, Part10, is_part10, parse_file_meta
from hermes_common.dicom.tags import TagSelection
from hermes_common.dicom.uids import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, is_valid_uid

HEAD = MAX_META_LENGTH + 1024
DATASET_HEAD = 2 * 1024 * 1024
"""Bytes in which the identifying UIDs of a data set are looked for."""
_UIDS = TagSelection.of([])
NOT_DICOM = "not DICOM"
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, slots=True)
class Instance:
    """A file to send: its data set begins at ``offset`` bytes and goes on to its end, ``octets`` in all."""

    path: Path
    offset: int
    octets: int
    sop_class: str
    sop_instance: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not sent, and why."""

    path: Path
    reason: str


def walk(paths: Iterable[Path]) -> Iterator[Path | Skipped]:
    """Yield the files below folders, sorted within each folder, and the files that are named themselves."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        problems: list[OSError] = []
        for folder, folders, names in os.walk(path, onerror=problems.append):
            folders.sort()
            yield from (Path(folder) / name for name in sorted(names))
        yield from (Skipped(Path(str(error.filename)), f"cannot be read: {error.strerror}") for error in problems)


def examine(path: Path) -> Instance | Skipped:
    """Return what has to be known to send a file, or why it is not sent; never raises for what a file holds."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Skipped(path, "not a regular file")
        with path.open("rb") as file:
            head = file.read(HEAD)
            judgement = _judge(path, head, status.st_size)
            if judgement is None:
                judgement = _judge(path, head + file.read(DATASET_HEAD), status.st_size, far=True)
            return judgement if judgement is not None else Skipped(path, NOT_DICOM)
    except OSError as problem:
        return Skipped(path, f"cannot be read: {problem.strerror or problem}")


def _judge(path: Path, head: bytes, size: int, far: bool = False) -> Instance | Skipped | None:
    """Return the judgement, or None when it takes more of the file; ``far`` says that this is as far as we look."""
    try:
        if not is_part10(head):
            return _bare(path, head, size) if far else None
        part10 = parse_file_meta(head)
    except DicomError as problem:
        return Skipped(path, f"not DICOM that can be sent: {problem.reason}")
    return _of_part10(path, head, size, part10, far=far)


def _of_part10(path: Path, head: bytes, size: int, part10: Part10, *, far: bool) -> Instance | Skipped | None:
    meta = part10.meta
    if meta.sop_class_uid == MEDIA_DIRECTORY:
        return Skipped(path, "a directory of a medium (DICOMDIR), which is not an instance")
    if not is_valid_uid(meta.transfer_syntax):
        return Skipped(path, "not DICOM that can be sent: its transfer syntax is no UID")
    found = _by_data_set(path, head, part10.offset, size, meta.transfer_syntax)
    if isinstance(found, Skipped) and is_valid_uid(meta.sop_class_uid) and is_valid_uid(meta.sop_instance_uid):
        octets = size - part10.offset
        return Instance(path, part10.offset, octets, meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax)
    return found if far or isinstance(found, Instance) else None


def _bare(path: Path, head: bytes, size: int) -> Instance | Skipped:
    syntax = _looks_like(head)
    if syntax is None:
        return Skipped(path, NOT_DICOM)
    return _by_data_set(path, head, 0, size, syntax)


def _by_data_set(path: Path, head: bytes, offset: int, size: int, syntax: str) -> Instance | Skipped:
    try:
        header = extract_header(memoryview(head)[offset:], syntax, truncated=len(head) < size, selection=_UIDS)
    except DicomError as problem:
        return Skipped(path, f"not DICOM that can be sent: {problem.reason}")
    return Instance(path, offset, size - offset, header.sop_class_uid, header.sop_instance_uid, syntax)


def _looks_like(head: bytes) -> str | None:
    """Return the transfer syntax of a data set that begins with group 0008, as almost all do (PS3.5 7.1)."""
    if len(head) < 8:
        return None
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    if head[:2] in (b"\x08\x00", b"\x04\x00"):
        return EXPLICIT_LITTLE if explicit else IMPLICIT_LITTLE
    if head[:2] in (b"\x00\x08", b"\x00\x04") and explicit:
        return EXPLICIT_BIG
    return None
