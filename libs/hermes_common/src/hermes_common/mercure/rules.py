"""A rule of the old file to one of ours, if there is one that does the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hermes_common.config import Priority, Rule, RuleState, Scope
from hermes_common.dicom.tags import DEFAULT_TAGS
from hermes_common.mercure.report import Outcome, Report, shown
from hermes_common.mercure.values import cut, flag, is_set, text, texts
from hermes_common.rules import Problem, RuleError, check
from hermes_common.rules.importer import translate, translate_completion

ALWAYS = {Scope.SERIES: "series.instances > 0", Scope.STUDY: "study.series > 0"}
"""What is true of everything: the language has no word for it."""
_PRIORITIES = {"normal": Priority.NORMAL, "urgent": Priority.URGENT, "offpeak": Priority.OFF_PEAK}
_KNOWN = frozenset({
    "rule", "target", "disabled", "fallback", "contact", "comment", "tags", "action", "action_trigger", "priority",
    "study_trigger_condition", "study_trigger_series", "study_force_completion_action",
    "notification_trigger_reception", "notification_trigger_completion", "notification_trigger_error",
    "notification_trigger_completion_on_request", "notification_payload", "notification_payload_body",
    "notification_email_body", "notification_email_type", "processing_settings", "processing_retain_images",
})  # fmt: skip
"""Fields that are translated, or say nothing without one that is not."""
_LOST = {
    "processing_module": "nothing is processed here",
    "notification_email": "notifications are set up with the alerts",
    "notification_webhook": "notifications are set up with the alerts",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the rules of a file have in common: the short names of its targets that were translated, and the state in
    which rules arrive.
    """

    targets: Mapping[str, str]
    state: RuleState


@dataclass(slots=True)
class _Draft:
    """One rule on its way: ``whole`` is no longer so when a part got lost that it should not work without."""

    fields: Mapping[str, Any]
    report: Report
    wanted: Wanted
    whole: bool = True

    def lose(self, key: str, message: str) -> None:
        self.whole = False
        self.report.note(Outcome.LOST, key, message)


def translate_rule(name: str, slug: str, fields: Any, wanted: Wanted, report: Report) -> dict[str, Any] | None:
    """Return the document of a rule, None if there can be none; the reasons are in the report.

    One that lost something it should not act without is a draft.
    """
    if not isinstance(fields, Mapping):
        report.note(Outcome.LOST, "", "it is not an object, so it says nothing")
        return None
    draft = _Draft(fields, report, wanted)
    scope = Scope.STUDY if text(fields.get("action_trigger")).lower() == "study" else Scope.SERIES
    expression = _expression(draft, scope)
    aim = None if expression is None else _aim(draft)
    if expression is None or aim is None:
        return None
    _lesser_fields(draft)
    state = RuleState.PAUSED if flag(fields.get("disabled")) else wanted.state if draft.whole else RuleState.DRAFT
    document = {
        "slug": slug,
        "name": cut(name, 120),
        "state": state.value,
        "scope": scope.value,
        "expression": expression,
        "priority": _priority(draft).value,
        "fallback": flag(fields.get("fallback")),
        "contact": cut(text(fields.get("contact")), 200),
        "comment": cut(_comment(draft), 2000),
        **aim,
    }
    try:
        Rule.model_validate(document)
    except ValidationError as error:
        report.note(Outcome.LOST, "", f"it cannot be used: {shown(error.errors()[0]['msg'])}")
        return None
    kept = "" if draft.whole else ", as a draft because of what got lost"
    report.note(Outcome.TRANSLATED, "", f"rule {slug}{kept}: {shown(expression) or 'without a condition'}")
    return document


def _expression(draft: _Draft, scope: Scope) -> str | None:
    """Return the condition; that of a fallback is empty, because nobody ever asked it."""
    old = text(draft.fields.get("rule"))
    if flag(draft.fields.get("fallback")):
        if old not in {"True", "", "False"}:
            message = (
                "a fallback applied there whenever nothing else had, whatever its condition said: it has none here"
            )
            draft.report.note(Outcome.DIFFERS, "rule", message)
        return ""
    if old in {"", "False"}:
        draft.report.note(Outcome.LOST, "rule", "its condition is never true, so it did nothing")
        return None
    try:
        return _in_scope(draft, scope, ALWAYS[Scope.SERIES] if old == "True" else _condition(draft, old, scope))
    except RuleError as error:
        for problem in error.problems:
            _note_problem(draft.report, Outcome.LOST, "rule", problem)
        return None


def _condition(draft: _Draft, old: str, scope: Scope) -> str:
    made = translate(old)
    for problem in made.notes:
        _note_problem(draft.report, Outcome.DIFFERS, "rule", problem)
    for warning in check(made.text, collected=DEFAULT_TAGS).warnings:
        if warning.code == "uncollected":
            draft.report.note(Outcome.BY_HAND, "rule", warning.message)
        elif warning.code == "missing":
            message = (
                "an absent tag was an empty text there, or made the whole rule false; here it makes this unknown: "
                f"{text(warning.suggestion)}, if that is meant"
            )
            draft.report.note(Outcome.DIFFERS, "rule", message)
    if " or " in made.text:
        message = "a tag that Mercure does not read made the whole rule false; here another alternative may still hold"
        draft.report.note(Outcome.DIFFERS, "rule", message)
    if scope is Scope.STUDY:
        message = (
            "the series that matched were collected and sent together; here the study is sent, if any of its series "
            "matches"
        )
        draft.report.note(Outcome.DIFFERS, "action_trigger", message)
    return made.text


def _in_scope(draft: _Draft, scope: Scope, condition: str) -> str:
    if scope is Scope.SERIES:
        return condition
    parts = [ALWAYS[scope] if condition == ALWAYS[Scope.SERIES] else f"any series ({condition})"]
    if text(draft.fields.get("study_trigger_condition")) == "received_series":
        required = text(draft.fields.get("study_trigger_series"))
        try:
            parts.append(f"({translate_completion(required).text})")
        except RuleError as error:
            for problem in error.problems:
                _note_problem(draft.report, Outcome.LOST, "study_trigger_series", problem)
            draft.whole = False
    forced = text(draft.fields.get("study_force_completion_action")) or "discard"
    message = f"when a study is complete is a policy here; nothing is discarded because it came late ({shown(forced)})"
    draft.report.note(Outcome.DIFFERS, "study_force_completion_action", message)
    whole = " and ".join(parts)
    check(whole, scope.value)
    return whole


def _aim(draft: _Draft) -> dict[str, Any] | None:
    """Return action, ``then`` and targets, None if there is nothing that it could do."""
    action = text(draft.fields.get("action")).lower() or "route"
    if action == "discard":
        return {"action": "discard", "then": "stop", "targets": []}
    if action not in {"route", "both"}:
        draft.report.note(Outcome.LOST, "action", f"nothing does {shown(action)} here: rules route or discard")
        return None
    if action == "both":
        draft.lose("action", "images are not processed here: the rule would send them as they came")
    targets = []
    for old in texts(draft.fields.get("target")):
        if old in draft.wanted.targets:
            targets.append(draft.wanted.targets[old])
        else:
            draft.lose("target", f"there is no target {shown(old)}, or it was not translated")
    if not targets:
        draft.report.note(Outcome.LOST, "", "it routes, but none of its targets is there")
        return None
    return {"action": "route", "then": "continue", "targets": targets}


def _priority(draft: _Draft) -> Priority:
    old = text(draft.fields.get("priority")).lower() or "normal"
    if old not in _PRIORITIES:
        draft.report.note(Outcome.LOST, "priority", f"{shown(old)} is no priority: it is normal here")
    return _PRIORITIES.get(old, Priority.NORMAL)


def _lesser_fields(draft: _Draft) -> None:
    for key, value in draft.fields.items():
        if key in _LOST and is_set(value):
            draft.report.note(Outcome.LOST, key, _LOST[key])
        elif key not in _KNOWN and key not in _LOST and is_set(value):
            draft.report.note(Outcome.LOST, key, "nothing here corresponds to it")


def _comment(draft: _Draft) -> str:
    labels, old = text(draft.fields.get("tags")), text(draft.fields.get("rule"))
    parts = [text(draft.fields.get("comment")), f"Labels: {labels}" if labels else "", f"In Mercure: {old}"]
    return "\n".join(filter(None, parts))


def _note_problem(report: Report, outcome: Outcome, key: str, problem: Problem) -> None:
    hint = f"; did you mean {shown(problem.suggestion)}?" if problem.suggestion else ""
    report.note(outcome, key, f"{shown(problem.message)}{hint}", problem.span.line, problem.span.column)
