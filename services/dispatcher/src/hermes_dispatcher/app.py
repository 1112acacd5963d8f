"""The dispatcher put together: the only place that names concrete adapters."""

import asyncio

from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import ConsumerLoop
from hermes_common.runtime.sealing import Sealer
from hermes_common.runtime.service import Context
from hermes_common.runtime.store import store_of
from hermes_dispatcher.adapters.objects import Objects
from hermes_dispatcher.adapters.targets import opening
from hermes_dispatcher.handlers import commanding, due
from hermes_dispatcher.handlers.attempting import Pace
from hermes_dispatcher.handlers.expiring import Expiry
from hermes_dispatcher.handlers.queues import Queues
from hermes_dispatcher.handlers.stopping import Running
from hermes_dispatcher.handlers.testing import Answerer, Prober
from hermes_dispatcher.handlers.watching import Watch
from hermes_dispatcher.handlers.working import Worker
from hermes_dispatcher.settings import Settings


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
    objects = Objects(store, settings.dispatcher_memory, settings.dispatcher_temporary)
    pace = Pace(settings.dispatcher_lease, settings.dispatcher_checkpoint, settings.dispatcher_grace)
    sender_of = opening(Sealer(settings.secret_key))
    tester = Prober(context.instance, sender_of)
    watch = Watch(bus, config, tester.test_endpoint)
    running = Running(bus)
    worker = Worker(bus, config, objects, sender_of, watch, pace, context.stopping, running)
    commander = commanding.Commander(bus)
    timers = due.Due(bus, config)
    context.background("tests", Answerer(bus, config, tester).run())
    context.background("stops", running.run())
    context.work("watch", watch.run(context.stopping))
    context.work("expiry", Expiry(bus, config, watch).run(context.stopping))
    context.work("queues", Queues(bus, config, watch, worker.handle, context.stopping, pace.lease).run())
    context.work("due", ConsumerLoop(bus, due.CONSUMER, context.stopping).each(timers.handle, 8))
    context.work("commands", ConsumerLoop(bus, commanding.CONSUMER, context.stopping).each(commander.handle, 8))
