"""The document of the metrics, the dashboard and the alerting rules against what the services really expose."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest
import yaml

SERVICES = ("receiver", "router", "dispatcher", "cleaner", "bookkeeper", "web")
ROW = re.compile(r"^\| `(hermes_\w+)` \| (\w+) \| ([a-z, ]+) \| ([a-z, -]+) \| \S.* \|$", re.MULTILINE)
NAME = re.compile(r"\bhermes_[a-z_]+\b")
LABEL = re.compile(r"by \(([a-z_, ]+)\)|\{([a-z_]+)=|\{\{ ?(?:\$labels\.)?([a-z_]+) ?\}\}")

Documented = dict[str, tuple[str, set[str], list[str]]]


@pytest.fixture(scope="module")
def documented(repository: Path) -> Documented:
    """Every metric of docs/metrics.md: type, services, labels."""
    text = (repository / "docs" / "metrics.md").read_text("utf-8")
    rows = ROW.findall(text)
    assert len(rows) == len({row[0] for row in rows}) == text.count("\n| `hermes_")
    split = {
        name: (kind, set(services.split(", ")), [] if labels == "-" else labels.split(", "))
        for name, kind, services, labels in rows
    }
    assert split
    return split


async def exposed(service: str) -> list[tuple[str, str, list[str]]]:
    program = Path(__file__).with_name("exposed.py")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(program), f"hermes_{service}"), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 0, service
    return [(name, kind, labels) for name, kind, labels in json.loads(out)]


async def test_the_document_says_what_every_service_exposes_and_nothing_else(documented: Documented) -> None:
    found: Documented = {}
    answers = await asyncio.gather(*(exposed(service) for service in SERVICES))
    for service, metrics in zip(SERVICES, answers, strict=True):
        for name, kind, labels in metrics:
            _, services, _ = found.setdefault(name, (kind, set(), labels))
            services.add(service)
    assert found == documented


def test_names_have_their_units_and_no_label_could_hold_a_patient(documented: Documented) -> None:
    for name, (kind, _, labels) in documented.items():
        assert name.endswith("_total") is (kind == "counter"), name
        assert not any(word in label for label in labels for word in ("uid", "patient", "series", "study")), name


def check(expression: str, documented: Documented) -> None:
    """Check that every metric in an expression exists, and every label is one of theirs, or of every scrape."""
    names = NAME.findall(expression)
    known = {"job", "instance", "le"}
    for name in names:
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        assert base in documented, f"{name} in {expression}"
        assert name == base or documented[base][0] == "histogram", name
        known |= set(documented[base][2])
    for match in LABEL.findall(expression):
        for label in ",".join(match).replace(" ", "").split(","):
            assert not label or label in known, f"{label} in {expression}"


def test_the_alerting_rules_are_rules_about_metrics_that_exist(repository: Path, documented: Documented) -> None:
    document = yaml.safe_load((repository / "deploy/observability/hermes-rules.yml").read_text("utf-8"))
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 5
    for rule in rules:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        check(f"{rule['expr']} {rule['annotations']['summary'].replace('$value', '')}", documented)


def test_the_dashboard_shows_metrics_that_exist_and_every_one_of_the_documented(
    repository: Path, documented: Documented
) -> None:
    text = (repository / "deploy/observability/hermes-dashboard.json").read_text("utf-8")
    dashboard = json.loads(text)
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids) > 10
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & own, f"{panel['title']} lies on another one"
        cells |= own
        for target in panel["targets"]:
            check(f"{target['expr']} {target['legendFormat']}", documented)
    rules = (repository / "deploy/observability/hermes-rules.yml").read_text("utf-8")
    shown = {re.sub(r"_bucket$", "", name) for name in NAME.findall(text + rules)}
    assert documented.keys() - shown <= {
        "hermes_receiver_events_dropped_total",
        "hermes_receiver_uploaded_total",
        "hermes_studies_total",
    }
