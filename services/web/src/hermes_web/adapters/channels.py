"""Tests of channels, which a bookkeeper makes: it is a bookkeeper that sends."""

import nats.errors
from pydantic import ValidationError

from hermes_common.channels import ASK_TEST, ChannelTestAsked, ChannelTested
from hermes_common.runtime.bus import Bus
from hermes_web.errors import UnavailableError

_WAIT = 50.0


class ChannelsOnBus:
    """Asks the bookkeepers."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def test(self, slug: str, actor: str) -> ChannelTested:
        """Have a bookkeeper send a test over a channel; raise :class:`UnavailableError` if none does."""
        body = ChannelTestAsked(slug=slug, actor=actor).model_dump_json().encode()
        await self._bus.connected()
        try:
            answer = await self._bus.nc.request(ASK_TEST, body, timeout=_WAIT)
            return ChannelTested.model_validate_json(answer.data)
        except nats.errors.NoRespondersError as error:
            raise UnavailableError("no bookkeeper is running: it is a bookkeeper that sends") from error
        except (nats.errors.TimeoutError, TimeoutError) as error:
            raise UnavailableError(f"no bookkeeper answered within {_WAIT:g} s") from error
        except (nats.errors.Error, OSError) as error:
            raise UnavailableError(f"the bus (NATS) is away: {error}") from error
        except ValidationError as error:
            raise UnavailableError("the bookkeeper answered something that this release does not know") from error
