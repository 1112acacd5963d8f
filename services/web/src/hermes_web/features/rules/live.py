"""What the editor asks while somebody types: is it a rule, what does it come to, what would it have done."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from litestar import Controller, get, post
from litestar.response import Stream
from pydantic import ValidationError

from hermes_common.config import Rule, RuleCase, RuleSet
from hermes_common.rules.replay import Condition, Needs
from hermes_web.core.configuration import with_rule
from hermes_web.core.roles import VIEWER
from hermes_web.core.standing import own_cases
from hermes_web.core.suggesting import case_tags
from hermes_web.errors import InvalidError, NotFoundError, UnavailableError, WebError
from hermes_web.features.rules import forms
from hermes_web.features.rules.backtesting import prepare
from hermes_web.features.rules.stored import recent_series, recent_studies, stored_series, stored_study
from hermes_web.features.rules.testing import ALONE, activated, check_expression, refuse_broken
from hermes_web.features.rules.trying import SERIES, STUDIES, Stored, try_draft
from hermes_web.http.forms import read_form
from hermes_web.http.viewing import told as as_told
from hermes_web.http.viewing import view_of
from hermes_web.web import Web, web_of
from hermes_web.web_types import HttpRequest

NDJSON = "application/x-ndjson"


class RuleLive(Controller):
    """The draft is what is in the form; nothing is saved, nothing is sent."""

    path = "/rules"
    include_in_schema = False
    opt = VIEWER

    @post("/_live", status_code=200)
    async def live(self, request: HttpRequest) -> dict[str, Any]:
        """Return what is wrong and doubtful, the rule as a tree, its test cases, and what it comes to for series."""
        web, form = web_of(request), await read_form(request)
        values = forms.typed_values(form)
        expression, scope = str(values["expression"]), "study" if values["scope"] == "study" else "series"
        told: dict[str, Any] = {"check": None, "tried": {}, "cases": await _cases(web, values)}
        if expression.strip():
            told["check"] = check_expression(expression, scope, await web.collected())
        if told["check"] is None or told["check"]["valid"]:
            try:
                told["tried"] = await _tried(request, expression, scope, form.text("series"))
            except (NotFoundError, UnavailableError) as error:
                told["problem"] = f"{error.detail}. {error.advice}"
        return told

    @post("/_live_backtest", status_code=200, media_type=NDJSON)
    async def backtest(self, request: HttpRequest) -> Stream:
        """Try the draft as an active rule on the series of the last days; messages as those of the API."""
        web, form = web_of(request), await read_form(request)
        _, rules = await web.rules()
        rule = lenient_rule(forms.typed_values(form))
        draft = activated(with_rule(rules, rule), [rule.slug])
        refuse_broken(RuleSet(rules=(rule,)))
        prepared = await prepare(web, draft, forms.days_of(form))

        async def lines() -> AsyncGenerator[bytes, None]:
            async with aclosing(prepared.messages()) as messages:
                async for message in messages:
                    if message["type"] == "result":
                        own = [each for each in message["rules"] if each["slug"] == rule.slug]
                        whole = message["studies"] or {}
                        about = [each for each in whole.get("rules", ()) if each["slug"] == rule.slug]
                        message = {**message, "rules": own, "studies": {**whole, "rules": about}}  # noqa: PLW2901 - a thousand others are not shown
                    yield json.dumps(as_told(request, message), ensure_ascii=False).encode() + b"\n"

        return Stream(lines(), media_type=NDJSON)

    @post("/_case", status_code=200)
    async def case(self, request: HttpRequest) -> dict[str, Any]:
        """Return a series as the texts of a test case: the tags that the rule and others like it ask about."""
        web, form = web_of(request), await read_form(request)
        stored = await web.database.run(stored_series, form.text("series"))
        asked = Needs.of([Condition(form.lines("expression"))]).fields
        tags = case_tags(stored.fields, asked)
        return {"name": forms.case_name(stored.description, stored.modality), "tags": forms.tags_text(tags)}

    @get("/_counts")
    async def counts(self, request: HttpRequest) -> dict[str, Any]:
        """Return how often each rule fired in the last day and week."""
        counted = await web_of(request).rule_hits.counted()
        hits = {
            slug: {
                "day": own.day,
                "week": own.week,
                "would": own.would,
                "failed": own.failed,
                "last": None if own.last is None else own.last.isoformat(),
            }
            for slug, own in counted.hits.items()
        }
        return {"at": counted.at.isoformat(), "hits": hits}


async def _tried(request: HttpRequest, expression: str, scope: str, uid: str) -> dict[str, Any]:
    web = web_of(request)
    view = view_of(request)
    recent: list[Stored] = []
    chosen: Stored | None = None
    if scope == "study":
        recent += await web.database.run(recent_studies, STUDIES)
        if uid:
            own = await web.database.run(stored_series, uid)
            chosen = await web.database.run(stored_study, own.study_uid)
    else:
        recent += await web.database.run(recent_series, SERIES)
        chosen = await web.database.run(stored_series, uid) if uid else None
    return await asyncio.to_thread(try_draft, expression, scope, recent, chosen, view)


async def _cases(web: Web, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what each test case comes to, in the order of the form; ``problem`` for one that cannot be read."""
    told: list[dict[str, Any]] = []
    readable: list[RuleCase] = []
    for case in values["cases"]:
        try:
            found = RuleCase.model_validate(forms.read_case(case))
            if found.name in {each.name for each in readable}:
                raise InvalidError("another case has this name")
            readable.append(found)
            told.append({"name": case["name"]})
        except ValidationError as error:
            message = str(error.errors(include_url=False)[0]["msg"]).removeprefix("Value error, ")
            told.append({"name": case["name"], "problem": message})
        except WebError as error:
            message = error.problems[0].message if error.problems else error.detail
            told.append({"name": case["name"], "problem": message})
    if not readable:
        return told
    _, rules = await web.rules()
    try:
        rule = lenient_rule({**values, "cases": []}).model_copy(update={"cases": tuple(readable)})
        results = await asyncio.to_thread(own_cases, with_rule(rules, rule), rule)
    except InvalidError:
        return told
    by_name = {result.case: result for result in results if result.rule == rule.slug}
    return [
        {**each, "passed": by_name[each["name"]].passed, "reason": by_name[each["name"]].reason}
        if each["name"] in by_name and "problem" not in each
        else each
        for each in told
    ]


def lenient_rule(values: dict[str, Any]) -> Rule:
    """Return the rule in a form that is not filled in yet: what it still lacks has a name that stands for it."""
    discards = values["action"] == "discard"
    return forms.parse_rule(
        {
            **values,
            "name": values["name"] or "New rule",
            "slug": values["slug"] or ALONE,
            "targets": [] if discards else values["targets"] or [ALONE],
        }
    )
