"""Anchors of the audit's chain (ADR-0034): the heads that bookkeepers said, as the stream of events still has them."""

import logging
from collections import deque
from collections.abc import Mapping

from hermes_common import subjects
from hermes_common.auditchain import Anchor
from hermes_common.events import AuditAnchored, MalformedEventError, UnknownEventError, decode
from hermes_common.runtime.bus import Bus

log = logging.getLogger(__name__)

MOST = 100_000
"""Anchors that are compared, at most: the last of them, which speak of the end."""


class BusAnchors:
    """Reads anchors. Raises BusUnavailableError."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def last(self) -> Anchor | None:
        """Return the last that was said."""
        found = await self._bus.last(subjects.EVENTS, AuditAnchored.type())
        return None if found is None else _anchor(found.headers, found.data)

    async def all(self) -> list[Anchor]:
        """Return what the stream has, the last :data:`MOST` of it, in the order in which it was said."""
        anchors: deque[Anchor] = deque(maxlen=MOST)
        left_out = 0
        async for message in self._bus.read(subjects.EVENTS, AuditAnchored.type(), 0):
            anchor = _anchor(message.headers, message.data)
            if anchor is not None:
                left_out += len(anchors) == MOST
                anchors.append(anchor)
        if left_out:
            log.warning("the last %d anchors of the audit are compared, and not %d before them", MOST, left_out)
        return list(anchors)


def _anchor(headers: Mapping[str, str], data: bytes) -> Anchor | None:
    try:
        envelope = decode(headers, data)
    except (MalformedEventError, UnknownEventError) as error:
        log.warning("an anchor of the audit cannot be read: %s", error)
        return None
    event = envelope.event
    if not isinstance(event, AuditAnchored):
        return None
    return Anchor(event.sequence, event.hash, envelope.time, event.key_id)
