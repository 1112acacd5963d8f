"""Values of data elements as text: character sets (PS3.5 6.1, PS3.3 C.12.1.1.2), padding and multiplicity (PS3.5 6.2,
6.4).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

MAX_VALUES: Final = 32
MAX_CHARACTERS: Final = 256
_MAX_BYTES: Final = 64 * 1024
"""More of one value than this is not even decoded: 32 values of 256 characters need less."""

_CHARSET_VRS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT", "UN"})
_SINGLE_VRS: Final = frozenset({"LT", "ST", "UT", "UR"})
_TEXT_VRS: Final = _CHARSET_VRS | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}
_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_ESCAPE: Final = b"\x1b"
_CONTROLS: Final = frozenset(range(32)) - frozenset(b"\t\n\f\r\x1b")
_LATIN: Final = "iso8859"
_DEFAULT: Final = "ascii"
"""The default repertoire (ISO_IR 6), which is all that may stand where no other set is named."""
_CODECS: Final = python_encoding | {
    "": _DEFAULT,
    "ISO_IR 6": _DEFAULT,
    "ISO 2022 IR 6": _DEFAULT,
    "ISO_IR 203": "iso8859_15",  # younger than pydicom's table
    "ISO 2022 IR 203": "iso8859_15",
}
_BY_ESCAPE: Final = tuple(
    sorted((CODES_TO_ENCODINGS | {b"\x1b-b": "iso8859_15"}).items(), key=lambda item: -len(item[0]))
)


@dataclass(slots=True)
class Warnings:
    """Collects what was odd but did no harm, each thing once, in the order of discovery."""

    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Note ``text`` unless it is noted already."""
        if text not in self.texts and len(self.texts) < MAX_VALUES:
            self.texts.append(text)


def codecs_of(values: Sequence[str], warnings: Warnings) -> tuple[str, ...]:
    """Return the Python codecs for the values of SpecificCharacterSet (0008,0005).

    Tolerant: spaces, underscores, case and a missing ``ISO_IR`` are repaired, anything unknown counts as none; each
    with a warning.
    """
    found: list[str] = []
    for value in values or [""]:
        codec = _CODECS.get(value) or _repaired(value)
        if value and value not in _CODECS:
            warnings.add(f"SpecificCharacterSet {value[:32]!r} is not a defined term, read as {codec or 'none'}")
        found.append(codec or _DEFAULT)
    return tuple(found)


def _repaired(value: str) -> str | None:
    plain = value.upper().replace("_", " ").replace("-", " ").strip()
    number = plain.split(" ")[-1].removeprefix("IR")
    if plain in {"UTF8", "UTF 8", "192"}:
        return "UTF8"
    for candidate in (plain.replace("ISO IR", "ISO_IR"), f"ISO_IR {number}", f"ISO 2022 IR {number}", plain):
        if candidate in _CODECS:
            return _CODECS[candidate]
    return None


def values_of(
    raw: bytes, vr: str, *, codecs: tuple[str, ...], little: bool, name: str, warnings: Warnings
) -> list[str]:
    """Return the values of one element as text, bounded to 32 values of 256 characters.

    Empty or all blank is ``[]``. Numbers become their decimal text; VRs that hold bulk data give ``[]`` and a warning.
    """
    if vr in _NUMBERS:
        return _numbers(raw, _NUMBERS[vr], little)
    if vr == "AT":
        groups = _unpack(raw, "H", little)
        return [f"({g:04x},{e:04x})" for g, e in zip(groups[::2], groups[1::2], strict=False)][:MAX_VALUES]
    if vr not in _TEXT_VRS or (vr == "UN" and _CONTROLS.intersection(raw.rstrip(b"\0"))):
        if raw:
            warnings.add(f"{name} holds binary data ({vr[:2]!r}) and is left out")
        return []
    if (
        len(raw) <= MAX_CHARACTERS
        and b"\\" not in raw
        and raw.isascii()
        and _ESCAPE not in raw
        and _ascii_is_ascii(codecs)
    ):
        value = raw.decode("ascii").replace("\0", "").strip()
        return [value] if value else []
    text = decode(raw[:_MAX_BYTES], codecs if vr in _CHARSET_VRS else (_LATIN,), name, warnings)
    if len(raw) > _MAX_BYTES:
        warnings.add(f"{name} has {len(raw)} bytes, cut")
    parts = [text] if vr in _SINGLE_VRS else text.split("\\")
    values = [_clean(part, name, warnings) for part in parts[:MAX_VALUES]]
    if len(parts) > MAX_VALUES:
        warnings.add(f"{name} has {len(parts)} values, {MAX_VALUES} are kept")
    return values if any(values) else []


def _ascii_is_ascii(codecs: tuple[str, ...]) -> bool:
    """Whether bytes below 128 mean ASCII in the first set; Shift-JIS puts a yen sign and an overline there."""
    return codecs[0] != "shift_jis"


def _clean(part: str, name: str, warnings: Warnings) -> str:
    value = part.replace("\0", "").strip()
    if len(value) > MAX_CHARACTERS:
        warnings.add(f"{name} is longer than {MAX_CHARACTERS} characters, cut")
        return value[:MAX_CHARACTERS]
    return value


def _numbers(raw: bytes, code: str, little: bool) -> list[str]:
    return [f"{n:.9g}" if isinstance(n, float) else str(n) for n in _unpack(raw, code, little)[:MAX_VALUES]]


def _unpack(raw: bytes, code: str, little: bool) -> tuple[int | float, ...]:
    size = struct.calcsize(f"<{code}")
    count = min(len(raw) // size, 2 * MAX_VALUES)
    return struct.unpack(f"{'<' if little else '>'}{count}{code}", raw[: count * size])


def decode(raw: bytes, codecs: tuple[str, ...], name: str, warnings: Warnings) -> str:
    """Decode text under one character set, or several with code extensions (PS3.5 6.1.2.5).

    Never fails: bytes that the codec refuses are read by another one that is named, as UTF-8, or as Latin-1, with a
    warning.
    """
    if _ESCAPE in raw:
        return _decode_extended(raw, codecs, name, warnings)
    return _decode_plain(raw, codecs, name, warnings)


def _decode_plain(raw: bytes, codecs: Sequence[str], name: str, warnings: Warnings) -> str:
    with suppress(UnicodeDecodeError):
        return raw.decode(codecs[0])
    for codec in (*codecs[1:], "UTF8"):
        with suppress(UnicodeDecodeError):
            text = raw.decode(codec)
            break
    else:
        codec, text = "Latin-1", raw.decode("latin-1")
    warnings.add(f"{name} is not {codecs[0]} as SpecificCharacterSet says, read as {codec.replace('UTF8', 'UTF-8')}")
    return text


def _decode_extended(raw: bytes, codecs: tuple[str, ...], name: str, warnings: Warnings) -> str:
    """Split at the escape sequences; each part is decoded by the set that its sequence designates.

    ISO 2022 resets to the first set at every delimiter (backslash, caret, equals, control), which only matters for the
    bytes after it, so a part is cut there again.
    """
    first, *rest = raw.split(_ESCAPE)
    text = _decode_plain(first, codecs, name, warnings) if first else ""
    for part in rest:
        text += _decode_part(_ESCAPE + part, codecs, name, warnings)
    return text


def _decode_part(part: bytes, codecs: tuple[str, ...], name: str, warnings: Warnings) -> str:
    code, codec = next((pair for pair in _BY_ESCAPE if part.startswith(pair[0])), (b"", ""))
    if not code:
        warnings.add(f"{name} has an unknown escape sequence")
        return _decode_plain(part[1:], codecs, name, warnings)
    two_bytes = code in (b"\x1b$B", b"\x1b$(D")
    body, tail = part[len(code) :], b""
    if not two_bytes:
        cut = min((i for i in map(body.find, (b"\\", b"^", b"=")) if i >= 0), default=len(body))
        body, tail = body[:cut], body[cut:]
    known = _decode_plain(code + body if two_bytes else body, (codec,), name, warnings)
    return known + (_decode_plain(tail, codecs, name, warnings) if tail else "")
