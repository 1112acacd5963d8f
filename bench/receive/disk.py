"""What the disk makes durable: files of one size, written by some threads, without any network."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

_PIECE = 131_072


def written(folder: Path, octets: int, files: int, writers: int, *, durable: bool) -> float:
    """Write ``files`` files as the spool does (a new file, a rename, for ``durable`` an fsync of each and of its folder
    before the next); return how many a second.
    """
    data = os.urandom(octets)
    begun, ended = folder / "begun", folder / "ended"
    begun.mkdir(parents=True)
    ended.mkdir()
    place = os.open(ended, os.O_RDONLY | os.O_DIRECTORY)

    def write(writer: int) -> None:
        for number in range(files // writers):
            name = f"{writer}-{number}"
            fd = os.open(begun / name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
            for start in range(0, octets, _PIECE):
                os.write(fd, data[start : start + _PIECE])
            if durable:
                os.fsync(fd)
            os.close(fd)
            (begun / name).rename(ended / name)
            if durable:
                os.fsync(place)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - started
    os.close(place)
    return files // writers * writers / seconds
