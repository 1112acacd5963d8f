"""Fields of a form, in groups."""

from dataclasses import dataclass
from typing import Literal

Type = Literal["text", "number", "area", "check", "select", "secret", "secret_area"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form; ``path`` is where it is in the document."""

    path: str
    label: str
    hint: str = ""
    type: Type = "text"
    required: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that belong together."""

    title: str
    hint: str
    fields: tuple[Field, ...]
