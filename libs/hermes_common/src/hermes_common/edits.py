"""Edits of attributes on the way to a target: one line each, in a small language that people read and write.

    set PatientComments to for research only
    remove RequestAttributesSequence.ScheduledProcedureStepID
    remove (0019,100C)
    copy AccessionNumber to StudyID
    prefix PatientID with RES-
    suffix PatientID with -B

An attribute is named as in rules: a keyword, ``(gggg,eeee)``, or a path of these with dots, which means it in every
item of the sequence. What identifies an instance and what describes its pixels cannot be edited.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AfterValidator

from hermes_common.dicom.names import canonical_name, collecting_problem, number_of

LONGEST: Final = 1024
"""Characters of an edit."""

Action = Literal["set", "remove", "copy", "prefix", "suffix"]

_NAME: Final = r"(?P<name>[A-Za-z0-9(][A-Za-z0-9(),. ]*?)"
_FORMS: Final[tuple[tuple[Action, re.Pattern[str]], ...]] = (
    ("set", re.compile(rf"set\s+{_NAME}\s+to\s+(?P<value>.+)")),
    ("remove", re.compile(rf"remove\s+{_NAME}")),
    ("copy", re.compile(rf"copy\s+(?P<value>[A-Za-z0-9(][A-Za-z0-9(),. ]*?)\s+to\s+{_NAME}")),
    ("prefix", re.compile(rf"prefix\s+{_NAME}\s+with\s+(?P<value>.+)")),
    ("suffix", re.compile(rf"suffix\s+{_NAME}\s+with\s+(?P<value>.+)")),
)
IDENTIFYING: Final = frozenset({"SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"})
_FIXED: Final = frozenset(
    {
        *IDENTIFYING, "SpecificCharacterSet", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
        "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
        "LossyImageCompression", "PatientIdentityRemoved", "DeidentificationMethod",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit. ``value`` is the text to set, to put before or behind, or the name of the attribute to copy from."""

    action: Action
    name: str
    value: str = ""

    @property
    def path(self) -> tuple[int, ...]:
        """The tag numbers from the outermost sequence to the attribute."""
        return path_of(self.name)


def path_of(name: str) -> tuple[int, ...]:
    """Return the tag numbers of a canonical name that has been checked; ValueError for any other."""
    numbers = [number_of(part) for part in name.split(".")]
    found = tuple(number for number in numbers if number is not None)
    if len(found) != len(numbers):
        raise ValueError(f"{name!r} names no attribute")
    return found


def parse_edit(text: str) -> Edit:
    """Return the edit that a line stands for; ValueError says what is wrong with it."""
    line = text.strip()
    if len(line) > LONGEST or any(ord(character) < 32 for character in line):
        raise ValueError(f"an edit is one line of at most {LONGEST} characters")
    for action, form in _FORMS:
        found = form.fullmatch(line)
        if found:
            return _checked(action, found["name"], found["value"].strip() if action != "remove" else "")
    raise ValueError(
        f"{line[:60]!r} is no edit; write: set NAME to TEXT, remove NAME, copy NAME to NAME, prefix NAME with TEXT "
        "or suffix NAME with TEXT"
    )


def _checked(action: Action, name: str, value: str) -> Edit:
    attribute = canonical_name(name.strip())
    problem = _problem(attribute, removes=action == "remove")
    if problem is None and action == "copy":
        value = canonical_name(value)
        problem = collecting_problem(value)
    if problem is not None:
        raise ValueError(problem)
    if action == "copy" and "." in value:
        raise ValueError(f"{value}: only an attribute outside of sequences can be copied from")
    return Edit(action, attribute, value)


def _problem(name: str, *, removes: bool) -> str | None:
    if name in _FIXED:
        hint = "; ask for new UIDs instead" if name in IDENTIFYING else ""
        return f"{name} cannot be edited: receivers could not read or tell apart the instances{hint}"
    number = number_of(name)
    if removes and number is not None and 0x0003 <= number >> 16 < 0x7FE0 and number & 0xFFFF:
        return None
    return collecting_problem(name)


def format_edit(edit: Edit) -> str:
    """Return the one text for an edit."""
    match edit.action:
        case "set":
            return f"set {edit.name} to {edit.value}"
        case "remove":
            return f"remove {edit.name}"
        case "copy":
            return f"copy {edit.value} to {edit.name}"
        case _:
            return f"{edit.action} {edit.name} with {edit.value}"


EditLine = Annotated[str, AfterValidator(lambda text: format_edit(parse_edit(text)))]
"""An edit as text, in its one form."""
