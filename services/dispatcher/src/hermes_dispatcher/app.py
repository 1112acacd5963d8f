"""The dispatcher put together: the only place that names concrete adapters."""

import asyncio
import logging

from hermes_common.runtime.bus import Bus
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import ConsumerLoop
from hermes_common.runtime.documents import StoredDocuments
from hermes_common.runtime.errors import BusUnavailableError
from hermes_common.runtime.sealing import Sealer
from hermes_common.runtime.service import Context
from hermes_common.runtime.store import store_of
from hermes_common.runtime.timers import Rearming
from hermes_dispatcher.adapters.changed import Supplies
from hermes_dispatcher.adapters.changer import Changer, Limits
from hermes_dispatcher.adapters.commitment_scu import asking
from hermes_dispatcher.adapters.illustrator import Illustrator, PictureLimits
from hermes_dispatcher.adapters.manifests import Manifests
from hermes_dispatcher.adapters.objects import Objects
from hermes_dispatcher.adapters.targets import opening
from hermes_dispatcher.adapters.temporary import TemporaryFolder
from hermes_dispatcher.handlers import commanding, committing, due
from hermes_dispatcher.handlers.attempting import Pace
from hermes_dispatcher.handlers.expiring import Expiry
from hermes_dispatcher.handlers.picturing import Picturer
from hermes_dispatcher.handlers.previewing import Previewer
from hermes_dispatcher.handlers.queues import Queues
from hermes_dispatcher.handlers.speaking import TIMERS
from hermes_dispatcher.handlers.stopping import Running
from hermes_dispatcher.handlers.testing import Answerer, Prober
from hermes_dispatcher.handlers.watching import Watch
from hermes_dispatcher.handlers.working import Worker
from hermes_dispatcher.settings import Settings

log = logging.getLogger(__name__)


async def build(context: Context[Settings]) -> None:
    """Start the dispatcher's work on ``context``."""
    bus, settings = context.bus, context.settings
    context.health.require("bus", bus.problem)
    store = store_of(settings, threads=64)
    context.cleanup.push_async_callback(asyncio.to_thread, store.close)
    config = ConfigView(bus)
    context.background("configuration", config.run())
    context.health.require("configuration", config.problem)
    await bus.ready()
    await _know_time(bus)
    context.background("time", bus.keep_time(context.stopping))
    temporary = TemporaryFolder(settings.dispatcher_temporary)
    context.cleanup.push_async_callback(asyncio.to_thread, temporary.close)
    if swept := await asyncio.to_thread(temporary.sweep):
        log.info("removed the temporary files of %d dispatchers that were killed", swept)
    manifests = Manifests(StoredDocuments(bus, store))
    objects = Objects(store, settings.dispatcher_memory, temporary.path)
    pace = Pace(settings.dispatcher_lease, settings.dispatcher_checkpoint, settings.dispatcher_grace)
    sealer = Sealer(settings.secret_key)
    limits = Limits(
        settings.dispatcher_change_processes,
        settings.dispatcher_change_memory,
        settings.dispatcher_change_limit,
        settings.dispatcher_memory,
        temporary.path,
    )
    changer = Changer(limits)
    context.cleanup.push_async_callback(asyncio.to_thread, changer.close)
    picture_limits = PictureLimits(settings.dispatcher_picture_memory, settings.dispatcher_picture_limit)
    illustrator = Illustrator(store, objects, picture_limits)
    context.cleanup.push_async_callback(asyncio.to_thread, illustrator.close)
    supplies = Supplies(objects, changer, sealer)
    sender_of = opening(sealer)
    tester = Prober(context.instance, sender_of)
    watch = Watch(bus, config, tester.test_endpoint)
    running = Running(bus)
    worker = Worker(bus, config, manifests, supplies, sender_of, watch, pace, context.stopping, running)
    commander = commanding.Commander(bus)
    timers = due.Due(bus, config)
    committer = committing.Committer(bus, config, manifests, asking(sealer), watch, context.stopping)
    context.background("tests", Answerer(bus, config, tester).run())
    context.background("previews", Previewer(bus, supplies, context.instance).run())
    context.background("pictures", Picturer(bus, illustrator, context.instance).run())
    context.background("stops", running.run())
    context.work("timers", Rearming(bus, TIMERS).run(context.stopping))
    context.work("watch", watch.run(context.stopping))
    context.work("expiry", Expiry(bus, config, watch).run(context.stopping))
    context.work("queues", Queues(bus, config, watch, worker.handle, context.stopping, pace.lease).run())
    context.work("due", ConsumerLoop(bus, due.CONSUMER, context.stopping).each(timers.handle, 8))
    context.work("commitments", ConsumerLoop(bus, committing.DUE, context.stopping).each(committer.due, 8))
    context.work("answers", ConsumerLoop(bus, committing.ANSWERS, context.stopping).each(committer.answered, 4))
    context.work("commands", ConsumerLoop(bus, commanding.CONSUMER, context.stopping).each(commander.handle, 8))


async def _know_time(bus: Bus) -> None:
    """Wait until the time of the bus is known: all dispatchers tell leases and waits of deliveries by it."""
    while True:
        try:
            await bus.common_time()
        except BusUnavailableError as error:
            log.warning("the bus does not say its time yet: %s", error)
            await asyncio.sleep(1)
        else:
            return
