"""What is to be sent, and within which limits: contexts, data set sources, time limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeAlias

from hermes_common.dicom.associate import MAX_CONTEXTS

Context: TypeAlias = tuple[str, str]
"""(SOP class UID, transfer syntax UID): what instances need to be sent."""

_CHUNK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits of the steps of an association; ``response`` is generous because archives answer after storing."""

    connect: timedelta = timedelta(seconds=10)
    associate: timedelta = timedelta(seconds=30)
    send: timedelta = timedelta(seconds=30)
    """For each PDU to be taken by the peer."""
    response: timedelta = timedelta(seconds=120)
    release: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class FileSource:
    """Data set bytes in a file, from ``offset`` bytes to its end (``Part10.offset`` of a spool or Part-10 file)."""

    path: Path
    offset: int = 0


Source: TypeAlias = bytes | memoryview | FileSource | Iterable[bytes]
"""A data set: whole, in a file, or in chunks (each of which is left alone until it is sent)."""


def plan_associations(contexts: Iterable[Context]) -> list[list[Context]]:
    """Group the distinct contexts, in order of first need, into lists that fit one association each (128 contexts)."""
    distinct = list(dict.fromkeys(contexts))
    return [distinct[start : start + MAX_CONTEXTS] for start in range(0, len(distinct), MAX_CONTEXTS)]


def chunks(source: Source, size: int) -> Iterator[bytes | memoryview]:
    """Yield the bytes of ``source``; files in multiples of ``size``, so that none has to be joined again."""
    match source:
        case bytes() | memoryview():
            yield source
        case FileSource(path, offset):
            with path.open("rb", buffering=0) as file:
                file.seek(offset)
                while chunk := file.read(max(_CHUNK // size, 1) * size):
                    yield chunk
        case _:
            yield from source
