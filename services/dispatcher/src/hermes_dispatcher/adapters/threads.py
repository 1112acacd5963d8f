"""A thread of its own for each attempt: one that a target holds must not hold the end of the process."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK = 0.5


class Window:
    """How far a thread may run ahead: :meth:`take` in the thread, :meth:`give` when one more is durable."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ahead = 0
        self._changed = threading.Condition()

    def take(self, may_go_on: Callable[[], bool]) -> None:
        """Count one more, and wait until there is room for another or it must not go on anyway."""
        with self._changed:
            self._ahead += 1
            while self._ahead >= self._size and may_go_on():
                self._changed.wait(_LOOK)

    def give(self, count: int) -> None:
        """Make room for ``count`` more."""
        with self._changed:
            self._ahead = max(0, self._ahead - count)
            self._changed.notify_all()


def in_daemon(name: str, call: Callable[[], T]) -> "asyncio.Future[T]":
    """Run ``call`` in a daemon thread; the future has its result or its exception. Cancelling it leaves the thread."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to look

    def settle(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # T may be None itself

    def run() -> None:
        result: T | None = None
        error: Exception | None = None
        try:
            result = call()
        except Exception as raised:  # noqa: BLE001  # it is raised again where the future is awaited
            error = raised
        on_loop(loop, lambda: settle(result, error))

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def on_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Have ``call`` made on the loop; nothing is done once the loop has ended, as nobody waits any more."""
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        if not loop.is_closed():
            raise
