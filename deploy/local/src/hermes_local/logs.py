"""Log files that stay small: the program appends to the file, the launcher moves full ones aside."""

import shutil
from pathlib import Path

LIMIT_BYTES = 10 * 1024 * 1024
KEPT = 3


def rotate(log: Path, *, limit_bytes: int = LIMIT_BYTES, kept: int = KEPT) -> bool:
    """Copies a log of more than `limit_bytes` to `<log>.1` (older ones move up to `<log>.<kept>`) and empties it.

    The file stays the same file, so the program that appends to it needs to know nothing; what it writes between the
    copy and the emptying is lost, which logs may be. Returns whether anything was done.
    """
    try:
        if log.stat().st_size <= limit_bytes:
            return False
    except FileNotFoundError:
        return False
    for number in range(kept, 1, -1):
        older = numbered(log, number - 1)
        if older.exists():
            older.replace(numbered(log, number))
    shutil.copyfile(log, numbered(log, 1))
    numbered(log, 1).chmod(0o600)
    with log.open("r+b") as file:
        file.truncate(0)
    return True


def numbered(log: Path, number: int) -> Path:
    """The file that holds the `number`th last full log."""
    return log.with_name(f"{log.name}.{number}")


def last_lines(log: Path, *, since: int = 0, count: int = 12) -> list[str]:
    """The last `count` lines of `log` behind byte `since` (which is ignored when the file became shorter); at most 16
    KiB are read.
    """
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            start = since if since <= size else 0
            file.seek(max(start, size - 16384))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return [line.rstrip()[:400] for line in text.splitlines() if line.strip()][-count:]
