"""The script `hermes` at the root of a checkout, without anything being installed."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLACE = "a place with spaces"


@pytest.fixture
def checkout(tmp_path):
    """The script and the files that its stamp depends on, with an environment that only says how it was called."""
    root = tmp_path / PLACE
    for name in ("libs/one", "services/two", "deploy/local"):
        (root / name).mkdir(parents=True)
        (root / name / "pyproject.toml").write_text(f"# {name}\n")
    (root / "pyproject.toml").write_text("# root\n")
    (root / "requirements.lock").write_text("# lock\n")
    shutil.copy(ROOT / "hermes", root / "hermes")
    bin_folder = root / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "hermes").write_text('#!/bin/sh\nprintf "<%s>" "$HERMES_HOME" "$PWD" "$@"\n')
    (bin_folder / "hermes").chmod(0o755)
    (bin_folder / "python").symlink_to(sys.executable)
    (root / ".venv" / "pyvenv.cfg").write_text("version = 3.11\n")
    stamp(root)
    return root


def stamp(root):
    """What the script writes after it has installed everything."""
    head = f"{root}\n{root}/.venv\n{Path(sys.executable).resolve()}\n".encode()
    files = [
        ".venv/pyvenv.cfg",
        "requirements.lock",
        "pyproject.toml",
        "libs/one/pyproject.toml",
        "services/two/pyproject.toml",
    ]
    text = head + b"".join((root / name).read_bytes() for name in [*files, "deploy/local/pyproject.toml"])
    done = subprocess.run(["cksum"], input=text, capture_output=True, check=True)
    (root / ".venv" / "hermes.stamp").write_bytes(done.stdout)


def run(script, *arguments, cwd="/", **environment):
    given = {name: value for name, value in os.environ.items() if not name.startswith("HERMES_")}
    return subprocess.run(
        [script, *arguments],
        cwd=cwd,
        env=given | environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_arguments_arrive_as_they_are_from_any_folder(checkout):
    done = run(checkout / "hermes", "up", "a b", "*", "", "$x")
    assert done.stdout == f"<{checkout}/var></><up><a b><*><><$x>"


def test_it_works_through_links_and_by_a_relative_path(checkout, tmp_path):
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to(checkout / "hermes")
    assert run("./one", cwd=tmp_path).stdout == f"<{checkout}/var><{tmp_path}>"
    assert run("./hermes", cwd=checkout).stdout == f"<{checkout}/var><{checkout}>"


def test_the_home_that_was_chosen_is_kept(checkout):
    assert run(checkout / "hermes", HERMES_HOME="/some where").stdout.startswith("</some where>")


def test_nothing_is_installed_when_all_is_as_it_was_and_it_takes_no_time(checkout):
    run(checkout / "hermes")
    started = time.monotonic()
    for _ in range(5):
        run(checkout / "hermes")
    assert (time.monotonic() - started) / 5 < 0.25  # some 10 ms; the rest is for a busy machine


def test_install_makes_byte_code_for_those_who_cannot_and_starts_nothing(checkout):
    for package in ("libs/one", "services/two", "deploy/local"):
        (checkout / package / "src").mkdir()
        (checkout / package / "src" / "module.py").write_text("VALUE = 1\n")
    (checkout / ".venv" / "lib").mkdir()
    done = run(checkout / "hermes", "install")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "the command line was not called"
    assert "installed in" in done.stderr
    assert len(list(checkout.glob("*/*/src/__pycache__/module.*.pyc"))) == 3


@pytest.mark.parametrize("name", ["requirements.lock", "services/two/pyproject.toml", ".venv/pyvenv.cfg"])
def test_a_change_of_what_it_was_made_from_installs_again(checkout, name):
    (checkout / name).write_text("changed\n")
    done = run(checkout / "hermes", HERMES_PYTHON="/nowhere/python")
    assert done.returncode == 1
    assert "HERMES_PYTHON names /nowhere/python, which is not there" in done.stderr


def old_python(folder):
    folder.mkdir()
    python = folder / "python3"
    python.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit\nexit 1\n')
    python.chmod(0o755)
    for tool in ("sh", "dirname", "readlink", "cat", "cksum", "mkdir"):
        (folder / tool).symlink_to(shutil.which(tool))
    return python


def test_a_python_that_is_too_old_is_named_with_what_to_do(checkout, tmp_path):
    python = old_python(tmp_path / "bin")
    shutil.rmtree(checkout / ".venv")
    done = run(checkout / "hermes", PATH=str(python.parent))
    assert done.returncode == 1
    assert "needs Python 3.11 or later (found only Python 3.9.2)" in done.stderr
    assert "HERMES_PYTHON=" in done.stderr
    done = run(checkout / "hermes", PATH=str(python.parent), HERMES_PYTHON=str(python))
    assert "older than Python 3.11" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_checkout_that_cannot_be_written_names_another_place(checkout):
    shutil.rmtree(checkout / ".venv")
    checkout.chmod(0o555)
    done = run(checkout / "hermes")
    checkout.chmod(0o755)
    assert "HERMES_VENV=" in done.stderr


def told_to_uv(checkout, **environment):
    """What uv is told about certificates when the environment is made."""
    uv = checkout / ".venv" / "bin" / "uv"
    uv.write_text('#!/bin/sh\nprintf "%s|%s" "${UV_SYSTEM_CERTS:-}" "${SSL_CERT_FILE:-}" >"$HERMES_TOLD"\n')
    uv.chmod(0o755)
    (checkout / ".venv" / "hermes.stamp").unlink()
    told = checkout / "told"
    done = run(checkout / "hermes", HERMES_TOLD=str(told), **({"SSL_CERT_FILE": "", "PIP_CERT": ""} | environment))
    assert done.returncode == 0, done.stderr
    return told.read_text().split("|")


@pytest.mark.skipif(not Path("/etc/ssl/certs/ca-certificates.crt").exists(), reason="this system keeps them elsewhere")
def test_packages_are_fetched_with_the_certificates_of_the_system_unless_told_otherwise(checkout):
    assert told_to_uv(checkout)[0] == "true"
    assert told_to_uv(checkout, UV_SYSTEM_CERTS="false")[0] == "false"


def test_the_certificate_that_pip_is_told_of_is_told_to_uv(checkout):
    pip = checkout / "modules" / "pip"
    pip.mkdir(parents=True)
    (pip / "__init__.py").touch()
    (pip / "__main__.py").write_text("import sys\nprint({'global.cert': '/some/ca.pem'}.get(sys.argv[-1], ''))\n")
    assert told_to_uv(checkout, PYTHONPATH=str(pip.parent))[1] == "/some/ca.pem"
    assert told_to_uv(checkout, PIP_CERT="/other/ca.pem")[1] == "/other/ca.pem"


def test_the_locks_name_no_address():
    for name in ("requirements.lock", "deploy/local/bootstrap.lock"):
        assert "://" not in (ROOT / name).read_text()
