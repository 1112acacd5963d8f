"""Collecting what the router says: its tables, its live records, its objects, its API."""

import asyncio
import hashlib
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from hermes_chaos.books import Delivery, Evidence, Fault, Kept, Outcome, Reception, Sent
from hermes_cli.api import Api
from hermes_cli.connection import Connection
from hermes_common import subjects
from hermes_common.dicom.part10 import parse_file_meta
from hermes_common.ranges import parse_ranges
from hermes_common.records import DeliveryRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.objectstore import ObjectMissing, ObjectStore, StoreUnavailable
from hermes_common.runtime.settings import ObjectStoreSettings, RuntimeSettings
from hermes_common.runtime.store import store_of

LARGEST = 64 * 1024 * 1024
ASKED = 150
"""Deliveries that the API is asked about in one join, drawn at random; everything else is joined whole."""


class Collector:
    """Reads the books of one router. ``environment`` is that of an operator."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def quickly(self, sent: Sequence[Sent], kept: Sequence[Kept]) -> Evidence:
        """Return the tables alone: enough to see what has not ended."""
        return self._evidence(sent, kept, [], objects=False)

    def thoroughly(self, sent: Sequence[Sent], kept: Sequence[Kept], faults: Sequence[Fault]) -> Evidence:
        """Return everything; every object is read."""
        return self._evidence(sent, kept, faults, objects=True)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        url = make_url(self._environment["HERMES_DATABASE_URL"])
        connection = psycopg2.connect(
            host=url.host, port=url.port, user=url.username, password=url.password, dbname=url.database,
            connect_timeout=5, options="-c statement_timeout=30s",
        )  # fmt: skip
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def api(self) -> Api:
        """Return a client of the API, as administrator."""
        return Api(Connection(self._environment["HERMES_URL"], self._environment["HERMES_ADMIN_TOKEN"]))

    def _evidence(self, sent: Sequence[Sent], kept: Sequence[Kept], faults: Sequence[Fault], objects: bool) -> Evidence:
        outcomes = [
            Outcome(*row)
            for row in self.query(
                "SELECT delivery_id, sop_instance_uid, result, status FROM ledger.instance_deliveries"
            )
        ]
        series = dict(self.query("SELECT series_uid, state FROM ledger.series"))
        rows = self.query(
            "SELECT delivery_id, series_uid, target, state, instances, delivered, attempt, reason, commitment"
            " FROM ledger.deliveries"
        )
        receptions = self.query("SELECT reception_id, series_uid, sop_instance_uid, digest, key FROM ledger.instances")
        parked = [
            f"{consumer}: {reason}" for consumer, reason in self.query("SELECT consumer, reason FROM ledger.parked")
        ]
        live: dict[str, DeliveryRecord] = {}
        api: dict[str, tuple[str, frozenset[Outcome]]] = {}
        stored: dict[str, str] = {}
        if objects:
            live = asyncio.run(self._live([row[0] for row in rows]))
            asked = [row[0] for row in rows]
            api = self._api(random.sample(asked, min(len(asked), ASKED)))
            stored = self._objects([row[4] for row in receptions if series.get(row[1]) != "deleted"])
        said: defaultdict[str, set[Outcome]] = defaultdict(set)
        for outcome in outcomes:
            said[outcome.delivery_id].add(outcome)
        deliveries = []
        for *row, commitment in rows:
            record = live.get(row[0])
            state, from_api = api.get(row[0], (row[3], frozenset(said[row[0]])))
            deliveries.append(
                Delivery(
                    *row,
                    live_state=None if record is None else record.state.value,
                    live_delivered=0 if record is None else len(parse_ranges(record.delivered)),
                    api_state=state,
                    api_outcomes=from_api,
                    commitment=commitment,
                    live_commitment=None if record is None or record.commitment is None else record.commitment.state,
                )
            )
        return Evidence(
            sent=sent,
            kept=kept,
            receptions=[Reception(*row, stored.get(row[4])) for row in receptions],
            series=series,
            deliveries=deliveries,
            outcomes=outcomes,
            faults=faults,
            parked=parked,
            steps_told=frozenset(
                (uid, kind.rpartition(".")[2])
                for uid, kind in self.query(
                    "SELECT data ->> 'sop_instance_uid', type FROM ledger.events WHERE type LIKE 'hermes.v1.mpps.%'"
                )
            ),
        )

    async def _live(self, delivery_ids: Sequence[str]) -> dict[str, DeliveryRecord]:
        bus = Bus(RuntimeSettings(nats_url=SecretStr(self._environment["HERMES_NATS_URL"])), "chaos")
        bus.start()
        found = {}
        try:
            await asyncio.wait_for(bus.ready(), 20)
            for delivery_id in delivery_ids:
                record = await bus.load(subjects.STATE, subjects.delivery_state(delivery_id), DeliveryRecord)
                if record is not None:
                    found[delivery_id] = record[0]
        finally:
            await bus.close()
        return found

    def _api(self, delivery_ids: Sequence[str]) -> dict[str, tuple[str, frozenset[Outcome]]]:
        found = {}
        with self.api() as api:
            for delivery_id in delivery_ids:
                outcomes: set[Outcome] = set()
                after: int | None = -1
                detail: dict[str, Any] = {}
                while after is not None:
                    detail = api.get(f"/deliveries/{delivery_id}", after=after)
                    outcomes |= {
                        Outcome(delivery_id, each["sop_instance_uid"], each["result"], each["status"])
                        for each in detail["outcomes"]
                    }
                    after = detail["outcomes_next"]
                found[delivery_id] = (str(detail["state"]), frozenset(outcomes))
        return found

    def _objects(self, keys: Sequence[str]) -> dict[str, str]:
        names = {
            "object_store": "HERMES_OBJECT_STORE",
            "s3_endpoint": "HERMES_S3_ENDPOINT",
            "s3_access_key": "HERMES_S3_ACCESS_KEY",
            "s3_secret_key": "HERMES_S3_SECRET_KEY",
            "s3_bucket": "HERMES_S3_BUCKET",
        }
        settings = ObjectStoreSettings(
            **{name: self._environment[variable] for name, variable in names.items() if variable in self._environment}
        )
        store = store_of(settings, threads=8)
        try:
            with ThreadPoolExecutor(4) as pool:
                digests = pool.map(lambda key: _digest(store, key), keys)
                return {key: found for key, found in zip(keys, digests, strict=True) if found is not None}
        finally:
            store.close()


def _digest(store: ObjectStore, key: str) -> str | None:
    try:
        body = store.get_bytes(key, LARGEST)
    except ObjectMissing:
        return None
    except StoreUnavailable:
        store.ping()  # if it answers, it is this object that cannot be read
        return None
    return hashlib.sha256(body[parse_file_meta(body).offset :]).hexdigest()
