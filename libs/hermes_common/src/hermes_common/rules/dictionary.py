"""What a rule may ask about: the fields, their types, and which operators go with which type (PS3.6, PS3.5 6.2)."""

from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from functools import cache, lru_cache
from typing import Literal

from hermes_common.dicom.names import MAX_NAME, MAX_PATH, canonical_name, is_private, number_of
from hermes_common.dicom.standard import entry_of, tags_by_keyword

__all__ = [
    "FACTS",
    "OPERATORS",
    "FieldInfo",
    "Kind",
    "NoField",
    "Place",
    "canonical_name",
    "fields",
    "look_up",
    "suggest",
]

Place = Literal["series", "study", "series in study"]
"""Where an expression stands: in a series rule, in a study rule, or in the parentheses of a quantifier."""


class Kind(StrEnum):
    """The types of the language."""

    TEXT = "text"
    PERSON = "person"
    NUMBER = "number"
    DATE = "date"
    TIME = "time"
    DATETIME = "datetime"
    AGE = "age"
    WEEKDAY = "weekday"
    UNTYPED = "untyped"
    """A private tag: text or number, as the value that it is compared with."""
    SEQUENCE = "sequence"
    BINARY = "binary"


_PRESENCE = ("is present", "is missing")
_EQUALITY = ("==", "!=", "in", "not in", "has")
_ORDER = ("<", "<=", ">", ">=", "between")
_WORDS = ("~=", "contains", "starts with", "ends with", "matches")
OPERATORS: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: _EQUALITY + _WORDS + _PRESENCE,
    Kind.PERSON: _EQUALITY + _WORDS + _PRESENCE,
    Kind.NUMBER: _EQUALITY + _ORDER + _PRESENCE,
    Kind.DATE: _EQUALITY + _ORDER + ("within last",) + _PRESENCE,
    Kind.TIME: _EQUALITY + _ORDER + _PRESENCE,
    Kind.DATETIME: _EQUALITY + _ORDER + ("within last",) + _PRESENCE,
    Kind.AGE: _EQUALITY + _ORDER + _PRESENCE,
    Kind.WEEKDAY: _EQUALITY + _PRESENCE,
    Kind.UNTYPED: _EQUALITY + _WORDS + _ORDER + _PRESENCE,
    Kind.SEQUENCE: _PRESENCE,
    Kind.BINARY: _PRESENCE,
}

_KINDS = {
    "DS": Kind.NUMBER, "IS": Kind.NUMBER, "FL": Kind.NUMBER, "FD": Kind.NUMBER, "SL": Kind.NUMBER, "SS": Kind.NUMBER,
    "SV": Kind.NUMBER, "UL": Kind.NUMBER, "US": Kind.NUMBER, "UV": Kind.NUMBER, "US or SS": Kind.NUMBER,
    "US or OW": Kind.NUMBER, "US or SS or OW": Kind.NUMBER, "DA": Kind.DATE, "TM": Kind.TIME, "DT": Kind.DATETIME,
    "AS": Kind.AGE, "PN": Kind.PERSON, "SQ": Kind.SEQUENCE, "UN": Kind.UNTYPED, "AE": Kind.TEXT, "AT": Kind.TEXT,
    "CS": Kind.TEXT, "LO": Kind.TEXT, "LT": Kind.TEXT, "SH": Kind.TEXT, "ST": Kind.TEXT, "UC": Kind.TEXT,
    "UI": Kind.TEXT, "UR": Kind.TEXT, "UT": Kind.TEXT,
}  # fmt: skip
_ALWAYS_THERE = frozenset({"SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"})


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """What is known of a field: ``vr`` and ``vm`` are empty for a fact, ``vr`` is ``UN`` for a private tag.

    ``optional`` says that it may be absent from an image; ``places`` where it may be asked about.
    """

    name: str
    label: str
    kind: Kind
    vr: str = ""
    vm: str = ""
    retired: bool = False
    optional: bool = True
    places: tuple[Place, ...] = ("series", "study", "series in study")

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators that go with this field."""
        return OPERATORS[self.kind]


@dataclass(frozen=True, slots=True)
class NoField:
    """Why a name is not a field."""

    message: str
    part: str
    """The part of the name that is wrong: what to look for the likes of. Empty if that would not help."""


_SERIES: tuple[Place, ...] = ("series", "series in study")
_STUDY: tuple[Place, ...] = ("study",)
FACTS: dict[str, FieldInfo] = {
    info.name: info
    for info in (
        FieldInfo("source.aet", "AE title of the sender", Kind.TEXT, optional=False),
        FieldInfo("source.ip", "address of the sender", Kind.TEXT, optional=False),
        FieldInfo("source.called_aet", "AE title that the sender called", Kind.TEXT, optional=False),
        FieldInfo("series.instances", "instances in the series", Kind.NUMBER, optional=False, places=_SERIES),
        FieldInfo("series.bytes", "size of the series in bytes", Kind.NUMBER, optional=False, places=_SERIES),
        FieldInfo("study.series", "series in the study", Kind.NUMBER, optional=False, places=_STUDY),
        FieldInfo("study.instances", "instances in the study", Kind.NUMBER, optional=False, places=_STUDY),
        FieldInfo("received.hour", "hour at which it was received, 0 to 23", Kind.NUMBER, optional=False),
        FieldInfo("received.weekday", "day on which it was received", Kind.WEEKDAY, optional=False),
    )
}
"""What Hermes knows of a series or study besides its tags; they stand in the context under these names."""


@lru_cache(maxsize=8192)
def look_up(name: str) -> FieldInfo | NoField:
    """Return the field of a canonical name, or why there is none."""
    if name in FACTS:
        return FACTS[name]
    parts = name.split(".")
    if len(parts) > MAX_PATH or len(name) > MAX_NAME:
        return NoField("this path is too long", name)
    for part in parts[:-1]:
        container = _single(part)
        if isinstance(container, NoField):
            return NoField(f"there is no fact or field {_cut(name)}", name) if name[:1].islower() else container
        if container.kind not in {Kind.SEQUENCE, Kind.UNTYPED}:
            return NoField(f"{part} is not a sequence, so nothing is inside it", "")
    last = _single(parts[-1])
    if isinstance(last, NoField) or len(parts) == 1:
        return last
    return FieldInfo(name, last.label, last.kind, last.vr, last.vm, last.retired)


@lru_cache(maxsize=8192)
def _single(name: str) -> FieldInfo | NoField:
    number = number_of(name)
    if number is None:
        return NoField(f"there is no field {_cut(name)}", name)
    if is_private(number):
        return FieldInfo(name, "private tag", Kind.UNTYPED, "UN", "1-n")
    try:
        vr, vm, label, retired, _ = entry_of(number)
    except KeyError:
        return NoField(f"{name} is not in the DICOM dictionary, and its group is not private", name)
    kind = _KINDS.get(vr, Kind.BINARY)
    return FieldInfo(name, label, kind, vr, vm, bool(retired), optional=name not in _ALWAYS_THERE)


def _cut(name: str) -> str:
    return name if len(name) <= 64 else f"{name[:63]}…"


def suggest(name: str) -> str | None:
    """Return the field whose name is most like ``name``, None if none is near. Takes some milliseconds."""
    wanted = name.lower()
    if len(wanted) > 80:
        return None
    names = _lower_names()
    if all(part in names for part in wanted.split(".")):
        return ".".join(names[part] for part in wanted.split("."))
    if wanted in names:
        return names[wanted]
    grams = {wanted[i : i + 3] for i in range(len(wanted) - 2)}
    near = [known for known in names if abs(len(known) - len(wanted)) <= 4 + len(wanted) // 4]
    near.sort(key=lambda known: (-sum(gram in known for gram in grams), known))
    ratios = [(SequenceMatcher(None, wanted, known).ratio(), known) for known in near[:30]]
    ratio, best = max(ratios, default=(0.0, ""))
    return names[best] if ratio >= 0.6 else None


@cache
def _lower_names() -> dict[str, str]:
    return {name.lower(): name for name in (*tags_by_keyword(), *FACTS) if name}


@cache
def fields() -> tuple[FieldInfo, ...]:
    """Return every fact and every keyword of the standard, for completion; facts first, then by name."""
    found = [look_up(name) for name in sorted(tags_by_keyword()) if name]
    return (*FACTS.values(), *(info for info in found if isinstance(info, FieldInfo)))
