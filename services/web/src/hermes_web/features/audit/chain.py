"""Whether the audit was tampered with: a walk along its chain (ADR-0034)."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, Row, Text, cast, or_, select, text

from hermes_common.auditchain import Anchor, ChainKey, Fault, Head, Report, Walk
from hermes_common.ledger import audit, audit_chain
from hermes_common.runtime.auditanchors import BusAnchors
from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import BusUnavailableError
from hermes_web.adapters.database import Database
from hermes_web.errors import UnavailableError
from hermes_web.features.paging import View

log = logging.getLogger(__name__)

SLICE: Final = 2000
FRESH: Final = timedelta(minutes=10)
"""For so long the page shows what was found before."""
PATIENCE: Final = 2.0
"""Seconds that the page waits for a check that is under way."""


class BreakView(View):
    """One place at which the chain is broken."""

    fault: Fault
    sequence: int | None
    number: int | None
    time: datetime | None
    words: str


class ChainView(View):
    """What a check of the whole chain found."""

    state: Literal["whole", "broken", "unknown"]
    words: str
    checked_at: datetime
    rows: int
    broken_at: int
    breaks: list[BreakView]
    keyless: int
    unchecked: int
    adopted: int
    waiting: int
    anchored: int
    anchors: int | None


class Checker:
    """Checks the chain, once for all who ask at the same time."""

    def __init__(self, database: Database, anchors: BusAnchors, key: ChainKey) -> None:
        self._database, self._anchors, self._key = database, anchors, key
        self._task: asyncio.Task[ChainView] | None = None
        self._last: ChainView | None = None

    async def check(self) -> ChainView:
        """Return what the chain is like now. Raises what the database raises."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._check(), name="audit-check")
            self._task.add_done_callback(_seen)
        return await asyncio.shield(self._task)

    async def recent(self) -> ChainView | None:
        """Return what was found in the last :data:`FRESH`; None while it is being found out, or cannot be."""
        if self._last is not None and timedelta(0) <= now() - self._last.checked_at < FRESH:
            return self._last
        try:
            return await asyncio.wait_for(self.check(), PATIENCE)
        except (UnavailableError, TimeoutError):
            return None

    async def _check(self) -> ChainView:
        anchors: list[Anchor] | None
        try:
            anchors = await self._anchors.all()
        except BusUnavailableError as error:
            log.warning("the chain of the audit is not compared with the bus: %s", error)
            anchors = None
        self._last = await self._database.run(verify, self._key, anchors)
        return self._last


def _seen(task: asyncio.Task[ChainView]) -> None:
    """Whoever asked has been told, or has gone: it is no error that nobody saw."""
    if not task.cancelled():
        task.exception()


def verify(connection: Connection, key: ChainKey, anchors: Sequence[Anchor] | None) -> ChainView:
    """Go along the whole chain in one snapshot. ``anchors`` were read before it."""
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    at = now()
    names = ("began_at", "adopt_until", "genesis", "genesis_key_id", "sequence", "hash")
    head = connection.execute(select(*(audit_chain.c[name] for name in names))).first()
    walk = Walk(None if head is None else Head(*head), key, anchors, at)
    is_unplaced = or_(audit.c.sequence.is_(None), audit.c.sequence < 1)
    report = walk.over(
        lambda first: _slice(connection, audit.c.sequence, first),
        lambda first: _slice(connection, audit.c.number, first, is_unplaced),
    )
    return _view(report, at)


def _slice(
    connection: Connection, order: ColumnElement[int], first: int, *more: ColumnElement[bool]
) -> Sequence[Row[Any]]:
    said = [audit.c[name] for name in ("number", "event_id", "time", "actor", "action", "about", "address")]
    its = [audit.c[name] for name in ("sequence", "previous", "hash", "key_id", "adopted")]
    columns = (*said, cast(audit.c.detail, Text), *its)
    return connection.execute(select(*columns).where(order >= first, *more).order_by(order).limit(SLICE)).all()


def _view(report: Report, at: datetime) -> ChainView:
    return ChainView(
        state=report.state,
        words=report.words,
        checked_at=at,
        rows=report.rows,
        broken_at=report.broken_at,
        breaks=[BreakView.model_validate(each) for each in report.breaks],
        keyless=report.keyless,
        unchecked=report.unchecked,
        adopted=report.adopted,
        waiting=report.waiting,
        anchored=report.anchored,
        anchors=report.anchors,
    )
