"""The account that PostgreSQL runs as when the launcher is root: PostgreSQL refuses to run as root.

The account must be able to walk down to its data and to its programs. Folders on the way that it cannot enter get an
access control entry for exactly this account and exactly that right ("may pass"); nobody else gains anything by it.
"""

import os
import pwd
import shutil
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hermes_local.errors import HomeUnusableError

WANTED = "hermes"
INSTEAD = ("postgres", "nobody")

_ACL = "system.posix_acl_access"
_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_PASS = 1


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine, by number."""

    name: str
    uid: int
    gid: int


def unprivileged(data: Path) -> Account | None:
    """The account for a server that must not be root, or None when we are not root.

    It is the owner of `data` if that is not root, else the system user `hermes`, which is created if possible, else
    one of
    `INSTEAD`. Raises HomeUnusableError when there is none.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat().st_uid) != 0:
        return _account(pwd.getpwuid(owner).pw_name)
    if not _exists(WANTED):
        _create(WANTED)
    for name in (WANTED, *INSTEAD):
        if _exists(name):
            return _account(name)
    raise HomeUnusableError(
        f"PostgreSQL does not run as root, and the user {WANTED} cannot be created. Create it (`useradd --system "
        f"{WANTED}`), or start "
        "Hermes as an ordinary user, or set HERMES_DATABASE_URL to a PostgreSQL that exists."
    )


def let_pass(account: Account, path: Path) -> None:
    """Makes sure that `account` can enter every folder above `path`; changes only those it cannot. Needs root."""
    for folder in reversed(path.resolve().parents):
        if not _may_pass(account, folder):
            _allow(account, folder)


def _account(name: str) -> Account:
    entry = pwd.getpwnam(name)
    return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _create(name: str) -> None:
    useradd = shutil.which("useradd") or shutil.which("useradd", path="/usr/sbin:/sbin")
    if useradd is not None:
        subprocess.run(  # noqa: S603 - fixed arguments
            [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name],
            check=False,
            capture_output=True,
        )


def _may_pass(account: Account, folder: Path) -> bool:
    acl = _read_acl(folder)
    named = [bits for tag, bits, who in acl if tag == _USER and who == account.uid]
    if named:
        mask = next((bits for tag, bits, _ in acl if tag == _MASK), 7)
        return bool(named[0] & mask & _PASS)
    status = folder.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _allow(account: Account, folder: Path) -> None:
    acl = _read_acl(folder) or _acl_of_mode(folder.stat().st_mode)
    others = [entry for entry in acl if entry[0] != _MASK and not (entry[0] == _USER and entry[2] == account.uid)]
    entries = [*others, (_USER, _PASS, account.uid)]
    mask = 0
    for tag, bits, _ in entries:
        if tag not in (_USER_OBJ, _OTHER):
            mask |= bits
    entries = sorted([*entries, (_MASK, mask, _NO_ID)], key=lambda entry: (entry[0], entry[2]))
    value = struct.pack("<I", 2) + b"".join(_ENTRY.pack(*entry) for entry in entries)
    try:
        os.setxattr(folder, _ACL, value)
    except (OSError, AttributeError) as problem:
        raise HomeUnusableError(
            f"PostgreSQL runs as the user {account.name}, who cannot enter {folder}, and this file system takes no "
            f"access control entry "
            f"({problem}). Allow it (`chmod o+x {folder}`), or choose another folder: HERMES_HOME for the data, "
            f"HERMES_VENV for the programs."
        ) from problem


def _read_acl(folder: Path) -> list[tuple[int, int, int]]:
    try:
        value = os.getxattr(folder, _ACL)
    except (OSError, AttributeError):  # none there, or none known here: the mode bits say all there is
        return []
    return [_ENTRY.unpack_from(value, offset) for offset in range(4, len(value), _ENTRY.size)]


def _acl_of_mode(mode: int) -> list[tuple[int, int, int]]:
    return [
        (_USER_OBJ, (mode >> 6) & 7, _NO_ID),
        (_GROUP_OBJ, (mode >> 3) & 7, _NO_ID),
        (_OTHER, mode & 7, _NO_ID),
    ]
