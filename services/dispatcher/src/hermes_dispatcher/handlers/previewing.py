"""Previews of what a target has changed on the way: made on one stored instance, as a delivery would make it."""

import asyncio
import logging
from typing import Final

import nats.errors
from nats.aio.msg import Msg
from pydantic import TypeAdapter, ValidationError

from hermes_common.previews import ASK, Preview, PreviewAsked
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError, TransientError
from hermes_common.targets import AnyTarget, Target
from hermes_dispatcher.adapters.changed import Supplies
from hermes_dispatcher.adapters.threads import in_daemon

log = logging.getLogger(__name__)

AT_ONCE: Final = 2
LONGEST: Final = 50.0

_TARGET: TypeAdapter[AnyTarget] = TypeAdapter(Target)


class Previewer:
    """Answers requests for previews, one dispatcher each."""

    def __init__(self, bus: Bus, supplies: Supplies, name: str) -> None:
        self._bus = bus
        self._supplies = supplies
        self._name = name
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer until cancelled; the subscription outlives reconnections."""
        subscription = await self._bus.nc.subscribe(ASK, queue="dispatcher", cb=self._asked)
        try:
            await asyncio.Event().wait()
        finally:
            for task in self._tasks:
                task.cancel()
            if self._bus.nc.is_connected:
                await subscription.unsubscribe()

    async def _asked(self, message: Msg) -> None:
        task = asyncio.create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Msg) -> None:
        try:
            asked = PreviewAsked.model_validate_json(message.data)
            target = _TARGET.validate_python(asked.target)
        except ValidationError:
            return
        try:
            async with self._slots:
                answer = await self._made(asked, target)
            await message.respond(answer.model_dump_json().encode())
        except (nats.errors.Error, BusUnavailableError, OSError) as error:
            log.warning("the preview for target %s could not be answered: %s", target.slug, error)

    async def _made(self, asked: PreviewAsked, target: AnyTarget) -> Preview:
        try:
            making = in_daemon(f"preview-{target.slug}", lambda: self._supplies.preview(target, asked.instance))
            found = await asyncio.wait_for(making, LONGEST)
        except TimeoutError:
            found = _failed(asked, f"it was not ready after {LONGEST:g} s")
        except TransientError as error:
            found = _failed(asked, f"the instance cannot be read: {error}")
        except Exception as error:
            log.exception("the preview for target %s failed", target.slug)
            found = _failed(asked, f"an error of ours: {type(error).__name__}")
        return found.model_copy(update={"dispatcher": self._name})


def _failed(asked: PreviewAsked, reason: str) -> Preview:
    return Preview(ok=False, reason=reason, sop_instance_uid=asked.instance.sop_instance_uid)
