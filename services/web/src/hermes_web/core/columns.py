"""Which columns an export of series has: those of the list, and any attribute that is read from the images. Pure."""

from dataclasses import dataclass
from functools import lru_cache

from hermes_common.dicom.names import canonical_name, collecting_problem
from hermes_common.dicom.standard import tags_by_keyword, vr_of
from hermes_web.core.view import PERSONAL
from hermes_web.errors import FieldProblem, InvalidError

FIXED = (
    *("last_received_at", "first_received_at", "state", "modality", "series_description", "study_description"),
    *("patient_name", "patient_id", "accession_number", "calling_aet", "address", "instances", "octets"),
    *("duplicates", "conflicts", "rules_revision", "ended_at", "series_uid", "study_uid"),
)
"""Columns of the history; what an export has unless others are asked for."""
NUMBERS = frozenset({"instances", "octets", "duplicates", "conflicts", "rules_revision"})
MOST = 100
"""Columns of one export."""
_PERSONAL = frozenset({"patient_name", "patient_id"})


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of an export, in their order."""

    names: tuple[str, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """Those that are attributes."""
        return tuple(name for name in self.names if name not in FIXED)


def parse_columns(text: str, masked: bool) -> Columns:
    """Return the columns that a list with commas asks for, or the usual ones; raise :class:`InvalidError`.

    With ``masked`` the usual ones are without those that say who somebody is, and asking for one of these is refused.
    """
    asked = [part.strip() for part in text.split(",") if part.strip()]
    if not asked:
        return Columns(tuple(name for name in FIXED if not (masked and is_personal(name))))
    names = tuple(dict.fromkeys(name if name in FIXED else canonical_name(name) for name in asked))
    problems = [problem for name in names if (problem := _problem(name, masked)) is not None]
    if len(names) > MOST:
        problems.append(f"at most {MOST} columns")
    if problems:
        raise InvalidError(problems=[FieldProblem("columns", problem) for problem in problems[:20]])
    return Columns(names)


def _problem(name: str, masked: bool) -> str | None:
    if name not in FIXED and (problem := collecting_problem(name)) is not None:
        return f"{problem}; the columns of the history are {', '.join(FIXED)}"
    return f"{name} says who somebody is, and names are masked in this view" if masked and is_personal(name) else None


@lru_cache(maxsize=1024)
def is_personal(name: str) -> bool:
    """Return whether a column says who a patient or another person is: names, and whatever is about the patient."""
    if name in _PERSONAL or any(word in name for word in PERSONAL):
        return True
    tag = tags_by_keyword().get(name.rpartition(".")[2])
    return tag is not None and vr_of(tag) == "PN"
