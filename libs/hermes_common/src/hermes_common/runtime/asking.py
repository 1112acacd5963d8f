"""Asking every process at once over the bus, and taking the answers that come in time."""

import contextlib
import time
from datetime import timedelta
from typing import Final, TypeVar

import nats.errors
from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError

PING: Final = "$SRV.PING"
"""Every NATS micro service answers, ours with their instance in the metadata."""

WAIT: Final = timedelta(seconds=0.4)
MOST: Final = 1000
"""Answers that are taken."""

Answer = TypeVar("Answer", bound=BaseModel)


class Present(BaseModel):
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

    @property
    def service(self) -> str:
        """The service, such as ``router``."""
        return self.name.removeprefix("hermes-")


async def ask_all(bus: Bus, subject: str, model: type[Answer], wait: timedelta = WAIT) -> list[Answer]:
    """Return what was answered within ``wait``; what cannot be read is left out. Raises BusUnavailableError."""
    answers: list[Answer] = []
    if (problem := bus.problem()) is not None:
        raise BusUnavailableError(problem)
    try:
        inbox = bus.nc.new_inbox()
        subscription = await bus.nc.subscribe(inbox)
        try:
            await bus.nc.publish(subject, b"", reply=inbox)
            deadline = time.monotonic() + wait.total_seconds()
            with contextlib.suppress(nats.errors.TimeoutError, TimeoutError):
                while (left := deadline - time.monotonic()) > 0 and len(answers) < MOST:
                    message = await subscription.next_msg(timeout=left)
                    with contextlib.suppress(ValidationError):
                        answers.append(model.model_validate_json(message.data))
        finally:
            await subscription.unsubscribe()
    except (nats.errors.Error, OSError) as error:
        raise BusUnavailableError(f"the services cannot be asked: {error}") from error
    return answers


async def ask_present(bus: Bus, wait: timedelta = WAIT) -> list[Present]:
    """Return which of our services answer, in the order of their names. Raises BusUnavailableError."""
    found = [answer for answer in await ask_all(bus, PING, Present, wait) if answer.name.startswith("hermes-")]
    return sorted(found, key=lambda answer: (answer.name, answer.instance))
