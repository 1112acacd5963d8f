"""A folder as a target: ``<path>/<study UID>/<series UID>/<SOP instance UID>.dcm``.

A file is written under a temporary name, fsynced, renamed, and its folder fsynced: only then is it delivered. The
file meta information is that of the received object without what is only Hermes' own.
"""

import errno
import hashlib
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from hermes_common.config import FolderTarget
from hermes_common.dicom.errors import NotPart10
from hermes_common.dicom.part10 import MAX_META_LENGTH, encode_file_meta, parse_file_meta
from hermes_common.ids import check_uid
from hermes_dispatcher.adapters.objects import Item, Prepared, Supply
from hermes_dispatcher.adapters.targets.interface import Permit, Report
from hermes_dispatcher.core.outcomes import Delivered, NotDelivered, Outcome, Trouble

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_BLOCK: Final = 1024 * 1024


class FolderSender:
    """Writes files below a folder, which has to exist: a disk that is not mounted is not to be written beside."""

    def __init__(self, target: FolderTarget) -> None:
        self._root = Path(target.path)
        self._made: set[Path] = set()
        """Folders whose names are known to be durable."""

    def send(self, items: Sequence[Item], supply: Supply, report: Report, permit: Permit) -> NotDelivered | None:
        """Write them; see :class:`~hermes_dispatcher.adapters.targets.interface.Sender`."""
        if not self._root.is_dir():
            return NotDelivered(Trouble.UNREACHABLE, f"the folder {self._root} does not exist; make or mount it")
        stream = supply(items)
        try:
            for item, prepared in stream:
                if not permit.may_send:
                    _close(prepared)
                    return None
                try:
                    outcome = prepared if isinstance(prepared, NotDelivered) else self._write(item, prepared)
                finally:
                    _close(prepared)
                report(item, outcome, prepared.octets if isinstance(prepared, Prepared) else 0)
                if isinstance(outcome, NotDelivered) and outcome.trouble is not Trouble.CORRUPT:
                    return outcome
        finally:
            stream.close()
        return None

    def _write(self, item: Item, prepared: Prepared) -> Outcome:
        try:
            path = self._place(item)
            if not _holds(path, item.instance.digest):
                self._store(path, prepared)
            return Delivered(note=f"as {path.name}")
        except OSError as error:
            trouble = Trouble.BUSY if error.errno in _FULL else Trouble.UNREACHABLE
            return NotDelivered(trouble, f"cannot write below {self._root}: {error.strerror or error}")

    def _place(self, item: Item) -> Path:
        """Return where the instance goes; other bytes under the same UID are left alone, and it goes beside them."""
        meta = item.instance
        folder = self._root / item.study_uid / item.series_uid
        path = folder / f"{check_uid(meta.sop_instance_uid)}.dcm"
        if not path.exists() or _holds(path, meta.digest):
            return path
        return folder / f"{meta.sop_instance_uid}-{meta.digest[:16]}.dcm"

    def _store(self, path: Path, prepared: Prepared) -> None:
        self._make(path.parent)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            with temporary.open("wb") as file:
                file.write(encode_file_meta(replace(prepared.meta, private_creator_uid="", private_information=b"")))
                for chunk in prepared.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)

    def _make(self, folder: Path) -> None:
        """Make the folders down to ``folder``, and their names durable, also if somebody else made them."""
        if folder in self._made:
            return
        current = self._root
        for part in folder.relative_to(self._root).parts:
            (current / part).mkdir(exist_ok=True)
            _sync_folder(current)
            current = current / part
        self._made.add(folder)


def _close(prepared: Prepared | NotDelivered) -> None:
    if isinstance(prepared, Prepared):
        prepared.close()


def _holds(path: Path, digest: str) -> bool:
    """Whether the file has this data set, durably."""
    try:
        with path.open("rb") as file:
            head = file.read(MAX_META_LENGTH + 132)
            found = hashlib.sha256(head[parse_file_meta(head).offset :])
            while block := file.read(_BLOCK):
                found.update(block)
            if found.hexdigest() != digest:
                return False
            os.fsync(file.fileno())
    except (FileNotFoundError, NotPart10):
        return False
    _sync_folder(path.parent)
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
