"""What one of the cleaners says when it is asked: what it would delete, and to look through the store."""

from typing import TypeVar

import nats.errors
from pydantic import BaseModel, ValidationError

from hermes_common.cleaning import ASK_PLAN, ASK_SWEEP, Plan, PlanAsked, SweepAsked, SweepBegun
from hermes_common.runtime.bus import Bus
from hermes_web.errors import UnavailableError

_WAIT = 60.0
_FLUSH = 3
"""Seconds within which the bus itself answers."""

Answer = TypeVar("Answer", bound=BaseModel)


class CleanerOnBus:
    """Asks the cleaners."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def plan(self, limit: int) -> Plan:
        """Return what would be deleted, when and why; raise :class:`UnavailableError` if no cleaner says so."""
        return await self._ask(ASK_PLAN, PlanAsked(limit=limit), Plan)

    async def sweep(self, actor: str, *, remove: bool) -> SweepBegun:
        """Have the store looked through; ``remove``: orphans beyond their grace go."""
        return await self._ask(ASK_SWEEP, SweepAsked(actor=actor, remove=remove), SweepBegun)

    async def _ask(self, subject: str, asked: BaseModel, answer: type[Answer]) -> Answer:
        await self._bus.connected()
        try:
            await self._bus.nc.flush(_FLUSH)  # a bus that hangs is found out before the long wait
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise UnavailableError("the bus (NATS) does not answer") from error
        try:
            said = await self._bus.nc.request(subject, asked.model_dump_json().encode(), timeout=_WAIT)
            return answer.model_validate_json(said.data)
        except nats.errors.NoRespondersError as error:
            raise UnavailableError("no cleaner is running: it is a cleaner that knows what would be deleted") from error
        except (nats.errors.TimeoutError, TimeoutError) as error:
            raise UnavailableError(f"no cleaner answered within {_WAIT:g} s") from error
        except (nats.errors.Error, OSError) as error:
            raise UnavailableError(f"the bus (NATS) is away: {error}") from error
        except ValidationError as error:
            raise UnavailableError("the cleaner answered something that this release does not know") from error
