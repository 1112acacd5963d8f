"""Previews of what a target has changed on the way: made on one stored instance, as a delivery would make it."""

import asyncio
import logging
from typing import Final

from pydantic import TypeAdapter, ValidationError

from hermes_common.previews import ASK, Preview, PreviewAsked
from hermes_common.runtime.answering import Answering
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import TransientError, steps_to
from hermes_common.targets import AnyTarget, Target
from hermes_dispatcher.adapters.changed import Supplies
from hermes_dispatcher.adapters.threads import in_daemon

log = logging.getLogger(__name__)

AT_ONCE: Final = 2
MOST: Final = 16
"""Requests that are worked on or wait; another one is refused."""
LONGEST: Final = 50.0

_TARGET: TypeAdapter[AnyTarget] = TypeAdapter(Target)


class Previewer:
    """Answers requests for previews, one dispatcher each."""

    def __init__(self, bus: Bus, supplies: Supplies, name: str) -> None:
        self._bus = bus
        self._supplies = supplies
        self._name = name
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Answer until cancelled."""
        await Answering(self._bus, ASK, self._answer, MOST, "dispatcher").run()

    async def _answer(self, question: bytes, *, is_busy: bool) -> Preview | None:
        try:
            asked = PreviewAsked.model_validate_json(question)
            target = _TARGET.validate_python(asked.target)
        except ValidationError:
            return None
        if is_busy:
            return _failed(asked, "too many previews are asked for at once; try again in a minute")
        async with self._slots:
            return await self._made(asked, target)

    async def _made(self, asked: PreviewAsked, target: AnyTarget) -> Preview:
        try:
            making = in_daemon(f"preview-{target.slug}", lambda: self._supplies.preview(target, asked.instance))
            found = await asyncio.wait_for(making, LONGEST)
        except TimeoutError:
            found = _failed(asked, f"it was not ready after {LONGEST:g} s")
        except TransientError as error:
            found = _failed(asked, f"the instance cannot be read: {error}")
        except Exception as error:  # noqa: BLE001  # its words may quote a value
            log.error("the preview for target %s failed\n%s", target.slug, steps_to(error))
            found = _failed(asked, f"an error of ours: {type(error).__name__}")
        return found.model_copy(update={"dispatcher": self._name})


def _failed(asked: PreviewAsked, reason: str) -> Preview:
    return Preview(ok=False, reason=reason, sop_instance_uid=asked.instance.sop_instance_uid)
