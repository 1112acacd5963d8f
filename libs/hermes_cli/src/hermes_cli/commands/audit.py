"""`hermes audit`: whether the record of what people did was tampered with."""

import typer

from hermes_cli.options import Json, Token, Url, api
from hermes_cli.output import clean, print_json, print_table, say, when

app = typer.Typer(
    no_args_is_help=True, help="The audit: what people did, and whether its rows are as they were written."
)


@app.callback()
def _group() -> None:
    """The audit: what people did, and whether its rows are as they were written."""


@app.command("verify")
def verify(json: Json = False, url: Url = None, token: Token = None) -> None:
    """Check the chain of all rows; ends with 1 if a row was changed, deleted, inserted, or cannot be checked."""
    with api(url, token) as router:
        found = router.get("/audit/chain")
    if json:
        print_json(found)
    else:
        say(clean(f"the chain of the audit is {found['words']}"))
        if found["breaks"]:
            rows = [
                [each["sequence"] or "-", each["fault"], when(each["time"]), each["words"]] for each in found["breaks"]
            ]
            print_table(["row", "fault", "time", "what"], rows, right=["row"])
        if found["anchored"]:
            say(f"the bus agrees up to row {found['anchored']} ({found['anchors']} anchors compared)")
    if found["state"] != "whole":
        raise typer.Exit(1)
