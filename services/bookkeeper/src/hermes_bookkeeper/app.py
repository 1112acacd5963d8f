"""The bookkeeper, put together: the only place that names concrete adapters."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

import nats.errors
import nats.js.errors
from prometheus_client import Gauge
from pydantic import SecretStr

from hermes_bookkeeper.adapters.audit import SqlChain
from hermes_bookkeeper.adapters.database import Database
from hermes_bookkeeper.adapters.fleet import BusFleet
from hermes_bookkeeper.adapters.ledger import SqlLedger
from hermes_bookkeeper.adapters.migrate import migrate
from hermes_bookkeeper.adapters.observing import SqlObserver
from hermes_bookkeeper.adapters.outbox import SqlOutbox
from hermes_bookkeeper.adapters.sending import Post
from hermes_bookkeeper.adapters.upkeep import keep_up
from hermes_bookkeeper.errors import DatabaseUnavailableError, RefusedError
from hermes_bookkeeper.handlers.auditing import AuditKeeper
from hermes_bookkeeper.handlers.channeltests import Answerer
from hermes_bookkeeper.handlers.recording import Recorder, database_backoff
from hermes_bookkeeper.handlers.telling import Teller
from hermes_bookkeeper.handlers.watching import Watcher
from hermes_bookkeeper.settings import Settings
from hermes_common import subjects
from hermes_common.config import Kind
from hermes_common.runtime.auditanchors import BusAnchors
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Consumer, ConsumerLoop
from hermes_common.runtime.sealing import Sealer, chain_key
from hermes_common.runtime.service import Context

log = logging.getLogger(__name__)

_PAUSE = 30.0
"""Seconds after which telling and watching begin again when they have failed."""

LAG = Gauge("hermes_bookkeeper_lag_events", "Events in the stream that are not in the ledger yet")

CONSUMER = Consumer(stream=subjects.EVENTS, durable="bookkeeper", subjects=(subjects.EVENTS_ALL,), max_ack_pending=2000)

_AT_ONCE = 2
"""Batches in hand: one is read from the stream while PostgreSQL takes down the one before."""

_LOOK = timedelta(seconds=5)


async def main(context: Context[Settings]) -> None:
    """Put the service together and start its work."""
    settings = context.settings
    database = Database(settings.database_url, "bookkeeper")
    probe = Database(settings.database_url, "bookkeeper-probe")
    context.cleanup.push_async_callback(database.close)
    context.cleanup.push_async_callback(probe.close)
    upkeep = Database(settings.database_url, "bookkeeper-upkeep")
    context.cleanup.push_async_callback(upkeep.close)
    context.health.require("bus", context.bus.problem)
    context.health.require("database", lambda: database.problem() or probe.problem())
    config = ConfigView(context.bus)
    migrated = asyncio.Event()
    context.work("bookkeeper", keep_books(context.bus, database, settings, context.stopping, migrated))
    context.background("look", _look(context.bus, probe))
    context.background("configuration", config.run())
    context.health.inform("configuration", config.problem)
    context.background("upkeep", _look_after(settings.database_url, upkeep, config, migrated))
    _mind_alerts(context, config, migrated)
    _mind_audit(context, migrated)


def _mind_alerts(context: Context[Settings], config: ConfigView, migrated: asyncio.Event) -> None:
    """Start to watch for what no event says, and to tell of alerts, once the tables are up to date."""
    settings, bus = context.settings, context.bus
    database = Database(settings.database_url, "bookkeeper-alerts")
    context.cleanup.push_async_callback(database.close)
    teller = Teller(
        SqlOutbox(database), Post(Sealer(settings.secret_key)), lambda: config.alerting, now, context.instance
    )
    watcher = Watcher(SqlObserver(database), BusFleet(bus, lag), bus, lambda: (config.alerting, config.targets), now)
    context.health.inform("alerts", database.problem)
    context.background("telling", _once_known(config, migrated, teller.run))
    context.background("watching", _once_known(config, migrated, watcher.run))
    context.background("tests of channels", Answerer(bus, teller, config.refresh).run())


def _mind_audit(context: Context[Settings], migrated: asyncio.Event) -> None:
    """Start to look after the chain of the audit, once the tables are up to date."""
    database = Database(context.settings.database_url, "bookkeeper-audit")
    context.cleanup.push_async_callback(database.close)
    chain = SqlChain(database, chain_key(context.settings.secret_key))
    keeper = AuditKeeper(chain, BusAnchors(context.bus), context.bus, now)
    context.background("audit", _once(migrated, context.bus, keeper.run))


async def _once(migrated: asyncio.Event, bus: Bus, run: Callable[[], Awaitable[None]]) -> None:
    """Run when the tables are there and the bus is."""
    await migrated.wait()
    await bus.ready()
    await _for_ever(run)


async def _once_known(config: ConfigView, migrated: asyncio.Event, run: Callable[[], Awaitable[None]]) -> None:
    """Run when the tables are there and the configuration is known: by the built-in default nobody would be told."""
    await migrated.wait()
    await config.loaded.wait()
    await _for_ever(run)


async def _for_ever(run: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await run()
        except Exception:  # what goes wrong here must not end the recording of what happens
            log.exception("what is done beside the recording stands still for %g s", _PAUSE)
        await asyncio.sleep(_PAUSE)


async def keep_books(
    bus: Bus, database: Database, settings: Settings, stopping: asyncio.Event, migrated: asyncio.Event | None = None
) -> None:
    """Wait for the database and the bus, then record every event until stopped. ``migrated`` is set in between."""
    await _migrated(settings.database_url, database, stopping)
    if migrated is not None and not stopping.is_set():
        migrated.set()
    ready = asyncio.create_task(bus.ready())
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({ready, stop}, return_when=asyncio.FIRST_COMPLETED)
    for task in (ready, stop):
        task.cancel()
    await asyncio.gather(ready, stop, return_exceptions=True)
    recorder = Recorder(SqlLedger(database, chain_key(settings.secret_key)), bus, stopping)
    await ConsumerLoop(bus, CONSUMER, stopping).batches(recorder.handle, settings.bookkeeper_batch, _AT_ONCE)


async def _migrated(url: SecretStr, database: Database, stopping: asyncio.Event) -> None:
    """Bring the tables up to date, waiting for the database for as long as it takes."""
    for attempt in itertools.count():
        if stopping.is_set():
            return
        try:
            await asyncio.to_thread(migrate, url)
        except DatabaseUnavailableError as error:
            database.note(str(error))
            log.warning("waiting for the database: %s", error)
        else:
            database.note(None)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), database_backoff(attempt).total_seconds())


async def _look_after(url: SecretStr, database: Database, config: ConfigView, migrated: asyncio.Event) -> None:
    """Look after the tables once they are there, by the policies of the moment; runs until cancelled."""
    await migrated.wait()
    await config.loaded.wait()

    def retention() -> timedelta | None:
        return None if config.is_unknown(Kind.POLICIES) else config.policies.retention.events

    await keep_up(url, database, retention)


async def _look(bus: Bus, probe: Database) -> None:
    """Keep the readiness and the lag true while nothing is recorded; runs until cancelled."""
    await bus.ready()
    while True:
        with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError):
            LAG.set(await lag(bus))
        with contextlib.suppress(DatabaseUnavailableError, RefusedError):  # what it was stays as the probe's problem
            await probe.run(lambda cursor: cursor.execute("SELECT 1"))
        await asyncio.sleep(_LOOK.total_seconds())


async def lag(bus: Bus) -> int:
    """Return how many events of the stream are not recorded yet: waiting, or handed out and not acknowledged."""
    info = await bus.js.consumer_info(CONSUMER.stream, CONSUMER.durable)
    return int(info.num_pending or 0) + int(info.num_ack_pending or 0)
