"""A cleaner as the application puts it together, and series for it to judge."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hermes_cleaner.adapters.volume import Volume
from hermes_cleaner.handlers import retaining
from hermes_cleaner.handlers.deleting import Deleter, Records
from hermes_cleaner.handlers.planning import Planner
from hermes_cleaner.handlers.relieving import Reliever
from hermes_cleaner.handlers.sweeping import Sweeper
from hermes_common import config, events, keys, subjects
from hermes_common.manifest import Manifest, ManifestInstance
from hermes_common.records import DONE, BatchRef, DeliveryRecord, DeliveryState, SeriesRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.documents import StoredDocuments
from hermes_common.runtime.objectstore import ObjectStore

SERIES = "1.2.3"
STUDY = "1.2"


class FakeVolume(Volume):
    """A volume that is as full as the test says."""

    def __init__(self) -> None:
        super().__init__(Path("/"))
        self.octets: int | None = None

    def free(self) -> int | None:
        return self.octets


class Place:
    """A cleaner, and series of three instances each, one of them redundant."""

    def __init__(self, bus: Bus, store: ObjectStore) -> None:
        self.bus = bus
        self.store = store
        self.config = ConfigView(bus)
        self.records = Records(bus)
        self.volume = FakeVolume()
        self.documents = StoredDocuments(bus, store)
        deleter = Deleter(bus, store, self.documents, self.records)
        self.retainer = retaining.Retainer(bus, self.config, store, self.documents, self.records, deleter)
        self.reliever = Reliever(bus, self.config, self.records, deleter, self.volume)
        self.sweeper = Sweeper(bus, self.config, store, self.documents, self.records)
        self.planner = Planner(bus, self.config, self.records, self.sweeper, "cleaner@test")
        self.delivery_id = new_id()

    async def series(self, delivered: DeliveryState, uid: str = SERIES, delivery_id: str = "", **more: Any) -> None:
        """Store a series with one delivery; one that is done has been for an hour."""
        delivery_id = delivery_id or (self.delivery_id if uid == SERIES else new_id())
        items = [self.instance(number, uid) for number in range(3)]
        items[2] = items[2].model_copy(update={"same_as": items[1].key})
        manifest = Manifest(
            batch_id="b1", batch=1, series_uid=uid, study_uid=STUDY, instances=items[:2], redundant=items[2:],
            through_seq=0, first_received_at=now(), last_received_at=now(),
        )  # fmt: skip
        key = keys.manifest_key(uid, "b1")
        self.store.put_bytes(key, manifest.model_dump_json().encode())
        batch = BatchRef(
            batch_id="b1", batch=1, manifest_key=key, decision_key="", instances=2, octets=2, through_seq=0,
            outcome="routed", deliveries=(delivery_id,), decided_at=now(), said=True,
        )  # fmt: skip
        done_at = now() - timedelta(hours=1) if delivered in DONE else None
        record = SeriesRecord(
            series_uid=uid, study_uid=STUDY, batches=(batch,), created_at=now(), updated_at=now(), done_at=done_at
        ).model_copy(update=more)
        await self.bus.create(subjects.STATE, subjects.series_state(uid), record)
        delivery = DeliveryRecord(
            delivery_id=delivery_id, series_uid=uid, study_uid=STUDY, batch_id="b1", target="a",
            manifest_key=key, instances=2, octets=2, state=delivered, created_at=now(), updated_at=now(), rules=("r",),
        )  # fmt: skip
        await self.bus.create(subjects.STATE, subjects.delivery_state(delivery_id), delivery)

    def instance(self, number: int, uid: str = SERIES) -> ManifestInstance:
        reception = new_id().replace("-", "")
        key = keys.instance_key(uid, f"{uid}.{number}", "0" * 64, reception)
        self.store.put_bytes(key, b"x")
        return ManifestInstance(
            sop_instance_uid=f"{uid}.{number}", sop_class_uid="1.2", transfer_syntax_uid="1.2", key=key,
            digest="0" * 64, octets=1, reception_id=reception,
        )  # fmt: skip

    async def delivery(self, **changes: object) -> None:
        key = subjects.delivery_state(self.delivery_id)
        loaded = await self.bus.load(subjects.STATE, key, DeliveryRecord)
        assert loaded is not None
        await self.bus.update(subjects.STATE, key, loaded[0].model_copy(update=changes), loaded[1])

    async def change(self, uid: str = SERIES, **changes: object) -> None:
        """Change the record of a series."""
        loaded = await self.bus.load(subjects.STATE, subjects.series_state(uid), SeriesRecord)
        assert loaded is not None
        changed = loaded[0].model_copy(update=changes)
        await self.bus.update(subjects.STATE, subjects.series_state(uid), changed, loaded[1])

    async def record(self, uid: str = SERIES) -> SeriesRecord:
        loaded = await self.bus.load(subjects.STATE, subjects.series_state(uid), SeriesRecord)
        assert loaded is not None
        return loaded[0]

    def objects(self, prefix: str = "") -> int:
        return len(list(self.store.list(prefix)))

    async def policy(self, retention: timedelta = timedelta(days=7), revision: int = 1, **more: Any) -> None:
        document = config.Policies(retention=config.Retention(delivered=retention), **more)
        value = config.Revision(
            kind=config.Kind.POLICIES,
            revision=revision,
            author="t",
            time=now(),
            document=document.model_dump(mode="json"),
        )
        await self.bus.send(f"$KV.{subjects.CONFIG}.policies", value.model_dump_json().encode())
        await self.config.refresh()

    async def said(self, type_: str) -> list[events.Event]:
        """Return the events of a type that were said, each id once."""
        found = {
            message.headers["ce-id"]: events.decode(message.headers, message.data).event
            async for message in self.bus.read(subjects.EVENTS, f"hermes.v1.{type_}", 0)
        }
        return list(found.values())


def ago(**span: float) -> datetime:
    """Return an instant that has passed."""
    return now() - timedelta(**span)
