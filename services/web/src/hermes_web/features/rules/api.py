"""``/api/v1/rules/check`` and ``/test``; the document itself is in ``features.configuration``."""

from typing import Annotated, Any, Literal

from litestar import Controller, post
from litestar.params import JSONBody
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hermes_common.config import RuleSet
from hermes_common.runtime.clock import now
from hermes_web.core.configuration import rule_problems
from hermes_web.core.roles import VIEWER
from hermes_web.features.rules.testing import check_expression, rule_warnings, series_tags, try_rules
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest


class AskCheck(BaseModel):
    """An expression, or a whole rule set, to be checked."""

    model_config = ConfigDict(extra="forbid")

    expression: Annotated[str, Field(max_length=16384)] | None = None
    scope: Literal["series", "study"] = "series"
    rules: RuleSet | None = None

    @model_validator(mode="after")
    def _has_one(self) -> "AskCheck":
        if (self.expression is None) == (self.rules is None):
            raise ValueError("give either expression or rules")
        return self


class AskTest(BaseModel):
    """Rules (the present ones if left out) to be tried on edited tags or on a stored series."""

    model_config = ConfigDict(extra="forbid")

    rules: RuleSet | None = None
    expression: Annotated[str, Field(max_length=16384)] | None = None
    tags: dict[str, list[str]] | None = None
    series_uid: str | None = None

    @model_validator(mode="after")
    def _has_tags(self) -> "AskTest":
        if self.tags is None and self.series_uid is None:
            raise ValueError("give tags, series_uid, or both (tags then replace those of the series)")
        if self.rules is not None and self.expression is not None:
            raise ValueError("give either expression or rules")
        return self


class RuleToolsController(Controller):
    """Tools on rules: nothing is saved, nothing is sent."""

    path = "/rules"
    tags = ["rules"]
    opt = VIEWER

    @post("/check", status_code=200)
    async def check(self, request: HttpRequest, data: JSONBody[AskCheck]) -> dict[str, Any]:
        """Say what is wrong, with line, column and suggestion."""
        if data.expression is not None:
            return check_expression(data.expression, data.scope)
        _, targets = await web_of(request).targets()
        rules = data.rules or RuleSet()
        problems = rule_problems(rules, targets)
        found = [item.to_dict() for item in problems]
        return {"valid": not problems, "problems": found, "warnings": rule_warnings(rules)}

    @post("/test", status_code=200)
    async def test(self, request: HttpRequest, data: JSONBody[AskTest]) -> dict[str, Any]:
        """Say what the rules would do, rule by rule and clause by clause."""
        web = web_of(request)
        tags: dict[str, list[str]] = {}
        if data.series_uid is not None:
            tags = await web.database.run(series_tags, data.series_uid)
        tags |= data.tags or {}
        if data.expression is not None:
            rule = {
                "slug": "test",
                "name": "test",
                "expression": data.expression,
                "fallback": True,
                "targets": ["test"],
            }
            return try_rules(RuleSet.model_validate({"rules": [rule]}), tags, now()).to_dict()
        rules = data.rules if data.rules is not None else (await web.rules())[1]
        return try_rules(rules, tags, now()).to_dict()
