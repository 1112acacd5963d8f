"""When a series may go."""

from datetime import UTC, datetime, timedelta

import pytest

from hermes_cleaner.core.retention import Delete, Keep, Nothing, Wait, judge
from hermes_common.config import Retention
from hermes_common.records import (
    DONE,
    BatchRef,
    DeliveryRecord,
    DeliveryState,
    PendingCommand,
    SeriesRecord,
    SeriesState,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Retention(delivered=timedelta(days=7), unmatched=timedelta(days=14), discarded=timedelta(days=3))


def batch(
    number: int = 1, outcome: str = "routed", deliveries: tuple[str, ...] = ("d",), *, said: bool = True
) -> BatchRef:
    return BatchRef.model_validate(
        {
            "batch_id": f"b{number}",
            "batch": number,
            "manifest_key": "m",
            "decision_key": "d",
            "instances": 1,
            "octets": 1,
            "through_seq": 10,
            "outcome": outcome,
            "deliveries": deliveries,
            "decided_at": NOW,
            "said": said,
        }
    )


def series(*batches: BatchRef, **more: object) -> SeriesRecord:
    return SeriesRecord.model_validate(
        {
            "series_uid": "1.2",
            "study_uid": "1",
            "batches": batches,
            "through_seq": 10,
            "created_at": NOW,
            "updated_at": NOW,
            **more,
        }
    )


def delivery(state: DeliveryState) -> DeliveryRecord:
    return DeliveryRecord(
        delivery_id="d", series_uid="1.2", study_uid="1", batch_id="b1", target="a", manifest_key="m",
        instances=1, octets=1, state=state, created_at=NOW, updated_at=NOW,
    )  # fmt: skip


@pytest.mark.parametrize("state", sorted(set(DeliveryState) - DONE))
def test_nothing_is_deleted_while_a_delivery_is_not_done_whatever_the_clock_says(state: DeliveryState) -> None:
    record = series(batch(), done_at=NOW)
    ten_years_on = NOW + timedelta(days=3653)
    assert judge(record, [delivery(state)], 10, POLICY, ten_years_on) == Keep(f"its delivery to a is {state.value}")


@pytest.mark.parametrize("state", sorted(DONE))
def test_a_series_whose_deliveries_are_done_waits_for_its_retention_and_then_goes(state: DeliveryState) -> None:
    record = series(batch(), done_at=NOW)
    almost = NOW + timedelta(days=7) - timedelta(seconds=1)
    assert judge(record, [delivery(state)], 10, POLICY, almost) == Wait(NOW + timedelta(days=7))
    assert isinstance(judge(record, [delivery(state)], 10, POLICY, NOW + timedelta(days=7)), Delete)


def test_the_retention_counts_from_when_the_cleaner_saw_it_done() -> None:
    late = NOW + timedelta(days=100)
    assert judge(series(batch()), [delivery(DeliveryState.SUCCEEDED)], 10, POLICY, late) == Wait(
        late + timedelta(days=7)
    )


def test_a_delivery_whose_record_is_missing_keeps_the_series() -> None:
    assert judge(series(batch(), done_at=NOW), [None], 10, POLICY, NOW + timedelta(days=99)) == Keep(
        "the record of a delivery is missing"
    )


@pytest.mark.parametrize(
    ("batches", "days"),
    [
        ((batch(1, "unmatched", ()),), 14),
        ((batch(1, "discarded", ()),), 3),
        ((batch(1, "unmatched", ()), batch(2)), 14),
        ((batch(1), batch(2, "discarded", ())), 7),
        ((batch(1), batch(2, "duplicates", ())), 7),
    ],
)
def test_the_longest_retention_of_the_batches_counts(batches: tuple[BatchRef, ...], days: int) -> None:
    record = series(*batches, done_at=NOW)
    done = [delivery(DeliveryState.SUCCEEDED)] * sum(len(each.deliveries) for each in batches)
    assert judge(record, done, 10, POLICY, NOW) == Wait(NOW + timedelta(days=days))


def test_instances_that_are_not_decided_yet_keep_the_series() -> None:
    record = series(batch(), done_at=NOW)
    assert isinstance(judge(record, [delivery(DeliveryState.SUCCEEDED)], 11, POLICY, NOW + timedelta(days=99)), Keep)


@pytest.mark.parametrize(
    "record",
    [
        series(batch(said=False), done_at=NOW),
        series(batch(), done_at=NOW, pending=PendingCommand(command_id="c", decision_key="k")),
    ],
)
def test_what_the_router_is_at_work_on_is_kept(record: SeriesRecord) -> None:
    done = [delivery(DeliveryState.SUCCEEDED)]
    assert judge(record, done, 10, POLICY, NOW + timedelta(days=99)) == Keep("the router is at work on it", passes=True)


def test_a_deletion_that_had_begun_goes_on_and_one_that_ended_is_over() -> None:
    assert isinstance(judge(series(batch(), state=SeriesState.DELETING), [], 10, POLICY, NOW), Delete)
    assert judge(series(state=SeriesState.DELETED), [], 10, POLICY, NOW) == Nothing()
    assert judge(series(), [], 0, POLICY, NOW) == Nothing()


@pytest.mark.parametrize("outcome", ["routed", "unmatched", "discarded"])
def test_a_series_whose_study_is_not_decided_is_kept_whatever_the_clock_says(outcome: str) -> None:
    one = batch(outcome=outcome, deliveries=("d",) if outcome == "routed" else ())
    deliveries = [delivery(DeliveryState.SUCCEEDED)] if outcome == "routed" else []
    much_later = NOW + timedelta(days=3650)
    open_ = series(one.model_copy(update={"awaits_study": True}), done_at=NOW)
    assert judge(open_, deliveries, 10, POLICY, much_later) == Keep("its study is not decided")
    assert isinstance(judge(series(one, done_at=NOW), deliveries, 10, POLICY, much_later), Delete)
