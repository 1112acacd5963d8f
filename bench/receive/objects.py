"""The instances that are sent: generated, in one folder per kind, the same for every receiver."""

from __future__ import annotations

import random
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from harness import make_series

from hermes_common.dicom.part10 import parse_file_meta


@dataclass(frozen=True)
class Kind:
    """A case of the bench: how many instances of which size one association's worth of work has."""

    name: str
    instances: int
    octets: int
    modality: str = "CT"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("ct", 300, 525_000),
        Kind("mr", 1000, 135_000, "MR"),
        Kind("tiny", 5000, 5_000),
        Kind("large", 1, 200_000_000),
    )
}


@dataclass(frozen=True)
class Instance:
    """One instance, in memory: what the fast sender needs of it."""

    sop_class: str
    sop_instance: str
    syntax: str
    data: memoryview


def generate(folder: Path, kind: Kind, count: int) -> list[Path]:
    """Write ``count`` instances of a kind; returns their files."""
    if kind.octets < 10_000_000:
        return make_series(folder, count, kind.octets, Modality=kind.modality).files
    files = []
    for number in range(count):
        series = make_series(folder / str(number), 1, 2000, Modality=kind.modality)
        files.append(_grow(series.files[0], kind.octets))
    return files


def _grow(path: Path, octets: int) -> Path:
    """Make the pixels of a generated instance ``octets`` long: they are the last element, OW with a 32-bit length."""
    raw = path.read_bytes()
    at = raw.rindex(b"\xe0\x7f\x10\x00OW") + 8
    block = random.randbytes(1_000_000)
    with path.open("wb") as file:
        file.write(raw[:at] + struct.pack("<L", octets))
        for _ in range(octets // len(block)):
            file.write(block)
    return path


def load(path: Path) -> Instance:
    """Read one into memory."""
    raw = path.read_bytes()
    part10 = parse_file_meta(raw)
    meta = part10.meta
    return Instance(meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax, memoryview(raw)[part10.offset :])
