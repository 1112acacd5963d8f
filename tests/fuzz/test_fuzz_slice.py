"""A short slice of the fuzzer, always the same; the long run is ``just fuzz``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import fuzz_pdus
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")


def test_damaged_pdus_never_raise_anything_but_the_declared_errors():
    found = fuzz_pdus.fuzz_parser(seed=4, count=15_000)
    assert found.tried == 15_000
    assert 0 < found.understood < found.tried


def test_a_receiver_under_damaged_pdus_stays_well_and_gives_everything_back():
    assert fuzz_pdus.fuzz_socket(seed=4, count=3_000).tried >= 3_000
