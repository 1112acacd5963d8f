"""`hermes rules test|backtest|overlaps|history|diff|restore`: what rules do, did, and would do."""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from hermes_cli.api import Api
from hermes_cli.changes import changes_of
from hermes_cli.errors import ApiError, CliError, UsageError
from hermes_cli.options import Json, Limit, Token, Url, api
from hermes_cli.output import clean, console, print_json, print_table, say, when
from hermes_cli.rulefile import read_rules

HEADS = (1024 * 1024, 2_900_000)
"""Octets of a file that are sent: its header is needed, never its pixels."""
SHOWN = 3
"""Samples that are shown of each kind."""

Draft = Annotated[
    Path | None, typer.Option("--rules", help="A draft (JSON); - is standard input. Default: the active rules.")
]
DraftFile = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="A draft (JSON); - is standard input. Default: the active rules."),
]
DicomFile = Annotated[Path | None, typer.Argument(metavar="[FILE.dcm]", help="A DICOM file; only its header is sent.")]
Days = Annotated[int, typer.Option("--days", min=1, max=3650, help="How far back to go.")]
Activate = Annotated[
    list[str] | None, typer.Option("--activate", help="Take this rule as active, whatever its state; may be repeated.")
]
Number = Annotated[int, typer.Argument(min=1, help="A revision.")]


def register(rules: typer.Typer) -> None:
    """Add the commands to those of the rule set."""
    for name, command in (
        ("test", try_out),
        ("backtest", backtest),
        ("overlaps", overlaps),
        ("history", history),
        ("diff", diff),
        ("restore", restore),
    ):
        rules.command(name)(command)


def try_out(
    file: DicomFile = None,
    series: Annotated[str, typer.Option("--series", help="A stored series by its UID.")] = "",
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="Keyword=value, several values separated by a backslash.")
    ] = None,
    rules: Draft = None,
    expression: Annotated[str, typer.Option("--expression", "-e", help="One condition instead of a rule set.")] = "",
    activate: Activate = None,
    json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Say what rules do with a file, a stored series or tags; exit code 1 when a rule cannot be evaluated."""
    if file is not None and series:
        raise UsageError("give either a file or --series")
    if rules is not None and expression:
        raise UsageError("give either --rules or --expression")
    if file is None and not series and not tag:
        raise UsageError("give a DICOM file, --series UID or --tag Keyword=value")
    ask: dict[str, Any] = {"tags": _tags(tag or [])}
    if series:
        ask["series_uid"] = series
    if rules is not None:
        ask["rules"] = read_rules(rules)
        changes_of({}, ask["rules"])
    if expression:
        ask["expression"] = expression
    if activate:
        ask["activate"] = activate
    with api(url, token) as router:
        answer = router.post("/rules/test", ask) if file is None else _test_file(router, file, ask)
    if json:
        print_json(answer)
    else:
        _say_test(answer)
    failed = any(result["status"] == "failed" for result in answer["results"])
    raise typer.Exit(1 if failed else 0)


def _tags(given: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in given:
        name, sign, value = each.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"--tag {each}: write Keyword=value")
        found[name.strip()] = value.split("\\") if value else []
    return found


def _test_file(router: Api, file: Path, ask: dict[str, Any]) -> dict[str, Any]:
    """Send the beginning of a file, and more of it if that is not enough."""
    try:
        with file.open("rb") as stream:
            head = stream.read(HEADS[-1])
            more = bool(stream.read(1))
    except OSError as problem:
        raise UsageError(f"{file} cannot be read: {problem.strerror}") from problem
    for octets in HEADS:
        truncated = more or len(head) > octets
        part = {"file": base64.b64encode(head[:octets]).decode(), "truncated": truncated}
        try:
            answer: dict[str, Any] = router.post("/rules/test", {**ask, **part})
        except ApiError as problem:
            if problem.status != 422 or not truncated or octets == HEADS[-1]:
                raise
        else:
            return answer
    raise CliError(f"{file}: its header could not be read")


def _say_test(answer: dict[str, Any]) -> None:
    revision = "" if answer["revision"] is None else f"revision {answer['revision']}, "
    say(clean(f"{answer['what']}, {revision}as of {when(answer['at'])}: {answer['outcome']}"))
    for delivery in answer["deliveries"]:
        state = "" if delivery["is"] == "ready" else f" - target {delivery['is']}"
        say(clean(f"  to {delivery['target']}, {delivery['priority']}, by {', '.join(delivery['rules'])}{state}"))
    for slug in answer["dry_runs"]:
        say(clean(f"  dry run {slug} would fire; it sends nothing"))
    for warning in answer["warnings"]:
        say(clean(f"  look again: {warning}"))
    for result in answer["results"]:
        say("")
        reason = f": {result['reason']}" if result["reason"] else ""
        say(clean(f"{result['status'].replace('_', ' ')}  {result['slug']} ({result['state']}){reason}"))
        _say_clauses((result["explanation"] or {}).get("clauses", ()))


def _say_clauses(clauses: Iterable[dict[str, Any]]) -> None:
    for clause in clauses:
        seen = " \\ ".join(clause["seen"]) or clause["reason"]
        say(clean(f"    {clause['outcome']:<8} {clause['text']}" + (f"   [{seen}]" if seen else "")))


def backtest(
    file: DraftFile = None,
    days: Days = 30,
    activate: Activate = None,
    json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Compare a draft with the active rules on the series of the last days; exit code 1 when a rule fails on some.

    With --json the lines of the API as they come: started, progress, result.
    """
    ask = _draft(file, days, activate)
    with api(url, token) as router:
        lines = router.lines("/rules/backtest", ask)
        if json:
            result: dict[str, Any] = {}
            for result in lines:  # the last one is what came of it
                print_json(result, indent=None)
        else:
            result = _follow(lines)
    problem = result.get("problem") if result.get("type") != "result" else None
    if problem is not None or result.get("type") != "result":
        raise CliError(f"the backtest broke off: {_words(problem or {})}")
    if not json:
        _say_backtest(result, days)
    raise typer.Exit(1 if any(rule["errors"] for rule in result["rules"]) else 0)


def _draft(file: Path | None, days: int, activate: list[str] | None) -> dict[str, Any]:
    ask: dict[str, Any] = {"days": days, **({"activate": activate} if activate else {})}
    if file is not None:
        ask["rules"] = read_rules(file)
        changes_of({}, ask["rules"])
    return ask


def _words(problem: dict[str, Any]) -> str:
    found = [str(problem.get(name) or "") for name in ("detail", "action")]
    return ". ".join(text for text in found if text) or "the connection ended before the result came"


def _follow(lines: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Return the last line; on a terminal show how far it is."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    terminal = console(stderr=True)
    last: dict[str, Any] = {}
    columns = (TextColumn("looking at series"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        task = progress.add_task("backtest", total=None)
        for last in lines:
            if last["type"] in ("started", "progress"):
                progress.update(task, total=last["of"], completed=last.get("done", 0))
    return last


def _say_backtest(result: dict[str, Any], days: int) -> None:
    say(
        f"{result['series']} series of the last {days} days against revision {result['revision']}, "
        f"in {result['seconds']:.1f} s; deliveries change for {result['changed']['count']}"
    )
    for name, two in result["outcomes"].items():
        say(f"  {name}: {two['before']} -> {two['after']}")
    for target in result["targets"]:
        if target["gained"] or target["lost"]:
            say(clean(f"  to {target['target']}: +{target['gained']} -{target['lost']} series"))
    headings = ["rule", "state", "change", "matches", "new", "lost", "near", "unknown", "errors"]
    print_table(headings, (_row(rule) for rule in result["rules"]), right=headings[3:])
    for rule in result["rules"]:
        if rule["failure"]:
            say(clean(f"{rule['slug']}: {rule['failure']}"))
        for kind, words in (("gained", "new"), ("lost", "lost"), ("errors", "error"), ("near_misses", "near miss")):
            _say_samples(rule["slug"], words, rule["samples"][kind])
    if result["left_out"]:
        say(clean(f"not compared, because they are rules of studies: {', '.join(result['left_out'])}"))


def _row(rule: dict[str, Any]) -> list[object]:
    names = ("slug", "state", "change", "matched", "gained", "lost", "near_misses", "unknown", "errors")
    return [rule[name] for name in names]


def _say_samples(slug: str, words: str, samples: list[dict[str, Any]]) -> None:
    for sample in samples[:SHOWN]:
        what = " ".join(str(sample.get(name) or "") for name in ("modality", "description", "source")).strip()
        missed = "; ".join(f"{c['text']} is {c['outcome']}" for c in sample.get("not_true", ()))
        say(clean(f"{slug}, {words}: {sample['series_uid']} {what}" + (f" - {missed}" if missed else "")))


def overlaps(
    file: DraftFile = None,
    days: Days = 30,
    activate: Activate = None,
    json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Say which rules match the same series, and which matched nothing at all."""
    with api(url, token) as router:
        answer = router.post("/rules/overlaps", _draft(file, days, activate))
    if json:
        print_json(answer)
        return
    say(f"{answer['series']} series of the last {days} days")
    rows = [[*pair["rules"], pair["series"], *pair["matched"]] for pair in answer["overlaps"]]
    if rows:
        headings = ["rule", "and rule", "series", "of", "and of"]
        print_table(headings, rows, right=headings[2:])
    else:
        say("no two rules match the same series")
    for each in answer["never"]:
        near = f"; {each['near_misses']} series miss by one condition" if each["near_misses"] else ""
        say(clean(f"{each['rule']} ({each['state']}) matched nothing{near}"))


def history(limit: Limit = 20, json: Json = False, url: Url = None, token: Token = None) -> None:
    """List the revisions of the rule set: who, when, why."""
    with api(url, token) as router:
        items = router.get("/rules/revisions")["items"][:limit]
    if json:
        print_json({"items": items})
        return
    rows = ([item["revision"], when(item["time"]), item["author"], item["comment"]] for item in items)
    print_table(["revision", "saved", "by", "why"], rows, right=["revision"])


def diff(
    older: Annotated[
        int | None, typer.Argument(min=0, help="A revision; the one before the present if left out.")
    ] = None,
    newer: Annotated[int | None, typer.Argument(min=1, help="Another; the present if left out.")] = None,
    json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Say what differs between two revisions: rule by rule, field by field, clause by clause."""
    with api(url, token) as router:
        if older is None:
            older = max((router.document("rules").revision or 0) - 1, 0)
        answer = router.get("/rules/revisions/compare", **{"from": older, "to": newer})
    if json:
        print_json(answer)
        return
    after = answer["to"]
    why = f": {after['comment']}" if after.get("comment") else ""
    say(clean(f"from revision {older} to {after['revision']}, saved by {after['author']} {when(after['time'])}{why}"))
    for each in answer["differences"]:
        _say_difference(each)
    if not answer["differences"]:
        say("nothing differs")


def _say_difference(each: dict[str, Any]) -> None:
    match each["what"]:
        case "moved":
            say(clean(f"   moved  {each['rule']}: from place {each['before']} to {each['after']}"))
        case "changed":
            say(clean(f" changed  {each['rule']}"))
            for field in each["fields"]:
                _say_field(field)
        case "added":
            say(clean(f"   added  {each['rule']}: {each['after'].get('expression', '')}"))
        case _:
            say(clean(f" removed  {each['rule']}: {each['before'].get('expression', '')}"))


def _say_field(field: dict[str, Any]) -> None:
    if field.get("clauses"):
        for clause in field["clauses"]:
            say(clean(f"            {'+' if clause['what'] == 'added' else '-'} {clause['clause']}"))
    else:
        say(clean(f"            {field['field']}: {field['before']} -> {field['after']}"))


def restore(
    number: Number,
    revision: Annotated[int | None, typer.Option("--revision", help="Only on top of this revision.")] = None,
    json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Save an old revision as a new one."""
    with api(url, token) as router:
        stored = router.document("rules")
        etag = stored.etag if revision is None else f'"{revision}"'
        saved = router.restore("rules", number, etag)
    if json:
        print_json({"revision": saved.revision, "before": stored.revision, "restored": number})
    else:
        say(f"revision {saved.revision} is revision {number} again")
