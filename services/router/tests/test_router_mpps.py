"""Performed procedure steps shorten the wait for a series and a study, and do nothing else."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import permutations, product

import pytest
from router_kit import SENDER, STUDY, Router, configure, policies, rule, said, stored

from hermes_common import config, events, records, subjects
from hermes_common.ids import derived_id
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_router.core import performing
from hermes_router.handlers.performing import Steps

pytestmark = pytest.mark.servers

CT, MR = "1.2.1", "1.2.2"
STEP, OTHER = "1.9.1", "1.9.2"
LONG = config.Completion(
    quiet_period=timedelta(hours=1),
    study=config.StudyCompletion(quiet_period=timedelta(hours=1), max_wait=timedelta(hours=2)),
)


def step(status: str, uid: str = STEP, change: int = 2, study: str = STUDY, **counts: int) -> events.MppsSet:
    """Return what is said of a step; series are named ct and mr."""
    uids = {"ct": CT, "mr": MR}
    return events.MppsSet(
        sop_instance_uid=uid, association_id="m1", sender=SENDER, status=status, study_uid=study, studies=[study],
        series=[events.PerformedSeries(series_uid=uids[name], images=count) for name, count in counts.items()],
        modality="CT", change=change,
    )  # fmt: skip


async def say(bus: Bus, event: events.MppsSet | events.MppsCreated) -> None:
    await bus.publish(event, derived_id("mpps", event.sop_instance_uid, str(event.change)))


async def until(check: Callable[[], Awaitable[object]], seconds: float = 15) -> object:
    async with asyncio.timeout(seconds):
        while not (found := await check()):
            await asyncio.sleep(0.05)
        return found


async def completed(router: Router, series: str = CT) -> list[events.SeriesCompleted]:
    found = await said(router.bus, f"series.completed.{series.replace('.', '-')}")
    return [event for event in found if isinstance(event, events.SeriesCompleted)]


async def waits(router: Router, series: str) -> bool:
    """Whether a timer of a series is armed."""
    return await router.bus.armed(subjects.series_timer(series)) is not None


@pytest.fixture
async def patient(router: Router) -> Router:
    """A router that waits for an hour, and runs; every series and every study goes somewhere."""
    await policies(router, LONG)
    whole = rule("whole", "study.series >= 1", "b", scope="study")
    await configure(router, rule("any", "Modality is present", "a"), whole)
    router.start()
    return router


async def images(router: Router, series: str, *numbers: int, association: str = "a1") -> None:
    for number in numbers:
        await stored(router.bus, f"{series}.{number}", series=series, association=association)


async def test_a_series_with_all_that_a_completed_step_names_is_complete_at_once(patient: Router) -> None:
    await images(patient, CT, 1, 2, 3)  # over an association that stays open
    await images(patient, MR, 1)
    await until(lambda: waits(patient, CT))
    await until(lambda: waits(patient, MR))
    await say(patient.bus, step("COMPLETED", ct=3, mr=2))
    await until(lambda: completed(patient))
    [found] = await completed(patient)
    assert (found.instances, found.quiet_period) == (3, timedelta(hours=1))
    assert found.shortened_by == "MPPS: the procedure step is completed and all 3 instances that it names are there"
    assert await waits(patient, MR)
    assert await completed(patient, MR) == []
    await images(patient, MR, 2)  # the last one: the step had been completed before it came
    await until(lambda: completed(patient, MR))
    assert "MPPS" in (await completed(patient, MR))[0].shortened_by


async def test_a_step_that_was_completed_before_this_router_began_is_read_back(router: Router) -> None:
    await policies(router, LONG)
    await configure(router, rule("any", "Modality is present", "a"))
    await say(router.bus, step("COMPLETED", ct=2))
    router.start()
    await images(router, CT, 1, 2)
    await until(lambda: completed(router))
    assert "MPPS" in (await completed(router))[0].shortened_by


@pytest.mark.parametrize("status", ["IN PROGRESS", "DISCONTINUED"])
async def test_a_step_that_is_not_completed_neither_shortens_a_wait_nor_discards_anything(
    patient: Router, status: str
) -> None:
    await images(patient, CT, 1)
    await until(lambda: waits(patient, CT))
    await say(patient.bus, step(status, uid=OTHER, study="1.3", ct=1))
    await say(patient.bus, step("COMPLETED", uid="1.9.3", study="1.3", mr=1))
    await until(lambda: _known(patient.steps, MR))  # what was said after it has been heard
    assert await waits(patient, CT)
    assert await patient.steps.instances_of(STUDY, CT) is None
    await patient.due(CT)
    [found] = await completed(patient)
    assert (found.instances, found.shortened_by) == (1, "")
    assert [batch.outcome for batch in (await patient.record(CT)).batches] == ["routed"]


async def _known(steps: Steps, series: str) -> bool:
    return await steps.instances_of("1.3", series) is not None


async def test_repetitions_do_not_make_up_for_what_is_missing(patient: Router) -> None:
    await say(patient.bus, step("COMPLETED", ct=2))
    await images(patient, CT, 1, 1)  # two receptions, one instance
    timer = subjects.series_timer(CT)
    await until(lambda: waits(patient, CT))

    async def waits_for_the_rest() -> bool:
        note = await patient.bus.last(subjects.TIMERS, timer)
        return note is not None and b"shortened_by" not in note.data and note.headers.get("Nats-Schedule") is not None

    await until(waits_for_the_rest)
    assert await completed(patient) == []
    await images(patient, CT, 2)
    await until(lambda: completed(patient))
    assert (await completed(patient))[0].instances == 2


async def test_what_comes_beyond_what_a_step_names_waits_for_quiet_as_ever(patient: Router) -> None:
    await say(patient.bus, step("COMPLETED", ct=2))
    await images(patient, CT, 1, 2)
    await until(lambda: _batches(patient))
    for number in (3, 4, 1):  # more than was named, and a repetition
        await arrived(patient, CT, number)
        await arrived(patient, MR, number)  # in a later batch of the assembler, which is done with the first one then
        due = await patient.bus.armed(subjects.series_timer(CT))
        assert due is not None
        assert due > now() + timedelta(minutes=50)
    assert len(await completed(patient)) == 1
    await patient.due(CT)
    assert [batch.instances for batch in (await patient.record(CT)).batches] == [2, 2]


async def _batches(router: Router) -> bool:
    loaded = await router.bus.load(subjects.STATE, subjects.series_state(CT), records.SeriesRecord)
    return loaded is not None and loaded[0].batches[-1].said


async def arrived(router: Router, series: str, number: int) -> None:
    """Have an instance come, and its series wait for quiet again."""
    timer = subjects.series_timer(series)
    before = await router.bus.last_sequence(subjects.TIMERS, timer)
    await images(router, series, number)

    async def armed_anew() -> bool:
        return await router.bus.last_sequence(subjects.TIMERS, timer) > before

    await until(armed_anew)


async def test_a_study_is_complete_at_once_when_all_of_its_steps_are(patient: Router) -> None:
    async def decided() -> list[events.Event]:
        return await said(patient.bus, "study.completed.1-2")

    async def looked_at() -> bool:
        loaded = await patient.studies.load(STUDY)
        return loaded is not None and "nothing must come" in loaded[0].waiting

    begun = step("IN PROGRESS", uid=OTHER, change=1).model_dump()
    await say(patient.bus, events.MppsCreated.model_validate(begun))
    await say(patient.bus, step("COMPLETED", ct=2))
    await images(patient, CT, 1, 2)
    await until(looked_at)
    assert (await patient.study()).round == 0  # the other step is in progress
    await images(patient, MR, 1)
    await until(lambda: waits(patient, MR))
    await say(patient.bus, step("COMPLETED", uid=OTHER, mr=1))
    await until(decided)
    [found] = await decided()
    assert found.reason == "MPPS: its procedure steps are completed and all 3 instances that they name are there"
    assert (found.outcome, found.series, found.instances) == ("routed", 2, 3)


async def test_a_study_whose_last_image_came_before_its_step_was_completed_is_looked_at(patient: Router) -> None:
    await images(patient, CT, 1)
    await until(lambda: waits(patient, CT))
    await patient.due(CT)
    await patient.study_due()
    assert (await patient.study()).round == 0
    await say(patient.bus, step("COMPLETED", ct=1))
    await until(lambda: said(patient.bus, "study.completed.1-2"))


async def test_more_about_a_study_than_is_read_shortens_nothing(router: Router, monkeypatch) -> None:
    monkeypatch.setattr("hermes_router.handlers.performing.MOST_SAID", 3)
    for number in range(5):
        await say(router.bus, step("COMPLETED", uid=f"1.9.{number}", ct=1))
    assert await router.steps.of_study(STUDY) == []
    assert await router.steps.instances_of(STUDY, CT) is None


# -- the decision


def test_the_last_word_on_a_step_counts_in_whatever_order_it_comes() -> None:
    words = [
        step("IN PROGRESS", change=2, ct=1), step("COMPLETED", change=3, ct=4, mr=0),
        step("COMPLETED", uid=OTHER, change=2, mr=5), step("COMPLETED", change=3, ct=4, mr=0),
    ]  # fmt: skip
    for order in permutations(words):
        assert performing.named(order) == {CT: 4, MR: 5}


@pytest.mark.parametrize(("first", "second"), list(product(events.StepStatus, repeat=2)))
def test_a_study_is_all_there_only_if_each_step_is_completed_and_counted(
    first: events.StepStatus, second: events.StepStatus
) -> None:
    steps = [step(first, ct=2), step(second, uid=OTHER, mr=1)]
    done = first == second == events.StepStatus.COMPLETED
    assert performing.all_of(steps, {CT: 2, MR: 1, "1.2.7": 9}) == (3 if done else None)
    assert performing.all_of(steps, {CT: 1, MR: 9}) is None
    assert performing.all_of(steps, {CT: 2}) is None
    assert performing.all_of([*steps, step("COMPLETED", uid="1.9.4")], {CT: 2, MR: 1}) == (3 if done else None)
    assert performing.all_of([step("COMPLETED", ct=2, mr=0)], {CT: 2, MR: 1}) is None  # not counted: not known
    assert performing.all_of([], {CT: 2}) is None
