"""What would be deleted, when and why; and what is asked over the bus."""

import asyncio
from datetime import timedelta

import pytest
from cleaner_kit import SERIES, Place, ago

from hermes_cleaner.handlers.planning import Answerer
from hermes_common import subjects
from hermes_common.cleaning import ASK_PLAN, ASK_SWEEP, Plan, PlanAsked, SweepAsked, SweepBegun
from hermes_common.config import Watermark
from hermes_common.records import DeliveryState, SeriesState

pytestmark = pytest.mark.servers


async def test_a_plan_says_of_each_series_when_it_goes_and_why_and_changes_nothing(place: Place) -> None:
    await place.policy(timedelta(days=7))
    await place.series(DeliveryState.SUCCEEDED, "1.2.1", done_at=ago(days=8))
    await place.series(DeliveryState.SUCCEEDED, "1.2.2", done_at=ago(days=1))
    await place.series(DeliveryState.FAILED, "1.2.3")
    await place.series(DeliveryState.SUCCEEDED, "1.2.4", state=SeriesState.DELETED)
    await place.bus.send(f"$KV.{subjects.STATE}.series.0-1", b'{"of": "another release"}')
    before = [await place.record(uid) for uid in ("1.2.1", "1.2.2", "1.2.3")]
    plan = await place.planner.plan(10)
    assert (plan.series, plan.octets, plan.due, plan.due_octets, plan.unreadable) == (3, 6, 1, 2, 1)
    assert [(each.series_uid, each.why) for each in plan.soonest] == [
        ("1.2.1", "the retention of delivered series, 7d, has passed"),
        ("1.2.2", "the retention of delivered series, 7d"),
    ]
    assert plan.soonest[1].at == before[1].done_at + timedelta(days=7) if before[1].done_at else False
    assert [(each.reason, each.series) for each in plan.kept] == [("its delivery to a is failed", 1)]
    assert [await place.record(uid) for uid in ("1.2.1", "1.2.2", "1.2.3")] == before
    assert place.objects() == 16


async def test_a_plan_names_what_the_watermark_would_remove_first(place: Place) -> None:
    await place.policy(timedelta(days=7), watermark=Watermark(most=3))
    await place.series(DeliveryState.SUCCEEDED, "1.2.1", done_at=ago(days=1))
    await place.series(DeliveryState.SUCCEEDED, "1.2.2", done_at=ago(days=2))
    plan = await place.planner.plan(1)
    assert (plan.early, plan.early_octets, plan.watermark_words) == (1, 2, "at most 3 stored")
    assert [(each.series_uid, each.early) for each in plan.soonest] == [("1.2.2", True)]


async def test_plans_and_sweeps_are_asked_for_over_the_bus(place: Place) -> None:
    await place.policy()
    await place.series(DeliveryState.SUCCEEDED)
    answering = asyncio.create_task(Answerer(place.bus, place.planner, place.sweeper, "cleaner@test").run())
    try:
        async with asyncio.timeout(10):
            while not place.bus.nc._subs:
                await asyncio.sleep(0.01)
        await place.bus.nc.flush(5)
        asked = SweepAsked(actor="anna").model_dump_json().encode()
        begun = SweepBegun.model_validate_json((await place.bus.nc.request(ASK_SWEEP, asked, timeout=5)).data)
        assert begun.state == "begun"
        async with asyncio.timeout(10):
            while await place.sweeper.last() is None:
                await asyncio.sleep(0.02)
        limit = PlanAsked(limit=5).model_dump_json().encode()
        plan = Plan.model_validate_json((await place.bus.nc.request(ASK_PLAN, limit, timeout=10)).data)
    finally:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
    assert [each.series_uid for each in plan.soonest] == [SERIES]
    assert plan.sweep is not None
    assert (plan.sweep.objects, plan.cleaner) == (4, "cleaner@test")
