"""Where the router is, and how to be let in: options, then environment, then what ``hermes up`` wrote into its home.

The token in the home is sent only to the address in the home: never to another one that an option or a variable names.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hermes_cli.errors import CliError, UsageError

RUN_FILE = "run.json"
_UP = "Start the router here with `hermes up`"


@dataclass(frozen=True, slots=True)
class Connection:
    """The address of the HTTP API without a trailing slash, and the bearer token, if any."""

    url: str
    token: str | None = field(repr=False)


def default_home() -> Path:
    """Return ``var`` of the checkout whose environment this runs in, wherever it is called; else of this folder."""
    checkout = Path(sys.prefix).parent
    return checkout / "var" if (checkout / "requirements.lock").exists() else Path("var").absolute()


def home_of(given: Mapping[str, str]) -> Path:
    """Return the home of the all-in-one, whether or not it is there."""
    return Path(given.get("HERMES_HOME") or default_home()).expanduser()


def run_document(given: Mapping[str, str]) -> dict[str, object]:
    """Return what ``hermes up`` says about itself; empty when nothing runs in this home."""
    path = home_of(given) / RUN_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError as problem:
        raise CliError(f"{path} belongs to another user: run this as the user who runs `hermes up`") from problem
    except (OSError, ValueError) as problem:
        raise CliError(
            f"{path} cannot be read ({problem}); start `hermes up` again to have it written anew"
        ) from problem
    return document if isinstance(document, dict) else {}


def environment_of(given: Mapping[str, str]) -> dict[str, str]:
    """Return the ``HERMES_`` variables: those of the running all-in-one, and over them those that are given."""
    found = run_document(given).get("environment")
    local = {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
    return local | {name: value for name, value in given.items() if name.startswith("HERMES_") and value}


def find_connection(url: str | None, token: str | None, given: Mapping[str, str]) -> Connection:
    """Return where the router is; raise :class:`CliError` when nothing says so, :class:`UsageError` for no address."""
    wanted = url or given.get("HERMES_URL")
    found = {} if wanted and (token or given.get("HERMES_TOKEN")) else run_document(given).get("environment")
    local = found if isinstance(found, dict) else {}
    address = wanted or local.get("HERMES_URL")
    if not address:
        raise CliError(
            f"no router runs in {home_of(given)}. {_UP}, or say where it is: --url http://host:8080 or HERMES_URL"
        )
    address = _checked(str(address))
    secret = token or given.get("HERMES_TOKEN")
    if not secret and address == str(local.get("HERMES_URL", "")).rstrip("/"):
        secret = local.get("HERMES_ADMIN_TOKEN")
    return Connection(address, secret)


def _checked(address: str) -> str:
    if not address.startswith(("http://", "https://")):
        raise UsageError(f"{address!r} is not the address of a router: it begins with http:// or https://")
    return address.rstrip("/")
