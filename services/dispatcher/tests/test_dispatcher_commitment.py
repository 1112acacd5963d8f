"""Storage commitment asked of targets (PS3.4 J): an archive that keeps what it was sent, and others that do not."""

import asyncio
import dataclasses
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from hermes_common import config, subjects
from hermes_common.changes import Changes
from hermes_common.commitments import answers
from hermes_common.dicom.commitment import CommitmentResult, Reference
from hermes_common.events import InstanceOutcome
from hermes_common.records import (
    Commitment,
    CommitmentState,
    DeliveryRecord,
    DeliveryState,
    Places,
    TargetRecord,
    TransactionRecord,
)
from hermes_common.runtime import bus as bus_module
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.timers import Rearming
from hermes_common.targets import AskCommitment
from hermes_dispatcher.adapters import traces
from hermes_dispatcher.adapters.sent import references
from hermes_dispatcher.core import committing as core_committing
from hermes_dispatcher.core import saying
from hermes_dispatcher.handlers import committing, speaking

from .conftest import CT, EXPLICIT, MR, QUICK, SERIES, free_port
from .test_dispatcher_fencing import start

pytestmark = pytest.mark.servers

Failed = dict[str, int]


class Archive:
    """Stores, and is asked for commitment. ``answer`` gets the request and returns the status of the N-ACTION."""

    def __init__(self, port: int = 0) -> None:
        self.stored: list[str] = []
        self.requests: list[Dataset] = []
        self.answers: list[int] = []
        self.answer: Callable[[Dataset], int] = lambda _: 0
        self.failing: Callable[[int], Failed | None] = lambda _: {}
        """Failure reasons by UID for the result of the n-th request (from 1); None says no result at all."""
        entity = AE(ae_title="ARCHIVE")
        entity.network_timeout = 20
        entity.add_supported_context(CT, EXPLICIT)
        entity.add_supported_context("1.2.840.10008.1.1")
        entity.add_supported_context(StorageCommitmentPushModel)
        self.port = port or free_port()
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._asked), (evt.EVT_C_ECHO, lambda _: 0)]
        self._server = entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        self._threads: list[threading.Thread] = []

    def _store(self, event: evt.Event) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    def _asked(self, event: evt.Event) -> tuple[int, None]:
        request = event.action_information
        self.requests.append(request)
        status = self.answer(request)
        failing = self.failing(len(self.requests)) if status == 0 else None
        if failing is not None:
            thread = threading.Thread(target=self._report, args=(event.assoc, request, failing))
            self._threads.append(thread)
            thread.start()
        return status, None

    def _report(self, association: Any, request: Dataset, failing: Failed) -> None:
        time.sleep(0.1)  # the response goes first: pynetdicom sends one thing at a time
        result = Dataset()
        result.TransactionUID = request.TransactionUID
        good, bad = [], []
        for item in request.ReferencedSOPSequence:
            if item.ReferencedSOPInstanceUID in failing:
                item.FailureReason = failing[item.ReferencedSOPInstanceUID]
                bad.append(item)
            else:
                good.append(item)
        if good:
            result.ReferencedSOPSequence = good
        if bad:
            result.FailedSOPSequence = bad
        answer, _ = association.send_n_event_report(
            result, 2 if bad else 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1"
        )
        self.answers.append(answer.Status)

    def asked_for(self, n: int) -> list[str]:
        return [item.ReferencedSOPInstanceUID for item in self.requests[n].ReferencedSOPSequence]

    def target(self, **more: Any) -> config.DicomTarget:
        fields: dict[str, Any] = {"retry": QUICK, "commitment": AskCommitment(stay=timedelta(seconds=5))} | more
        fields = {"slug": "pacs", "name": "pacs"} | fields
        return config.DicomTarget(**{"host": "127.0.0.1", "port": self.port, "called_aet": "ARCHIVE"} | fields)

    def close(self) -> None:
        for thread in self._threads:
            thread.join(10)
        self._server.shutdown()


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()
    yield made
    made.close()


async def settled(place: Any, delivery: str, *states: CommitmentState, seconds: float = 20) -> DeliveryRecord:
    deadline = time.monotonic() + seconds
    while (record := await place.record(delivery)).commitment is None or record.commitment.state not in states:
        assert time.monotonic() < deadline, f"{record.state}, {record.commitment}"
        await asyncio.sleep(0.05)
    return record


async def heard(place: Any, delivery: str, verb: str, count: int = 1, seconds: float = 10) -> list[Any]:
    deadline = time.monotonic() + seconds
    while len(found := await place.said(delivery, verb)) < count:
        assert time.monotonic() < deadline, f"{verb} was said {len(found)} times"
        await asyncio.sleep(0.05)
    return found


def uids(*numbers: int) -> list[str]:
    return [f"{SERIES}.{number}" for number in numbers]


async def test_what_arrived_is_committed_when_the_archive_says_so_of_exactly_these_instances(place, archive) -> None:
    await place.targets(archive.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(3)])
    async with place.dispatcher():
        record = await settled(place, delivery, CommitmentState.COMMITTED)
        [said] = await heard(place, delivery, "committed")
    assert archive.asked_for(0) == uids(0, 1, 2)
    assert archive.answers == [0]
    assert record.state is DeliveryState.SUCCEEDED
    assert (said.instances, said.transaction_uid) == (3, archive.requests[0].TransactionUID)
    number = int(said.transaction_uid.removeprefix("2.25."))
    assert uuid.UUID(int=number).version == 4, "nobody may guess it"
    assert not record.awaits_commitment
    [asked] = await place.said(delivery, "commitment_requested")
    assert (asked.instances, asked.tries) == (3, 1)


async def test_a_large_delivery_is_asked_about_in_parts_whose_results_are_joined(
    place, archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_committing, "PER_TRANSACTION", 3)
    [lost] = uids(4)
    archive.failing = lambda n: {lost: 0x0213} if n == 2 else {}
    await place.targets(archive.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(8)])
    async with place.dispatcher():
        record = await settled(place, delivery, CommitmentState.COMMITTED)
        [said] = await heard(place, delivery, "committed")
    assert [archive.asked_for(n) for n in range(4)] == [uids(0, 1, 2), uids(3, 4, 5), uids(6, 7), uids(4)]
    assert len({request.TransactionUID for request in archive.requests}) == 4
    assert [(each.instances, each.tries) for each in await place.said(delivery, "commitment_requested")] == [
        *((3, 1), (3, 1), (2, 1)),
        (1, 2),
    ]
    assert (said.instances, said.transaction_uid) == (8, archive.requests[-1].TransactionUID)
    assert record.commitment.parts == 1
    assert await place.said(delivery, "uncommitted") == []


async def test_a_part_that_is_refused_is_asked_again_with_what_is_left_and_no_more(
    place, archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_committing, "PER_TRANSACTION", 3)
    archive.answer = lambda _: 0x0213 if len(archive.requests) == 2 else 0
    await place.targets(archive.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(8)])
    async with place.dispatcher():
        await settled(place, delivery, CommitmentState.COMMITTED)
    assert [archive.asked_for(n) for n in range(2)] == [uids(0, 1, 2), uids(3, 4, 5)]
    later = [uid for n in range(2, len(archive.requests)) for uid in archive.asked_for(n)]
    assert sorted(later) == uids(3, 4, 5, 6, 7), "the part that was taken and answered is not asked about again"


async def test_a_part_of_which_nothing_is_heard_is_not_committed(
    place, archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_committing, "PER_TRANSACTION", 3)
    archive.failing = lambda n: None if n == 3 else {}
    quick = AskCommitment(max_wait=timedelta(seconds=2), stay=timedelta(seconds=0.5))
    await place.targets(archive.target(commitment=quick))
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(8)])
    async with place.dispatcher():
        record = await settled(place, delivery, CommitmentState.FAILED)
        [said] = await heard(place, delivery, "uncommitted")
    assert (said.committed, said.refused) == (6, 0)
    assert "said nothing within" in record.commitment.reason


async def test_the_trace_of_a_delivery_ends_when_it_arrived_and_not_again_with_each_step_of_the_commitment(
    place, archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[DeliveryRecord] = []
    monkeypatch.setattr(
        traces, "ended", lambda record: ended.append(record) if record.state is DeliveryState.SUCCEEDED else None
    )
    await place.targets(archive.target())
    delivery = await place.delivery("pacs", [place.instance(0)])
    async with place.dispatcher():
        await settled(place, delivery, CommitmentState.COMMITTED)
    assert [record.delivery_id for record in ended] == [delivery]


async def test_a_target_that_is_not_to_be_asked_is_not_asked(place, archive) -> None:
    await place.targets(archive.target(commitment=None))
    delivery = await place.delivery("pacs", [place.instance(0)])
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.SUCCEEDED)
    assert record.commitment is None
    assert archive.requests == []


async def test_what_the_archive_does_not_keep_is_said_by_instance_and_a_restart_sends_only_that(place, archive) -> None:
    [_, lost, _] = uids(0, 1, 2)
    archive.failing = lambda n: {lost: 0x0112} if n == 1 else {}
    await place.targets(archive.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(3)])
    async with place.dispatcher():
        record = await settled(place, delivery, CommitmentState.FAILED)
        [said] = await heard(place, delivery, "uncommitted")
        assert record.is_uncommitted
        assert (said.committed, said.refused) == (2, 1)
        [failure] = said.failures
        assert (failure.index, failure.sop_instance_uid, failure.code) == (1, lost, 0x0112)
        assert "no such object instance (0112H)" in failure.reason
        await place.command(delivery, "restart")
        await settled(place, delivery, CommitmentState.COMMITTED)
    assert archive.stored == [*uids(0, 1, 2), lost]
    assert archive.asked_for(1) == uids(0, 1, 2)


async def test_what_was_sent_under_new_uids_is_asked_for_under_these(place, archive) -> None:
    changes = Changes(new_uids=True, key=SecretStr("a key of 16 characters or more"))
    await place.targets(archive.target(changes=changes))
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(2)])
    async with place.dispatcher():
        record = await settled(place, delivery, CommitmentState.COMMITTED, CommitmentState.FAILED)
    assert record.commitment is not None
    assert record.commitment.state is CommitmentState.COMMITTED
    assert archive.asked_for(0) == archive.stored
    assert not set(archive.stored) & set(uids(0, 1))


async def test_a_request_that_is_refused_is_made_again_under_another_transaction(place, archive) -> None:
    archive.answer = lambda _: 0x0213 if len(archive.requests) == 1 else 0
    await place.targets(archive.target())
    delivery = await place.delivery("pacs", [place.instance(0)])
    async with place.dispatcher():
        record = await settled(place, delivery, CommitmentState.COMMITTED)
    assert record.commitment is not None
    assert record.commitment.tries == 2
    assert len({request.TransactionUID for request in archive.requests}) == 2


async def test_an_archive_that_knows_no_commitment_is_given_up_after_the_attempts_of_its_policy(place, scp) -> None:
    peer = scp()
    target = peer.target(commitment=AskCommitment(), retry=QUICK.model_copy(update={"max_attempts": 2}))
    await place.targets(target)
    delivery = await place.delivery("pacs", [place.instance(0)])
    async with place.dispatcher():
        record = await settled(place, delivery, CommitmentState.FAILED)
        [said] = await heard(place, delivery, "uncommitted")
        await place.command(delivery, "dismiss")
        await place.until(delivery, DeliveryState.DISMISSED)
    assert record.state is DeliveryState.SUCCEEDED
    assert "given up after 2 requests" in said.reason
    assert (said.committed, said.refused, said.failures) == (0, 0, [])


async def test_an_archive_that_never_says_is_waited_for_so_long_and_a_late_result_still_counts(place, archive) -> None:
    archive.failing = lambda _: None
    ask = AskCommitment(max_wait=timedelta(seconds=2), stay=timedelta(0))
    await place.targets(archive.target(commitment=ask))
    delivery = await place.delivery("pacs", [place.instance(0)])
    async with place.dispatcher():
        record = await settled(place, delivery, CommitmentState.FAILED)
        assert record.commitment is not None
        assert "said nothing within 2s" in record.commitment.reason
        await heard(place, delivery, "uncommitted")
        await as_receiver(place, record.commitment.transactions[-1], uids(0))
        await settled(place, delivery, CommitmentState.COMMITTED)
        await heard(place, delivery, "committed")


async def as_receiver(place: Any, transaction: str, committed: list[str], sop_class: str = CT) -> None:
    """Publish a result as a receiver does that it came to."""
    found = await place.bus.load(subjects.HELD, subjects.transaction(transaction), TransactionRecord)
    assert found is not None
    result = CommitmentResult(transaction, tuple(Reference(sop_class, uid) for uid in committed))
    for event, event_id in answers(found[0], result, "an association"):
        await place.bus.publish(event, event_id)


async def test_a_result_before_the_request_is_answered_counts_once_with_two_dispatchers(place, archive) -> None:
    loop = asyncio.get_running_loop()

    def first_the_result(request: Dataset) -> int:
        for _ in range(2):
            said = as_receiver(place, request.TransactionUID, uids(0, 1))
            asyncio.run_coroutine_threadsafe(said, loop).result(10)
        [delivery] = deliveries
        asked = settled(place, delivery, CommitmentState.COMMITTED)
        asyncio.run_coroutine_threadsafe(asked, loop).result(20)
        return 0

    archive.answer, archive.failing = first_the_result, lambda _: None
    await place.targets(
        archive.target(commitment=AskCommitment(stay=timedelta(0)), response_timeout=timedelta(seconds=20))
    )
    deliveries: list[str] = []
    async with place.dispatcher("dispatcher@a"), place.dispatcher("dispatcher@b"):
        deliveries.append(await place.delivery("pacs", [place.instance(n) for n in range(2)]))
        await heard(place, deliveries[0], "commitment_requested")
    record = await place.record(deliveries[0])
    assert record.commitment is not None
    assert record.commitment.state is CommitmentState.COMMITTED
    assert len(await place.said(deliveries[0], "committed")) == 1
    assert len(archive.requests) == 1


async def test_a_dispatcher_that_comes_after_one_that_died_waiting_hears_the_result(place, archive) -> None:
    archive.failing = lambda _: None
    await place.targets(archive.target(commitment=AskCommitment(stay=timedelta(0))))
    delivery = await place.delivery("pacs", [place.instance(0)])
    async with place.dispatcher("dispatcher@a"):
        record = await settled(place, delivery, CommitmentState.ASKED)
    assert record.commitment is not None
    await as_receiver(place, record.commitment.transactions[-1], uids(0))
    assert (await place.record(delivery)).awaits_commitment
    async with place.dispatcher("dispatcher@b"):
        await settled(place, delivery, CommitmentState.COMMITTED)


@pytest.mark.parametrize("wrong", [timedelta(hours=1), timedelta(hours=-1)], ids=["fast", "slow"])
async def test_a_dispatcher_whose_clock_is_wrong_waits_for_a_result_as_long_as_it_was_to_wait(
    place, wrong: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "now", lambda: now() + wrong)
    await place.bus.common_time()
    clock = place.bus.now
    delivery = await place.delivery("pacs", [place.instance(0)], state=DeliveryState.SUCCEEDED)
    waiting = Commitment(since=clock(), state=CommitmentState.ASKED, next_at=clock() + timedelta(seconds=2))
    began = time.monotonic()
    await speaking.Speaker(place.bus).await_commitment(
        (await place.record(delivery)).model_copy(update={"commitment": waiting})
    )
    while await place.bus.last(subjects.TIMERS, subjects.commitment_due(delivery)) is None:
        assert time.monotonic() < began + 15
        await asyncio.sleep(0.1)
    assert time.monotonic() > began + 1


async def test_timers_of_deliveries_and_commitments_are_armed_anew_when_the_clock_of_the_bus_was_set_back(
    place, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = await place.delivery("pacs", [place.instance(0)])
    record, at = await place.record(delivery), now() + timedelta(minutes=5)
    record = record.model_copy(update={"attempt": 1})
    waiting = {"state": DeliveryState.RETRYING, "next_attempt_at": at}
    asked = {"state": DeliveryState.SUCCEEDED, "commitment": Commitment(since=at, next_at=at)}
    for change in (waiting, asked):
        await speaking.Speaker(place.bus).standing(record.model_copy(update=change))
    real = place.bus.server_time

    async def an_hour_ago() -> datetime:
        return await real() - timedelta(hours=1)

    monkeypatch.setattr(place.bus, "server_time", an_hour_ago)
    assert await Rearming(place.bus, speaking.TIMERS).look() == 2


async def asked_later(place: Any, number: int, target: str = "pacs") -> str:
    """Return a delivery that has arrived at a target that is to be asked now."""
    commitment = Commitment(since=now(), next_at=now())
    delivery = await place.delivery(
        target, [place.instance(number)], state=DeliveryState.SUCCEEDED, attempt=1, delivered="0", commitment=commitment
    )
    await speaking.Speaker(place.bus).await_commitment(await place.record(delivery))
    return delivery


def hanging(archive: Archive, requests: int) -> threading.Event:
    """Have an archive leave so many requests without an answer, until the event is set."""
    release = threading.Event()

    def answer(_: Dataset) -> int:
        if len(archive.requests) <= requests:
            release.wait(30)
        return 0

    archive.answer = answer
    return release


async def test_an_outage_of_the_target_costs_no_request(place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "_RESTING", timedelta(seconds=1))
    port = free_port()
    retry = QUICK.model_copy(update={"max_attempts": 1})
    delivery = await asked_later(place, 0)
    gone = config.DicomTarget(
        slug="pacs", name="pacs", host="127.0.0.1", port=port, called_aet="ARCHIVE", retry=retry,
        commitment=AskCommitment(stay=timedelta(seconds=5)),
    )  # fmt: skip
    await place.targets(gone)
    async with place.dispatcher():
        await place.down("pacs")
        while "the target is down" not in (await place.record(delivery)).commitment.reason:
            await asyncio.sleep(0.05)
        assert (await place.record(delivery)).commitment.state is CommitmentState.DUE
        archive = Archive(port)
        try:
            record = await settled(place, delivery, CommitmentState.COMMITTED, CommitmentState.FAILED)
        finally:
            archive.close()
    assert record.commitment is not None
    assert (record.commitment.state, record.commitment.tries) == (CommitmentState.COMMITTED, 1)


async def test_a_target_that_hangs_keeps_no_other_target_from_being_asked(place, archive) -> None:
    hung = Archive()
    release = hanging(hung, 100)
    try:
        await place.targets(archive.target(), hung.target(slug="hung"))
        for number in range(6):
            await asked_later(place, number, "hung")
        async with place.dispatcher():
            while len(hung.requests) < committing.AT_ONCE:
                await asyncio.sleep(0.05)
            delivery = await asked_later(place, 9)
            await settled(place, delivery, CommitmentState.COMMITTED, seconds=15)
            assert len(hung.requests) == committing.AT_ONCE
            release.set()
    finally:
        release.set()
        hung.close()


async def test_a_stop_leaves_a_request_that_hangs_and_the_next_dispatcher_asks_at_once(
    place, archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "_GRACE", timedelta(milliseconds=200))
    release = hanging(archive, 1)
    archive.failing = lambda _: None if release.is_set() else {}
    await place.targets(archive.target())
    delivery = await asked_later(place, 0)
    try:
        async with place.dispatcher("dispatcher@a"):
            while not archive.requests:
                await asyncio.sleep(0.05)
        record = await place.record(delivery)
        assert record.commitment is not None
        assert (record.commitment.state, record.commitment.tries) == (CommitmentState.DUE, 0)
        async with place.dispatcher("dispatcher@b"):
            record = await settled(place, delivery, CommitmentState.COMMITTED)
    finally:
        release.set()
    assert record.commitment is not None
    assert (record.commitment.tries, len(record.commitment.transactions)) == (1, 2)


async def test_an_error_of_ours_while_asking_is_given_up_after_the_attempts_of_the_policy(
    place, archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr("hermes_common.runtime.dicom.commitment.encode_request", broken)
    await place.targets(archive.target(retry=QUICK.model_copy(update={"max_attempts": 2})))
    delivery = await asked_later(place, 0)
    async with place.dispatcher():
        record = await settled(place, delivery, CommitmentState.FAILED)
    assert record.commitment is not None
    assert "an error of ours: ValueError in test_dispatcher_commitment.py, line " in record.commitment.reason
    assert "; given up after 2 requests" in record.commitment.reason


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process that was killed had in hand comes again soon after the next dispatcher has begun."""
    for name in ("DUE", "ANSWERS"):
        consumer = dataclasses.replace(getattr(committing, name), ack_wait=timedelta(seconds=2))
        monkeypatch.setattr(committing, name, consumer)


@pytest.mark.parametrize("point", ["dispatcher.commitment-noted", "dispatcher.commitment-asked"])
async def test_a_dispatcher_killed_between_asking_and_the_answer_leaves_a_question_that_another_one_ends(
    place, archive, point: str, impatience: None
) -> None:
    """The result of a request that nobody remembers having made counts, and nothing is committed before one came."""
    archive.failing = lambda _: None
    ask = AskCommitment(stay=timedelta(0))
    await place.targets(archive.target(commitment=ask))
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(2)])
    process = await start(place, HERMES_CRASH_POINT=point)
    assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL
    record = await place.record(delivery)
    assert record.commitment is not None
    assert (record.commitment.state, record.commitment.committed) == (CommitmentState.ASKING, "")
    assert record.awaits_commitment
    first = record.commitment.transactions[-1]
    was_heard = point.endswith("asked")
    assert [request.TransactionUID for request in archive.requests] == ([first] if was_heard else [])
    soon = record.commitment.model_copy(update={"next_at": now()})
    await place.change(delivery, commitment=soon)  # the lease of one that died is long
    async with place.dispatcher("dispatcher@b"):
        await settled(place, delivery, CommitmentState.ASKED, seconds=40)
        again = archive.requests[-1].TransactionUID
        assert (len(archive.requests), again == first) == (1 + was_heard, False)
        assert await place.said(delivery, "committed") == []
        await as_receiver(place, first if was_heard else again, uids(0, 1))
        await settled(place, delivery, CommitmentState.COMMITTED)
        [said] = await heard(place, delivery, "committed")
    assert said.instances == 2


async def test_a_dispatcher_killed_after_a_result_was_entered_leaves_it_to_the_next_to_say_so_once(
    place, archive, impatience: None
) -> None:
    await place.targets(archive.target())
    delivery = await place.delivery("pacs", [place.instance(0)])
    process = await start(place, HERMES_CRASH_POINT="dispatcher.commitment-entered")
    assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL
    record = await place.record(delivery)
    assert record.commitment is not None
    assert record.commitment.state is CommitmentState.COMMITTED
    assert await place.said(delivery, "committed") == []
    async with place.dispatcher("dispatcher@b"):
        await heard(place, delivery, "committed", seconds=40)
    assert (len(await place.said(delivery, "committed")), len(archive.requests)) == (1, 1)


async def test_what_was_sent_under_new_uids_is_not_committed_by_what_the_archive_says_of_the_old_ones(
    place, archive
) -> None:
    """Whatever a person has made of the settings of the target since."""
    archive.failing = lambda _: None
    changes = Changes(new_uids=True, key=SecretStr("a key of 16 characters or more"))
    ask = AskCommitment(stay=timedelta(0))
    await place.targets(archive.target(changes=changes, commitment=ask))
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(2)])
    async with place.dispatcher():
        record = await settled(place, delivery, CommitmentState.ASKED)
        assert record.commitment is not None
        await place.targets(archive.target(commitment=ask))
        [transaction] = record.commitment.transactions
        await as_receiver(place, transaction, uids(0, 1))
        await as_receiver(place, transaction, archive.stored[:1])
        await committed(place, delivery, "0")
        await as_receiver(place, transaction, archive.stored)
        await settled(place, delivery, CommitmentState.COMMITTED)


async def test_who_an_instance_was_at_the_target_is_what_was_sent_last(place) -> None:
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(2)], is_altered=True)
    record = await place.record(delivery)
    new = {
        "sop_instance_uid": "1.9",
        "series_uid": "1.8",
        "study_uid": "1.7",
        "transfer_syntax_uid": EXPLICIT,
        "digest": "",
    }
    for index, sent in ((0, new), (1, new), (0, None)):
        outcome = InstanceOutcome.model_validate(
            {"index": index, "sop_instance_uid": uids(index)[0], "result": "delivered", "at": now(), "sent": sent}
        )
        await place.bus.publish(*saying.progressed(record.model_copy(update={"attempt": 1}), [outcome], new_id(), 1))
    instances = [place.instance(n) for n in range(2)]
    found = await references(place.bus, record, place.to_folder(), instances)
    assert [each.sop_instance for each in found] == [uids(0)[0], "1.9"]


async def test_a_result_counts_for_the_instance_and_the_sop_class_that_were_asked_for(place, archive) -> None:
    archive.failing = lambda _: None
    await place.targets(archive.target(commitment=AskCommitment(stay=timedelta(0))))
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(3)])
    async with place.dispatcher():
        record = await settled(place, delivery, CommitmentState.ASKED)
        assert record.commitment is not None
        [transaction] = record.commitment.transactions
        await as_receiver(place, transaction, uids(0, 1, 2), MR)
        await as_receiver(place, transaction, uids(0), "")
        await committed(place, delivery, "0")
        await as_receiver(place, transaction, [*uids(1, 2), "1.2.3.4"])
        await settled(place, delivery, CommitmentState.COMMITTED)


async def committed(place: Any, delivery: str, positions: str) -> None:
    """Wait until something is committed, which has to be these positions and not all."""
    deadline = time.monotonic() + 20
    while not (record := await place.record(delivery)).commitment.committed:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert (record.commitment.state, record.commitment.committed) == (CommitmentState.ASKED, positions)


async def test_a_target_that_cannot_be_asked_while_it_is_sent_to_is_not_down(place, archive) -> None:
    """An archive that takes one association at a time leaves ours, and a test, without an answer."""
    gone = archive.target(port=free_port(), retry=QUICK.model_copy(update={"max_attempts": 2}))
    await place.targets(gone)
    busy = Places(target="pacs", holders={"an attempt": now() + timedelta(minutes=5)})
    await place.bus.create(subjects.STATE, subjects.target_places("pacs"), busy)
    delivery = await asked_later(place, 0)
    async with place.dispatcher():
        record = await settled(place, delivery, CommitmentState.FAILED)
    assert record.commitment is not None
    assert "given up after 2 requests" in record.commitment.reason
    assert await place.bus.load(subjects.STATE, subjects.target_state("pacs"), TargetRecord) is None
