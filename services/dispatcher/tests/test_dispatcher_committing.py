"""What becomes of results of storage commitment that come late, twice, in parts, or contradict each other."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from hermes_common.records import Commitment, CommitmentState, DeliveryRecord, DeliveryState
from hermes_common.targets import Retry
from hermes_dispatcher.core import committing

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Retry(max_attempts=3)
WAIT = timedelta(minutes=1)
BUSY, GONE = 0x0213, 0x0112


def asked(transaction: str, before: DeliveryRecord | None = None) -> DeliveryRecord:
    """Return the record of a delivery of three instances whose target has taken a request, under these transactions."""
    record = before or DeliveryRecord(
        delivery_id="d", series_uid="1.2", study_uid="1.3", batch_id="b", target="t", manifest_key="k", instances=3,
        octets=1, state=DeliveryState.SUCCEEDED, commitment=Commitment(since=NOW), created_at=NOW, updated_at=NOW,
    )  # fmt: skip
    begun = committing.asking(record, of(record), transaction.split(), NOW + WAIT, NOW)
    return committing.taken(begun, of(begun), WAIT, NOW)


def of(record: DeliveryRecord) -> Commitment:
    assert record.commitment is not None
    return record.commitment


def said(
    record: DeliveryRecord, transaction: str, kept: set[int], refused: Mapping[int, int] | None = None
) -> DeliveryRecord:
    return committing.answered(record, transaction, kept, refused or {}, POLICY, WAIT, NOW)


def test_a_result_that_comes_again_does_not_undo_a_refusal_that_came_between() -> None:
    record = said(said(asked("1"), "1", {0, 1}), "1", {0}, {1: GONE, 2: GONE})
    assert of(record).state is CommitmentState.FAILED
    for again in ({0, 1}, {0, 1, 2}):
        assert said(record, "1", again) == record


def test_only_the_answer_to_the_new_request_undoes_a_refusal_for_a_passing_reason() -> None:
    record = said(asked("1"), "1", {0, 1}, {2: BUSY})
    assert of(record).state is CommitmentState.DUE
    again = asked("2", record)
    late = said(again, "1", {0, 1, 2})
    assert (of(late).state, of(late).committed) == (CommitmentState.ASKED, "0-1")
    assert of(said(late, "2", {2})).state is CommitmentState.COMMITTED


def test_a_refusal_is_remembered_over_requests_of_which_nothing_was_heard() -> None:
    record = said(asked("1"), "1", {0, 1}, {2: BUSY})
    later = asked("3", asked("2", record))
    for old in ("1", "2"):
        assert of(said(later, old, {0, 1, 2})).committed == "0-1"
    assert of(said(later, "3", {2})).state is CommitmentState.COMMITTED


def test_a_late_result_of_an_earlier_request_counts_where_nothing_was_refused() -> None:
    record = asked("2", asked("1"))
    assert of(said(record, "1", {0, 1, 2})).state is CommitmentState.COMMITTED
    silent = committing.silent(record, of(record), WAIT, NOW)
    assert of(said(silent, "1", {0, 1, 2})).state is CommitmentState.COMMITTED


def test_a_request_in_parts_is_answered_when_all_of_them_are() -> None:
    record = asked("1 2 3")
    assert of(record).parts == 3
    for transaction, position in (("3", 2), ("1", 0)):
        record = said(record, transaction, {position})
        assert of(record).state is CommitmentState.ASKED
    assert of(said(record, "2", {1})).state is CommitmentState.COMMITTED
    assert of(said(record, "2", set(), {1: GONE})).state is CommitmentState.FAILED


def test_every_part_of_the_last_request_undoes_a_refusal_and_no_part_of_the_one_before() -> None:
    record = said(said(asked("1 2"), "1", {0}, {1: BUSY}), "2", set(), {2: BUSY})
    assert of(record).state is CommitmentState.DUE
    again = asked("3 4", record)
    assert of(said(said(again, "1", {1}), "2", {2})).committed == "0"
    assert of(said(said(again, "3", {1}), "4", {2})).state is CommitmentState.COMMITTED


def test_the_transactions_of_a_request_in_many_parts_are_all_remembered() -> None:
    many = " ".join(map(str, range(40)))
    record = asked(many, asked("x"))
    assert of(record).transactions == tuple(many.split())
    assert of(asked("y", record)).transactions[-2:] == ("39", "y")
    assert len(of(asked("y", record)).transactions) == committing.REMEMBERED


def test_a_record_of_the_release_before_was_asked_in_one_part() -> None:
    record = Commitment.model_validate({"since": NOW, "transactions": ("1", "2")})
    assert committing.last_request(record) == ("2",)


@pytest.mark.parametrize(("count", "sizes"), [(0, [0]), (1, [1]), (3, [3]), (4, [3, 1]), (7, [3, 3, 1])])
def test_what_is_asked_for_is_parted_into_so_many(count: int, sizes: list[int]) -> None:
    parts = committing.in_parts(range(count), 3)
    assert [len(part) for part in parts] == sizes
    assert [each for part in parts for each in part] == list(range(count))


def test_a_result_counts_only_for_the_delivery_as_it_is() -> None:
    record = asked("1")
    assert said(record, "9", {0, 1, 2}) == record, "of a transaction of nobody"
    restarted = record.model_copy(update={"state": DeliveryState.QUEUED, "commitment": None})
    assert said(restarted, "1", {0, 1, 2}) == restarted
    sent_again = asked("2", record.model_copy(update={"commitment": Commitment(since=NOW)}))
    assert said(sent_again, "1", {0, 1, 2}) == sent_again, "of what was sent before the restart"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_instance_that_one_part_of_a_result_keeps_and_another_does_not_is_not_kept(order: tuple[int, int]) -> None:
    parts: list[tuple[set[int], dict[int, int]]] = [({0, 1, 2}, {}), (set(), {1: GONE})]
    record = asked("1")
    for part in order:
        record = said(record, "1", *parts[part])
    assert (of(record).state, of(record).committed) == (CommitmentState.FAILED, "0,2")


def test_a_request_that_broke_off_costs_no_try_and_its_result_counts() -> None:
    begun = asked("1")
    record = committing.interrupted(begun, of(begun), NOW + WAIT, "the service stops")
    assert (of(record).state, of(record).tries, of(record).next_at) == (CommitmentState.DUE, 0, NOW + WAIT)
    assert of(said(record, "1", {0, 1, 2})).state is CommitmentState.COMMITTED


def test_what_is_not_kept_is_counted_where_the_manifest_is_gone() -> None:
    record = said(asked("1"), "1", {0, 1}, {2: GONE})
    assert len(committing.uncommitted(of(record), ["1.2.1", "1.2.2", "1.2.3"])) == 1
    assert committing.uncommitted(of(record), []) == []
