"""Storage commitment requests on the disk: they are answered, and survive a restart, until they are removed.

<spool>/commitments/<id>.json
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from hermes_common.dicom.commitment import CommitmentRequest, Reference
from hermes_common.events import Sender

_FOLDER: Final = "commitments"
_NAME: Final = re.compile(r"([0-9a-f]{32})\.json")


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """One request: who asked what, and when."""

    id: str
    request: CommitmentRequest
    association_id: str
    sender: Sender
    asked_at: datetime
    attempts: int = 0
    """How often its answer was offered to the sender."""

    def encode(self) -> bytes:
        """Return it as JSON."""
        fields: dict[str, Any] = {
            "id": self.id,
            "transaction_uid": self.request.transaction_uid,
            "references": [[item.sop_class, item.sop_instance] for item in self.request.references],
            "association_id": self.association_id,
            "sender": self.sender.model_dump(),
            "asked_at": self.asked_at.isoformat(),
            "attempts": self.attempts,
        }
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, raw: bytes) -> KeptRequest:
        """Read it back; raises ValueError for what :meth:`encode` did not write."""
        try:
            fields = json.loads(raw)
            references = tuple(Reference(str(one), str(two)) for one, two in fields["references"])
            return cls(
                str(fields["id"]),
                CommitmentRequest(str(fields["transaction_uid"]), references),
                str(fields["association_id"]),
                Sender.model_validate(fields["sender"]),
                datetime.fromisoformat(fields["asked_at"]),
                int(fields["attempts"]),
            )
        except (KeyError, TypeError, AttributeError) as exc:
            raise ValueError(f"not a storage commitment request ({type(exc).__name__})") from exc


class RequestFolder:
    """The requests that wait. Every change is fsynced."""

    def __init__(self, root: Path) -> None:
        self._root = root / _FOLDER
        self._root.mkdir(mode=0o750, parents=True, exist_ok=True)
        for leftover in self._root.glob("*.part"):
            leftover.unlink(missing_ok=True)

    def write(self, kept: KeptRequest) -> None:
        """Keep a request, or its changed state; raises OSError, and then the state before stands."""
        target = self._path(kept.id)
        temporary = target.with_suffix(".part")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            with os.fdopen(descriptor, "wb") as file:
                file.write(kept.encode())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            self._sync()
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def take_over(self, files: list[Path]) -> None:
        """Move files of another folder on the same volume here; raises OSError."""
        for path in files:
            path.rename(self._root / path.name)
        self._sync()

    def remove(self, request_id: str) -> None:
        """Forget a request that has found its end; raises OSError."""
        self._path(request_id).unlink(missing_ok=True)

    def load(self) -> tuple[list[KeptRequest], list[str]]:
        """Return the requests that wait, the oldest first, and the names of files that cannot be read."""
        kept, damaged = [], []
        for path in sorted(self._root.iterdir()):
            if not _NAME.fullmatch(path.name):
                continue
            try:
                kept.append(KeptRequest.decode(path.read_bytes()))
            except (OSError, ValueError):
                damaged.append(path.name)
        return sorted(kept, key=lambda item: item.asked_at), damaged

    def _path(self, request_id: str) -> Path:
        if not _NAME.fullmatch(f"{request_id}.json"):
            raise ValueError("not the id of a request")
        return self._root / f"{request_id}.json"

    def _sync(self) -> None:
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def adopt_requests(left: Path, root: Path) -> None:
    """Move the requests below ``left``, which nobody uses any more, below ``root``; raises OSError."""
    waiting = [path for path in (left / _FOLDER).glob("*.json") if _NAME.fullmatch(path.name)]
    if waiting:
        RequestFolder(root).take_over(waiting)


def once_more(kept: KeptRequest) -> KeptRequest:
    """Return the request with one more attempt counted."""
    return replace(kept, attempts=kept.attempts + 1)
