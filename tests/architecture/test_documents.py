"""Documents tell the truth about what is there."""

import json
import re
from pathlib import Path

import pytest


def test_every_decision_is_in_the_index_and_has_its_parts(repository: Path) -> None:
    folder = repository / "docs" / "adr"
    files = sorted(path.name for path in folder.glob("0*.md"))
    index = re.findall(r"\]\((0[^)]+)\)", (folder / "README.md").read_text("utf-8"))
    assert index == files
    for name in files:
        text = (folder / name).read_text("utf-8")
        assert text.startswith(f"# {name[:4]}: ")
        for part in ("**At stake.**", "**Decided.**", "**Follows.**"):
            assert part in text, f"{name}: {part}"


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/adr/README.md",
        "docs/alerts.md",
        "docs/metrics.md",
        "docs/reliability.md",
        "docs/security.md",
        "docs/traces.md",
    ],
)
def test_links_and_paths_in_the_documents_exist(repository: Path, name: str) -> None:
    path = repository / name
    text = path.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in link:
            assert (path.parent / link).exists(), link
    for named in re.findall(r"`((?:services|libs|deploy|tests|docs|bench)/[^`\s*<{]+)`", text):
        assert (repository / named.partition("::")[0]).exists(), named


def test_every_line_of_the_security_list_that_is_ticked_names_a_test_that_exists(repository: Path) -> None:
    text = (repository / "docs/security.md").read_text("utf-8")
    items = re.findall(r"^- \[([x ])\] (.*?)(?=^- \[|^#|\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(items) > 30
    for ticked, item in items:
        named = re.findall(r"`([^`]+\.py)::(\w+)`", item)
        assert bool(named) is (ticked == "x"), item
        for path, test in named:
            assert re.search(rf"def {test}\(", (repository / path).read_text("utf-8")), test


def test_every_promise_of_reliability_names_tests_that_exist_or_says_that_it_is_not_shown(repository: Path) -> None:
    text = (repository / "docs/reliability.md").read_text("utf-8")
    rows = [row for row in re.findall(r"^\| (.*) \|$", text, re.MULTILINE) if "---" not in row]
    assert len(rows) > 40
    for row in rows[1:]:
        named = re.findall(r"`([^`]+\.py)::(\w+)`", row)
        for path, test in named:
            assert re.search(rf"def {test}\(", (repository / path).read_text("utf-8")), test
        is_heading = row.startswith("failure |")
        assert named or is_heading or "`just chaos" in row or "**Not" in row, row


def test_nothing_in_the_project_names_an_address_of_a_package_registry(repository: Path) -> None:
    lock = (repository / "requirements.lock").read_text("utf-8")
    assert "://" not in lock
    assert "--hash=sha256:" in lock
    packages = json.loads((repository / "services/web/assets/package-lock.json").read_text("utf-8"))["packages"]
    found = [set(package) for name, package in packages.items() if name]
    assert found
    assert [package for package in found if "resolved" in package or not package & {"integrity", "inBundle"}] == []
    assert "://" not in (repository / "services/web/assets/node.lock").read_text("utf-8")
