"""Looking after the chain of the audit (ADR-0034): taking rows over, saying its head on the bus, checking it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from prometheus_client import Gauge

from hermes_bookkeeper.core.alerts import Say, raised
from hermes_bookkeeper.errors import DatabaseUnavailableError, RefusedError
from hermes_common.alerting import AlertKind
from hermes_common.auditchain import Anchor, Head, Report
from hermes_common.events import AuditAnchored, Event
from hermes_common.ids import derived_id
from hermes_common.runtime.errors import BusUnavailableError

log = logging.getLogger(__name__)

BROKEN = Gauge("hermes_audit_broken_places", "Places at which the chain of the audit was found broken")

PERIOD: Final = timedelta(seconds=30)
AGAIN: Final = timedelta(days=1)
"""From one saying of the same head to the next: the stream forgets."""
CHECK: Final = timedelta(hours=6)
_BROKEN: Final = "The audit was tampered with, or rows of it were lost"


class Chain(Protocol):
    """The chain in the tables. Every call raises DatabaseUnavailableError or RefusedError."""

    async def adopt(self) -> int:
        """Take a slice of rows without a place over; return how many."""
        ...

    async def head(self) -> tuple[Head, str] | None:
        """Return the head, and the id of the key that its row was hashed with; None before the first row."""
        ...

    async def hash_at(self, sequence: int) -> str:
        """Return the hash of the row at a place; empty if there is none."""
        ...

    async def verify(self, anchors: Sequence[Anchor] | None) -> Report:
        """Go along the whole chain."""
        ...


class Anchors(Protocol):
    """Heads that were said. Raises BusUnavailableError."""

    async def last(self) -> Anchor | None:
        """Return the last."""
        ...

    async def all(self) -> list[Anchor]:
        """Return those that the stream still has."""
        ...


class Bus(Protocol):
    """The bus, as far as this handler needs it."""

    async def publish(self, event: Event, event_id: str | None = None) -> int:
        """Publish an event durably."""
        ...


class AuditKeeper:
    """Does what the chain needs every few seconds."""

    def __init__(self, chain: Chain, anchors: Anchors, bus: Bus, clock: Callable[[], datetime]) -> None:
        self._chain, self._anchors, self._bus, self._clock = chain, anchors, bus, clock
        self._checked: datetime | None = None

    async def run(self) -> None:
        """Look after it until cancelled."""
        while True:
            try:
                await self.tick()
            except (DatabaseUnavailableError, RefusedError, BusUnavailableError) as error:
                log.warning("the chain of the audit is looked after later: %s", error)
            await asyncio.sleep(PERIOD.total_seconds())

    async def tick(self) -> Say | None:
        """Take over what may be, check all if it is time, say the head if it has moved; return the alert, if any."""
        while await self._chain.adopt():
            pass
        now = self._clock()
        alert = await self._compare()
        if self._checked is None or now - self._checked >= CHECK:
            report = await self.check()
            alert = alert or (_alert(report) if report.state == "broken" else None)
            self._checked = now
        if alert is not None:
            await self._bus.publish(alert.event, alert.id)
        await self._anchor(now)
        return alert

    async def check(self) -> Report:
        """Check the whole chain, and say in the log what was found."""
        report = await self._chain.verify(await self._anchors.all())
        BROKEN.set(report.broken_at)
        for each in report.breaks:
            log.error("the audit was tampered with, or rows of it were lost: %s", each.words)
        if not report.breaks:
            log.info("the chain of the audit is %s", report.words)
        return report

    async def _compare(self) -> Say | None:
        """Return an alert if the head that was said last is not in the chain any more."""
        before = await self._anchors.last()
        if before is None or await self._chain.hash_at(before.sequence) == before.hash:
            return None
        words = f"row {before.sequence}, which was said on the bus on {before.said_at:%Y-%m-%d %H:%M:%S} UTC, "
        words = f"{_BROKEN}: {words}is missing, or another one"
        log.error("%s", words)
        return raised(f"audit/{before.sequence}/{before.hash}", AlertKind.AUDIT_BROKEN, "audit", "critical", words)

    async def _anchor(self, now: datetime) -> None:
        """Say the head if it is another one than was said last, or that was long ago."""
        before = await self._anchors.last()
        found = await self._chain.head()
        if found is None or found[0].sequence == 0:
            return
        head, key_id = found
        is_said = before is not None and (before.sequence, before.hash) == (head.sequence, head.hash)
        if is_said and before is not None and now - before.said_at < AGAIN:
            return
        event = AuditAnchored(sequence=head.sequence, hash=head.hash, key_id=key_id)
        await self._bus.publish(event, derived_id("audit.anchored", str(head.sequence), head.hash, f"{now:%Y-%m-%d}"))
        log.info("the chain of the audit has come to row %d, hash %s", head.sequence, head.hash)


def _alert(report: Report) -> Say:
    first = report.breaks[0]
    origin = f"audit/{first.fault}/{first.sequence}/{first.number}"
    return raised(origin, AlertKind.AUDIT_BROKEN, "audit", "critical", f"{_BROKEN}: {report.words}")
