"""Alerts are told: news becomes messages, and messages are sent, each channel by itself."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from prometheus_client import Counter, Gauge

from hermes_bookkeeper.core.letters import Letter, Message, letter_of
from hermes_bookkeeper.core.telling import Alert, pause_after
from hermes_bookkeeper.errors import DatabaseUnavailableError, RefusedError
from hermes_common.alerting import Alerting, AnyChannel
from hermes_common.channels import ChannelTested
from hermes_common.ids import derived_id
from hermes_common.targettests import Step

log = logging.getLogger(__name__)

LETTERS = Counter(
    "hermes_alert_letters_total", "Letters sent over channels, by channel and result", ["channel", "result"]
)
WAITING = Gauge("hermes_alert_messages_waiting", "Messages that wait to be sent, by channel", ["channel"])

TICK: Final = timedelta(seconds=1)
AT_ONCE: Final = 4
"""Letters that are sent at a time; each channel sends one at a time."""
_TIDY: Final = timedelta(hours=1)


class Outbox(Protocol):
    """News and messages, where they lie."""

    async def tell(self, alerting: Alerting, now: datetime) -> dict[str, int]:
        """Decide about news; return how many messages are due on each channel, and withdraw those of no channel."""
        ...

    async def claim(self, channel: str, now: datetime) -> list[Message]:
        """Return what to send over a channel now."""
        ...

    async def sent(self, messages: Sequence[Message], now: datetime) -> None:
        """Note that messages were taken."""
        ...

    async def not_sent(self, channel: str, messages: Sequence[Message], reason: str, again: datetime) -> None:
        """Note that messages were not taken, and when the channel is tried again."""
        ...

    async def forget(self, now: datetime) -> None:
        """Delete what ended long ago."""
        ...


class Sender(Protocol):
    """Sends a letter."""

    async def send(self, channel: AnyChannel, letter: Letter) -> list[Step]:
        """Return the steps that were made; raises nothing."""
        ...


class Teller:
    """Tells people of alerts, as the present configuration says."""

    def __init__(
        self,
        outbox: Outbox,
        sender: Sender,
        alerting: Callable[[], Alerting],
        clock: Callable[[], datetime],
        name: str = "",
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._alerting = alerting
        self._clock = clock
        self._name = name
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Tell until cancelled. What is being sent then is sent again by whoever comes next."""
        tidied: datetime | None = None
        try:
            while True:
                try:
                    await self.tick()
                    if tidied is None or self._clock() - tidied > _TIDY:
                        await self._outbox.forget(self._clock())
                        tidied = self._clock()
                except (DatabaseUnavailableError, RefusedError) as error:
                    log.warning("alerts wait to be told: %s", error)
                await asyncio.sleep(TICK.total_seconds())
        finally:
            await self.stop()

    async def tick(self) -> None:
        """Decide about what is new, and begin to send on every channel that has something and does not send yet."""
        alerting = self._alerting()
        due = await self._outbox.tell(alerting, self._clock())
        for channel in alerting.channels:
            WAITING.labels(channel.slug).set(due.get(channel.slug, 0))
            if channel.enabled and due.get(channel.slug) and channel.slug not in self._busy:
                task = asyncio.create_task(self._send(channel, alerting), name=f"channel {channel.slug}")
                self._busy[channel.slug] = task
                task.add_done_callback(lambda _, slug=channel.slug: self._busy.pop(slug, None))  # type: ignore[misc]

    async def settled(self) -> None:
        """Return when nothing is being sent."""
        while self._busy:
            await asyncio.gather(*self._busy.values(), return_exceptions=True)
            await asyncio.sleep(0)

    async def stop(self) -> None:
        """Stop sending."""
        tasks = list(self._busy.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, channel: AnyChannel, alerting: Alerting) -> None:
        async with self._slots:
            try:
                messages = await self._outbox.claim(channel.slug, self._clock())
                if not messages:
                    return
                steps = await self._sender.send(channel, letter_of(messages, channel, alerting, self._clock()))
                if steps and all(step.ok for step in steps):
                    LETTERS.labels(channel.slug, "sent").inc()
                    await self._outbox.sent(messages, self._clock())
                    return
                LETTERS.labels(channel.slug, "failed").inc()
                reason = f"{steps[-1].name}: {steps[-1].detail}" if steps else "nothing was done"
                attempt = max(message.attempt for message in messages)
                log.warning("channel %s: attempt %d failed: %s", channel.slug, attempt, reason)
                again = self._clock() + pause_after(attempt)
                await self._outbox.not_sent(channel.slug, messages, reason, again)
            except (DatabaseUnavailableError, RefusedError) as error:
                log.warning("channel %s: what became of a letter is written down later: %s", channel.slug, error)

    async def test(self, slug: str, actor: str) -> ChannelTested:
        """Send a test over a channel, enabled or not."""
        alerting, now = self._alerting(), self._clock()
        channel = alerting.channel(slug)
        if channel is None:
            detail = "it is not in the configuration that this bookkeeper has"
            steps = [Step(name="look for the channel", ok=False, milliseconds=0, detail=detail)]
        else:
            asked_by = f" by {actor}" if actor else ""
            alert = Alert("test", "test", slug, "warning", f"This is a test{asked_by}; nothing is wrong.", "", now)
            message = Message(derived_id("test", slug, now.isoformat()), "raised", 1, alert)
            async with self._slots:
                steps = await self._sender.send(channel, letter_of([message], channel, alerting, now))
        is_ok = bool(steps) and all(step.ok for step in steps)
        return ChannelTested(channel=slug, ok=is_ok, steps=steps, bookkeeper=self._name)
