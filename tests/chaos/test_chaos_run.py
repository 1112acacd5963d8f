"""The chaos harness, once: every kind of fault, and at the end all books agree."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hermes_chaos.checker import LedgerViolation

pytestmark = [pytest.mark.chaos, pytest.mark.servers, pytest.mark.interop]

SEED = "20"


def run(folder: Path, *arguments: str) -> str:
    """Run the harness as people do; return its report. A contradiction is a LedgerViolation here too."""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": str(here)}
    home = Path("/var/tmp") / f"hermes-chaos-test-{os.getpid()}"
    command = [sys.executable, "-m", "hermes_chaos", "--seed", SEED, "--home", str(home), *arguments]
    try:
        with (folder / "out").open("w") as out:
            done = subprocess.run(command, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    said = (folder / "out").read_text()
    sys.stdout.write(said)
    if "contradictions\n" in said:
        raise LedgerViolation(re.findall(r"^  - (.*)$", said, re.MULTILINE))
    assert done.returncode == 0, said
    return said


@pytest.mark.timeout(900)
def test_after_at_least_120_faults_of_every_kind_all_books_agree(
    tmp_path: Path, peer: Callable[[str, str], str]
) -> None:
    peer("storescp", "dcmtk")
    said = run(tmp_path, "--cycles", "120")
    found = re.search(r"^(\d+) cycles in .*\*\*0 violations\*\*", said, re.MULTILINE)
    assert found is not None
    assert int(found[1]) >= 120


@pytest.mark.timeout(300)
def test_a_cluster_of_three_that_loses_its_leaders_loses_nothing_else(tmp_path: Path) -> None:
    said = run(tmp_path, "--cycles", "1", "--scenario", "cluster")
    assert "**0 violations**" in said
