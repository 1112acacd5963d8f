"""Tests of targets: for a person who asks, and for the breaker. In threads of their own, bounded in number and time."""

import asyncio
import logging
from datetime import timedelta
from typing import Final

from pydantic import ValidationError

from hermes_common.runtime.answering import Answering
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.configview import ConfigView
from hermes_common.targets import AnyTarget
from hermes_common.targettests import ASK, Step, TargetTestAsked, TargetTested
from hermes_dispatcher.adapters.targets.interface import SenderOf
from hermes_dispatcher.adapters.targets.steps import StepFailedError, Steps
from hermes_dispatcher.adapters.threads import in_daemon

log = logging.getLogger(__name__)

STEP: Final = timedelta(seconds=8)
LONGEST: Final = timedelta(seconds=45)
AT_ONCE: Final = 8
"""Tests of people at a time; those of breakers are bounded by the number of targets."""
MOST: Final = 64
"""Tests of people that are made or wait; another one is refused."""


class Prober:
    """Makes tests."""

    def __init__(self, name: str, sender_of: SenderOf) -> None:
        self._name = name
        self._sender_of = sender_of

    async def test(self, target: AnyTarget, step: timedelta = STEP, longest: timedelta = LONGEST) -> TargetTested:
        """Test every endpoint of a target; never raises for what the target does. See :meth:`test_endpoint`."""
        endpoints = target.all_endpoints()
        if len(endpoints) == 1:
            return await self.test_endpoint(target, endpoints[0].name, step, longest)
        tests = [self.test_endpoint(target, each.name, step, longest) for each in endpoints]
        found = list(zip(endpoints, await asyncio.gather(*tests), strict=True))
        steps = [
            one.model_copy(update={"name": f"{endpoint.name}: {one.name}"})
            for endpoint, part in found
            for one in part.steps
        ]
        is_ok = all(part.ok for _, part in found)
        return TargetTested(target=target.slug, ok=is_ok, steps=steps, dispatcher=self._name)

    async def test_endpoint(
        self, target: AnyTarget, endpoint: str, step: timedelta = STEP, longest: timedelta = LONGEST
    ) -> TargetTested:
        """Test one endpoint of a target. ``step`` bounds each step, ``longest`` the whole."""
        steps = Steps(step)

        def run() -> None:
            try:
                self._sender_of(target, endpoint).test(steps)
            except StepFailedError:
                return

        try:
            await asyncio.wait_for(in_daemon(f"test-{target.slug}", run), longest.total_seconds())
        except TimeoutError:
            found = [*steps.steps, _failed(f"not finished after {longest.total_seconds():g} s", longest)]
        except Exception as error:
            log.exception("the test of target %s failed", target.slug)
            found = [*steps.steps, _failed(f"an error of ours: {type(error).__name__}", timedelta(0))]
        else:
            found = list(steps.steps)
        is_ok = bool(found) and all(one.ok for one in found)
        return TargetTested(target=target.slug, ok=is_ok, steps=found, dispatcher=self._name)


class Answerer:
    """Answers requests to test a target, one dispatcher each."""

    def __init__(self, bus: Bus, config: ConfigView, tester: Prober) -> None:
        self._bus = bus
        self._config = config
        self._tester = tester
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Answer until cancelled."""
        await Answering(self._bus, ASK, self._answer, MOST, "dispatcher").run()

    async def _answer(self, question: bytes, *, is_busy: bool) -> TargetTested | None:
        try:
            slug = TargetTestAsked.model_validate_json(question).slug
        except ValidationError:
            return None
        if is_busy:
            step = _failed("too many tests are asked for at once; try again in a minute", timedelta(0))
            return TargetTested(target=slug, ok=False, steps=[step])
        async with self._slots:
            return await self._tested(slug)

    async def _tested(self, slug: str) -> TargetTested:
        await self._config.refresh()  # it may have been saved a moment ago
        target = self._config.targets.get(slug)
        if target is None:
            step = _failed(
                "it is not in the configuration that this dispatcher has", timedelta(0), "look for the target"
            )
            return TargetTested(target=slug, ok=False, steps=[step])
        return await self._tester.test(target)


def _failed(words: str, taken: timedelta, name: str = "test") -> Step:
    return Step(name=name, ok=False, milliseconds=round(taken.total_seconds() * 1000, 1), detail=words)
