"""The rule language decides where images go: no branch of it is there that its examples do not take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(300)
def test_every_branch_of_the_rule_language_is_taken_by_its_examples(repository: Path, tmp_path: Path) -> None:
    """Without the tests of properties: what is covered must not depend on chance."""
    tests = repository / "libs" / "hermes_common" / "tests" / "rules"
    ignored = ["--ignore", str(tests / "test_properties.py")]
    environment = {**os.environ, "COVERAGE_FILE": str(tmp_path / "coverage")}
    run = ["run", "--source=hermes_common.rules", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), *ignored]
    for arguments in (run, ["report", "--skip-covered", "--show-missing", "--precision=2", "--fail-under=100"]):
        done = subprocess.run(
            [sys.executable, "-m", "coverage", *arguments],
            cwd=repository,
            env=environment,
            capture_output=True,
            text=True,
            timeout=140,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
