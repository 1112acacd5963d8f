"""The tools on rules in the API: check, test, backtest, overlaps, fields, and what differs between two revisions.

The rule set itself, its revisions and restoring one are in ``features.configuration``.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, Literal

from litestar import Controller, get, post
from litestar.params import JSONBody, QueryParameter
from litestar.response import Stream
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from hermes_common.config import Kind, RuleSet, Targets
from hermes_common.dicom.names import canonical_name
from hermes_common.ids import Slug
from hermes_common.rules import vocabulary
from hermes_common.rules.cases import run_cases
from hermes_common.rules.dictionary import NoField, look_up
from hermes_common.rules.differences import differences
from hermes_common.runtime.clock import now
from hermes_web.core.configuration import case_problems, parse_document, rule_problems
from hermes_web.core.roles import VIEWER
from hermes_web.errors import InvalidError, NotFoundError, UnavailableError
from hermes_web.features.configuration.history import find_revision
from hermes_web.features.rules import testing
from hermes_web.features.rules.backtesting import Backtest, prepare
from hermes_web.features.rules.forms import MOST_DAYS
from hermes_web.features.rules.stored import stored_series, values_seen
from hermes_web.http.viewing import told, view_of
from hermes_web.web import Web, web_of
from hermes_web.web_types import HttpRequest

NDJSON = "application/x-ndjson"

From = Annotated[int, QueryParameter(name="from", ge=0, le=2**31 - 1, description="The older revision.")]
To = Annotated[
    int | None, QueryParameter(name="to", ge=0, le=2**31 - 1, description="The newer one; the present if left out.")
]

FieldName = Annotated[str, QueryParameter(name="field", min_length=1, max_length=200, description="Name of a field.")]
Part = Annotated[str, QueryParameter(name="part", max_length=120, description="A part of the value.")]

Slugs = Annotated[tuple[Slug, ...], Field(max_length=100)]


class AskCheck(BaseModel):
    """An expression, or a whole rule set as ``GET /rules`` returns it, to be checked."""

    model_config = ConfigDict(extra="forbid")

    expression: Annotated[str, Field(max_length=16384)] | None = None
    scope: Literal["series", "study"] = "series"
    rules: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _has_one(self) -> "AskCheck":
        if (self.expression is None) == (self.rules is None):
            raise ValueError("give either expression or rules")
        return self


class AskTest(BaseModel):
    """Rules (the active ones if left out), or one expression, and what to try them on."""

    model_config = ConfigDict(extra="forbid")

    rules: RuleSet | None = None
    activate: Slugs = ()
    """Rules that are taken as active, whatever their state is: to see what a draft would do."""
    expression: Annotated[str, Field(max_length=16384)] | None = None
    tags: dict[str, list[str]] | None = None
    """Alone, or in place of some tags of the series or the file."""
    series_uid: Annotated[str, Field(max_length=200)] | None = None
    file: str | None = None
    """A DICOM file, or its beginning, as base64; the pixels are not needed."""
    truncated: bool = False
    """The file goes on behind what was sent."""
    at: AwareDatetime | None = None
    """As of when; that of the series' decision, or now, if left out."""

    @model_validator(mode="after")
    def _has_tags(self) -> "AskTest":
        if self.tags is None and self.series_uid is None and self.file is None:
            raise ValueError("give tags, series_uid or file (tags beside one of these replace some of its tags)")
        if self.series_uid is not None and self.file is not None:
            raise ValueError("give either series_uid or file")
        if self.rules is not None and self.expression is not None:
            raise ValueError("give either expression or rules")
        return self


class AskBacktest(BaseModel):
    """A draft (the active rules themselves if left out), and how far back to go."""

    model_config = ConfigDict(extra="forbid")

    rules: RuleSet | None = None
    activate: Slugs = ()
    """Rules of the draft that are taken as active, whatever their state is."""
    days: Annotated[int, Field(ge=1, le=MOST_DAYS)] = 30


class RuleToolsController(Controller):
    """Tools on rules: nothing is saved, nothing is sent."""

    path = "/rules"
    tags = ["rules"]
    opt = VIEWER

    @get("/fields")
    async def fields(self, request: HttpRequest) -> dict[str, Any]:
        """Return what can be written in a rule: fields with their types, operators of each type, limits."""
        return vocabulary(await web_of(request).collected())

    @get("/values")
    async def values(self, request: HttpRequest, name: FieldName, part: Part = "") -> dict[str, Any]:
        """Return values of a field in the last series, the most frequent first, with how many series had each."""
        known = canonical_name(name)
        if isinstance(look_up(known), NoField):
            raise NotFoundError(f"there is no field {name[:64]!r}")
        if view_of(request).hides(known):
            return {"name": known, "values": []}
        found = await web_of(request).database.run(values_seen, known, part)
        return {"name": known, "values": [{"value": value, "series": count} for value, count in found]}

    @post("/check", status_code=200)
    async def check(self, request: HttpRequest, data: JSONBody[AskCheck]) -> dict[str, Any]:
        """Say what is wrong, with rule, line, column and suggestion; what is doubtful; and how test cases come out."""
        if data.expression is not None:
            return testing.check_expression(data.expression, data.scope, await web_of(request).collected())
        return await _check_set(web_of(request), data.rules)

    @post("/test", status_code=200)
    async def test(self, request: HttpRequest, data: JSONBody[AskTest]) -> dict[str, Any]:
        """Say what the rules would do, rule by rule and clause by clause, and which deliveries would follow."""
        web = web_of(request)
        subject = await subject_of(web, data.series_uid, data.file, data.truncated, data.at)
        subject = testing.with_tags(subject, data.tags or {})
        _, targets = await web.targets()
        revision = None
        if data.expression is not None:
            rules = testing.alone(data.expression)
        elif data.rules is not None:
            rules = data.rules
        else:
            present, rules = await web.rules()
            revision = present.revision
        rules = testing.activated(rules, data.activate)
        decision = await asyncio.to_thread(testing.try_rules, rules, subject)
        found: dict[str, Any] = told(request, testing.answer(decision, subject, targets, revision))
        return found

    @post("/backtest", status_code=200, media_type=NDJSON)
    async def backtest(self, request: HttpRequest, data: JSONBody[AskBacktest]) -> Stream:
        """Try a draft on the series of the last days; one JSON object a line: started, progress, and at last result.

        ``problem`` instead of ``result`` if it broke off. Closing the connection ends it.
        """
        return Stream(_lines(request, await _prepared(web_of(request), data)), media_type=NDJSON)

    @post("/overlaps", status_code=200)
    async def overlaps(self, request: HttpRequest, data: JSONBody[AskBacktest]) -> dict[str, Any]:
        """Say which rules matched the same series of the last days, and which matched none at all."""
        result = await (await _prepared(web_of(request), data)).result()
        if result.get("type") != "result":
            problem = result.get("problem", {})
            raise UnavailableError(str(problem.get("detail", "")), str(problem.get("action", "")))
        return overlaps_of(result)

    @get("/revisions/compare")
    async def compare(self, request: HttpRequest, older: From, newer: To = None) -> dict[str, Any]:
        """Return what differs between two revisions: rule by rule, field by field, clause by clause."""
        return await compared(web_of(request), older, newer)


async def subject_of(
    web: Web, series_uid: str | None, file: str | bytes | None, truncated: bool, at: datetime | None
) -> testing.Subject:
    """Return what rules are tried on; raise what says why it cannot be had."""
    if series_uid is not None:
        stored = await web.database.run(stored_series, series_uid.strip())
        return testing.Subject(stored.fields, at or stored.at, f"series {stored.uid}")
    if file is not None:
        head = testing.decode_file(file) if isinstance(file, str) else file
        collected = await web.collected()
        return await asyncio.to_thread(testing.file_subject, head, truncated, at or now(), collected)
    return testing.Subject({}, at or now(), "tags")


async def compared(web: Web, older: int, newer: int | None) -> dict[str, Any]:
    """Return two revisions of the rules without their documents, and what differs; revision 0 has no rules."""
    present = await web.config.current(Kind.RULES)
    before = await find_revision(web, Kind.RULES, older) if older else None
    after = present if newer in (None, present.revision) else await find_revision(web, Kind.RULES, newer or 0)
    return {
        "from": {"revision": 0} if before is None else before.model_dump(mode="json", exclude={"document"}),
        "to": after.model_dump(mode="json", exclude={"document"}),
        "differences": differences({} if before is None else _whole(before.document), _whole(after.document)),
    }


def overlaps_of(result: dict[str, Any]) -> dict[str, Any]:
    """Return pairs of rules that match the same series, those with the most first, and rules that match nothing."""
    matched = {rule["slug"]: rule["matched"] for rule in result["rules"]}
    pairs = [
        {"rules": [slug, other["rule"]], "series": other["series"], "matched": [matched[slug], matched[other["rule"]]]}
        for rule in result["rules"]
        for other in rule["overlaps"]
        if (slug := rule["slug"]) < other["rule"]
    ]
    kept = {name: result[name] for name in ("series", "since", "until", "revision", "seconds")}
    never = [
        {"rule": rule["slug"], "state": rule["state"], "near_misses": rule["near_misses"], "errors": rule["errors"]}
        for rule in result["rules"]
        if rule["change"] != "removed" and rule["matched"] == 0
    ]
    return {**kept, "overlaps": sorted(pairs, key=lambda pair: -int(str(pair["series"]))), "never": never}


async def _check_set(web: Web, document: dict[str, Any] | None) -> dict[str, Any]:
    _, targets = await web.targets()
    try:
        rules = parse_document(Kind.RULES, document)
    except InvalidError as error:
        found = [problem.to_dict() for problem in error.problems]
        return {"valid": False, "problems": found, "warnings": [], "cases": []}
    if not isinstance(rules, RuleSet):
        raise TypeError("the document of the rules is a rule set")
    return await asyncio.to_thread(_checked, rules, targets, await web.collected())


def _checked(rules: RuleSet, targets: Targets, collected: tuple[str, ...]) -> dict[str, Any]:
    problems = rule_problems(rules, targets)
    failing = [] if problems else case_problems(rules)
    return {
        "valid": not problems and not failing,
        "problems": [item.to_dict() for item in (*problems, *failing)],
        "warnings": testing.rule_warnings(rules, collected),
        "cases": [result.to_dict() for result in run_cases(rules.rules)],
    }


async def _prepared(web: Web, data: AskBacktest) -> Backtest:
    draft = data.rules
    if draft is not None:
        await asyncio.to_thread(testing.refuse_broken, draft)
    if data.activate:
        draft = testing.activated(draft if draft is not None else (await web.rules())[1], data.activate)
    return await prepare(web, draft, data.days)


async def _lines(request: HttpRequest, backtest: Backtest) -> AsyncGenerator[bytes, None]:
    async with aclosing(backtest.messages()) as messages:
        async for message in messages:
            yield json.dumps(told(request, message), ensure_ascii=False).encode() + b"\n"


def _whole(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with the defaults that were left out when it was saved by an older release."""
    try:
        return RuleSet.model_validate(document).model_dump(mode="json")
    except ValueError:
        return document
