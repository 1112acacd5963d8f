"""`hermes deliveries`: what is on its way to the targets, and what a person can do about it."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from hermes_cli.api import Api, segment
from hermes_cli.errors import ApiError
from hermes_cli.options import Json, Limit, Reason, Token, Url, api
from hermes_cli.output import age, clean, narrow, note, print_json, print_pairs, print_table, say, size, when
from hermes_common.records import DeliveryState

app = typer.Typer(no_args_is_help=True, help="Deliveries to targets: see them, retry, hold, cancel, reroute, dismiss.")

Id = Annotated[str, typer.Argument(metavar="ID", help="Delivery id.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Delivery ids.")]
Why = Annotated[str, typer.Option("--reason", help="Why; needed, and kept in the history.")]
State = Annotated[DeliveryState | None, typer.Option("--state", help="Only those in this state.")]
Target = Annotated[str, typer.Option("--target", help="Only those to this target.")]


class Scope(StrEnum):
    """What is sent again."""

    MISSING = "missing"
    ALL = "all"


@app.command("ls")
def list_deliveries(
    state: State = None,
    target: Target = "",
    limit: Limit = 50,
    json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List deliveries, the newest first."""
    with api(url, token) as router:
        items, more = router.pages("/deliveries", limit, state="" if state is None else state.value, target=target)
    if json:
        print_json({"items": items, "more": more})
        return
    now = datetime.now(UTC)
    wide = not narrow()
    headings = ["changed", "target", "state", "delivered", "attempts", "delivery", *(["reason"] if wide else [])]
    print_table(headings, (_row(item, now, wide=wide) for item in items), right=["attempts", "delivered"])
    if more:
        note(f"there are more; -n {limit * 10} shows more of them, --state and --target narrow it down")


def _row(item: dict[str, Any], now: datetime, *, wide: bool) -> list[object]:
    delivered = f"{item.get('delivered', '?')}/{item.get('instances', '?')}"
    row = [age(item.get("updated_at"), now), item.get("target"), item.get("state"), delivered, item.get("attempt")]
    return [*row, item.get("delivery_id"), *([item.get("reason")] if wide else [])]


@app.command("show")
def show(delivery_id: Id, json: Json = False, url: Url = None, token: Token = None) -> None:
    """Show one delivery with its attempts."""
    with api(url, token) as router:
        detail = router.get(f"/deliveries/{segment(delivery_id)}")
    if json:
        print_json(detail)
        return
    row = detail
    names = ("delivery_id", "target", "state", "reason", "series_uid", "batch_id", "priority", "attempt", "actor")
    pairs: list[tuple[str, object]] = [(name.replace("_", " "), row.get(name)) for name in names]
    pairs += [("rules", ", ".join(str(rule) for rule in row.get("rules") or []))]
    pairs += [
        ("delivered", f"{row.get('delivered', '?')} of {row.get('instances', '?')}"),
        ("size", size(row.get("octets"))),
    ]
    for name in ("queued_at", "started_at", "next_attempt_at", "ended_at"):
        pairs.append((name.removesuffix("_at").replace("_", " "), when(row.get(name))))
    print_pairs(pairs)
    attempts = detail.get("attempts") or []
    if attempts:
        rows = [
            [a.get("attempt"), when(a.get("started_at")), a.get("result"), a.get("endpoint"), a.get("reason")]
            for a in attempts
        ]
        print_table(["attempt", "started", "result", "endpoint", "reason"], rows, right=["attempt"])


@app.command("retry")
def retry(
    ids: Ids,
    scope: Annotated[
        Scope, typer.Option("--scope", help="What to send: only what is missing, or all.")
    ] = Scope.MISSING,
    reason: Reason = "",
    json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Make deliveries again: what is missing, or all of it."""
    _act("restart", ids, {"scope": scope.value, "reason": reason}, json=json, url=url, token=token)


@app.command("hold")
def hold(ids: Ids, reason: Why = "", json: Json = False, url: Url = None, token: Token = None) -> None:
    """Have deliveries wait until they are released."""
    _act("hold", ids, {"reason": reason}, json=json, url=url, token=token)


@app.command("release")
def release(ids: Ids, reason: Reason = "", json: Json = False, url: Url = None, token: Token = None) -> None:
    """Let deliveries that are held go on."""
    _act("release", ids, {"reason": reason}, json=json, url=url, token=token)


@app.command("reroute")
def reroute(
    ids: Ids,
    to: Annotated[str, typer.Option("--to", metavar="SLUG", help="The target that they go to instead.")],
    reason: Why = "",
    json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Send what waits or has failed to another target instead."""
    _act("reroute", ids, {"to": to, "reason": reason}, json=json, url=url, token=token)


@app.command("cancel")
def cancel(ids: Ids, reason: Why = "", json: Json = False, url: Url = None, token: Token = None) -> None:
    """Stop deliveries that are not done."""
    _act("cancel", ids, {"reason": reason}, json=json, url=url, token=token)


@app.command("dismiss")
def dismiss(ids: Ids, reason: Reason = "", json: Json = False, url: Url = None, token: Token = None) -> None:
    """Take failed deliveries as done with: their retention begins."""
    _act("dismiss", ids, {"reason": reason}, json=json, url=url, token=token)


def _act(action: str, ids: list[str], body: dict[str, Any], *, json: bool, url: str | None, token: str | None) -> None:
    """Ask for the action on each delivery; one that is refused does not keep the others from it."""
    with api(url, token) as router:
        results = [_one(router, action, delivery_id, body) for delivery_id in ids]
    if json:
        print_json({"items": results})
    else:
        for result in results:
            line = f"{clean(result['delivery_id'])}: {result['error'] or f'{action} asked for'}"
            (note if result["error"] else say)(line)
    raise typer.Exit(1 if any(result["error"] for result in results) else 0)


def _one(router: Api, action: str, delivery_id: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        router.post(f"/deliveries/{segment(delivery_id)}/{action}", body)
    except ApiError as problem:
        if problem.status not in (404, 409, 400, 422):
            raise
        return {"delivery_id": delivery_id, "error": str(problem)}
    return {"delivery_id": delivery_id, "error": ""}
