"""`hermes rules`: the rule set as a file (JSON), to be kept under version control."""

import json as json_text
from pathlib import Path
from typing import Annotated, Any

import typer

from hermes_cli.changes import changes_of
from hermes_cli.commands import ruletools
from hermes_cli.errors import ChangedMeanwhileError, CliError
from hermes_cli.options import Json, Token, Url, api
from hermes_cli.output import clean, note, print_json, say
from hermes_cli.rulefile import read_rules

app = typer.Typer(no_args_is_help=True, help="The rule set: as a file (JSON), tried out, its history.")
ruletools.register(app)

Source = Annotated[Path, typer.Argument(metavar="FILE", help="JSON, as `rules export` writes it; - is standard input.")]
Into = Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where to; standard output when left out.")]
Comment = Annotated[str, typer.Option("--comment", help="Why; kept with the revision.")]
Revision = Annotated[
    int | None,
    typer.Option("--revision", help="Apply only on top of this revision (`rules export` says which it wrote)."),
]


@app.command("export")
def export(file: Into = None, json: Json = False, url: Url = None, token: Token = None) -> None:
    """Write the rule set; with --json inside an object that also names its revision."""
    with api(url, token) as router:
        stored = router.document("rules")
    content: dict[str, Any] = {"revision": stored.revision, "document": stored.document} if json else stored.document
    if file is None:
        print_json(content)
    else:
        try:
            file.write_text(json_text.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as problem:
            raise CliError(f"{file} cannot be written: {problem.strerror}") from problem
    number = stored.revision
    note(f"revision {number}; `hermes rules apply FILE --revision {number}` refuses when another came between")


@app.command("check")
def check(file: Source, json: Json = False, url: Url = None, token: Token = None) -> None:
    """Check a file without changing anything; exit code 1 when it could not be applied."""
    document = read_rules(file)
    changes_of({}, document)
    with api(url, token) as router:
        answer = router.post("/rules/check", {"rules": document})
    problems: list[dict[str, Any]] = list(answer.get("problems") or [])
    if json:
        print_json(answer)
    else:
        for problem in problems:
            say(_problem_line(problem))
        warnings: list[dict[str, Any]] = list(answer.get("warnings") or [])
        for warning in warnings:
            say(f"look again: rule {clean(str(warning.get('rule', '')))}: {_problem_line(warning)}")
        counts = [_count(len(document["rules"]), "rule"), _count(len(problems), "problem")]
        counts += [_count(len(cases), "test case")] if (cases := list(answer.get("cases") or [])) else []
        say(f"{file}: {', '.join([*counts, _count(len(warnings), 'warning')])}")
    raise typer.Exit(0 if answer.get("valid") is True else 1)


def _problem_line(problem: dict[str, Any]) -> str:
    place = f", line {problem['line']}, column {problem.get('column', 1)}" if problem.get("line") else ""
    hint = f"; did you mean {problem['suggestion']}?" if problem.get("suggestion") else ""
    return clean(f"{problem.get('field', '')}{place}: {problem.get('message', '')}{hint}")


@app.command("plan")
def plan(file: Source, json: Json = False, url: Url = None, token: Token = None) -> None:
    """Say what `apply` would change."""
    document = read_rules(file)
    with api(url, token) as router:
        stored = router.document("rules")
    changes = changes_of(stored.document, document)
    if json:
        print_json({"revision": stored.revision, "changes": changes})
    else:
        _say_changes(changes)


@app.command("apply")
def apply(
    file: Source,
    comment: Comment = "",
    revision: Revision = None,
    json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Replace the rule set, as one revision; nothing is saved when nothing changed."""
    document = read_rules(file)
    with api(url, token) as router:
        stored = router.document("rules")
        if revision is not None and stored.revision != revision:
            raise ChangedMeanwhileError(
                f"the router has revision {stored.revision}, not {revision}; nothing was changed. Export again, make "
                f"your change in that, and apply it",
                412,
            )
        changes = changes_of(stored.document, document)
        saved = router.save("rules", document, stored.etag, comment) if changes else stored
    if json:
        print_json({"revision": saved.revision, "before": stored.revision, "changes": changes})
    else:
        _say_changes(changes)
        say(f"revision {saved.revision}" if changes else f"revision {stored.revision} stays")


def _say_changes(changes: list[dict[str, str]]) -> None:
    for change in changes:
        say(
            f"{change['what']:>8}  {clean(change['rule'])}"
            + (f": {clean(change['detail'])}" if change["detail"] else "")
        )
    if not changes:
        say("nothing changes")


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
