"""How a person wants pages to look: theme, times, whether names of patients are shown. Kept in a cookie."""

from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel

THEMES: Final = ("system", "light", "dark")
TIMES: Final = ("utc", "local", "relative")
NAMES: Final = ("shown", "masked")
COOKIE: Final = "hermes-view"

PERSONAL: Final = ("Patient", "OtherPatient", "ResponsiblePerson", "MothersMaiden", "MilitaryRank", "InsurancePlan")
MASKED: Final = "masked"
"""In the place of a reason that could quote what is masked."""
_HIDDEN: Final = "\u2022\u2022\u2022"
_REASONED: Final = frozenset({"clauses", "explanation", "differences"})
"""Beside a reason: then it is that of a rule, or of changes on the way."""


@dataclass(frozen=True, slots=True)
class View:
    """What was chosen; every value is one of those above."""

    theme: str = THEMES[0]
    times: str = TIMES[0]
    names: str = NAMES[0]

    @property
    def masks(self) -> bool:
        """Whether names of patients are masked."""
        return self.names == "masked"

    def person(self, text: str) -> str:
        """Return a patient's name or id as it may be shown: whole, or its beginnings (``DOE^JANE``: ``D••• J•••``)."""
        if not self.masks or not text:
            return text
        parts = [part for part in text.replace("^", " ").replace("=", " ").split() if part]
        return " ".join(part[0] + _HIDDEN for part in parts[:3]) or _HIDDEN

    def values(self, name: str, values: list[str]) -> list[str]:
        """Return the values of a tag, or of a clause of a rule about it, as they may be shown."""
        return [_HIDDEN for _ in values] if self.hides(name) else values

    def hides(self, name: str) -> bool:
        """Return whether a tag, or a clause of a rule about it, is not shown."""
        return self.masks and any(word in name for word in PERSONAL)

    def reason(self, text: str) -> str:
        """Return the reason of something about attributes: it quotes values of those that it names."""
        return MASKED if text and self.hides(text) else text


def without_names(view: View, value: Any) -> Any:
    """Return a document, plain or of models, as it may be shown: without what says who a patient is.

    That is found by the names that our answers give it: ``patient_name`` and ``patient_id``, what is below ``tags``,
    what a clause of a rule saw, and why it and the rule came to what they did, what an attribute was ``before`` and
    ``after`` a change, and what was searched for in an export of series.
    """
    match value:
        case BaseModel():
            fields = {name: getattr(value, name) for name in type(value).model_fields}
            return value.model_copy(update={name: _named(view, name, item, fields) for name, item in fields.items()})
        case dict():
            return {key: _named(view, key, item, value) for key, item in value.items()}
        case list():
            return [without_names(view, item) for item in value]
        case tuple():
            return tuple(without_names(view, item) for item in value)
        case _:
            return value


def _named(view: View, key: str, item: Any, whole: dict[str, Any]) -> Any:
    match key, item:
        case "patient_name" | "patient_id", str():
            return view.person(item)
        case "tags", dict():
            return {name: view.values(name, list(each)) if _is_several(each) else each for name, each in item.items()}
        case "seen", list() | tuple() if isinstance(whole.get("text"), str):
            return type(item)(view.values(whole["text"], list(item)))
        case "reason", str():
            return _reason(view, item, whole)
        case "query" | "before" | "after", str() if _is_masked(view, key, whole):
            return _HIDDEN
        case _:
            return without_names(view, item)


def _reason(view: View, text: str, whole: dict[str, Any]) -> str:
    """Return the reason of a clause, a rule or a change as it may be shown; what a person gave as one is left alone."""
    if "seen" in whole and view.hides(str(whole.get("text", ""))):
        return ""
    return view.reason(text) if whole.keys() & _REASONED else text


def _is_of_a_person(view: View, attribute: dict[str, Any]) -> bool:
    """Return whether an attribute is masked: by its name, or as a name where a private one does not say whose."""
    return view.masks and (view.hides(str(attribute.get("name", ""))) or attribute["vr"] == "PN")


def _is_masked(view: View, key: str, whole: dict[str, Any]) -> bool:
    if key == "query":
        return view.masks and _is_of_series(whole)
    return "vr" in whole and _is_of_a_person(view, whole)


def _is_of_series(export: dict[str, Any]) -> bool:
    """Return whether this is what an export was, and of series: the search for them may name a patient."""
    return "format" in export and "event_id" not in export.get("columns", ("event_id",))


def _is_several(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def masked(view: View) -> View:
    """Return the view of somebody who may not see names, whatever their cookie says."""
    return replace(view, names="masked")


def parse_view(text: str | None) -> View:
    """Return what a cookie says; what it does not say, or says wrongly, is the default."""
    parts = (text or "").split(".")
    if len(parts) != 3:
        return View()
    theme, times, names = parts
    return View(
        theme if theme in THEMES else THEMES[0],
        times if times in TIMES else TIMES[0],
        names if names in NAMES else NAMES[0],
    )
