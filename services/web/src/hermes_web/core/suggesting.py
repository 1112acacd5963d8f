"""Conditions for a rule about series like one that was seen, from its tags: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from hermes_common.dicom.names import canonical_name
from hermes_common.rules import tree
from hermes_common.rules.dictionary import FieldInfo, Kind, look_up
from hermes_common.rules.formatter import format_rule
from hermes_web.core.view import PERSONAL

ASKED_FIRST = ("Modality", "source.aet", "StudyDescription", "SeriesDescription", "BodyPartExamined")
"""What tells series apart in practice; a rule from a series begins with these."""
OFFERED = (
    *("ProtocolName", "ImageType", "StationName", "Manufacturer", "ManufacturerModelName"),
    *("InstitutionName", "RequestedProcedureDescription", "PerformedProcedureStepDescription", "ContrastBolusAgent"),
    *("SliceThickness", "MagneticFieldStrength", "source.called_aet", "source.ip"),
)
_MOST_VALUES = 3
_LONGEST = 64
_PERSONAL = (*PERSONAL, "Physician", "Operators")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A condition that is true of the series, and whether the rule begins with it."""

    text: str
    chosen: bool


def suggestions(fields: Mapping[str, Sequence[str]]) -> list[Suggestion]:
    """Return conditions that are true of a series; those that the rule begins with come first."""
    found = []
    for name in (*ASKED_FIRST, *OFFERED):
        clause = _clause(name, fields.get(name, ()))
        if clause is not None:
            found.append(Suggestion(format_rule(tree.Rule(clause)), name in ASKED_FIRST))
    return found


def _clause(name: str, values: Sequence[str]) -> tree.Clause | None:
    info = look_up(name)
    own = [value.strip(" ") for value in values if value.strip()]
    if not isinstance(info, FieldInfo) or not own or len(own) > _MOST_VALUES or any(len(v) > _LONGEST for v in own):
        return None
    if any(v != v.strip() for v in own):
        return None  # control characters at its ends: no rule can say that
    field = tree.Field(name)
    literals: list[tree.Literal_] = []
    for value in own:
        literal = _number(value) if info.kind is Kind.NUMBER else tree.Text(value)
        if literal is None:
            return None
        literals.append(literal)
    if len(literals) == 1:
        return tree.Compare(field, tree.Relation.EQUAL, literals[0])
    return tree.Member(field, tuple(literals))


def _number(value: str) -> tree.Number | None:
    """Return a value of a tag as a number of the language, None if it is none that can be written."""
    try:
        number = float(value)
    except ValueError:
        return None
    if not isfinite(number):
        return None
    return tree.Number(int(number) if number.is_integer() and "." not in value else number)


def case_tags(fields: Mapping[str, Sequence[str]], asked: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the tags of a series that are worth keeping in a test case: those that rules ask about, no names.

    ``asked`` names the fields of the rule itself. Nothing that identifies a patient is kept.
    """
    wanted = dict.fromkeys((*asked, *ASKED_FIRST, *OFFERED))
    found = {}
    for name in wanted:
        known = canonical_name(name)
        if known in fields and not any(word in known for word in _PERSONAL):
            found[known] = [value[:1024] for value in fields[known][:32]]
    return found
