"""Reading an object with exact counts, whatever the source hands out at a time."""

from __future__ import annotations

from collections.abc import Callable

from hermes_common.runtime.objectstore.errors import StoreUnavailable


class CountedStream:
    """An ``ObjectStream`` over ``some(n)``, which gives 1..n bytes or ``b""`` at the end.

    ``into`` fills a part of a buffer, at least one byte but at the end, where the source can do that without a copy.
    Never gives more than ``size`` bytes, and raises ``StoreUnavailable`` when the source ends before: a cut object must
    not look like a whole one.
    """

    def __init__(
        self,
        key: str,
        size: int,
        some: Callable[[int], bytes],
        into: Callable[[memoryview], int] | None = None,
    ) -> None:
        self._key = key
        self._size = size
        self._left = size
        self._some = some
        self._into = into

    @property
    def size(self) -> int:
        return self._size

    @property
    def exhausted(self) -> bool:
        """Whether every byte has been handed out."""
        return self._left == 0

    def read(self, n: int = -1) -> bytes:
        want = self._left if n < 0 else min(n, self._left)
        first = self._next(want)
        if len(first) == want:
            return first
        pieces = [first]
        want -= len(first)
        while want:
            piece = self._next(want)
            pieces.append(piece)
            want -= len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        view = memoryview(buffer)
        done = 0
        end = min(len(view), self._left)
        while done < end:
            done += self._fill(view[done:end])
        return done

    def _fill(self, view: memoryview) -> int:
        if self._into is None:
            piece = self._next(len(view))
            view[: len(piece)] = piece
            return len(piece)
        count = self._into(view)
        self._account(count)
        return count

    def _next(self, want: int) -> bytes:
        if want == 0:
            return b""
        piece = self._some(want)
        self._account(len(piece))
        return piece

    def _account(self, count: int) -> None:
        if not count:
            raise StoreUnavailable(f"object {self._key!r} ended {self._left} bytes before its {self._size}")
        self._left -= count
