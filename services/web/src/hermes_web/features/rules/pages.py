"""Pages of the rule set: the ordered list, the editor, and the review before a rule is saved."""

import asyncio
from collections.abc import Mapping
from typing import Any

from litestar import Controller, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from hermes_common.config import Kind, Rule, RuleSet
from hermes_common.rules.cases import CaseResult
from hermes_web.core.configuration import moved_rule, placed_rule, with_rule, without_rule
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.core.standing import own_cases
from hermes_web.core.suggesting import case_tags, suggestions
from hermes_web.errors import (
    FieldProblem,
    InvalidError,
    NotFoundError,
    PreconditionFailedError,
    UnavailableError,
    WebError,
)
from hermes_web.features.rules import forms
from hermes_web.features.rules.review import Review, reviewed
from hermes_web.features.rules.stored import stored_series
from hermes_web.features.rules.testing import check_expression
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import Form, read_form
from hermes_web.http.viewing import view_of
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
    **more: Any,
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
        days=forms.DAYS,
        results=await asyncio.to_thread(_results, tried, str(values["slug"])),
        **{"series": "", "offered": [], "would": None, **more},
    )


def _results(rules: RuleSet | None, slug: str) -> dict[str, CaseResult]:
    """Return what the test cases of a rule come to, by name."""
    own = None if rules is None else next((rule for rule in rules.rules if rule.slug == slug), None)
    return {} if rules is None or own is None else {each.case: each for each in own_cases(rules, own)}


class RulePages(Controller):
    """Rules."""

    path = "/rules"
    include_in_schema = False

    @get(opt=VIEWER)
    async def listing(self, request: HttpRequest) -> Page:
        """Show the rules in their order."""
        web = web_of(request)
        revision, rules = await web.rules()
        standing = await asyncio.to_thread(web.standings.of, revision, rules)
        return page(
            request,
            "rules/list.html",
            revision=revision,
            rules=rules.rules,
            cases=standing.cases,
            broken=standing.broken,
        )

    @get("/new", opt=ADMIN)
    async def new(self, request: HttpRequest) -> Page:
        """Show an empty form; with ``series``, one with conditions that are true of a series, and it as test case."""
        web = web_of(request)
        revision, _ = await web.rules()
        values, uid = forms.values_of(None), request.query_params.get("series", "")
        if not uid:
            return await _editor(request, values, revision.revision, is_new=True)
        stored = await web.database.run(stored_series, uid)
        view = view_of(request)
        offered = [each for each in suggestions(stored.fields) if not view.hides(each.text)]
        case = {
            "name": forms.case_name(stored.description, stored.modality),
            "verdict": "match",
            "targets": "",
            "at": "",
        }
        values |= {
            "name": forms.case_name(stored.modality, stored.description),
            "state": "draft",
            "expression": "\n and ".join(each.text for each in offered if each.chosen),
            "cases": [{**case, "tags": forms.tags_text(case_tags(stored.fields))}],
        }
        return await _editor(request, values, revision.revision, is_new=True, series=uid, offered=offered)

    @get("/{slug:str}", opt=VIEWER)
    async def edit(self, request: HttpRequest, slug: FromPath[str]) -> Page:
        """Show the form of a rule; of a dry run, what it would have sent, too."""
        web = web_of(request)
        revision, rules = await web.rules()
        rule = _find(rules, slug)
        would = None
        if rule.state.value == "dry_run":
            try:
                would = await web.rule_hits.would_have_sent(slug)
            except UnavailableError:
                would = None
        values = forms.values_of(rule)
        return await _editor(request, values, revision.revision, is_new=False, tried=rules, would=would)

    @post("/_edit", opt=VIEWER, status_code=200)
    async def again(self, request: HttpRequest) -> Page:
        """Show the form as it was typed: back from the review."""
        form = await read_form(request)
        is_new = form.text("is_new") == "yes"
        values = forms.typed_values(form)
        return await _editor(request, values, form.number("revision"), is_new=is_new)

    @post("/_review", opt=ADMIN, status_code=200)
    async def review(self, request: HttpRequest) -> Page:
        """Show what saving would change, what speaks against it, and what somebody else changed meanwhile."""
        form = await read_form(request)
        return await self._review(request, form, forms.typed_values(form), form.text("is_new") == "yes")

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
        """Move a rule up, down or to a place, or remove it."""
        web, form = web_of(request), await read_form(request)
        _, rules = await web.rules()
        _find(rules, slug)
        match action:
            case "up" | "down":
                changed, comment = moved_rule(rules, slug, action == "up"), f"{slug}: moved {action}"
            case "move":
                place = form.number("place")
                changed, comment = placed_rule(rules, slug, place), f"{slug}: moved to place {place}"
            case "remove":
                changed, comment = without_rule(rules, slug), f"{slug}: removed"
            case _:
                raise NotFoundError("there is no such action")
        if changed == rules:
            return go("/rules", "unchanged")
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
                if slug not in {rule.slug for rule in rules.rules} and not form.checked("again"):
                    _find(rules, slug)
                values["slug"] = slug
            else:
                _refuse_taken(rules, values["slug"])
            changed = with_rule(rules, forms.parse_rule(values))
            if changed == rules:
                return go("/rules", "unchanged")
            comment = form.text("why") or f"{values['slug']}: {'added' if slug is None else 'changed'}"
            await web.save(Kind.RULES, changed.model_dump(mode="json"), expected, principal_of(request).name, comment)
        except InvalidError as error:
            return await _editor(request, values, expected, is_new=slug is None, error=error, tried=changed)
        except PreconditionFailedError as error:
            return await self._review(request, form, values, slug is None, error)
        return go("/rules", "saved")

    @staticmethod
    async def _review(
        request: HttpRequest,
        form: Form,
        values: dict[str, Any],
        is_new: bool,
        error: PreconditionFailedError | None = None,
    ) -> Page:
        web, base = web_of(request), form.number("revision")
        try:
            if is_new:
                _refuse_taken((await web.rules())[1], values["slug"])
            rule = forms.parse_rule(values)
            found: Review = await reviewed(web, rule, base, is_new, form.all("take"))
        except InvalidError as problem:
            return await _editor(request, values, base, is_new=is_new, error=problem)
        shown = forms.values_of(found.rule)
        return page(
            request,
            "rules/review.html",
            review=found,
            values=shown,
            fields=forms.hidden_fields(shown),
            why=form.text("why"),
            base=base,
            error=error,
            failing=found.failing,
        )


def _refuse_taken(rules: RuleSet, slug: str) -> None:
    if slug in {rule.slug for rule in rules.rules}:
        taken = FieldProblem("slug", f"there is a rule {slug!r} already")
        raise InvalidError(problems=[taken])
