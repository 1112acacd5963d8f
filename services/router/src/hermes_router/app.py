"""The router put together: the only place that names concrete adapters."""

import asyncio

from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import ConsumerLoop
from hermes_common.runtime.documents import Settler, StoredDocuments
from hermes_common.runtime.service import Context
from hermes_common.runtime.store import store_of
from hermes_common.runtime.timers import Rearming
from hermes_router.adapters.documents import Documents
from hermes_router.handlers import assembling, commanding, deciding, studies
from hermes_router.handlers.associations import Associations
from hermes_router.handlers.joining import Studies
from hermes_router.handlers.performing import Steps
from hermes_router.settings import Settings

DECIDERS = 8
"""Series that one router decides at a time."""

STUDIES = 4
"""Studies that one router looks at at a time."""


async def build(context: Context[Settings]) -> None:
    """Start the router's work on ``context``."""
    bus = context.bus
    context.health.require("bus", bus.problem)
    store = store_of(context.settings)
    context.cleanup.push_async_callback(asyncio.to_thread, store.close)
    config = ConfigView(bus)
    context.background("configuration", config.run())
    context.health.require("configuration", config.problem)
    await bus.ready()
    stored = StoredDocuments(bus, store)
    documents = Documents(stored)
    steps = Steps(bus)
    records = Studies(bus, config, steps)
    associations: Associations[assembling.Arrival] = Associations(bus)
    assembler = assembling.Assembler(bus, config, records, associations, steps)
    decider = deciding.Decider(bus, config, documents, records)
    study_decider = studies.StudyDecider(bus, config, documents, decider, records, steps)
    commander = commanding.Commander(bus, config, documents, decider, records)
    context.background("associations", associations.run())
    context.background("steps", steps.run())
    context.background("documents", Settler(stored).run())
    stopping = context.stopping
    context.work("timers", Rearming(bus, ("hermes.timer.series.*", "hermes.timer.study.*")).run(stopping))
    context.work("assembler", ConsumerLoop(bus, assembling.CONSUMER, stopping).batches(assembler.handle, 500))
    context.work("decider", ConsumerLoop(bus, deciding.CONSUMER, stopping).each(decider.handle, DECIDERS))
    context.work("studies", ConsumerLoop(bus, studies.CONSUMER, stopping).each(study_decider.handle, STUDIES))
    context.work("study-commands", ConsumerLoop(bus, studies.COMMANDS, stopping).each(study_decider.command, 2))
    context.work("commands", ConsumerLoop(bus, commanding.CONSUMER, stopping).each(commander.handle, 2))
