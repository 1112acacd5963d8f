"""Changes data sets in processes beside the dispatcher: a few of them, kept, each with a limit of memory and time.

Blocking: called by the threads that read ahead and that send, never on the event loop. A process that dies or takes too
long is replaced, and what it worked on is not sent.
"""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Final, assert_never

from hermes_common.previews import Difference
from hermes_dispatcher.adapters.beside import Beside, Unfinished, read, read_line
from hermes_dispatcher.core.changing.order import Order
from hermes_dispatcher.core.outcomes import NotDelivered, Trouble

_WORKER: Final = "hermes_dispatcher.adapters.change_worker"
_BLOCK: Final = 1024 * 1024
_LONGEST_LINE: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the work. ``memory``: octets of one data set's change; ``held``: of a result in memory, else a file."""

    processes: int
    memory: int
    longest: timedelta
    held: int
    temporary: Path | None


@dataclass(frozen=True, slots=True)
class Result:
    """A changed data set: in memory, or in a file of its own that is the caller's to remove."""

    syntax: str
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    octets: int
    digest: str
    data: bytes
    file: Path | None
    differences: tuple[Difference, ...]
    changed: int
    same: int


class Changer:
    """Makes changes; for any thread. :meth:`close` ends the processes and whatever they are at."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._beside = Beside(_WORKER, str(limits.memory), limits.processes, limits.longest.total_seconds())

    def change(
        self, order: Order, octets: int, data: Callable[[], Iterable[bytes]], *, compare: bool = False
    ) -> Result | NotDelivered:
        """Change the data set of so many octets that ``data`` yields, each time it is asked.

        What cannot be changed is never sent, and the reason says why.
        """
        if 3 * octets > self.limits.memory:
            return _unchanged(
                f"changing {octets} octets takes about three times as much memory, and {self.limits.memory} are "
                "allowed (HERMES_DISPATCHER_CHANGE_MEMORY)"
            )
        line = _order_line(order, octets, compare=compare)
        try:
            found = self._beside.run(lambda to, back: self._exchange(to, back, line, data()))
        except OSError as error:
            return NotDelivered(Trouble.INTERNAL, f"a changed data set could not be kept: {error}")
        return self._unfinished(found) if isinstance(found, Unfinished) else found

    def close(self) -> None:
        """End every process."""
        self._beside.close()

    def _unfinished(self, found: Unfinished) -> NotDelivered:
        match found:
            case Unfinished.BUSY:
                return NotDelivered(Trouble.INTERNAL, "all processes that change data sets were busy for too long")
            case Unfinished.TOO_LONG:
                return _unchanged(f"changing it took longer than {self.limits.longest.total_seconds():g} s")
            case Unfinished.ENDED:
                return _unchanged("what changes it ended in the middle of it, also when it was tried again")
            case Unfinished.FROM_OUTSIDE:
                words = "what changes data sets is ended from outside, or cannot start"
                return NotDelivered(Trouble.INTERNAL, words)
            case _:
                assert_never(found)

    def _exchange(self, to: IO[bytes], back: IO[bytes], line: bytes, data: Iterable[bytes]) -> Result | NotDelivered:
        to.write(line)
        for block in data:
            to.write(block)
        to.flush()
        answer: dict[str, Any] = json.loads(read_line(back, _LONGEST_LINE))
        if not answer["ok"]:
            return _unchanged(answer["reason"])
        return self._taken(back, answer)

    def _taken(self, stream: IO[bytes], answer: dict[str, Any]) -> Result:
        octets, digest, path, held = answer["octets"], hashlib.sha256(), None, b""
        with contextlib.ExitStack() as undo:
            if octets <= self.limits.held:
                held = read(stream, octets)
                digest.update(held)
            else:
                with tempfile.NamedTemporaryFile(
                    dir=self.limits.temporary, prefix="hermes-", suffix=".part", delete=False
                ) as file:
                    path = Path(file.name)
                    undo.callback(path.unlink, missing_ok=True)
                    left = octets
                    while left:
                        block = read(stream, min(left, _BLOCK))
                        digest.update(block)
                        file.write(block)
                        left -= len(block)
            undo.pop_all()
        names = ("syntax", "sop_class_uid", "sop_instance_uid", "series_uid", "study_uid", "changed", "same")
        return Result(
            **{name: answer[name] for name in names},
            octets=octets,
            digest=digest.hexdigest(),
            data=held,
            file=path,
            differences=tuple(Difference.model_validate(item) for item in answer["differences"]),
        )


def _unchanged(reason: str) -> NotDelivered:
    return NotDelivered(Trouble.UNCHANGEABLE, reason)


def _order_line(order: Order, octets: int, *, compare: bool) -> bytes:
    """Return the line before the data of an order."""
    changes = order.changes
    plain = None if changes is None else changes.model_dump(mode="json", exclude={"key"})
    key = "" if changes is None else changes.key.get_secret_value()
    document = {
        "octets": octets, "syntax": order.syntax, "changes": plain, "key": key, "to": order.to, "ratio": order.ratio,
        "most": order.most, "compare": compare,
    }  # fmt: skip
    return json.dumps(document).encode() + b"\n"
