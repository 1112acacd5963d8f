"""Which services answer now (NATS micro services, ``$SRV.PING``) and what they say of themselves, asked at most every
few seconds.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from typing import TypeVar

import nats.errors
from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_common.runtime.bus import Bus
from hermes_common.servicestate import ASK, ServiceState

log = logging.getLogger(__name__)

_WAIT = 0.4
_FRESH = 3.0
_MOST = 500

T = TypeVar("T")


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
        self._asked = 0.0
        self._states_asked = 0.0
        self._answers: list[Answer] | None = None
        self._told: list[ServiceState] | None = None
        self._lock = asyncio.Lock()

    async def ask(self) -> list[Answer] | None:
        """Return who answered within 0.4 s, or None if the bus is away."""
        async with self._lock:
            if time.monotonic() - self._asked > _FRESH:
                self._answers = await self._ask()
                self._asked = time.monotonic()
            return self._answers

    async def states(self) -> list[ServiceState] | None:
        """Return what every process says of itself, or None if the bus is away; at most as old as :meth:`ask`."""
        async with self._lock:
            if time.monotonic() - self._states_asked > _FRESH:
                found = await self._collect(ASK, _read_state)
                self._told = found and sorted(found, key=lambda state: (state.service, state.instance))
                self._states_asked = time.monotonic()
            return self._told

    async def _ask(self) -> list[Answer] | None:
        found = await self._collect("$SRV.PING", _read)
        return found and sorted(found, key=lambda answer: (answer.name, answer.instance))

    async def _collect(self, question: str, read: Callable[[bytes], T | None]) -> list[T] | None:
        if self._bus.problem() is not None:
            return None
        answers: list[T] = []
        inbox = self._bus.nc.new_inbox()
        try:
            subscription = await self._bus.nc.subscribe(inbox)
            await self._bus.nc.publish(question, b"", reply=inbox)
            deadline = time.monotonic() + _WAIT
            with contextlib.suppress(nats.errors.TimeoutError, TimeoutError):
                while (left := deadline - time.monotonic()) > 0:
                    message = await subscription.next_msg(timeout=left)
                    if (answer := read(message.data)) is not None and len(answers) < _MOST:
                        answers.append(answer)
            await subscription.unsubscribe()
        except (nats.errors.Error, OSError) as error:
            log.warning("the services cannot be asked: %s", error)
            return None
        return answers


def _read(data: bytes) -> Answer | None:
    try:
        answer = Answer.model_validate(json.loads(data))
    except (ValueError, ValidationError):
        return None
    return answer if answer.name.startswith("hermes-") else None


def _read_state(data: bytes) -> ServiceState | None:
    try:
        return ServiceState.model_validate_json(data)
    except ValidationError:
        return None
