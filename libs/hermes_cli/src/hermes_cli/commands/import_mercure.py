"""`hermes rules import-mercure`: the configuration of Mercure as documents of ours, with a report."""

import json as json_text
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hermes_cli.api import Api
from hermes_cli.errors import CliError, UsageError
from hermes_cli.options import Json, Token, Url, api
from hermes_cli.output import clean, note, print_json, say

if TYPE_CHECKING:
    from hermes_common.mercure import Imported

RULES, TARGETS = "rules.json", "targets.json"
_HEADINGS = {
    "translated": "Translated",
    "differs": "Translated, but it does not mean quite the same",
    "by_hand": "To be done by hand",
    "lost": "Not translated",
}

Source = Annotated[Path, typer.Argument(metavar="FILE", help="The mercure.json; - is standard input.")]
Output = Annotated[Path, typer.Option("--output", "-o", help=f"Folder for {RULES} and {TARGETS}.")]
Force = Annotated[bool, typer.Option("--force", help="Write over files of that name.")]
Apply = Annotated[
    bool, typer.Option("--apply", help="Also add the targets and rules to those of the router, after them.")
]
State = Annotated[
    Literal["active", "dry_run", "draft"],
    typer.Option("--state", help="State of the rules: dry_run shows what they would do without doing it."),
]


def import_mercure(
    file: Source,
    output: Output = Path(),
    state: State = "active",
    force: Force = False,
    apply: Apply = False,
    json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Translate the rules and targets of Mercure; say what differs, what is lost, and why, each with its place.

    The router is not touched without --apply. Passwords of targets are in the file of targets, which only you can read.
    """
    from hermes_common.config import RuleState
    from hermes_common.mercure import NoConfigurationError, import_configuration, read

    source = _source(file)
    try:
        made = import_configuration(read(source), RuleState(state))
    except NoConfigurationError as problem:
        raise CliError(f"{file} cannot be translated: {problem}") from problem
    paths = _write(made, output, force)
    if apply:
        with api(url, token) as router:
            _apply(router, made)
    if json:
        counts = Counter(each.outcome.value for each in made.notes)
        print_json(
            {
                "files": [str(path) for path in paths],
                "applied": apply,
                "counts": {name: counts[name] for name in _HEADINGS},
                "notes": [each.to_dict() for each in made.notes],
            }
        )
    else:
        _say_report(made)
    rules, targets = len(made.rules["rules"]), len(made.targets["targets"])
    note(f"{rules} rules in {paths[0]}, {targets} targets in {paths[1]}" + ("; both are applied" if apply else ""))
    if made.has_secrets:
        note(f"{paths[1]} has passwords or keys in clear: remove it when you have applied it")


def _source(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"{file} cannot be read: {problem}") from problem


def _write(made: "Imported", folder: Path, force: bool) -> tuple[Path, Path]:
    """Write both documents, or neither if one is there already; only their owner can read them."""
    contents = {folder / RULES: made.rules, folder / TARGETS: made.targets}
    for path in contents:
        if path.exists() and not force:
            raise CliError(f"{path} is there already; name another folder with --output, or write over it with --force")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(json_text.dumps(content, indent=2, ensure_ascii=False) + "\n")
    except OSError as problem:
        raise CliError(f"{problem.filename or folder} cannot be written: {problem.strerror}") from problem
    return folder / RULES, folder / TARGETS


def _apply(router: Api, made: "Imported") -> None:
    """Add targets, then rules, to those that are there; refuse before anything is saved if a short name is taken."""
    stored = {kind: router.document(kind) for kind in ("targets", "rules")}
    added: dict[str, list[dict[str, Any]]] = {"targets": made.targets["targets"], "rules": made.rules["rules"]}
    for kind, items in added.items():
        taken = {item["slug"] for item in stored[kind].document[kind]} & {item["slug"] for item in items}
        if taken:
            raise CliError(
                f"the router has {kind} of these short names already: {', '.join(sorted(taken))}. Nothing was changed; "
                f"change the names in the files and apply those, or remove what is there"
            )
    for kind, items in added.items():
        if items:
            document = {**stored[kind].document, kind: [*stored[kind].document[kind], *items]}
            router.save(kind, document, stored[kind].etag, "imported from Mercure")


def _say_report(made: "Imported") -> None:
    for outcome, heading in _HEADINGS.items():
        notes = [each for each in made.notes if each.outcome.value == outcome]
        if notes:
            say(f"{heading} ({len(notes)}):")
        for each in notes:
            place = f"{each.place}, line {each.line}, column {each.column}" if each.line else each.place
            say(f"  {clean(place)}: {clean(each.message)}")
