"""The cleaner put together: the only place that names concrete adapters."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from hermes_cleaner.adapters.volume import volume_of
from hermes_cleaner.handlers import retaining
from hermes_cleaner.handlers.deleting import Deleter, Records
from hermes_cleaner.handlers.planning import Answerer, Planner
from hermes_cleaner.handlers.relieving import Reliever
from hermes_cleaner.handlers.sweeping import Sweeper
from hermes_cleaner.settings import Settings
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import ConsumerLoop
from hermes_common.runtime.documents import StoredDocuments
from hermes_common.runtime.errors import ConflictError, TransientError
from hermes_common.runtime.service import Context
from hermes_common.runtime.store import store_of
from hermes_common.runtime.timers import Rearming

log = logging.getLogger(__name__)

FORGET_EVERY = timedelta(hours=6)
LOOK_EVERY = timedelta(seconds=15)
"""How often a cleaner asks whether it is its turn to look at the watermark, or to sweep."""


async def build(context: Context[Settings]) -> None:
    """Start the cleaner's work on ``context``."""
    bus, settings = context.bus, context.settings
    context.health.require("bus", bus.problem)
    store = store_of(settings, threads=8)
    context.cleanup.push_async_callback(asyncio.to_thread, store.close)
    config = ConfigView(bus)
    context.background("configuration", config.run())
    context.health.require("configuration", config.problem)
    await bus.ready()
    records = Records(bus)
    documents = StoredDocuments(bus, store)
    deleter = Deleter(bus, store, documents, records)
    retainer = retaining.Retainer(bus, config, store, documents, records, deleter)
    reliever = Reliever(bus, config, records, deleter, volume_of(settings.object_store, settings.store_volume))
    sweeper = Sweeper(bus, config, store, documents, records)
    planner = Planner(bus, config, records, sweeper, context.instance)
    context.work("events", ConsumerLoop(bus, retaining.EVENTS, context.stopping).each(retainer.on_event, 4))
    context.work("studies", ConsumerLoop(bus, retaining.STUDIES, context.stopping).each(retainer.on_event, 2))
    context.work("commitments", ConsumerLoop(bus, retaining.COMMITMENTS, context.stopping).each(retainer.on_event, 2))
    context.work("timers", Rearming(bus, ("hermes.timer.retention.*",)).run(context.stopping))
    context.work("due", ConsumerLoop(bus, retaining.DUE, context.stopping).each(retainer.on_due, 4))
    keep = timedelta(days=settings.nats_events_max_days + 1)
    context.background("forget", _every(FORGET_EVERY, "forgetting", lambda: _forget(retainer, keep)))
    context.background("watermark", _every(LOOK_EVERY, "the watermark", reliever.look))
    context.background("sweep", _every(LOOK_EVERY, "the sweep", sweeper.due))
    context.background("answers", Answerer(bus, planner, sweeper, context.instance).run())


async def _forget(retainer: retaining.Retainer, keep: timedelta) -> None:
    if count := await retainer.sweep(keep):
        log.info("forgot %d series that were deleted more than %d days ago", count, keep.days)
    if count := await retainer.sweep_studies(keep):
        log.info("forgot %d studies of which nothing is left", count)


async def _every(span: timedelta, what: str, do: Callable[[], Awaitable[None]]) -> None:
    """Do something again and again, until cancelled; what is away for a while is only said."""
    while True:
        try:
            await do()
        except (TransientError, ConflictError) as error:
            log.warning("%s: %s", what, error)
        await asyncio.sleep(span.total_seconds())
