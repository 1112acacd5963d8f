"""`hermes studies`: what a study waits for, and what was decided."""

from typing import Annotated, Any

import typer

from hermes_cli.api import segment
from hermes_cli.options import Json, Reason, Token, Url, api
from hermes_cli.output import clean, print_json, print_pairs, print_table, say, when

app = typer.Typer(no_args_is_help=True, help="Studies: what they wait for, and what was decided.")

Uid = Annotated[str, typer.Argument(metavar="UID", help="Study Instance UID.")]


@app.command("show")
def show(uid: Uid, json: Json = False, url: Url = None, token: Token = None) -> None:
    """Show one study: its series, what it waits for, and each decision."""
    with api(url, token) as router:
        study = router.get(f"/studies/{segment(uid)}")
    if json:
        print_json(study)
        return
    names = ("study_uid", "state", "waits_for", "round", "expected")
    pairs: list[tuple[str, object]] = [(name.replace("_", " "), study.get(name)) for name in names]
    print_pairs([*pairs, ("until", when(study.get("until"))), ("opened", when(study.get("opened_at")))])
    series = study.get("series") or []
    if series:
        names = ("series_uid", "state", "modality", "instances", "series_description")
        rows = [[item.get(name) for name in names] for item in series]
        print_table(["series", "state", "modality", "instances", "description"], rows, right=["instances"])
    for decision in study.get("decisions") or []:
        _print_decision(decision)


def _print_decision(decision: dict[str, Any]) -> None:
    rules = [rule for rule in decision.get("rules") or [] if rule.get("status") not in ("not_matched", "off")]
    said = ", ".join(f"{rule.get('slug')} {rule.get('status')}" for rule in rules) or "no rule"
    if decision.get("kind") == "manual":
        said = clean(decision.get("actor"))
    say(
        f"\ndecision {decision.get('round')}: {decision.get('outcome')} by {said} (revision {decision.get('revision')})"
    )
    say(clean(f"  {decision.get('reason')}"))
    for problem in decision.get("problems") or []:
        say(clean(f"  problem: {problem}"))


@app.command("discard")
def discard(uid: Uid, reason: Reason = "", json: Json = False, url: Url = None, token: Token = None) -> None:
    """Discard what of a study is undecided and goes nowhere yet; what was sent stays sent."""
    with api(url, token) as router:
        answer = router.post(f"/studies/{segment(uid)}/discard", {"reason": reason})
    if json:
        print_json(answer)
    else:
        say(f"asked for; `hermes studies show {uid}` shows what becomes of it")


@app.command("complete")
def complete(uid: Uid, reason: Reason = "", json: Json = False, url: Url = None, token: Token = None) -> None:
    """Take a study as complete now, whatever it waits for; also one that is held."""
    with api(url, token) as router:
        answer = router.post(f"/studies/{segment(uid)}/complete", {"reason": reason})
    if json:
        print_json(answer)
    else:
        say(f"asked for; `hermes studies show {uid}` shows what becomes of it")
