"""Memory for data sets that is used again.

Fresh pages from the system for every data set cost as much processor time as its SHA-256 does.
"""

from typing import Final

LARGEST: Final = 1024 * 1024
"""Octets of a buffer. A longer data set gets memory of its own."""

_KEPT: Final = 16


class Borrowed:
    """A buffer on loan. After :meth:`close` its bytes cannot be had any more: ``view`` raises ValueError.

    A part cut out of ``view`` may outlive it: then the buffer is not lent again.
    """

    def __init__(self, owner: "Buffers", memory: bytearray, size: int) -> None:
        self._owner = owner
        self._memory: bytearray | None = memory
        self.view = memoryview(memory)[:size]

    def close(self) -> None:
        """Give it back; a second time does nothing. For the one thread that has it."""
        memory, self._memory = self._memory, None
        if memory is not None:
            self.view.release()
            self._owner.take_back(memory)


class Buffers:
    """Lends buffers to any number of threads, and keeps a few that came back."""

    def __init__(self) -> None:
        self._free: list[bytearray] = []

    def lend(self, size: int) -> Borrowed:
        """Return a buffer of so many octets, at most :data:`LARGEST`; what is in it is of no meaning."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = bytearray(LARGEST)
        return Borrowed(self, memory, size)

    def take_back(self, memory: bytearray) -> None:
        """Keep it for the next one, unless there are enough, or somebody still has a part of it in hand."""
        if len(self._free) < _KEPT and not _is_in_hand(memory):
            self._free.append(memory)


def _is_in_hand(memory: bytearray) -> bool:
    """Return whether a view of it is left anywhere: as long as there is one, its size cannot be changed."""
    try:
        memory.append(0)
    except BufferError:
        return True
    del memory[LARGEST:]
    return False
