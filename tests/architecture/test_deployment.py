"""Container files and units, checked without an engine and without systemd: what they name exists, and fits."""

import configparser
import importlib
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

SERVICES = ("receiver", "router", "dispatcher", "cleaner", "bookkeeper", "web")


@pytest.fixture(scope="session")
def compose(repository: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((repository / "deploy/compose/compose.yaml").read_text("utf-8"))
    return found


@pytest.mark.parametrize("name", SERVICES)
def test_a_dockerfile_copies_what_is_there_and_runs_the_program_of_its_service_as_nobody_special(
    name: str, repository: Path
) -> None:
    text = (repository / "services" / name / "Dockerfile").read_text("utf-8")
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (repository / source).exists(), source
    project = tomllib.loads((repository / "services" / name / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"hermes-{name}" in project["scripts"]
    assert f'ENTRYPOINT ["/opt/hermes/bin/hermes-{name}"]' in text
    assert re.search(r"^USER hermes$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    assert "STOPSIGNAL SIGTERM" in text


def test_every_service_is_in_the_composition_with_variables_that_it_knows(
    compose: dict[str, Any], repository: Path
) -> None:
    for name in SERVICES:
        known = _variables(name)
        given = set(compose["services"][name]["environment"])
        assert given <= known, f"{name}: {given - known}"
        assert "HERMES_NATS_URL" in given
        assert (repository / compose["services"][name]["build"]["dockerfile"]).exists()
    assert set(SERVICES) <= set(compose["services"])


def test_the_web_service_of_the_composition_finds_the_receivers_port_for_stow_rs(compose: dict[str, Any]) -> None:
    receiver, web = (compose["services"][name]["environment"] for name in ("receiver", "web"))
    assert web["HERMES_DICOMWEB_URL"] == f"http://receiver:{receiver['HERMES_DICOMWEB_PORT']}"
    assert receiver["HERMES_DICOMWEB_HOST"] == "0.0.0.0"


def _variables(service: str) -> set[str]:
    """Return the variables that a service reads."""
    module = importlib.import_module(f"hermes_{service}.settings")
    models = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, BaseSettings)]
    return {f"HERMES_{field.upper()}" for model in models for field in model.model_fields}


def test_the_composition_takes_no_secret_that_is_not_given(compose: dict[str, Any], repository: Path) -> None:
    text = (repository / "deploy/compose/compose.yaml").read_text("utf-8")
    example = (repository / "deploy/compose/.env.example").read_text("utf-8")
    asked = re.findall(r"\$\{(\w+)([^}]*)\}", text)
    assert asked
    for name, rule in asked:
        assert rule == ":?", f"{name} may be empty"
        assert re.search(rf"^{name}=", example, re.MULTILINE), f"{name} is not in .env.example"


def test_nats_is_configured_to_survive_a_power_cut(repository: Path) -> None:
    assert "sync_interval: always" in (repository / "deploy/nats/nats.conf").read_text("utf-8")


class Unit(configparser.ConfigParser):
    """A file of systemd, whose names keep their capitals."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@pytest.fixture(scope="session")
def units(repository: Path) -> dict[str, configparser.ConfigParser]:
    """The units of systemd, by their file name."""
    found = {}
    for path in (repository / "deploy/systemd").glob("*.service"):
        unit = Unit(strict=False, interpolation=None, delimiters="=")
        unit.read(path, "utf-8")
        found[path.name] = unit
    return found


def test_a_unit_starts_what_is_there_and_lets_it_stop_in_order(
    units: dict[str, configparser.ConfigParser], compose: dict[str, Any], repository: Path
) -> None:
    stops_within = int(compose["services"]["router"]["stop_grace_period"].removesuffix("s"))
    everything, one = units["hermes.service"]["Service"], units["hermes@.service"]["Service"]
    assert everything["ExecStart"] == "/opt/hermes/hermes up"
    assert os.access(repository / "hermes", os.X_OK)
    program = one["ExecStart"].removeprefix("/opt/hermes/.venv/bin/")
    for name in SERVICES:
        project = tomllib.loads((repository / "services" / name / "pyproject.toml").read_text("utf-8"))["project"]
        assert program.replace("%i", name) in project["scripts"]
    for unit in (everything, one):
        assert unit["KillMode"] == "mixed", "SIGTERM for all at once would stop the bus before the services"
        assert unit["Restart"] == "always"
        assert unit["User"] != "root"
    assert int(one["TimeoutStopSec"]) > stops_within
    assert int(everything["TimeoutStopSec"]) > 2 * stops_within, "servers stop after the services"
    assert all(unit["Unit"]["StartLimitIntervalSec"] == "0" for unit in units.values())


def test_an_upgrade_goes_from_those_who_read_to_those_who_write(repository: Path) -> None:
    text = (repository / "docs/operations.md").read_text("utf-8")
    order = re.search(r"^1\. bookkeeper.*$", text, re.MULTILINE)
    assert order is not None
    found = re.findall(r"\d\. (\w+)", order[0])
    assert found == ["bookkeeper", "web", "cleaner", "dispatcher", "router", "receiver"]
    assert sorted(found) == sorted(SERVICES)
