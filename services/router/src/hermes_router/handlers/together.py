"""Several things at a time, none of which outlives the call."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")


async def together(call: Callable[[Item], Awaitable[T]], items: Iterable[Item], at_a_time: int) -> list[T]:
    """Call for every item and return the results in order; if one fails, raise its error once all have ended."""
    slots = asyncio.Semaphore(at_a_time)

    async def one(item: Item) -> T:
        async with slots:
            return await call(item)

    results = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
    done = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return done
