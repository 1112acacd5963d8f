"""The tables of PS3.6 that pydicom has, without the rest of pydicom: importing that costs half a second and numpy, and
most services never look into a data set.

What is returned is what ``pydicom.datadict`` returns; ``tests/dicom/test_standard.py`` compares the two over all tags.
"""

from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Final

Entry = tuple[str, str, str, str, str]
"""VR, VM, name, ``Retired`` or nothing, keyword."""


def _table(name: str) -> ModuleType:
    """Return a module of pydicom that holds nothing but a table."""
    package = find_spec("pydicom")  # finds it, and runs nothing of it
    if package is None or package.origin is None:
        raise ModuleNotFoundError("pydicom is not installed", name="pydicom")
    loader = SourceFileLoader(f"{__name__}.{name}", str(Path(package.origin).with_name(f"{name}.py")))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None  # noqa: S101 - a loader was given
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


UIDS: Final[dict[str, Entry]] = _table("_uid_dict").UID_dictionary
"""UID -> name, type, remark, ``Retired`` or nothing, keyword (PS3.6 A)."""


@cache
def _dictionary() -> ModuleType:
    return _table("_dicom_dict")


@cache
def tags_by_keyword() -> dict[str, int]:
    """Return the tag of every keyword of PS3.6 6; the empty keyword is that of some retired tag."""
    return {entry[4]: tag for tag, entry in _dictionary().DicomDictionary.items()}


@cache
def _repeating() -> tuple[tuple[int, int, Entry], ...]:
    """Return what stands for several tags, such as ``50xx0010``: its fixed digits, which those are, and the entry."""
    return tuple(
        (int(mask.replace("x", "0"), 16), int("".join("0" if digit == "x" else "F" for digit in mask), 16), entry)
        for mask, entry in _dictionary().RepeatersDictionary.items()
    )


def entry_of(tag: int) -> Entry:
    """Return what PS3.6 says of a tag; KeyError if nothing."""
    found: Entry | None = _dictionary().DicomDictionary.get(tag)
    if found is not None:
        return found
    if not (tag >> 16) % 2:
        for digits, fixed, entry in _repeating():
            if (tag ^ digits) & fixed == 0:
                return entry
    raise KeyError(tag)


def vr_of(tag: int) -> str:
    """Return the VR of a tag, ``US or SS`` where the standard leaves it open; KeyError if the tag is not in PS3.6."""
    return entry_of(tag)[0]
