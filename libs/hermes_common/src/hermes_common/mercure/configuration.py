"""A whole old configuration to our documents, and the report."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from hermes_common.config import RuleSet, RuleState, Targets
from hermes_common.dicom.names import canonical_name, collecting_problem
from hermes_common.mercure.report import Note, Outcome, Report, shown
from hermes_common.mercure.rules import Wanted, translate_rule
from hermes_common.mercure.targets import has_secrets, translate_target
from hermes_common.mercure.values import is_set, slugs, text

MAX_BYTES = 16 * 1024 * 1024
MAX_RULES = 2000
MAX_TARGETS = 500
_SECONDS = {
    "series_complete_trigger": "the quiet period of series",
    "study_complete_trigger": "when studies are complete",
    "retention": "how long series are kept",
    "retry_max": "the attempts of every target",
    "retry_delay": "the delay of every target",
    "offpeak_start": "the hours of off-peak deliveries",
    "offpeak_end": "the hours of off-peak deliveries",
}


class NoConfigurationError(ValueError):
    """A text that is no configuration of Mercure at all; the message says why."""


@dataclass(frozen=True, slots=True)
class Imported:
    """Documents as JSON-ready values, valid as they are, and what became of every part of the old ones.

    The targets may hold secrets in clear, as the old file did.
    """

    rules: dict[str, Any]
    targets: dict[str, Any]
    notes: tuple[Note, ...]

    @property
    def has_secrets(self) -> bool:
        """Whether a target has a password, a key or a token in it."""
        return any(has_secrets(target) for target in self.targets["targets"])

    def count(self, outcome: Outcome) -> int:
        """Return how many notes have this outcome."""
        return sum(note.outcome is outcome for note in self.notes)


def read(source: str) -> dict[str, Any]:
    """Return the values of an old file; raise :class:`NoConfigurationError` if it is none."""
    if len(source) > MAX_BYTES:
        raise NoConfigurationError(f"the file has more than {MAX_BYTES} characters")
    try:
        found = json.loads(source, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise NoConfigurationError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (RecursionError, ValueError) as error:
        raise NoConfigurationError(shown(str(error)) or "it cannot be read") from error
    if not isinstance(found, dict) or not ("rules" in found or "targets" in found):
        raise NoConfigurationError('it has neither "rules" nor "targets": is it a mercure.json?')
    return cast("dict[str, Any]", found)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {shown(key)} is there twice in one object: which one holds?")
        found[key] = value
    return found


def import_configuration(old: Mapping[str, Any], state: RuleState = RuleState.ACTIVE) -> Imported:
    """Return what stands for an old configuration. Rules that were translated whole arrive in ``state``."""
    report = Report()
    old_targets = _part(old, "targets", MAX_TARGETS, report)
    names = slugs(old_targets, "target")
    targets: dict[str, dict[str, Any]] = {}
    for name, fields in old_targets.items():
        made = translate_target(name, names[name], fields, report.inside("targets").inside(name))
        if made is not None:
            targets[name] = made
    wanted = Wanted({name: target["slug"] for name, target in targets.items()}, state)
    rules = _rules(_part(old, "rules", MAX_RULES, report), wanted, report.inside("rules"))
    _the_rest(old, report)
    documents = {"rules": rules}, {"targets": list(targets.values())}
    RuleSet.model_validate(documents[0])
    Targets.model_validate(documents[1])
    return Imported(*documents, tuple(report.notes))


def _part(old: Mapping[str, Any], key: str, most: int, report: Report) -> dict[str, Any]:
    found = old.get(key)
    if not isinstance(found, Mapping):
        if is_set(found):
            report.note(Outcome.LOST, key, "it is not an object with a name for each")
        return {}
    if len(found) > most:
        report.note(Outcome.LOST, key, f"there are {len(found)}; those after the first {most} are left out")
    return dict(list(found.items())[:most])


def _rules(old: Mapping[str, Any], wanted: Wanted, report: Report) -> list[dict[str, Any]]:
    """Return the rules in their order, but those that discard first: there one took precedence over all others."""
    names = slugs(old, "rule")
    made: list[dict[str, Any]] = []
    for name, fields in old.items():
        rule = translate_rule(name, names[name], fields, wanted, report.inside(name))
        if rule is not None:
            made.append(rule)
    discarding = [rule for rule in made if rule["action"] == "discard" and not rule["fallback"]]
    others = [rule for rule in made if rule not in discarding]
    if discarding and made != [*discarding, *others]:
        message = "a rule that discards took precedence over all others: it stands before them, and stops"
        report.note(Outcome.DIFFERS, "", message)
    _one_fallback(others, report)
    return [*discarding, *others]


def _one_fallback(rules: list[dict[str, Any]], report: Report) -> None:
    """Of several fallback rules only the last one was ever applied."""
    fallbacks = [rule for rule in rules if rule["fallback"] and rule["state"] != RuleState.PAUSED.value]
    for rule in fallbacks[:-1]:
        rule["state"] = RuleState.DRAFT.value
        message = f"only the last fallback was applied there: {rule['slug']} is a draft here, where all of them apply"
        report.note(Outcome.DIFFERS, "", message)


def _the_rest(old: Mapping[str, Any], report: Report) -> None:
    receiver = _part(old, "dicom_receiver", MAX_RULES, report)
    inside = report.inside("dicom_receiver")
    for name in _part(receiver, "additional_tags", MAX_RULES, inside):
        _extra_tag(str(name), inside.inside("additional_tags"))
    for key, what in _SECONDS.items():
        if is_set(old.get(key)):
            report.note(Outcome.BY_HAND, key, f"it was {shown(old[key])}: set {what} in the policies or targets")
    for name in _part(old, "modules", MAX_RULES, report):
        report.inside("modules").note(Outcome.LOST, str(name), "nothing is processed here")


def _extra_tag(old: str, report: Report) -> None:
    name = text(old)
    if name.count(",") == 1 and not name.startswith("("):
        name = f"({name})"
    name = canonical_name(name)
    problem = collecting_problem(name)
    if problem is None:
        report.note(Outcome.BY_HAND, old, f"add {name} to the attributes to read, in the policies")
    else:
        report.note(Outcome.LOST, old, problem)
