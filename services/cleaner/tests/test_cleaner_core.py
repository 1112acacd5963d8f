"""When a series may go."""

from datetime import UTC, datetime, timedelta

import pytest

from hermes_cleaner.core.retention import Delete, Keep, Nothing, Wait, judge
from hermes_common import config
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
from hermes_common.retention import SHORTEST, too_short

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
    assert judge(record, [delivery(state)], 10, POLICY, almost) == Wait(
        NOW + timedelta(days=7), NOW, "the retention of delivered series, 7d"
    )
    assert isinstance(judge(record, [delivery(state)], 10, POLICY, NOW + timedelta(days=7)), Delete)


def test_the_retention_counts_from_when_the_cleaner_saw_it_done() -> None:
    late = NOW + timedelta(days=100)
    found = judge(series(batch()), [delivery(DeliveryState.SUCCEEDED)], 10, POLICY, late)
    assert isinstance(found, Wait)
    assert (found.since, found.until) == (late, late + timedelta(days=7))


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
    found = judge(record, done, 10, POLICY, NOW)
    assert isinstance(found, Wait)
    assert found.until == NOW + timedelta(days=days)


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
    assert judge(open_, deliveries, 10, POLICY, much_later) == Keep("its study is not decided", since=NOW)
    assert isinstance(judge(series(one, done_at=NOW), deliveries, 10, POLICY, much_later), Delete)


RULES = config.Retention.model_validate(
    {
        "delivered": "7d",
        "unmatched": "14d",
        "discarded": "3d",
        "rules": [{"rule": "research", "keep": "90d"}, {"rule": "noise", "keep": "1h"}],
        "targets": [{"target": "ai", "keep": "1d"}],
    }
)


def to(target: str, *rules: str) -> DeliveryRecord:
    return delivery(DeliveryState.SUCCEEDED).model_copy(update={"target": target, "rules": rules})


@pytest.mark.parametrize(
    ("deliveries", "span", "why"),
    [
        ([to("pacs", "ct")], timedelta(days=7), "the retention of delivered series, 7d"),
        ([to("ai", "ct")], timedelta(days=1), "the retention of target ai, 1d"),
        ([to("ai", "ct"), to("pacs", "ct")], timedelta(days=7), "the retention of delivered series, 7d"),
        ([to("ai", "research")], timedelta(days=90), "the retention of rule research, 90d"),
        ([to("pacs", "noise")], timedelta(hours=1), "the retention of rule noise, 1h"),
    ],
)
def test_an_entry_of_a_rule_or_a_target_takes_the_place_of_the_general_one_and_the_longest_holds(
    deliveries: list[DeliveryRecord], span: timedelta, why: str
) -> None:
    record = series(batch(deliveries=tuple(str(place) for place in range(len(deliveries)))), done_at=NOW)
    assert judge(record, deliveries, 10, RULES, NOW) == Wait(NOW + span, NOW, why)


def test_the_rule_that_discarded_a_series_says_how_long_it_is_kept() -> None:
    gone = batch(outcome="discarded", deliveries=()).model_copy(update={"rules": ("noise",)})
    assert judge(series(gone, done_at=NOW), [], 10, RULES, NOW) == Wait(
        NOW + timedelta(hours=1), NOW, "the retention of rule noise, 1h"
    )


def test_no_series_goes_at_once_whatever_an_older_document_says() -> None:
    nothing = config.Retention(delivered=timedelta(0))
    found = judge(series(batch(), done_at=NOW), [to("pacs", "ct")], 10, nothing, NOW)
    assert isinstance(found, Wait)
    assert found.until == NOW + SHORTEST
    assert [field for field, _ in too_short(nothing)] == ["delivered"]


def test_a_mark_from_a_clock_that_was_far_ahead_counts_as_made_now() -> None:
    ahead = series(batch(), done_at=NOW + timedelta(days=3650))
    found = judge(ahead, [to("pacs", "ct")], 10, POLICY, NOW)
    assert isinstance(found, Wait)
    assert found.since == NOW
