"""Secrets of one installation: made once, kept in a file that only its owner can read."""

import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermes_local.errors import HomeUnusableError

FILE = "secrets.json"
NATS_USERS = ("receiver", "router", "dispatcher", "cleaner", "bookkeeper", "web", "operator")


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets of one home. `nats` maps each user of the bus to its password; `operator` is for the launcher and
    the CLI.
    """

    path: Path
    nats: dict[str, str]
    values: dict[str, str]

    def __repr__(self) -> str:
        """Says where the secrets are, not what they are."""
        return f"Secrets({str(self.path)!r})"

    @property
    def postgres_superuser(self) -> str:
        """Password of the database's superuser `postgres`."""
        return self.values["postgres_superuser"]

    @property
    def postgres(self) -> str:
        """Password of the role `hermes`, which owns the database `hermes`."""
        return self.values["postgres"]

    @property
    def s3_access_key(self) -> str:
        """Access key of the object store."""
        return self.values["s3_access_key"]

    @property
    def s3_secret_key(self) -> str:
        """Secret key of the object store."""
        return self.values["s3_secret_key"]

    @property
    def s3_internal(self) -> str:
        """The key with which the parts of the object store trust each other."""
        return self.values["s3_internal"]

    @property
    def admin_password(self) -> str:
        """First password of the administrator."""
        return self.values["admin_password"]

    @property
    def admin_token(self) -> str:
        """API token of the administrator, for the command line on this machine."""
        return self.values["admin_token"]

    @property
    def secret_key(self) -> str:
        """The key that the secrets of targets are sealed with; without it they cannot be read any more."""
        return self.values["secret_key"]


def load_or_create(home: Path) -> Secrets:
    """Reads `<home>/secrets.json`, makes what is not in it yet, and writes it back whole when anything was made.

    Raises HomeUnusableError when the file belongs to somebody else, others can read it, or it cannot be understood.
    """
    path = home / FILE
    known = _read(path)
    nats = dict(known.get("nats", {}))
    complete = {**_fresh(), **{name: value for name, value in known.items() if name != "nats"}}
    for user in NATS_USERS:
        nats.setdefault(user, secrets.token_urlsafe(24))
    document = {**complete, "nats": nats}
    if document != known:
        write_private(path, json.dumps(document, indent=2) + "\n")
    return Secrets(path=path, nats=nats, values=complete)


def write_private(path: Path, text: str) -> None:
    """Replaces the file as a whole, readable by its owner only, and on the disk when this returns."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return {}
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise HomeUnusableError(
            f"{path} must be a file that belongs to the user who starts Hermes. Start as its owner (uid "
            f"{status.st_uid})."
        )
    if status.st_mode & 0o077:
        raise HomeUnusableError(
            f"Others can read the secrets in {path}. Take that away with `chmod 600 {path}` and change what they may "
            f"have seen."
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise HomeUnusableError(
            f"{path} cannot be read ({problem}). Restore it from a backup: it is the key to the data beside it."
        ) from problem
    if not isinstance(document, dict):
        raise HomeUnusableError(
            f"{path} is not a JSON object. Restore it from a backup: it is the key to the data beside it."
        )
    return document


def _fresh() -> dict[str, str]:
    return {
        "postgres_superuser": secrets.token_urlsafe(24),
        "postgres": secrets.token_urlsafe(24),
        "s3_access_key": secrets.token_hex(10).upper(),
        "s3_secret_key": secrets.token_urlsafe(30),
        "s3_internal": secrets.token_urlsafe(32),
        "admin_password": secrets.token_urlsafe(15),
        "admin_token": secrets.token_urlsafe(32),
        "secret_key": secrets.token_urlsafe(48),
    }
