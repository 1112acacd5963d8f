"""`hermes targets`: where series go."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from hermes_cli.api import segment
from hermes_cli.options import Json, Reason, Token, Url, api
from hermes_cli.output import clean, note, print_json, print_table, say, when
from hermes_common.durations import parse_duration

app = typer.Typer(no_args_is_help=True, help="Targets: where series go.")

SlugArgument = Annotated[str, typer.Argument(metavar="SLUG", help="Short name of the target.")]


@app.command("ls")
def list_targets(json: Json = False, url: Url = None, token: Token = None) -> None:
    """List the targets that are configured, and whether deliveries are made to them."""
    with api(url, token) as router:
        stored = router.document("targets")
        states = {str(item.get("target")): item for item in router.get("/targets/states")["items"]}
    targets: list[dict[str, Any]] = list(stored.document.get("targets") or [])
    if json:
        items = [{**target, "state": states.get(str(target.get("slug")))} for target in targets]
        print_json({"revision": stored.revision, "items": items})
        return
    rows = [
        [t.get("slug"), t.get("name"), t.get("kind"), address(t), *_state(states.get(str(t.get("slug")), {}))]
        for t in targets
    ]
    print_table(["target", "name", "kind", "address", "state", "why"], rows)


def _state(state: dict[str, Any]) -> list[object]:
    until = f" until {when(state.get('until'))}" if state.get("until") else ""
    return [f"{state.get('state', '?')}{until}", state.get("reason", "")]


def address(target: dict[str, Any]) -> str:
    """Return where a target is, in one line."""
    match target.get("kind"):
        case "dicom":
            return f"{target.get('called_aet')}@{target.get('host')}:{target.get('port')}{_more(target)}"
        case "stow":
            return f"{target.get('url')}{_more(target)}"
        case "s3":
            return f"{target.get('bucket')} at {target.get('endpoint')}"
        case "sftp":
            return f"{target.get('user')}@{target.get('host')}:{target.get('port')} {target.get('folder')}"
        case _:
            return str(target.get("path", ""))


def _more(target: dict[str, Any]) -> str:
    count = len(target.get("endpoints") or [])
    return f" and {count} more" if count else ""


@app.command("pause")
def pause(
    slug: SlugArgument,
    reason: Reason = "",
    span: Annotated[str, typer.Option("--for", metavar="SPAN", help="How long, such as 30m, 2h or 1d.")] = "",
    json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Send nothing to a target: its deliveries wait, until it is resumed or the time is over."""
    body: dict[str, Any] = {"reason": reason}
    if span:
        try:
            body["until"] = (datetime.now(UTC) + parse_duration(span)).isoformat()
        except (ValueError, OverflowError) as problem:
            raise typer.BadParameter(str(problem), param_hint="--for") from problem
    with api(url, token) as router:
        answer = router.post(f"/targets/{segment(slug)}/pause", body)
    if json:
        print_json(answer)
    else:
        say(clean(f"{slug}: paused{' until ' + when(body['until']) if span else ''}"))


@app.command("resume")
def resume(slug: SlugArgument, reason: Reason = "", json: Json = False, url: Url = None, token: Token = None) -> None:
    """Send to a target again."""
    with api(url, token) as router:
        answer = router.post(f"/targets/{segment(slug)}/resume", {"reason": reason})
    if json:
        print_json(answer)
    else:
        say(clean(f"{slug}: resumed"))


@app.command("test")
def try_out(slug: SlugArgument, json: Json = False, url: Url = None, token: Token = None) -> None:
    """Have a dispatcher try to reach a target, step by step; nothing is stored in it."""
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
