"""A router as the application puts it together, and what its tests say to it and hear of it."""

import asyncio
import hashlib
from datetime import datetime

from hermes_common import config, events, keys, records, subjects
from hermes_common.commands import SeriesCommand, StudyCommand
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import ConsumerLoop, Message
from hermes_common.runtime.documents import StoredDocuments
from hermes_common.runtime.objectstore import ObjectStore
from hermes_router.adapters.documents import Documents
from hermes_router.handlers import assembling, commanding, deciding, studies
from hermes_router.handlers.associations import Associations
from hermes_router.handlers.joining import Studies
from hermes_router.handlers.performing import Steps

STUDY = "1.2"
SERIES = "1.2.3"
SENDER = events.Sender(calling_aet="CT01", called_aet="HERMES", address="10.0.0.7")


class Router:
    """A router put together as the application does it, without the process around it."""

    def __init__(self, bus: Bus, store: ObjectStore) -> None:
        self.bus = bus
        self.store = store
        self.config = ConfigView(bus)
        self.stored = StoredDocuments(bus, store)
        self.documents = Documents(self.stored)
        self.steps = Steps(bus)
        self.studies = Studies(bus, self.config, self.steps)
        self.associations: Associations[assembling.Arrival] = Associations(bus)
        self.decider = deciding.Decider(bus, self.config, self.documents, self.studies)
        self.study_decider = studies.StudyDecider(
            bus, self.config, self.documents, self.decider, self.studies, self.steps
        )
        self.commander = commanding.Commander(bus, self.config, self.documents, self.decider, self.studies)
        self.assembler = assembling.Assembler(bus, self.config, self.studies, self.associations, self.steps)
        self.stopping = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        loops = (
            self.config.run(),
            ConsumerLoop(self.bus, assembling.CONSUMER, self.stopping).batches(self.assembler.handle, 100),
            ConsumerLoop(self.bus, deciding.CONSUMER, self.stopping).each(self.decider.handle, 4),
            ConsumerLoop(self.bus, commanding.CONSUMER, self.stopping).each(self.commander.handle, 2),
            ConsumerLoop(self.bus, studies.CONSUMER, self.stopping).each(self.study_decider.handle, 2),
            ConsumerLoop(self.bus, studies.COMMANDS, self.stopping).each(self.study_decider.command, 2),
            self.associations.run(),
            self.steps.run(),
        )
        self.tasks = [asyncio.create_task(each) for each in loops]

    async def stop(self) -> None:
        self.stopping.set()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def due(self, *series_uids: str) -> None:
        """Have series decided now, as their timers would."""
        for series_uid in series_uids or (SERIES,):
            await self.decider.handle(Message(subjects.series_due(series_uid), {}, b"", 1, 1))

    async def study_due(self, study_uid: str = STUDY) -> None:
        """Have a study looked at now, as its timer would."""
        await self.study_decider.handle(Message(subjects.study_due(study_uid), {}, b"", 1, 1))

    async def command(self, command: StudyCommand | SeriesCommand) -> None:
        """Carry a command out."""
        message = Message("command", {}, command.model_dump_json().encode(), 1, 1)
        if isinstance(command, StudyCommand):
            await self.study_decider.command(message)
        else:
            await self.commander.handle(message)

    async def record(self, series_uid: str = SERIES) -> records.SeriesRecord:
        loaded = await self.bus.load(subjects.STATE, subjects.series_state(series_uid), records.SeriesRecord)
        assert loaded is not None
        return loaded[0]

    async def study(self, study_uid: str = STUDY) -> records.StudyRecord:
        loaded = await self.studies.load(study_uid)
        assert loaded is not None
        return loaded[0]


async def save(bus: Bus, kind: config.Kind, document: config.Document, revision: int = 1) -> None:
    value = config.Revision(
        kind=kind, revision=revision, author="test", time=now(), document=document.model_dump(mode="json")
    )
    await bus.send(f"$KV.{subjects.CONFIG}.{kind.value}", value.model_dump_json().encode())


async def policies(router: Router, completion: config.Completion, revision: int = 1) -> None:
    await save(router.bus, config.Kind.POLICIES, config.Policies(completion=completion), revision)
    await router.config.refresh()


async def configure(router: Router, *rules: config.Rule, revision: int = 1) -> None:
    targets = [config.FolderTarget(slug=slug, name=slug, path=f"/tmp/{slug}") for slug in ("a", "b")]
    await save(router.bus, config.Kind.TARGETS, config.Targets(targets=tuple(targets)), revision)
    await save(router.bus, config.Kind.RULES, config.RuleSet(rules=rules), revision)
    await router.config.refresh()


def rule(slug: str, expression: str, *targets: str, **more: object) -> config.Rule:
    return config.Rule.model_validate(
        {"slug": slug, "name": slug, "expression": expression, "targets": targets, **more}
    )


async def stored(
    bus: Bus,
    sop: str = "1.2.3.1",
    data: bytes = b"x",
    reception: str = "",
    series: str = SERIES,
    study: str = STUDY,
    received: datetime | None = None,
    association: str = "a1",
    **tags: list[str],
) -> str:
    reception = reception or new_id().replace("-", "")
    digest = hashlib.sha256(data).hexdigest()
    event = events.InstanceStored(
        reception_id=reception,
        association_id=association,
        series_uid=series,
        study_uid=study,
        sop_instance_uid=sop,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        key=keys.instance_key(series, sop, digest, reception),
        digest=digest,
        octets=100,
        received_at=received or now(),
        sender=SENDER,
        tags={"Modality": ["CT"], **tags},
    )
    await bus.publish(event, reception)
    return reception


async def said(bus: Bus, type_: str) -> list[events.Event]:
    """Return the events of a type that were said, each id once."""
    found = {
        message.headers["ce-id"]: events.decode(message.headers, message.data).event
        async for message in bus.read(subjects.EVENTS, f"hermes.v1.{type_}", 0)
    }
    return list(found.values())


async def works(bus: Bus) -> int:
    return int((await bus.js.stream_info(subjects.WORK)).state.messages)
