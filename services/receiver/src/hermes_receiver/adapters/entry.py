"""A spool entry read back from its file: who sent it, what it is, and whether it is still the bytes that came."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from hermes_common.dicom.errors import NotPart10
from hermes_common.dicom.part10 import MAX_META_LENGTH, PREAMBLE_LENGTH, FileMeta, parse_file_meta
from hermes_common.dicom.tags import TagSelection
from hermes_receiver.adapters.spoolfile import read_header
from hermes_receiver.core.reception import DamagedEntryError, Note
from hermes_receiver.core.verdict import CORRUPT, Keep, Quarantine, Verdict, judge

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished spool file. ``verdict`` is what its data set says now, :data:`CORRUPT` if its digest changed."""

    id: str
    path: Path
    octets: int
    meta: FileMeta
    note: Note
    verdict: Verdict


def read_entry(entry: str, path: Path, selection: TagSelection, *, verify: bool = True) -> Entry:
    """Read a spool file, and verify its digest unless it has just been written.

    Raises OSError, or :class:`DamagedEntryError` when its file meta information is destroyed.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            part10 = parse_file_meta(os.pread(fd, PREAMBLE_LENGTH + 4 + MAX_META_LENGTH, 0))
        except NotPart10 as exc:
            raise DamagedEntryError(exc.reason) from exc
        meta, offset = part10.meta, part10.offset
        note = Note.decode(meta.private_information)
        octets = os.fstat(fd).st_size
        if verify and _digest(fd, offset) != note.digest:
            verdict: Verdict = CORRUPT
        elif note.status != 0:
            verdict = Quarantine(note.status, note.reason)
        else:
            header = read_header(fd, offset, meta.transfer_syntax, selection)
            verdict = judge(meta.sop_class_uid, meta.sop_instance_uid, header)
    finally:
        os.close(fd)
    return Entry(entry, path, octets, meta, note, verdict)


def is_instance(entry: Entry) -> bool:
    """Whether the entry is to be announced as stored."""
    return isinstance(entry.verdict, Keep)


def _digest(fd: int, offset: int) -> str:
    digest = hashlib.sha256()
    while chunk := os.pread(fd, _CHUNK, offset):
        digest.update(chunk)
        offset += len(chunk)
    return digest.hexdigest()
