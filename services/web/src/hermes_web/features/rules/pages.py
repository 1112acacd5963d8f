"""Pages of the rule set: the ordered list and the editor."""

import asyncio
from collections.abc import Mapping
from typing import Any

from litestar import Controller, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from hermes_common.config import Kind, Rule, RuleSet
from hermes_common.rules.cases import CaseResult, run_cases
from hermes_web.core.configuration import moved_rule, with_rule, without_rule
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import FieldProblem, InvalidError, NotFoundError, PreconditionFailedError, WebError
from hermes_web.features.rules import forms
from hermes_web.features.rules.testing import check_expression, is_usable
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


def _find(rules: RuleSet, slug: str) -> Rule:
    found = next((rule for rule in rules.rules if rule.slug == slug), None)
    if found is None:
        raise NotFoundError(f"there is no rule {slug!r}")
    return found


async def _editor(
    request: HttpRequest,
    values: Mapping[str, Any],
    revision: int,
    *,
    is_new: bool,
    error: WebError | None = None,
    tried: RuleSet | None = None,
) -> Page:
    web = web_of(request)
    _, targets = await web.targets()
    problems = {} if error is None else forms.own_problems(error, tried or RuleSet(), str(values["slug"]))
    expression = str(values["expression"])
    warnings = (
        check_expression(expression, str(values["scope"]), await web.collected())["warnings"]
        if expression.strip()
        else []
    )
    return page(
        request,
        "rules/edit.html",
        values=values,
        revision=revision,
        is_new=is_new,
        targets=targets.targets,
        problems=problems,
        warnings=[{**each, "text": expression[each["start"] : each["end"]]} for each in warnings],
        marks=forms.marked(expression, problems.get("expression", [])),
        choices=forms.CHOICES,
        help=forms.HELP,
        after_wait=forms.AFTER_WAIT,
        results=await asyncio.to_thread(_results, tried, str(values["slug"])),
    )


def _results(rules: RuleSet | None, slug: str) -> dict[str, CaseResult]:
    """Return what the test cases of a rule come to, by name."""
    return {} if rules is None else {each.case: each for each in run_cases(rules.rules) if each.rule == slug}


class RulePages(Controller):
    """Rules."""

    path = "/rules"
    include_in_schema = False

    @get(opt=VIEWER)
    async def listing(self, request: HttpRequest) -> Page:
        """Show the rules in their order."""
        revision, rules = await web_of(request).rules()
        cases = await asyncio.to_thread(run_cases, rules.rules)
        return page(
            request,
            "rules/list.html",
            revision=revision,
            rules=rules.rules,
            cases={rule.slug: [case for case in cases if case.rule == rule.slug] for rule in rules.rules},
            broken={rule.slug for rule in rules.rules if not is_usable(rule)},
        )

    @get("/new", opt=ADMIN)
    async def new(self, request: HttpRequest) -> Page:
        """Show an empty form."""
        revision, _ = await web_of(request).rules()
        return await _editor(request, forms.values_of(None), revision.revision, is_new=True)

    @get("/{slug:str}", opt=VIEWER)
    async def edit(self, request: HttpRequest, slug: FromPath[str]) -> Page:
        """Show the form of a rule."""
        revision, rules = await web_of(request).rules()
        values = forms.values_of(_find(rules, slug))
        return await _editor(request, values, revision.revision, is_new=False, tried=rules)

    @post("/new", opt=ADMIN)
    async def create(self, request: HttpRequest) -> Page | Redirect:
        """Add a rule at the end."""
        return await self._save(request, None)

    @post("/{slug:str}", opt=ADMIN)
    async def save(self, request: HttpRequest, slug: FromPath[str]) -> Page | Redirect:
        """Change a rule."""
        return await self._save(request, slug)

    @post("/{slug:str}/{action:str}", opt=ADMIN)
    async def act(self, request: HttpRequest, slug: FromPath[str], action: FromPath[str]) -> Redirect:
        """Move a rule up or down, or remove it."""
        web, form = web_of(request), await read_form(request)
        _, rules = await web.rules()
        _find(rules, slug)
        match action:
            case "up" | "down":
                changed, comment = moved_rule(rules, slug, action == "up"), f"{slug}: moved {action}"
            case "remove":
                changed, comment = without_rule(rules, slug), f"{slug}: removed"
            case _:
                raise NotFoundError("there is no such action")
        author = principal_of(request).name
        await web.save(Kind.RULES, changed.model_dump(mode="json"), form.number("revision"), author, comment)
        return go("/rules", "removed" if action == "remove" else "saved")

    async def _save(self, request: HttpRequest, slug: str | None) -> Page | Redirect:
        web, form = web_of(request), await read_form(request)
        values, expected = forms.typed_values(form), form.number("revision")
        _, rules = await web.rules()
        changed: RuleSet | None = None
        try:
            if slug is not None:
                _find(rules, slug)
                values["slug"] = slug
            elif values["slug"] in {rule.slug for rule in rules.rules}:
                taken = FieldProblem("slug", f"there is a rule {values['slug']!r} already")
                raise InvalidError(problems=[taken])
            changed = with_rule(rules, forms.parse_rule(values))
            comment = form.text("why") or f"{values['slug']}: {'added' if slug is None else 'changed'}"
            await web.save(Kind.RULES, changed.model_dump(mode="json"), expected, principal_of(request).name, comment)
        except (InvalidError, PreconditionFailedError) as error:
            return await _editor(request, values, expected, is_new=slug is None, error=error, tried=changed)
        warned = check_expression(str(values["expression"]), str(values["scope"]), await web.collected())["warnings"]
        return go(f"/rules/{values['slug']}" if warned else "/rules", "saved")
