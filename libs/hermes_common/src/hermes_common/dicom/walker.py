"""A bounded walk over the elements of an encoded data set, to raw values of wanted attributes (PS3.5 7).

Explicit and implicit VR, little and big endian. Nothing is copied but wanted values, nothing behind the last wanted
tag is
touched, sequences of undefined length are walked to their end, at most :data:`MAX_DEPTH` deep.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from hermes_common.dicom.errors import HeadTooShort, UnreadableDataset
from hermes_common.dicom.tags import SPECIFIC_CHARACTER_SET, TagNode

MAX_DEPTH: Final = 64
MAX_ITEMS: Final = 32
"""Items of one wanted sequence that are looked into."""
MAX_VALUE: Final = 64 * 1024 + 2
"""Bytes of a wanted value that are taken: a little more than is decoded, so that it is seen to be cut."""
MAX_STEPS: Final = 1_000_000
"""Elements and items that are visited in all, so that no data set takes more than a few seconds."""

UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_LONG_VRS: Final = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_SHORT_VRS: Final = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
    b"ST",
     b"TM", b"UI", b"UL", b"US"}
)  # fmt: skip

Data: TypeAlias = bytes | bytearray | memoryview


class SurprisingDataset(UnreadableDataset):
    """Something this walker does not read by itself; the reference reader may still manage."""


class TooDeep(UnreadableDataset):
    """Sequences nested beyond :data:`MAX_DEPTH`; no other reader is asked."""


@dataclass(frozen=True, slots=True)
class RawElement:
    """A wanted element: node of the selection, VR as read (or by dictionary), raw bytes, and the character set of its
    item. Of a sequence that is wanted itself the bytes are the number of its items, in decimal.
    """

    node: TagNode
    vr: str
    value: bytes
    charset: bytes | None


class Walker:
    """Walks one data set in ``data``; ``truncated`` says that more bytes exist behind ``data``."""

    __slots__ = ("_data", "_explicit", "_implicit", "_size", "_steps", "_tag", "_truncated", "_word", "found")

    def __init__(self, data: Data, *, little: bool, truncated: bool) -> None:
        self._data = data
        self._size = len(data)
        self._steps = MAX_STEPS
        self._truncated = truncated
        order = "<" if little else ">"
        self._tag = struct.Struct(order + "HH").unpack_from
        self._explicit = struct.Struct(order + "HH2sH").unpack_from
        self._implicit = struct.Struct(order + "HHL").unpack_from
        self._word = struct.Struct(order + "L").unpack_from
        self.found: list[RawElement] = []

    def walk(self, *, explicit: bool, nodes: Mapping[int, TagNode], last: int) -> None:
        """Collect the wanted elements of the top level into :attr:`found`.

        Raises :class:`HeadTooShort` when a truncated head ends first, :class:`SurprisingDataset` for what the
        reference reader should
        try, :class:`TooDeep`.
        """
        offset = self._level(0, self._size, explicit, nodes, last, None, 0, ends_at_delimiter=False)
        if offset >= self._size and self._truncated:
            raise HeadTooShort("the head ends between two attributes")

    def _level(
        self,
        offset: int,
        end: int,
        explicit: bool,
        nodes: Mapping[int, TagNode],
        last: int,
        charset: bytes | None,
        depth: int,
        *,
        ends_at_delimiter: bool,
    ) -> int:
        """Walk the elements of one data set or item; return the offset behind it."""
        if depth > MAX_DEPTH:
            raise TooDeep(f"sequences are nested more than {MAX_DEPTH} deep")
        while offset < end:
            self._steps -= 1
            if self._steps < 0:
                self._step()
            tag, vr, start, length = self._header(offset, end, explicit)
            if tag == _ITEM_END and ends_at_delimiter:
                return start
            if tag > last:
                return offset
            node = nodes.get(tag)
            if length == UNDEFINED or (
                node is not None
                and (node.children or vr == b"SQ" or node.vr == "SQ")
                and self._has_items(node, vr, start, length)
            ):
                inner_explicit = explicit and vr != b"UN"
                offset = self._sequence(tag, start, length, end, inner_explicit, node, charset, depth)
                continue
            offset = start + length
            if offset > end:
                self._short(tag, end)
            if node is not None:
                value = bytes(self._data[start : min(offset, start + MAX_VALUE)])
                if tag == SPECIFIC_CHARACTER_SET:
                    charset = value
                if node.leaf:
                    self.found.append(RawElement(node, vr.decode("ascii") if vr else node.vr, value, charset))
        if ends_at_delimiter:
            self._short(_ITEM_END, end)
        return offset

    def _has_items(self, node: TagNode, vr: bytes, start: int, length: int) -> bool:
        """Return whether a wanted element of defined length is a sequence to look into.

        What is inside a private element is a guess of whoever asked for it: one with another VR, or without items where
        no VR says what it is, is passed over.
        """
        if vr == b"SQ" or (not vr and node.vr == "SQ"):
            return True
        if not node.children or vr not in (b"", b"UN"):
            return False
        if node.vr == "SQ" or length == 0 or start + 8 > self._size:
            return True
        group, element = self._tag(self._data, start)
        return (group << 16 | element) in (_ITEM, _SEQUENCE_END)

    def _header(self, offset: int, end: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """Return tag, VR (empty if implicit), offset of the value and its length."""
        if offset + 8 > end:
            self._padding_or_short(offset, end)
            return 0xFFFFFFFF, b"", end, 0
        if not explicit:
            group, element, length = self._implicit(self._data, offset)
            return group << 16 | element, b"", offset + 8, length
        group, element, vr, length = self._explicit(self._data, offset)
        tag = group << 16 | element
        if vr in _SHORT_VRS:
            return tag, vr, offset + 8, length
        if group == 0xFFFE:
            return tag, b"", offset + 8, self._word(self._data, offset + 4)[0]
        if vr in _LONG_VRS:
            if offset + 12 > end:
                self._short(tag, end)
            return tag, vr, offset + 12, self._word(self._data, offset + 8)[0]
        if tag == 0 and not any(self._data[offset : min(end, offset + 4096)]):
            return 0xFFFFFFFF, b"", end, 0
        raise SurprisingDataset(f"({group:04x},{element:04x}) at byte {offset} has no VR")

    def _sequence(
        self,
        tag: int,
        start: int,
        length: int,
        end: int,
        explicit: bool,
        node: TagNode | None,
        charset: bytes | None,
        depth: int,
    ) -> int:
        """Walk the items of a sequence (or the fragments of encapsulated data); return the offset behind it."""
        stop = end if length == UNDEFINED else start + length
        if stop > end:
            self._short(tag, end)
        children: Mapping[int, TagNode] = node.children if node is not None else {}
        offset, count = start, 0
        while offset < stop:
            self._step()
            if offset + 8 > stop:
                self._short(tag, stop)
            group, element = self._tag(self._data, offset)
            item_length = self._word(self._data, offset + 4)[0]
            inner = group << 16 | element
            offset += 8
            if inner == _SEQUENCE_END:
                stop = offset if length == UNDEFINED else stop
                break
            if inner != _ITEM:
                raise SurprisingDataset(
                    f"({tag >> 16:04x},{tag & 0xFFFF:04x}) has something else than items at byte {offset - 8}"
                )
            wanted = children if count < MAX_ITEMS else {}
            offset = self._item(tag, offset, item_length, stop, explicit, wanted, charset, depth)
            count += 1
        else:
            if length == UNDEFINED:
                self._short(tag, end)
        if node is not None and node.leaf:
            self.found.append(RawElement(node, "SQ", str(count).encode(), charset))
        return stop

    def _item(
        self,
        tag: int,
        start: int,
        length: int,
        end: int,
        explicit: bool,
        nodes: Mapping[int, TagNode],
        charset: bytes | None,
        depth: int,
    ) -> int:
        """Walk or skip one item; return the offset behind it."""
        if length == UNDEFINED:
            return self._level(start, end, explicit, nodes, 0xFFFFFFFF, charset, depth + 1, ends_at_delimiter=True)
        behind = start + length
        if behind > end:
            self._short(tag, end)
        if nodes:
            self._level(start, behind, explicit, nodes, max(nodes), charset, depth + 1, ends_at_delimiter=False)
        return behind

    def _step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise TooDeep(f"more than {MAX_STEPS} elements stand before the last routing attribute")

    def _padding_or_short(self, offset: int, end: int) -> None:
        """A few zero bytes behind the last element are padding that some writers leave; anything else is a cut
        element.
        """
        if end == self._size and (self._truncated or any(self._data[offset:end])):
            self._short(0, end)

    def _short(self, tag: int, end: int) -> None:
        where = f"({tag >> 16:04x},{tag & 0xFFFF:04x})"
        if self._truncated:
            raise HeadTooShort(f"the head ends inside {where}")
        raise SurprisingDataset(f"{where} reaches beyond byte {end}")
