"""Small pictures, made by one of the dispatchers when they are asked for; the last ones are kept, within a bound.

Pictures are kept by the digest of the instance: the same bytes have the same picture, for ever. Why there is none
is kept for a while: a decoder that took too long may have had too little of a busy machine, and limits are settings.
"""

import asyncio
import time
from collections import OrderedDict
from typing import Final

import nats.errors
from pydantic import ValidationError

from hermes_common.manifest import ManifestInstance
from hermes_common.runtime.bus import Bus
from hermes_common.thumbnails import ASK, NoPicture, Thumbnail, ThumbnailAsked

AT_ONCE: Final = 6
"""Requests of this process to the dispatchers; the others wait."""
WAIT: Final = 30.0
"""Seconds, for the dispatcher's answer and for one's turn alike."""
MOST: Final = 24 * 1024 * 1024
"""Octets of pictures that are kept."""
REASONS: Final = 600.0
"""Seconds for which it is kept why there is no picture."""
_OWN: Final = 500
"""Octets that keeping one takes besides the picture."""
_KEPT: Final = (None, NoPicture.NO_IMAGE, NoPicture.UNREADABLE, NoPicture.TOO_LARGE)


class Thumbnails:
    """Asks for pictures, once for several who want the same at the same time."""

    def __init__(self, bus: Bus, most: int = MOST, reasons: float = REASONS) -> None:
        self._bus = bus
        self._most = most
        self._reasons = reasons
        self._kept: OrderedDict[str, tuple[Thumbnail, float]] = OrderedDict()
        self._octets = 0
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._under_way: dict[str, asyncio.Task[Thumbnail]] = {}

    async def get(self, instance: ManifestInstance) -> Thumbnail:
        """Return the picture of an instance, or why there is none; with bus or dispatcher away that is the reason."""
        digest = instance.digest
        if (kept := self._known(digest)) is not None:
            return kept
        task = self._under_way.get(digest)
        if task is None:
            task = asyncio.create_task(self._asked(instance))
            self._under_way[digest] = task
            task.add_done_callback(lambda _: self._under_way.pop(digest, None))
        return await asyncio.shield(task)

    async def _asked(self, instance: ManifestInstance) -> Thumbnail:
        try:
            async with asyncio.timeout(WAIT):
                async with self._turns:
                    found = await self._ask(instance)
        except TimeoutError:
            found = _unavailable("too many pictures are asked for at once")
        if found.why_not in _KEPT:
            self._keep(instance.digest, found)
        return found

    async def _ask(self, instance: ManifestInstance) -> Thumbnail:
        body = ThumbnailAsked(instance=instance).model_dump_json().encode()
        if self._bus.problem() is not None:
            return _unavailable("the bus (NATS) is away")
        try:
            answer = await self._bus.nc.request(ASK, body, timeout=WAIT)
            return Thumbnail.model_validate_json(answer.data)
        except nats.errors.NoRespondersError:
            return _unavailable("no dispatcher is running: it is a dispatcher that makes pictures")
        except (nats.errors.TimeoutError, TimeoutError):
            return _unavailable("no dispatcher answered in time")
        except (nats.errors.Error, OSError):
            return _unavailable("the bus (NATS) is away")
        except ValidationError:
            return _unavailable("the dispatcher answered something that this release does not know")

    def _known(self, digest: str) -> Thumbnail | None:
        kept = self._kept.get(digest)
        if kept is None:
            return None
        found, at = kept
        if found.why_not is not None and time.monotonic() - at > self._reasons:
            del self._kept[digest]
            self._octets -= _size(found)
            return None
        self._kept.move_to_end(digest)
        return found

    def _keep(self, digest: str, found: Thumbnail) -> None:
        self._kept[digest] = (found, time.monotonic())
        self._octets += _size(found)
        while self._octets > self._most:
            _, (oldest, _) = self._kept.popitem(last=False)
            self._octets -= _size(oldest)


def _size(found: Thumbnail) -> int:
    return len(found.png) + len(found.reason) + _OWN


def _unavailable(reason: str) -> Thumbnail:
    return Thumbnail(why_not=NoPicture.UNAVAILABLE, reason=reason)
