"""Pages of the tools on rules: try them on a series, a file or tags; backtest; compare two revisions."""

from typing import Any

from litestar import Controller, get, post

from hermes_common.config import RuleSet
from hermes_web.core.configuration import with_rule
from hermes_web.core.roles import VIEWER
from hermes_web.errors import FieldProblem, InvalidError, NotFoundError, UnavailableError, WebError
from hermes_web.features.rules import forms
from hermes_web.features.rules.api import compared, overlaps_of, subject_of
from hermes_web.features.rules.backtesting import prepare
from hermes_web.features.rules.testing import (
    Subject,
    activated,
    answer,
    parse_tags,
    refuse_broken,
    try_rules,
    with_tags,
)
from hermes_web.http.answers import Page, page
from hermes_web.http.forms import Form, read_form
from hermes_web.http.viewing import told
from hermes_web.web import Web, web_of
from hermes_web.web_types import HttpRequest

HEAD_MAY_END = 1024 * 1024
"""A file of at least so many octets may have been cut by the page before it was sent."""


class RuleToolPages(Controller):
    """The tools. A form that has a rule in it is a draft: it is put into the present rules, and never saved."""

    path = "/rules"
    include_in_schema = False
    opt = VIEWER

    @get("/_test")
    async def tester(self, request: HttpRequest) -> Page:
        """Show the tester; with ``series`` filled in, its answer."""
        return await _test(request, Form([("series", request.query_params.get("series", ""))]))

    @post("/_test", status_code=200)
    async def test(self, request: HttpRequest) -> Page:
        """Try rules on a stored series, a file or edited tags."""
        return await _test(request, await read_form(request))

    @get("/_backtest")
    async def backtester(self, request: HttpRequest) -> Page:
        """Show the form."""
        revision, _ = await web_of(request).rules()
        return page(
            request, "rules/backtest.html", days=forms.DAYS, revision=revision, result=None, error=None, draft=None
        )

    @post("/_backtest", status_code=200)
    async def backtest(self, request: HttpRequest) -> Page:
        """Look at the series of the last days."""
        web, form = web_of(request), await read_form(request)
        revision, _ = await web.rules()
        result: dict[str, Any] | None = None
        error: WebError | None = None
        days, draft = form.text("days", str(forms.DAYS)), None
        try:
            rules, draft = await _draft(web, form)
            if draft is not None:
                refuse_broken(rules)
            result = await (await prepare(web, rules if draft else None, forms.days_of(form))).result()
            if result["type"] != "result":
                error, result = UnavailableError(result["problem"]["detail"], result["problem"]["action"]), None
        except WebError as problem:
            error = problem
        overlaps = overlaps_of(result) if result else None
        return page(
            request,
            "rules/backtest.html",
            days=days,
            revision=revision,
            result=told(request, result),
            error=error,
            draft=draft,
            overlaps=overlaps,
        )

    @get("/_compare")
    async def compare(self, request: HttpRequest) -> Page:
        """Show what differs between two revisions."""
        older, newer = (request.query_params.get(name, "") for name in ("from", "to"))
        found = await compared(web_of(request), _revision(older), _revision(newer) if newer else None)
        current, _ = await web_of(request).rules()
        return page(request, "rules/compare.html", found=found, current=current)


async def _test(request: HttpRequest, form: Form) -> Page:
    web = web_of(request)
    revision, _ = await web.rules()
    _, targets = await web.targets()
    uid, text, file = form.text("series"), form.lines("tags"), form.files.get("file")
    tried, decision, error, draft, at = None, None, None, None, None
    try:
        rules, draft = await _draft(web, form)
        if uid or text or file:
            if uid and file:
                raise InvalidError(problems=[FieldProblem("file", "give either a stored series or a file")])
            subject = await _subject(web, uid, file, text)
            decision = try_rules(rules, subject)
            at = subject.at
            tried = answer(decision, subject, targets, None if draft else revision.revision)
    except (InvalidError, NotFoundError, UnavailableError) as problem:
        error = problem
    return page(
        request,
        "rules/test.html",
        uid=uid,
        text=text,
        decision=decision,
        tried=tried,
        at=at,
        revision=revision,
        error=error,
        draft=draft,
    )


async def _subject(web: Web, uid: str, file: bytes | None, text: str) -> Subject:
    truncated = file is not None and len(file) >= HEAD_MAY_END
    return with_tags(await subject_of(web, uid or None, file, truncated, None), parse_tags(text))


async def _draft(web: Web, form: Form) -> tuple[RuleSet, str | None]:
    """Return the present rules, with the rule that is in the form put into them as an active one, and its slug."""
    _, rules = await web.rules()
    if not form.text("slug") and not form.text("name"):
        return rules, None
    rule = forms.parse_rule(forms.typed_values(form))
    return activated(with_rule(rules, rule), [rule.slug]), rule.slug


def _revision(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFoundError(f"there is no revision {text[:20]!r}")
    return int(text)
