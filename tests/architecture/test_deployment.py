"""The container files, checked without an engine: what they name exists, and what a service needs it gets."""

import importlib
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
