"""The test of a target, step by step, with times: C-ECHO for a DICOM target, a written file for a folder. Blocking."""

import os
import shutil
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from hermes_common.config import DicomTarget, FolderTarget
from hermes_common.dicom.uids import IMPLICIT_LITTLE, VERIFICATION
from hermes_common.runtime.clock import new_id
from hermes_common.runtime.dicom.errors import DicomNetworkError
from hermes_common.runtime.dicom.requestor import StorageAssociation, Timeouts
from hermes_web.core.words import size

T = TypeVar("T")

_LIMIT = timedelta(seconds=10)


class Step(BaseModel):
    """One step of a test."""

    model_config = ConfigDict(frozen=True)

    name: str
    ok: bool
    milliseconds: float
    detail: str = ""


class Probe(BaseModel):
    """What a test came to."""

    model_config = ConfigDict(frozen=True)

    target: str
    ok: bool
    steps: list[Step]


class StepFailedError(Exception):
    """A step failed; the ones after it make no sense."""


class _Steps:
    def __init__(self) -> None:
        self.steps: list[Step] = []

    def take(self, name: str, action: Callable[[], T], words: Callable[[T], str]) -> T:
        began = time.monotonic()
        try:
            result = action()
            detail, ok = words(result), True
        except (DicomNetworkError, OSError) as error:
            detail, ok = str(error) or type(error).__name__, False
            raise StepFailedError(detail) from error
        finally:
            taken = round((time.monotonic() - began) * 1000, 1)
            self.steps.append(Step(name=name, ok=ok, milliseconds=taken, detail=detail[:500]))
        return result


def probe(target: DicomTarget | FolderTarget) -> Probe:
    """Test a target from this machine. Never raises for what the target does."""
    steps = _Steps()
    try:
        if isinstance(target, DicomTarget):
            _dicom(target, steps)
        else:
            _folder(Path(target.path), steps)
    except StepFailedError:
        return Probe(target=target.slug, ok=False, steps=steps.steps)
    return Probe(target=target.slug, ok=all(step.ok for step in steps.steps), steps=steps.steps)


def _dicom(target: DicomTarget, steps: _Steps) -> None:
    limits = Timeouts(
        connect=min(target.connect_timeout, _LIMIT),
        associate=_LIMIT,
        send=_LIMIT,
        response=min(target.response_timeout, _LIMIT),
    )

    def addresses() -> list[str]:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(item[4][0]) for item in found))

    def associate() -> StorageAssociation:
        contexts = [(VERIFICATION, IMPLICIT_LITTLE)]
        where = (target.calling_aet, target.called_aet, target.host, target.port)
        return StorageAssociation.negotiate(*where, contexts, timeouts=limits)

    steps.take(f"resolve {target.host}", addresses, ", ".join)
    who = f"{target.calling_aet} calls {target.called_aet}"
    association = steps.take(
        f"connect to port {target.port} and associate",
        associate,
        lambda made: (
            f"{who}; verification is {'accepted' if made.accepts(VERIFICATION, IMPLICIT_LITTLE) else 'refused'}"
        ),
    )
    try:
        meaning = steps.take(
            "C-ECHO",
            association.c_echo,
            lambda found: "answered: Success" if found.code == 0 else f"answered {found.code:04X}H: {found.words}",
        )
    except StepFailedError:
        association.abort()
        raise
    del meaning
    steps.take("release", association.release, lambda _: "")


def _folder(path: Path, steps: _Steps) -> None:
    """Write a file where the target writes; the folder has to be there, as a disk may not be mounted."""
    there = path

    def look() -> None:
        if not there.exists():
            raise FileNotFoundError(f"the folder {there} does not exist; make or mount it")

    steps.take("look for the folder", look, lambda _: "it is there")
    name = there / f".hermes-test-{new_id()}"

    def write() -> None:
        if not there.is_dir():
            raise NotADirectoryError(f"{there} is a file, not a folder")
        with name.open("xb") as file:
            file.write(b"written by a test of this target; may be deleted")
            file.flush()
            os.fsync(file.fileno())
        name.unlink()

    steps.take("write and remove a file", write, lambda _: "from the web service's machine and account")
    steps.take("look for free space", lambda: shutil.disk_usage(there).free, lambda free: f"{size(free)} free")
