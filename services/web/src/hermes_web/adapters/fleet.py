"""Which services answer now: NATS micro services (``$SRV.PING``), asked at most every few seconds.

They are given 0.4 s to answer. Nobody waits for that who has seen an answer in the last minute: the last one is given,
and they are asked again beside it.
"""

import contextlib
import json
import time
from datetime import timedelta

import nats.errors
from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError
from hermes_web.adapters.kept import Kept, Known

_WAIT = 0.4
_FRESH = timedelta(seconds=3)
_STALE = timedelta(minutes=1)


class Answer(BaseModel):
    """A service that answered."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    id: str
    version: str
    metadata: dict[str, str] = {}

    @property
    def instance(self) -> str:
        """The instance as the service's events name it."""
        return self.metadata.get("instance", self.id)


class Fleet:
    """Asks every service for its name."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._kept = Kept(self._ask, _FRESH, _STALE)

    async def ask(self) -> Known[list[Answer] | None]:
        """Return who answered within 0.4 s when they were last asked, or None if the bus is away."""
        if self._bus.problem() is not None:
            return Known(None, timedelta())
        try:
            return await self._kept.get()
        except BusUnavailableError:
            return Known(None, timedelta())

    async def _ask(self) -> list[Answer] | None:
        inbox, answers = self._bus.nc.new_inbox(), []
        try:
            subscription = await self._bus.nc.subscribe(inbox)
            await self._bus.nc.publish("$SRV.PING", b"", reply=inbox)
            deadline = time.monotonic() + _WAIT
            with contextlib.suppress(nats.errors.TimeoutError, TimeoutError):
                while (left := deadline - time.monotonic()) > 0:
                    message = await subscription.next_msg(timeout=left)
                    if (answer := _read(message.data)) is not None:
                        answers.append(answer)
            await subscription.unsubscribe()
        except (nats.errors.Error, OSError) as error:
            raise BusUnavailableError(f"the services cannot be asked: {error}") from error
        return sorted(answers, key=lambda answer: (answer.name, answer.instance))


def _read(data: bytes) -> Answer | None:
    try:
        answer = Answer.model_validate(json.loads(data))
    except (ValueError, ValidationError):
        return None
    return answer if answer.name.startswith("hermes-") else None
