"""`hermes targets`: where series go."""

from typing import Annotated, Any

import typer

from hermes_cli.api import segment
from hermes_cli.options import Json, Token, Url, api
from hermes_cli.output import clean, note, print_json, print_table, say

app = typer.Typer(no_args_is_help=True, help="Targets: where series go.")

SlugArgument = Annotated[str, typer.Argument(metavar="SLUG", help="Short name of the target.")]


@app.command("ls")
def list_targets(json: Json = False, url: Url = None, token: Token = None) -> None:
    """List the targets that are configured."""
    with api(url, token) as router:
        stored = router.document("targets")
    targets: list[dict[str, Any]] = list(stored.document.get("targets") or [])
    if json:
        print_json({"revision": stored.revision, "items": targets})
        return
    rows = [
        [t.get("slug"), t.get("name"), t.get("kind"), address(t), "yes" if t.get("enabled", True) else "no"]
        for t in targets
    ]
    print_table(["target", "name", "kind", "address", "enabled"], rows)


def address(target: dict[str, Any]) -> str:
    """Return where a target is, in one line."""
    if target.get("kind") == "dicom":
        return f"{target.get('called_aet')}@{target.get('host')}:{target.get('port')}"
    return str(target.get("path", ""))


@app.command("test")
def try_out(slug: SlugArgument, json: Json = False, url: Url = None, token: Token = None) -> None:
    """Try to reach a target, step by step; nothing is stored in it."""
    with api(url, token) as router:
        answer = router.post(f"/targets/{segment(slug)}/test")
    passed = answer.get("ok") is True
    if json:
        print_json(answer)
    else:
        for step in answer.get("steps") or []:
            say(_step_line(step))
        (say if passed else note)(f"{slug}: {'usable' if passed else 'not usable, see above'}")
    raise typer.Exit(0 if passed else 1)


def _step_line(step: dict[str, Any]) -> str:
    word = "ok  " if step.get("ok") else "fail"
    return clean(f"{word}  {step.get('name')} ({step.get('milliseconds', 0):.0f} ms) {step.get('detail', '')}").rstrip()
