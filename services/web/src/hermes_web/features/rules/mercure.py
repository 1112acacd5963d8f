"""The page that takes over rules and targets from Mercure: the report first, then what can be added."""

import asyncio
from dataclasses import dataclass
from typing import Any

from litestar import Controller, get, post
from litestar.response import Redirect

from hermes_common.config import Kind, RuleSet, RuleState, Targets
from hermes_common.mercure import Imported, NoConfigurationError, Outcome, import_configuration, read
from hermes_web.core.configuration import rule_problems
from hermes_web.core.roles import ADMIN
from hermes_web.errors import FieldProblem, InvalidError, WebError
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import Form, read_form
from hermes_web.web import Web, principal_of, web_of
from hermes_web.web_types import HttpRequest

STATES = (RuleState.DRY_RUN, RuleState.ACTIVE, RuleState.DRAFT)
ORDER = (Outcome.LOST, Outcome.BY_HAND, Outcome.DIFFERS, Outcome.TRANSLATED)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be added, and what is there already under the same short name and stays as it is."""

    imported: Imported
    rules: RuleSet
    targets: Targets
    known_rules: tuple[str, ...]
    known_targets: tuple[str, ...]

    def notes(self) -> list[dict[str, Any]]:
        """Return the report, what needs a person first."""
        found = sorted(self.imported.notes, key=lambda note: ORDER.index(note.outcome))
        return [note.to_dict() for note in found]

    def counts(self) -> dict[str, int]:
        """Return how many parts came to what."""
        return {outcome.value: self.imported.count(outcome) for outcome in ORDER}


class MercurePages(Controller):
    """The old file is read and never run; nothing of it is kept but what is added."""

    path = "/rules/_mercure"
    include_in_schema = False
    opt = ADMIN

    @get()
    async def form(self, request: HttpRequest) -> Page:
        """Show the form."""
        return _page(request)

    @post(status_code=200)
    async def report(self, request: HttpRequest) -> Page | Redirect:
        """Show what becomes of a configuration; with ``add``, add it."""
        web, form = web_of(request), await read_form(request)
        state = next((each for each in STATES if each.value == form.text("state")), RuleState.DRY_RUN)
        try:
            plan = await _planned(web, form, state)
            if form.text("do") != "add":
                return _page(request, state, plan)
            await _add(web, plan, principal_of(request).name)
        except WebError as error:
            return _page(request, state, error=error)
        return go("/rules", "imported")


def _page(
    request: HttpRequest, state: RuleState = RuleState.DRY_RUN, plan: Plan | None = None, error: WebError | None = None
) -> Page:
    states = [each.value for each in STATES]
    return page(request, "rules/mercure.html", state=state.value, states=states, plan=plan, error=error)


async def _planned(web: Web, form: Form, state: RuleState) -> Plan:
    file = form.files.get("file")
    if file is None:
        raise InvalidError("No file", "Choose a mercure.json.", [FieldProblem("file", "choose a mercure.json")])
    try:
        old = read(file.decode("utf-8"))
    except (UnicodeDecodeError, NoConfigurationError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        problem = FieldProblem("file", reason)
        raise InvalidError("The file is no configuration of Mercure", "Choose a mercure.json.", [problem]) from error
    imported = await asyncio.to_thread(import_configuration, old, state)
    _, rules = await web.rules()
    _, targets = await web.targets()
    here, there = {rule.slug for rule in rules.rules}, {target.slug for target in targets.targets}
    found, goals = RuleSet.model_validate(imported.rules), Targets.model_validate(imported.targets)
    return Plan(
        imported,
        RuleSet(rules=tuple(rule for rule in found.rules if rule.slug not in here)),
        Targets(targets=tuple(target for target in goals.targets if target.slug not in there)),
        tuple(rule.slug for rule in found.rules if rule.slug in here),
        tuple(target.slug for target in goals.targets if target.slug in there),
    )


async def _add(web: Web, plan: Plan, author: str) -> None:
    """Add targets, then the rules behind those that are there; raise what says why not."""
    targets_revision, targets = await web.targets()
    rules_revision, rules = await web.rules()
    wanted = Targets(targets=(*targets.targets, *plan.targets.targets))
    after = RuleSet(rules=(*rules.rules, *plan.rules.rules))
    if problems := rule_problems(after, wanted):
        raise InvalidError(problems=problems[:100])
    comment = "taken over from Mercure"
    if plan.targets.targets:
        await web.save(Kind.TARGETS, wanted, targets_revision.revision, author, comment)
    if plan.rules.rules:
        await web.save(Kind.RULES, after, rules_revision.revision, author, comment)
