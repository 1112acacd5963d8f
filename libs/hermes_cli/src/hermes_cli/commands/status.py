"""`hermes status`: is it fine, and if not, what is wrong."""

from datetime import UTC, datetime
from typing import Any

import typer

from hermes_cli.options import Json, Token, Url, api
from hermes_cli.output import age, clean, note, print_json, print_table, say


def status(json: Json = False, url: Url = None, token: Token = None) -> None:
    """Services, queues, the oldest waiting item; exit code 1 when something is wrong."""
    with api(url, token) as router:
        answer = router.get("/status")
    if json:
        print_json(answer)
    else:
        _print(answer, datetime.now(UTC))
    raise typer.Exit(0 if answer.get("fine") is True else 1)


def _print(answer: dict[str, Any], now: datetime) -> None:
    say(clean(answer.get("headline", "")))
    services = [
        [row.get("service"), row.get("instance"), row.get("version"), row.get("state"), age(row.get("started_at"), now)]
        for row in answer.get("services") or []
    ]
    print_table(["service", "instance", "version", "state", "since"], services)
    queues = answer.get("queues")
    if queues is None:
        note("the queues are not known: the database is away")
    else:
        _print_queues(queues, now)
    if answer.get("oldest_waiting"):
        say(f"oldest waiting: {age(answer['oldest_waiting'], now)}")
    for problem in answer.get("problems") or []:
        note(f"problem: {clean(problem.get('text', problem) if isinstance(problem, dict) else problem)}")


def _print_queues(queues: list[dict[str, Any]], now: datetime) -> None:
    states = ("queued", "sending", "retrying", "held", "failed")
    rows = [
        [row.get("target"), *(row.get("counts", {}).get(state, 0) for state in states), age(row.get("oldest"), now)]
        for row in queues
    ]
    if rows:
        print_table(["target", *states, "oldest"], rows, right=[*states, "oldest"])
    else:
        say("no delivery waits, none has failed")
