"""A folder as a target: below it, one DICOM file for each instance, named by the template.

A file is written under a temporary name, fsynced, renamed, and its folder fsynced: only then is it delivered. The
file meta information is that of the received object without what is only Hermes' own.
"""

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from hermes_common.dicom.errors import NotPart10
from hermes_common.dicom.part10 import MAX_META_LENGTH, parse_file_meta
from hermes_common.runtime.clock import new_id
from hermes_common.targets import FolderTarget
from hermes_dispatcher.adapters.objects import Item, Prepared, Supply
from hermes_dispatcher.adapters.targets.feeding import beside, name_of, one_by_one, part10
from hermes_dispatcher.adapters.targets.interface import Permit, Report
from hermes_dispatcher.adapters.targets.steps import Steps
from hermes_dispatcher.core.outcomes import Delivered, NotDelivered, Outcome, Trouble

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_BLOCK: Final = 1024 * 1024


class FolderSender:
    """Writes files below a folder, which has to exist: a disk that is not mounted is not to be written beside."""

    def __init__(self, target: FolderTarget) -> None:
        self._root = Path(target.path)
        self._template = target.path_template
        self._permit = Permit()
        self._made: set[Path] = set()
        """Folders whose names are known to be durable."""

    def send(self, items: Sequence[Item], supply: Supply, report: Report, permit: Permit) -> NotDelivered | None:
        """Write them; see :class:`~hermes_dispatcher.adapters.targets.interface.Sender`."""
        if not self._root.is_dir():
            return NotDelivered(Trouble.UNREACHABLE, f"the folder {self._root} does not exist; make or mount it")
        self._permit = permit
        return one_by_one(items, supply, report, permit, self._write)

    def test(self, steps: Steps) -> None:
        """Write and remove a file where deliveries are written."""
        root, name = self._root, self._root / f".hermes-test-{new_id()}"

        def look() -> None:
            if not root.is_dir():
                raise FileNotFoundError(f"the folder {root} does not exist; make or mount it")

        def write() -> None:
            with name.open("xb") as file:
                file.write(b"written by a test of this target; may be deleted")
                file.flush()
                os.fsync(file.fileno())
            name.unlink()

        steps.take("look for the folder", look, lambda _: "it is there")
        steps.take("write and remove a file", write, lambda _: "from the dispatcher's machine and account")
        steps.take(
            "look for free space", lambda: shutil.disk_usage(root).free, lambda free: f"{free / 1e9:.1f} GB free"
        )

    def _write(self, item: Item, prepared: Prepared) -> Outcome:
        try:
            path = self._place(item, prepared)
            if not _holds(path, item.instance.digest):
                self._store(path, prepared)
            return Delivered(note=f"as {path.name}")
        except OSError as error:
            trouble = Trouble.BUSY if error.errno in _FULL else Trouble.UNREACHABLE
            return NotDelivered(trouble, f"cannot write below {self._root}: {error.strerror or error}")

    def _place(self, item: Item, prepared: Prepared) -> Path:
        """Return where the instance goes; other bytes under the same UID are left alone, and it goes beside them."""
        name = name_of(self._template, item, prepared)
        path = self._root / name
        if not path.exists() or _holds(path, item.instance.digest):
            return path
        return self._root / beside(name, item.instance.digest)

    def _store(self, path: Path, prepared: Prepared) -> None:
        self._make(path.parent)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            with temporary.open("wb") as file:
                for chunk in part10(prepared)[1]:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if self._permit.is_killed:
                raise OSError(errno.ECANCELED, "broken off by us")
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
