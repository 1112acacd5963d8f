"""What the tests of the bookkeeper share: a ledger with its tables, and the lives of a few series as messages."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from pydantic import SecretStr

from hermes_bookkeeper.adapters.database import Database
from hermes_bookkeeper.adapters.indexes import build_indexes
from hermes_bookkeeper.adapters.ledger import SqlLedger
from hermes_bookkeeper.adapters.migrate import migrate
from hermes_common import ledger
from hermes_common.config import Kind
from hermes_common.events import (
    AssociationClosed,
    AssociationOpened,
    CommitmentAnswered,
    Decision,
    DeliveryCommitmentRequested,
    DeliveryCommitted,
    DeliveryDismissed,
    DeliveryFailed,
    DeliveryProgressed,
    DeliveryQueued,
    DeliveryRestarted,
    DeliveryRetrying,
    DeliveryStarted,
    DeliverySucceeded,
    Envelope,
    Event,
    InstanceOutcome,
    InstanceQuarantined,
    InstanceStored,
    MessageParked,
    PlannedDelivery,
    Sender,
    SentAs,
    SeriesCompleted,
    SeriesDeferred,
    SeriesDeleted,
    SeriesRouted,
    SeriesUnmatched,
    ServiceCrashed,
    ServiceStarted,
    ServiceStopped,
    StudyCompleted,
    StudyHeld,
    encode,
)
from hermes_common.events.operations import AlertCleared, AlertRaised, ConfigChanged, UserLoggedIn
from hermes_common.runtime.consumer import Message

START = datetime(2026, 1, 1, tzinfo=UTC)
SENDER = Sender(calling_aet="CT1", called_aet="HERMES", address="10.0.0.1")
DECIDED = {"routed": SeriesRouted, "unmatched": SeriesUnmatched, "deferred": SeriesDeferred}


class Stream:
    """Writes the events of a site as messages, one second apart, at sequences 1, 2, 3…"""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def say(self, event: Event, event_id: str | None = None) -> Message:
        seq = len(self.messages) + 1
        time = START + timedelta(seconds=seq)
        envelope = Envelope(id=event_id or f"e{seq}", source="test", time=time, event=event)
        subject, headers, body = encode(envelope)
        self.messages.append(Message(subject, headers, body, seq, 1))
        return self.messages[-1]

    def again(self, message: Message) -> Message:
        """Say the same event again, at a later place in the stream and with a later time."""
        seq = len(self.messages) + 1
        headers = {**message.headers, "ce-time": (START + timedelta(seconds=seq)).isoformat()}
        self.messages.append(replace(message, sequence=seq, headers=headers))
        return self.messages[-1]

    def stored(self, series: str, number: int, digest: str = "a", **more: Any) -> Message:
        reception = f"r-{series}-{len(self.messages)}"
        seq = len(self.messages) + 1
        fields: dict[str, Any] = {
            "reception_id": reception,
            "association_id": f"a-{series}",
            "series_uid": series,
            "study_uid": f"{series}.99",
            "sop_instance_uid": f"{series}.{number}",
            "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
            "transfer_syntax_uid": "1.2.840.10008.1.2.1",
            "key": f"{series}/{number}-{digest}.dcm",
            "digest": digest,
            "octets": 1000 + number,
            "received_at": START + timedelta(seconds=seq - 0.5),
            "sender": SENDER,
            "tags": {"Modality": ["CT"], "PatientID": ["P1"], "InstanceNumber": [str(number)]},
        }
        return self.say(InstanceStored(**{**fields, **more}), reception)

    def completed(self, series: str, batch: int, instances: int, **more: Any) -> Message:
        times = {"first_received_at": START, "last_received_at": START + timedelta(seconds=len(self.messages))}
        fields: dict[str, Any] = {
            "batch_id": f"b-{series}-{batch}",
            "batch": batch,
            "manifest_key": f"{series}/manifest-{batch}.json",
            "instances": instances,
            "octets": instances * 1000,
            "quiet_period": timedelta(seconds=10),
            "tags": {"Modality": ["CT"], "PatientName": [f"Doe^{batch}"]},
        }
        return self.say(SeriesCompleted(series_uid=series, study_uid=f"{series}.99", **times, **{**fields, **more}))

    def decided(self, series: str, batch: int, outcome: str, targets: Sequence[str] = (), **more: Any) -> Message:
        batch_id = f"b-{series}-{batch}"
        plans = [PlannedDelivery(delivery_id=f"d-{series}-{batch}-{name}", target=name) for name in targets]
        fields: dict[str, Any] = {"kind": "rules", "revision": 7, "decided_at": START, **more}
        decision = Decision(batch_id=batch_id, outcome=outcome, deliveries=plans, **fields)
        return self.say(DECIDED[outcome](series_uid=series, batch=batch, decision=decision))

    def delivery(self, model: type[Event], series: str, batch: int, target: str, **more: Any) -> Message:
        ref = {"series_uid": series, "study_uid": f"{series}.99", "batch_id": f"b-{series}-{batch}", "target": target}
        return self.say(model.model_validate({"delivery_id": f"d-{series}-{batch}-{target}", **ref, **more}))

    def queued(self, series: str, batch: int, target: str, instances: int) -> Message:
        fields = {"manifest_key": "m", "instances": instances, "octets": instances * 1000, "rules": ["ct"]}
        return self.delivery(DeliveryQueued, series, batch, target, **fields)

    def progressed(self, series: str, batch: int, target: str, attempt: int, results: str) -> Message:
        """``results``: a letter an instance, d for delivered, f for failed, - for none."""
        at = START + timedelta(seconds=len(self.messages))
        outcomes = [
            InstanceOutcome(
                index=index,
                sop_instance_uid=f"{series}.{index + 1}",
                result="delivered" if letter == "d" else "failed",
                status=0 if letter == "d" else 0xA700,
                at=at,
                sent=self.sent_as(f"{series}.{index + 1}") if target == "ai" else None,
            )
            for index, letter in enumerate(results)
            if letter != "-"
        ]
        return self.delivery(DeliveryProgressed, series, batch, target, attempt=attempt, outcomes=outcomes)

    @staticmethod
    def sent_as(uid: str) -> SentAs:
        """What the target ``ai`` gets instead: an instance that was changed on the way."""
        syntax = "1.2.840.10008.1.2.5"
        uids = {"sop_instance_uid": f"2.25.{uid}", "series_uid": "2.25.1", "study_uid": "2.25.2"}
        return SentAs.model_validate({**uids, "transfer_syntax_uid": syntax, "digest": "d" * 64})

    def held(self, study: str, reason: str = "a series is missing") -> Message:
        return self.say(StudyHeld(study_uid=study, round=1, reason=reason, series=1, opened_at=START))

    def study(self, study: str, round_: int = 1, **more: Any) -> Message:
        fields: dict[str, Any] = {"outcome": "routed", "revision": 7, "quiet_period": timedelta(seconds=60), **more}
        event = StudyCompleted(study_uid=study, round=round_, reason="quiet", series=2, opened_at=START, **fields)
        return self.say(event)

    def life(self) -> None:
        """The full life of several series, with everything that happens to a site."""
        service = {"service": "receiver", "instance": "receiver@host.1"}
        self.say(ServiceStarted(**service, version="1"))
        secured = {"tls": "TLSv1.3 X", "certificate": "CN=ct", "user": "ann", "implementation": "CT_1 1.2.3"}
        self.say(AssociationOpened(association_id="a-1.1", sender=SENDER, **secured))
        for number in range(1, 7):
            self.stored("1.1", number)
            self.stored("1.2", number)
        self.again(self.messages[3])
        self.stored("1.1", 1)
        self.stored("1.1", 2, digest="b")
        closing = {"instances": 14, "octets": 9, "duration": timedelta(seconds=3)}
        self.say(AssociationClosed(association_id="a-1.1", sender=SENDER, **closing))
        self.completed("1.1", 1, 6, duplicates=1, conflicts=1)
        self.completed("1.2", 1, 6)
        self.decided("1.1", 1, "routed", ["pacs", "ai"], problems=["rule x failed"])
        self.decided("1.2", 1, "unmatched")
        self.delivery(DeliveryStarted, "1.1", 1, "ai", attempt=1, missing=6, dispatcher="d1")
        self.queued("1.1", 1, "pacs", 6)
        self.queued("1.1", 1, "ai", 6)
        self.delivery(DeliveryStarted, "1.1", 1, "pacs", attempt=1, missing=6, dispatcher="d1")
        self.progressed("1.1", 1, "pacs", 1, "ddd---")
        progressed = self.progressed("1.1", 1, "ai", 1, "dfffff")
        at = START + timedelta(minutes=5)
        more = {"attempt": 1, "missing": 5, "reason": "refused"}
        retrying = self.delivery(DeliveryRetrying, "1.1", 1, "ai", **more, next_attempt_at=at)
        self.progressed("1.1", 1, "pacs", 1, "---ddd")
        self.delivery(DeliverySucceeded, "1.1", 1, "pacs", attempt=1, instances=6)
        self.again(progressed)
        self.delivery(DeliveryStarted, "1.1", 1, "ai", attempt=2, missing=5, dispatcher="d2")
        self.progressed("1.1", 1, "ai", 2, "ffffff")
        self.again(retrying)
        self.delivery(DeliveryFailed, "1.1", 1, "ai", attempt=2, missing=5, reason="still refused")
        self.stored("1.1", 7)
        self.completed("1.1", 2, 1, tags={"PatientName": ["Doe^1", "Roe"], "Modality": ["CT"]})
        self.decided("1.1", 2, "routed", ["pacs"], kind="late")
        self.queued("1.1", 2, "pacs", 1)
        self.delivery(DeliveryStarted, "1.1", 2, "pacs", attempt=1, missing=1, dispatcher="d1")
        self.delivery(DeliverySucceeded, "1.1", 2, "pacs", attempt=1, instances=1)
        self.delivery(DeliveryRestarted, "1.1", 1, "ai", actor="ann")
        self.delivery(DeliveryStarted, "1.1", 1, "ai", attempt=3, missing=5, dispatcher="d2")
        self.delivery(DeliveryFailed, "1.1", 1, "ai", attempt=3, missing=5, reason="never")
        self.delivery(DeliveryDismissed, "1.1", 1, "ai", actor="ann", reason="known")
        self.decided("1.2", 1, "routed", ["pacs"], kind="manual", actor="ann")
        self.queued("1.2", 1, "pacs", 6)
        self.delivery(DeliveryStarted, "1.2", 1, "pacs", attempt=1, missing=6, dispatcher="d1")
        self.stored("1.3", 1)
        self.completed("1.3", 1, 1)
        self.decided("1.3", 1, "unmatched")
        self.say(SeriesDeleted(series_uid="1.3", objects=1, octets=1, reason="retention"))
        self.stored("1.4", 1)
        held = self.held("1.5.99")
        self.stored("1.5", 1)
        self.completed("1.5", 1, 1)
        self.decided("1.5", 1, "deferred")
        self.study("1.5.99", held=True, instances=1)
        self.again(held)
        self.decided("1.5", 1, "routed", ["pacs"], kind="study", round=1)
        self.study("1.5.99", 2, outcome="unmatched")
        self.say(ServiceStopped(**service))
        self.say(ServiceStarted(**service))
        self.say(ServiceCrashed(**service, reason="killed"))
        self.say(ConfigChanged(kind=Kind.RULES, revision=3, author="ann", after={"rules": []}))
        self.say(UserLoggedIn(user="ann", actor="ann", address="10.0.0.9"))
        quarantined = {"key": "q", "reason": "unreadable", "status": 0xC000, "octets": 1, "received_at": START}
        self.say(InstanceQuarantined(reception_id="q1", association_id="a-1.1", sender=SENDER, **quarantined))
        parked = {"consumer": "router", "original_subject": "x", "stream_sequence": 4, "reason": "bad", "attempts": 8}
        self.say(MessageParked(**parked))
        alert = {"alert_id": "al1", "kind": "target_down", "about": "pacs"}
        raised = self.say(AlertRaised(**alert, message="down"))
        self.say(AlertCleared(**alert, reason="up"))
        self.again(raised)
        self.committed("1.1", 1, "pacs", 6)

    def committed(self, series: str, batch: int, target: str, instances: int) -> None:
        """A request for storage commitment that is said late, after another one was answered."""
        delivery_id = f"d-{series}-{batch}-{target}"
        asked = {"instances": instances, "tries": 1}
        sops = [f"{series}.{number}" for number in range(1, instances + 1)]
        self.delivery(DeliveryCommitmentRequested, series, batch, target, transaction_uid="2.25.2", **asked)
        self.say(CommitmentAnswered(transaction_uid="2.25.2", delivery_id=delivery_id, target=target, committed=sops))
        self.delivery(DeliveryCommitted, series, batch, target, transaction_uid="2.25.2", instances=instances)
        self.delivery(DeliveryCommitmentRequested, series, batch, target, transaction_uid="2.25.1", **asked)

    def shuffled(self, seed: int) -> list[list[Message]]:
        """Return all messages in random order, half of them twice, in batches of random size."""
        chance = random.Random(seed)
        messages = self.messages + chance.sample(self.messages, len(self.messages) // 2)
        chance.shuffle(messages)
        batches = []
        while messages:
            size = chance.randint(1, 12)
            batches.append(messages[:size])
            del messages[:size]
        return batches


@pytest.fixture
def stream() -> Stream:
    """A stream on which nothing has been said."""
    return Stream()


@pytest.fixture
def ledger_url(database_url: str) -> SecretStr:
    """URL of a database with the tables of the ledger, all empty."""
    url = SecretStr(database_url)
    migrate(url)
    asyncio.run(build_indexes(url))
    return url


@pytest.fixture
async def database(ledger_url: SecretStr) -> AsyncIterator[Database]:
    """A connection to the ledger."""
    opened = Database(ledger_url, "test")
    yield opened
    await opened.close()


@pytest.fixture
def books(database: Database) -> SqlLedger:
    """The ledger, as the handler sees it."""
    return SqlLedger(database)


Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def query(ledger_url: SecretStr) -> Iterator[Query]:
    """Run a statement and return its rows."""
    connection = psycopg2.connect(ledger_url.get_secret_value().replace("+psycopg2", ""))
    connection.autocommit = True

    def run(statement: str, *values: object) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    yield run
    connection.close()


@pytest.fixture
def contents(query: Query) -> Callable[[], dict[str, list[tuple[Any, ...]]]]:
    """Return every table of the ledger, but the instant of recording, and what depends on the order of recording:

    numbers given by the database, and the chain of the audit.
    """
    left_out = ("recorded_at", "number", "sequence", "previous", "hash", "began_at", "adopt_until", "genesis")

    def read() -> dict[str, list[tuple[Any, ...]]]:
        found = {}
        for table in ledger.metadata.sorted_tables:
            names = [f'"{column.name}"' for column in table.columns if column.name not in left_out]
            columns = ", ".join(names)
            found[table.name] = query(
                f"SELECT {columns} FROM ledger.{table.name} ORDER BY {names[0]}, {names[1]}"  # noqa: S608  # our tables
            )
        return found

    return read
