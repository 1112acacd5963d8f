"""The cleaner put together: the only place that names concrete adapters."""

import asyncio
import logging
from datetime import timedelta

from hermes_cleaner.handlers import retaining
from hermes_cleaner.settings import Settings
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import ConsumerLoop
from hermes_common.runtime.errors import BusUnavailableError
from hermes_common.runtime.service import Context
from hermes_common.runtime.store import store_of

log = logging.getLogger(__name__)

SWEEP_EVERY = timedelta(hours=6)


async def build(context: Context[Settings]) -> None:
    """Start the cleaner's work on ``context``."""
    bus = context.bus
    context.health.require("bus", bus.problem)
    store = store_of(context.settings, threads=8)
    context.cleanup.push_async_callback(asyncio.to_thread, store.close)
    config = ConfigView(bus)
    context.background("configuration", config.run())
    context.health.require("configuration", config.problem)
    await bus.ready()
    retainer = retaining.Retainer(bus, config, store)
    context.work("events", ConsumerLoop(bus, retaining.EVENTS, context.stopping).each(retainer.on_event, 4))
    context.work("studies", ConsumerLoop(bus, retaining.STUDIES, context.stopping).each(retainer.on_event, 2))
    context.work("due", ConsumerLoop(bus, retaining.DUE, context.stopping).each(retainer.on_due, 4))
    keep = timedelta(days=context.settings.nats_events_max_days + 1)
    context.background("sweep", _sweep(retainer, keep))


async def _sweep(retainer: retaining.Retainer, keep: timedelta) -> None:
    while True:
        try:
            if count := await retainer.sweep(keep):
                log.info("forgot %d series that were deleted more than %d days ago", count, keep.days)
            if count := await retainer.sweep_studies(keep):
                log.info("forgot %d studies of which nothing is left", count)
        except BusUnavailableError as error:
            log.warning("sweep: %s", error)
        await asyncio.sleep(SWEEP_EVERY.total_seconds())
