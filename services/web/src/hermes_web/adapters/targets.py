"""What the dispatchers know of targets: the outages in their records, and tests that one of them makes."""

from typing import TypeVar

import nats.errors
from pydantic import BaseModel, ValidationError

from hermes_common import previews, subjects
from hermes_common.records import EndpointRecord, TargetRecord
from hermes_common.runtime.bus import Bus
from hermes_common.targettests import ASK, TargetTestAsked, TargetTested
from hermes_web.errors import UnavailableError

_WAIT = 60.0

Answer = TypeVar("Answer", bound=BaseModel)


class TargetsOnBus:
    """Asks the bus about targets."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def outages(self) -> dict[str, TargetRecord]:
        """Return the targets that are down."""
        await self._bus.connected()
        found: dict[str, TargetRecord] = {}
        for key in await self._bus.keys(subjects.STATE, "target.*"):
            loaded = await self._bus.load(subjects.STATE, key, TargetRecord)
            if loaded is not None and not loaded[0].is_up:
                found[loaded[0].target] = loaded[0]
        return found

    async def endpoints_down(self) -> dict[str, list[EndpointRecord]]:
        """Return the endpoints that are down of targets that have several, by the slug of the target."""
        await self._bus.connected()
        found: dict[str, list[EndpointRecord]] = {}
        for key in await self._bus.keys(subjects.STATE, "endpoint.*.*"):
            loaded = await self._bus.load(subjects.STATE, key, EndpointRecord)
            if loaded is not None and not loaded[0].is_up:
                found.setdefault(loaded[0].target, []).append(loaded[0])
        return found

    async def test(self, slug: str) -> TargetTested:
        """Have a dispatcher test a target; raise :class:`UnavailableError` if none does."""
        body = TargetTestAsked(slug=slug).model_dump_json().encode()
        return await self._ask(ASK, body, TargetTested)

    async def preview(self, asked: previews.PreviewAsked) -> previews.Preview:
        """Have a dispatcher show what a target has changed; raise :class:`UnavailableError` if none does."""
        return await self._ask(previews.ASK, asked.model_dump_json().encode(), previews.Preview)

    async def _ask(self, subject: str, body: bytes, answers: type[Answer]) -> Answer:
        await self._bus.connected()
        try:
            answer = await self._bus.nc.request(subject, body, timeout=_WAIT)
            return answers.model_validate_json(answer.data)
        except nats.errors.NoRespondersError as error:
            raise UnavailableError("no dispatcher is running: it is a dispatcher that does this") from error
        except (nats.errors.TimeoutError, TimeoutError) as error:
            raise UnavailableError(f"no dispatcher answered within {_WAIT:g} s") from error
        except (nats.errors.Error, OSError) as error:
            raise UnavailableError(f"the bus (NATS) is away: {error}") from error
        except ValidationError as error:
            raise UnavailableError("the dispatcher answered something that this release does not know") from error
