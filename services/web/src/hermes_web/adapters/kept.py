"""What is slow to ask for and good enough for a few seconds: answered from the last answer, asked again beside it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """An answer, and how old it is."""

    value: T
    age: timedelta


class Kept(Generic[T]):
    """The last answer to a question.

    Younger than ``fresh`` it is simply given; younger than ``stale`` it is given while it is asked for again, by one
    task however many want it. An older one, or the first, is waited for.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], fresh: timedelta, stale: timedelta) -> None:
        self._ask = ask
        self._fresh = fresh.total_seconds()
        self._stale = stale.total_seconds()
        self._last: tuple[float, T] | None = None
        self._asking: asyncio.Task[T] | None = None

    async def get(self) -> Known[T]:
        """Return the answer; lets out what asking raises, if it has to be waited for."""
        if self._last is None or self._age(self._last[0]) > self._stale:
            await asyncio.shield(self._again())
        elif self._age(self._last[0]) > self._fresh:
            self._again()
        assert self._last is not None  # noqa: S101  # an answer was there, or has just come
        at, value = self._last
        return Known(value, timedelta(seconds=self._age(at)))

    def _again(self) -> asyncio.Task[T]:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._renew())
            self._asking.add_done_callback(_seen)
        return self._asking

    async def _renew(self) -> T:
        value = await self._ask()
        self._last = (time.monotonic(), value)
        return value

    @staticmethod
    def _age(at: float) -> float:
        return time.monotonic() - at


def _seen(task: asyncio.Task[T]) -> None:
    """Take notice of how asking ended, whether or not somebody waits for it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("what is shown stays as it was: %s", error)
