"""One spool file while its data set passes: written, summed up, and its head kept; the rest is never in memory."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable
from pathlib import Path

from hermes_common.dicom.errors import DataSetError, HeadTooShort, UnreadableDataset
from hermes_common.dicom.header import Header, extract_header
from hermes_common.dicom.part10 import FileMeta, encode_file_meta
from hermes_common.dicom.tags import TagSelection
from hermes_common.runtime.crashpoints import crash_point
from hermes_receiver.core.checksum import checksum
from hermes_receiver.core.reception import NOTE_LENGTH, Note


class SpoolFile:
    """A Part-10 file in the making. For one thread; ends with :meth:`seal` or :meth:`discard`."""

    def __init__(self, entry: str, path: Path, head_bytes: int, count: Callable[[int], None]) -> None:
        self.entry = entry
        self.path = path
        self.size = 0
        """Bytes of the file so far."""
        self.data_size = 0
        """Bytes of the data set so far."""
        self._offset = 0
        self._head = bytearray()
        self._head_bytes = head_bytes
        self._checksum = checksum()
        self._count = count
        self._meta = b""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)

    def begin(self, meta: FileMeta) -> None:
        """Set what stands before the data set; it is written with the first fragment. The note in it is completed by
        :meth:`seal`.
        """
        self._meta = encode_file_meta(meta)
        self._offset = len(self._meta)

    def write(self, fragment: memoryview) -> None:
        """Append data set bytes; raises OSError (disk full, for one)."""
        self._checksum.update(fragment)
        room = self._head_bytes - len(self._head)
        if room > 0:
            self._head += fragment[:room]
        self.data_size += len(fragment)
        parts = [memoryview(self._meta), fragment] if self._meta else [fragment]
        self._meta = b""
        self._append(parts)

    def _append(self, parts: list[memoryview]) -> None:
        length = sum(map(len, parts))
        written = os.writev(self._fd, parts)
        self._add(written)
        if written < length:
            rest = memoryview(b"".join(parts))[written:]
            while rest:
                written = os.write(self._fd, rest)
                self._add(written)
                rest = rest[written:]

    def _add(self, written: int) -> None:
        self.size += written
        self._count(written)

    def header(self, transfer_syntax: str, selection: TagSelection) -> Header | DataSetError:
        """Return the header of the whole data set, or why it has none; reads more of the file only if the head is too
        short.
        """
        try:
            return extract_header(
                self._head, transfer_syntax, truncated=self.data_size > len(self._head), selection=selection
            )
        except HeadTooShort:
            return read_header(self._fd, self._offset, transfer_syntax, selection)
        except DataSetError as exc:
            return exc

    @property
    def check(self) -> str:
        """Checksum of the data set so far, hexadecimal."""
        return self._checksum.hexdigest()

    def seal(self, note: Note) -> None:
        """Complete the note and fsync; the file does not change any more. Raises OSError."""
        if self._meta:
            self._append([memoryview(self._meta)])
            self._meta = b""
        os.pwrite(self._fd, note.encode(), self._offset - NOTE_LENGTH)
        crash_point("spool.written")
        os.fsync(self._fd)
        crash_point("spool.synced")
        os.close(self._fd)
        self._fd = -1

    def discard(self) -> None:
        """Remove the file, whatever state it is in; never raises."""
        with contextlib.suppress(OSError):
            if self._fd >= 0:
                os.close(self._fd)
        self._fd = -1
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._count(-self.size)
        self.size = 0


def read_header(fd: int, offset: int, transfer_syntax: str, selection: TagSelection) -> Header | DataSetError:
    """Read the header of the data set that begins at ``offset`` of a file, mapped, so that skipping costs no memory."""
    size = os.fstat(fd).st_size
    if size <= offset:
        return UnreadableDataset("the data set is empty")
    with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as whole, whole[offset:] as data:
        try:
            return extract_header(data, transfer_syntax, selection=selection)
        except DataSetError as exc:
            return exc.with_traceback(None)
