"""For any records and any clock: nothing that is not done is planned for deletion."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hermes_cleaner.core import orphans, room
from hermes_cleaner.core.retention import Delete, Wait, judge, may_go_early
from hermes_common.config import Retention, Watermark
from hermes_common.records import (
    DONE,
    BatchRef,
    DeliveryRecord,
    DeliveryState,
    PendingCommand,
    SeriesRecord,
    SeriesState,
)
from hermes_common.retention import SHORTEST

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLOCKS = st.timedeltas(timedelta(days=-3653), timedelta(days=3653)).map(lambda span: NOW + span)
SPANS = st.timedeltas(timedelta(0), timedelta(days=400))
POLICIES = st.builds(Retention, delivered=SPANS, unmatched=SPANS, discarded=SPANS)
WATERMARKS = st.builds(Watermark, most=st.integers(1, 10**12), done_for=SPANS)


@st.composite
def batches(draw: st.DrawFn, number: int) -> tuple[BatchRef, list[DeliveryRecord | None]]:
    """Return a batch and the records of its deliveries, some of them missing."""
    states = draw(st.lists(st.sampled_from(DeliveryState), max_size=3))
    records: list[DeliveryRecord | None] = [
        None if draw(st.booleans()) and draw(st.booleans()) else DeliveryRecord(
            delivery_id=f"{number}.{place}", series_uid="1.2", study_uid="1", batch_id=f"b{number}",
            target=draw(st.sampled_from(["a", "b"])), manifest_key="m", instances=1, octets=1, state=state,
            created_at=NOW, updated_at=NOW,
        )
        for place, state in enumerate(states)
    ]  # fmt: skip
    batch = BatchRef(
        batch_id=f"b{number}", batch=number, manifest_key="m", decision_key="d", instances=1,
        octets=draw(st.integers(0, 10**9)), through_seq=10,
        outcome="routed" if states else draw(st.sampled_from(["routed", "unmatched", "discarded", "duplicates"])),
        deliveries=tuple(f"{number}.{place}" for place in range(len(states))), decided_at=NOW,
        said=draw(st.integers(0, 9)) > 0, deferred=draw(st.integers(0, 9)) == 0,
        awaits_study=draw(st.integers(0, 9)) == 0,
    )  # fmt: skip
    return batch, records


@st.composite
def cases(draw: st.DrawFn) -> tuple[SeriesRecord, list[DeliveryRecord | None], int]:
    """Return a series that is open, the records of its deliveries, and the sequence of its newest reception."""
    made = [draw(batches(number)) for number in range(1, draw(st.integers(0, 3)) + 1)]
    pending = PendingCommand(command_id="c", decision_key="k") if draw(st.integers(0, 9)) == 0 else None
    record = SeriesRecord(
        series_uid="1.2", study_uid="1", batches=tuple(batch for batch, _ in made), through_seq=10, pending=pending,
        done_at=draw(st.none() | CLOCKS), created_at=NOW, updated_at=NOW,
    )  # fmt: skip
    return record, [each for _, records in made for each in records], draw(st.sampled_from([0, 10, 11]))


@given(case=cases(), policy=POLICIES, watermark=WATERMARKS, clock=CLOCKS)
def test_nothing_unfinished_is_ever_deleted_by_retention_or_watermark(
    case: tuple[SeriesRecord, list[DeliveryRecord | None], int],
    policy: Retention,
    watermark: Watermark,
    clock: datetime,
) -> None:
    record, deliveries, newest = case
    judgement = judge(record, deliveries, newest, policy, clock)
    unfinished = any(each is None or each.state not in DONE for each in deliveries)
    open_ = any(batch.awaits_study or batch.deferred or not batch.said for batch in record.batches)
    if unfinished or open_ or record.pending is not None or newest > record.through_seq or not record.batches:
        assert not isinstance(judgement, Delete | Wait)
        assert not may_go_early(record, judgement, watermark, clock)
    if isinstance(judgement, Delete):
        assert record.done_at is not None
        assert clock - record.done_at >= SHORTEST
    if may_go_early(record, judgement, watermark, clock):
        assert record.done_at is not None
        assert clock - record.done_at >= watermark.done_for


@given(case=cases(), policy=POLICIES, clock=CLOCKS, longer=SPANS)
def test_a_longer_retention_never_deletes_earlier(
    case: tuple[SeriesRecord, list[DeliveryRecord | None], int],
    policy: Retention,
    clock: datetime,
    longer: timedelta,
) -> None:
    record, deliveries, newest = case
    more = Retention(
        delivered=policy.delivered + longer, unmatched=policy.unmatched + longer, discarded=policy.discarded + longer
    )
    if isinstance(judge(record, deliveries, newest, more, clock), Delete):
        assert isinstance(judge(record, deliveries, newest, policy, clock), Delete)


@given(
    sizes=st.lists(st.tuples(st.integers(0, 1000), st.none() | CLOCKS, st.sampled_from(SeriesState)), max_size=20),
    watermark=WATERMARKS,
    clock=CLOCKS,
)
def test_candidates_are_marked_as_done_for_long_enough_and_the_oldest_goes_first(
    sizes: list[tuple[int, datetime | None, SeriesState]], watermark: Watermark, clock: datetime
) -> None:
    records = [
        SeriesRecord(
            series_uid=f"1.{number}", study_uid="1", state=state, done_at=done_at, created_at=NOW, updated_at=NOW
        )
        for number, (_, done_at, state) in enumerate(sizes)
    ]
    found = [each for record in records if (each := room.candidate_of(record, watermark, clock)) is not None]
    assert all(clock - each.done_at >= watermark.done_for for each in found)
    ordered = [each.done_at for each in room.oldest_first(found)]
    assert ordered == sorted(ordered)


@given(first=CLOCKS, modified=CLOCKS, clock=CLOCKS, days=st.integers(1, 30))
def test_an_orphan_goes_only_a_grace_after_a_sweep_saw_it_whatever_clocks_say(
    first: datetime, modified: datetime, clock: datetime, days: int
) -> None:
    grace = timedelta(days=days)
    seen_now = orphans.orphan("1.2/x", 1, modified, "why", {}, grace, clock)
    assert not orphans.is_beyond_grace(seen_now, grace, clock)
    seen_before = orphans.orphan("1.2/x", 1, modified, "why", {"1.2/x": first}, grace, clock)
    if orphans.is_beyond_grace(seen_before, grace, clock):
        assert clock - first >= grace
        assert clock - modified >= grace


@given(key=st.text(max_size=80) | st.from_regex(r"\A[0-9.]{1,8}/[0-9.]{1,8}-[0-9a-f]{16}-[0-9a-f]{32}\.dcm\Z"))
def test_every_key_has_a_place_and_what_is_none_of_ours_is_never_an_orphan(key: str) -> None:
    place = orphans.place_of(key)
    if place.kind is orphans.Kind.OTHER:
        assert orphans.why_orphan(place, key, orphans.Series(None)) == ""
    else:
        assert place.uid in key.split("/")
        assert orphans.why_orphan(place, key, orphans.Series(None, unread=True)) == ""
