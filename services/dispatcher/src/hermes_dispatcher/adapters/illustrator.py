"""Small pictures of stored instances: each checked against its digest, then decoded in a process of its own.

Blocking: called by threads, never on the event loop.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any, Final, assert_never

from hermes_common.manifest import ManifestInstance
from hermes_common.runtime.objectstore import ObjectStore
from hermes_common.thumbnails import MOST_OCTETS, NoPicture, Thumbnail
from hermes_dispatcher.adapters.beside import Beside, EndedError, Unfinished, read, read_line
from hermes_dispatcher.adapters.objects import Objects, Prepared
from hermes_dispatcher.core.outcomes import NotDelivered

_WORKER: Final = "hermes_dispatcher.adapters.picture_worker"
_LONGEST_LINE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """Bounds of the work. ``memory``: octets that one picture may take; a third of it is the largest data set."""

    memory: int
    longest: timedelta


class Illustrator:
    """Makes pictures, one at a time; for any thread. :meth:`close` ends the process and what it is at."""

    def __init__(self, store: ObjectStore, objects: Objects, limits: PictureLimits) -> None:
        self._store = store
        self._objects = objects
        self._limits = limits
        self._beside = Beside(_WORKER, str(limits.memory), 1, limits.longest.total_seconds())

    def thumbnail(self, instance: ManifestInstance) -> Thumbnail:
        """Return the picture, or why there is none. Raises TransientError with the store away."""
        if 3 * instance.octets > self._limits.memory:
            words = f"with {instance.octets} octets it is too large for a picture (HERMES_DISPATCHER_PICTURE_MEMORY)"
            return Thumbnail(why_not=NoPicture.TOO_LARGE, reason=words)
        prepared = self._objects.prepare(instance)
        if isinstance(prepared, NotDelivered):
            return self._missing_or_damaged(instance)
        try:
            found = self._beside.run(lambda to, back: self._exchange(to, back, instance, prepared))
        finally:
            prepared.close()
        return self._unfinished(found) if isinstance(found, Unfinished) else found

    def close(self) -> None:
        """End the process."""
        self._beside.close()

    def _missing_or_damaged(self, instance: ManifestInstance) -> Thumbnail:
        if self._store.stat(instance.key) is None:
            return Thumbnail(why_not=NoPicture.GONE, reason="its object is not in the store any longer")
        return Thumbnail(why_not=NoPicture.DAMAGED, reason="the bytes in the store are not those that were received")

    def _unfinished(self, found: Unfinished) -> Thumbnail:
        match found:
            case Unfinished.BUSY | Unfinished.FROM_OUTSIDE:
                return Thumbnail(why_not=NoPicture.UNAVAILABLE, reason="what makes pictures is busy or cannot start")
            case Unfinished.TOO_LONG:
                words = f"decoding it took longer than {self._limits.longest.total_seconds():g} s"
                return Thumbnail(why_not=NoPicture.UNREADABLE, reason=words)
            case Unfinished.ENDED:
                return Thumbnail(why_not=NoPicture.UNREADABLE, reason="its decoder ended in the middle of it")
            case _:
                assert_never(found)

    @staticmethod
    def _exchange(to: IO[bytes], back: IO[bytes], instance: ManifestInstance, prepared: Prepared) -> Thumbnail:
        head = {"octets": prepared.octets, "syntax": instance.transfer_syntax_uid}
        to.write(json.dumps(head).encode() + b"\n")
        for block in prepared.chunks():
            to.write(block)
        to.flush()
        answer: dict[str, Any] = json.loads(read_line(back, _LONGEST_LINE))
        if answer.get("why_not") is not None:
            return Thumbnail(why_not=NoPicture(answer["why_not"]), reason=str(answer["reason"])[:400])
        if not 0 < answer["octets"] <= MOST_OCTETS:
            raise EndedError
        body = read(back, answer["octets"])
        return Thumbnail(png=body, frame=int(answer["frame"]), frames=int(answer["frames"]))
