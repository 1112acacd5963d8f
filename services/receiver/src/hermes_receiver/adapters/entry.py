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
from hermes_receiver.core.checksum import checksum_like
from hermes_receiver.core.reception import DamagedEntryError, Note
from hermes_receiver.core.verdict import CORRUPT, Quarantine, Verdict, judge

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished spool file. ``verdict`` is what its data set says now, :data:`CORRUPT` if it is not what came in;
    ``digest`` is the hexadecimal SHA-256 of the data set.
    """

    id: str
    path: Path
    octets: int
    meta: FileMeta
    note: Note
    verdict: Verdict
    digest: str


def read_entry(entry: str, path: Path, selection: TagSelection) -> Entry:
    """Read a spool file whole: verify its checksum and make its digest.

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
        check, digest = _sums(fd, offset, note.check)
        if check != note.check:
            verdict: Verdict = CORRUPT
        elif note.status != 0:
            verdict = Quarantine(note.status, note.reason)
        else:
            header = read_header(fd, offset, meta.transfer_syntax, selection)
            verdict = judge(meta.sop_class_uid, meta.sop_instance_uid, header)
    finally:
        os.close(fd)
    return Entry(entry, path, octets, meta, note, verdict, digest)


def _sums(fd: int, offset: int, check: str) -> tuple[str, str]:
    """Return the checksum (of the kind of ``check``) and the SHA-256 of what follows ``offset``, hexadecimal."""
    checksum, digest = checksum_like(check), hashlib.sha256()
    buffer = memoryview(bytearray(min(_CHUNK, max(os.fstat(fd).st_size - offset, 1))))
    while count := os.preadv(fd, [buffer], offset):
        checksum.update(buffer[:count])
        digest.update(buffer[:count])
        offset += count
    return checksum.hexdigest(), digest.hexdigest()
