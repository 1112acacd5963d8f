"""Studies on a real bus: complete, decided once, and applied to every series of theirs."""

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from hermes_common import config, events, records, subjects
from hermes_common.commands import SeriesCommand, StudyCommand
from hermes_common.ids import delivery_id
from hermes_common.rules import CompiledRuleSet, Context, decide_in_study, decide_series
from hermes_common.rules.facts import study_fields
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.consumer import Message
from hermes_common.runtime.objectstore.directory import DirectoryStore
from hermes_common.runtime.settings import RuntimeSettings
from hermes_router.core.batching import rule_fields
from hermes_router.core.rounds import earlier_of

sys.path.insert(0, str(Path(__file__).parent))
from router_kit import Router, configure, policies, rule, said, save, stored, works

pytestmark = pytest.mark.servers

CT, MR, SR = "1.2.1", "1.2.2", "1.2.3"
STUDY_TYPE = "study.completed.1-2"

EDITED_SERIES = int(os.environ.get("HERMES_TEST_EDITED_SERIES", "25"))
EDITS = int(os.environ.get("HERMES_TEST_EDITS", "80"))
"""More by hand: 500 and 5,000 are what docs/reliability.md speaks of."""


def study_rule(slug: str, expression: str, *targets: str, **more: object) -> config.Rule:
    return rule(slug, expression, *targets, scope="study", **more)


async def arrive(router: Router, series: str = CT, sop: str = "1", **more: object) -> None:
    """Have an instance come long ago, so that only its series has to be quiet."""
    fields = {"Modality": [{CT: "CT", MR: "MR", SR: "SR"}.get(series, "OT")], **more}
    await stored(router.bus, f"{series}.{sop}", series=series, received=now() - timedelta(hours=1), **fields)


async def outcomes(router: Router, *series: str) -> list[str]:
    return [batch.outcome for uid in series for batch in (await router.record(uid)).batches]


async def awaiting(router: Router, *series: str) -> int:
    """Return how many batches await the decision on their study."""
    found = [await router.bus.load(subjects.STATE, subjects.series_state(uid), records.SeriesRecord) for uid in series]
    return sum(batch.awaits_study for each in found if each is not None for batch in each[0].batches)


async def asked(router: Router, series: str) -> list[tuple[str, list[str]]]:
    """Return kind and targets of every decision that was said on a series, in order."""
    token = series.replace(".", "-")
    found = await said(router.bus, f"series.*.{token}")
    decisions = [event.decision for event in found if hasattr(event, "decision")]
    return [(each.kind, [planned.target for planned in each.deliveries]) for each in decisions]


async def queued(bus: Bus) -> Counter[tuple[str, str]]:
    """Return how often a delivery was said to be queued, by batch and target."""
    found = Counter[tuple[str, str]]()
    for target in ("a", "b", "c"):
        for event in await said(bus, f"delivery.queued.{target}"):
            assert isinstance(event, events.DeliveryQueued)
            found[event.batch_id, event.target] += 1
    return found


async def test_a_series_that_only_study_rules_concern_is_not_unmatched_while_its_study_is_open(router: Router) -> None:
    await configure(router, study_rule("whole", 'study.series >= 2 and any series (Modality == "MR")', "a"))
    await arrive(router, CT)
    await arrive(router, MR)
    await router.due(CT, MR)
    assert await said(router.bus, "series.unmatched.*") == []
    deferred = await said(router.bus, "series.deferred.*")
    assert [event.decision.outcome for event in deferred] == ["deferred", "deferred"]
    assert await awaiting(router, CT, MR) == 2
    await router.study_due()
    for uid in (CT, MR):
        assert (await asked(router, uid))[-1] == ("study", ["a"])
        [batch] = (await router.record(uid)).batches
        assert (batch.outcome, batch.awaits_study, batch.deferred) == ("routed", False, False)
        assert batch.deliveries == (delivery_id(batch.batch_id, "a"),)
    [completed] = await said(router.bus, STUDY_TYPE)
    assert isinstance(completed, events.StudyCompleted)
    assert (completed.outcome, completed.series, completed.batches, completed.revision) == ("routed", 2, 2, 1)
    assert completed.targets == ["a"]
    assert completed.rules[0].clauses[0].seen == ["2"]
    assert (await router.study()).state is records.StudyState.COMPLETE
    assert await works(router.bus) == 2


async def test_a_target_that_rules_of_both_scopes_ask_for_gets_each_batch_once(router: Router) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"), study_rule("all", "study.series >= 1", "a", "b"))
    await arrive(router, CT)
    await arrive(router, MR)
    await router.due(CT, MR)
    await router.study_due()
    assert await asked(router, CT) == [("rules", ["a"]), ("study", ["b"])]
    assert (await asked(router, MR))[-1] == ("study", ["a", "b"])
    assert set((await queued(router.bus)).values()) == {1}
    assert await works(router.bus) == 4


async def test_a_series_is_unmatched_once_its_study_is_decided_without_a_match(router: Router) -> None:
    await configure(router, study_rule("none", 'Modality == "XA"', "a"))
    await arrive(router)
    await router.due(CT)
    await router.study_due()
    [unmatched] = await said(router.bus, "series.unmatched.1-2-1")
    assert isinstance(unmatched, events.SeriesUnmatched)
    assert unmatched.decision.kind == "study"
    assert unmatched.decision.rules[0].clauses[0].seen == ["CT"]


async def test_without_rules_about_studies_nothing_is_deferred(router: Router) -> None:
    await configure(router, rule("mr", 'Modality == "MR"', "a"))
    await arrive(router)
    await router.due(CT)
    assert await outcomes(router, CT) == ["unmatched"]
    assert len(await said(router.bus, "series.unmatched.1-2-1")) == 1
    await router.study_due()
    assert len(await asked(router, CT)) == 1


async def test_without_rules_about_studies_a_study_says_that_its_series_were_routed(router: Router) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    await arrive(router)
    await arrive(router, MR)
    await router.due(CT, MR)
    await router.study_due()
    [completed] = await said(router.bus, STUDY_TYPE)
    assert isinstance(completed, events.StudyCompleted)
    assert (completed.outcome, completed.rules, completed.routed, completed.series) == ("unmatched", [], 1, 2)


@pytest.mark.parametrize(("modality", "status", "target"), [("MR", "fired", "a"), ("CT", "held_back", "b")])
async def test_a_fallback_rule_fires_only_if_no_rule_of_either_scope_matched(
    router: Router, modality: str, status: str, target: str
) -> None:
    rules = (rule("rest", "", "a", fallback=True), study_rule("ct", 'Modality == "CT"', "b"))
    await configure(router, *rules)
    await arrive(router, SR, Modality=[modality])
    await router.due(SR)
    assert await works(router.bus) == 0
    await router.study_due()
    assert (await asked(router, SR))[-1] == ("study", [target])
    [routed] = await said(router.bus, "series.routed.1-2-3")
    assert isinstance(routed, events.SeriesRouted)
    assert {each.slug: each.status for each in routed.decision.rules}["rest"] == status


async def test_a_fallback_rule_about_studies_is_a_matter_of_each_series(router: Router) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"), study_rule("rest", "", "b", fallback=True))
    await arrive(router, CT)
    await arrive(router, MR)
    await router.due(CT, MR)
    await router.study_due()
    assert await asked(router, CT) == [("rules", ["a"])]
    assert (await asked(router, MR))[-1] == ("study", ["b"])


async def test_discarding_takes_effect_in_either_scope_only_if_nothing_routes_unless_it_stops(router: Router) -> None:
    await configure(
        router,
        rule("sr", 'Modality == "SR"', action="discard", then="stop"),
        rule("mr", 'Modality == "MR"', action="discard"),
        study_rule("ct", 'any series (Modality == "CT")', "a"),
    )
    for uid in (CT, MR, SR):
        await arrive(router, uid)
    await router.due(CT, MR, SR)
    assert await outcomes(router, CT, MR, SR) == ["unmatched", "unmatched", "discarded"]
    assert await said(router.bus, "series.discarded.1-2-2") == []
    await router.study_due()
    assert await outcomes(router, CT, MR, SR) == ["routed", "routed", "discarded"]
    await configure(router, study_rule("sr", 'Modality == "SR"', action="discard"), revision=2)
    await stored(
        router.bus, "1.9.1.1", series="1.9.1", study="1.9", received=now() - timedelta(hours=1), Modality=["SR"]
    )
    await router.due("1.9.1")
    await router.study_due("1.9")
    assert await outcomes(router, "1.9.1") == ["discarded"]
    assert (await asked(router, "1.9.1"))[-1] == ("study", [])


async def test_a_rule_that_stops_leaves_out_the_rules_about_the_study_that_stand_after_it(router: Router) -> None:
    before, after = study_rule("before", "study.series >= 1", "b"), study_rule("after", "study.series >= 1", "c")
    await configure(router, before, rule("ct", 'Modality == "CT"', "a", then="stop"), after)
    await arrive(router, CT)
    await arrive(router, MR)
    await router.due(CT, MR)
    await router.study_due()
    assert await asked(router, CT) == [("rules", ["a"]), ("study", ["b"])]
    assert (await asked(router, MR))[-1] == ("study", ["b", "c"])


async def test_a_study_waits_for_a_series_that_is_still_being_received(router: Router) -> None:
    await configure(router, study_rule("all", "study.series >= 2", "a"))
    await arrive(router, CT)
    await arrive(router, MR)
    await router.studies.join("1.2", MR)
    await router.due(CT)
    await router.study_due()
    study = await router.study()
    assert (study.state, study.round) == (records.StudyState.OPEN, 0)
    assert "1 of its series are still being received" in study.waiting
    assert study.until is not None
    await router.due(MR)
    await router.study_due()
    assert await outcomes(router, CT, MR) == ["routed", "routed"]


async def test_what_comes_late_goes_where_the_study_went_under_the_revision_of_that_time(router: Router) -> None:
    await configure(router, study_rule("all", "study.series >= 1", "a"))
    await arrive(router, CT)
    await router.due(CT)
    await router.study_due()
    await configure(router, study_rule("all", "study.series >= 1", "b"), revision=2)
    await arrive(router, MR)
    await arrive(router, CT, "2")
    await router.due(MR, CT)
    assert (await router.study()).state is records.StudyState.OPEN
    await router.study_due()
    assert (await asked(router, MR))[-1] == ("late", ["a"])
    assert (await asked(router, CT))[1:] == [("study", ["a"]), ("late", ["a"])]
    late = (await said(router.bus, "series.routed.1-2-2"))[-1]
    assert isinstance(late, events.SeriesRouted)
    assert late.decision.revision == 1
    assert [event.kind for event in await said(router.bus, STUDY_TYPE)] == ["rules", "late"]
    assert await works(router.bus) == 3


async def test_by_policy_what_comes_late_goes_where_the_present_rules_say(router: Router) -> None:
    await policies(router, config.Completion(late=config.Late.PRESENT_RULES))
    await configure(router, rule("ct", 'Modality == "CT"', "c"), study_rule("all", "study.series >= 1", "a"))
    await arrive(router, CT)
    await router.due(CT)
    await router.study_due()
    await configure(router, study_rule("all", "study.series >= 1", "b"), revision=2)
    await arrive(router, MR)
    await arrive(router, CT, "2")
    await router.due(MR, CT)
    await router.study_due()
    assert (await asked(router, MR))[-1] == ("study", ["b"])
    assert await asked(router, CT) == [("rules", ["c"]), ("study", ["a"]), ("rules", []), ("study", ["b"])]


async def test_a_study_that_no_rule_matched_is_looked_at_as_a_whole_when_more_of_it_comes(router: Router) -> None:
    await configure(router, study_rule("two", "study.series >= 2", "a"))
    await arrive(router, CT)
    await router.due(CT)
    await router.study_due()
    assert await outcomes(router, CT) == ["unmatched"]
    await arrive(router, MR)
    await router.due(MR)
    await router.study_due()
    assert await outcomes(router, CT, MR) == ["routed", "routed"]
    assert len(await said(router.bus, "series.unmatched.1-2-1")) == 1
    assert set((await queued(router.bus)).values()) == {1}


PET_CT = config.StudyCondition(name="PET/CT", required=('Modality == "CT"', 'Modality == "MR"'), series=2)


async def test_a_study_that_lacks_a_required_series_is_held_for_a_person_who_completes_it(router: Router) -> None:
    study = config.StudyCompletion(
        conditions=(PET_CT,), then=config.AfterWait.HOLD, max_wait=timedelta(hours=2), quiet_period=timedelta(seconds=1)
    )
    await policies(router, config.Completion(study=study))
    await configure(router, study_rule("all", "study.series >= 1", "a"))
    await arrive(router, CT)
    await router.due(CT)
    await router.study_due()
    waiting = await router.study()
    assert waiting.state is records.StudyState.OPEN
    assert "PET/CT: 1 of 2 series are there" in waiting.waiting
    assert 'PET/CT: no series is Modality == "MR"' in waiting.waiting
    loaded = await router.studies.load("1.2")
    assert loaded is not None
    await router.studies.store(waiting.model_copy(update={"opened_at": now() - timedelta(hours=3)}), loaded[1])
    await router.study_due()
    await router.study_due()
    assert (await router.study()).state is records.StudyState.HELD
    [held] = await said(router.bus, "study.held.1-2")
    assert isinstance(held, events.StudyHeld)
    assert held.reason.startswith("the maximum wait of 7200 s has passed")
    assert await outcomes(router, CT) == ["unmatched"]
    assert await said(router.bus, "series.unmatched.*") == []
    command = StudyCommand(command_id=new_id(), actor="anna", study_uid="1.2", action="complete")
    await router.command(command)
    await router.command(command)
    [completed] = await said(router.bus, STUDY_TYPE)
    assert isinstance(completed, events.StudyCompleted)
    assert (completed.held, completed.actor, completed.reason) == (True, "anna", "anna said that it is complete")
    assert await outcomes(router, CT) == ["routed"]


async def hold(router: Router) -> None:
    """Have a CT series of a study held because a rule about studies needs an MR series too; an SR series went to b."""
    needs = {"required": ['Modality == "MR"'], "max_wait": "1m", "then": "hold"}
    whole = study_rule("whole", 'any series (Modality == "CT")', "a", needs=needs)
    await configure(router, rule("sr", 'Modality == "SR"', "b"), whole)
    await arrive(router, CT)
    await arrive(router, SR)
    await router.due(CT, SR)
    await router.study_due()
    waiting = await router.study()
    assert (waiting.state, waiting.waiting) == (
        records.StudyState.OPEN,
        'rule whole: no series is Modality == "MR"',
    )
    loaded = await router.studies.load("1.2")
    assert loaded is not None
    await router.studies.store(loaded[0].model_copy(update={"opened_at": now() - timedelta(minutes=2)}), loaded[1])
    await router.study_due()
    assert (await router.study()).state is records.StudyState.HELD


async def test_a_study_that_lacks_what_a_rule_needs_is_held_and_goes_on_when_it_comes(router: Router) -> None:
    await hold(router)
    [held] = await said(router.bus, "study.held.1-2")
    assert isinstance(held, events.StudyHeld)
    assert held.reason == 'the maximum wait of 60 s has passed: rule whole: no series is Modality == "MR"'
    await arrive(router, MR)
    await router.due(MR)
    await router.study_due()
    assert (await asked(router, CT))[-1] == ("study", ["a"])
    assert await awaiting(router, CT, MR, SR) == 0


async def test_a_person_discards_a_held_study_and_what_was_sent_stays_sent(router: Router) -> None:
    await hold(router)
    command = StudyCommand(command_id=new_id(), actor="anna", study_uid="1.2", action="discard")
    await router.command(command)
    await router.command(command)
    [completed] = await said(router.bus, STUDY_TYPE)
    assert isinstance(completed, events.StudyCompleted)
    assert (completed.kind, completed.outcome, completed.actor) == ("manual", "discarded", "anna")
    assert (completed.held, completed.routed, completed.reason) == (True, 1, "anna discarded it")
    assert await outcomes(router, CT, SR) == ["discarded", "routed"]
    assert await awaiting(router, CT, SR) == 0
    [discarded] = await said(router.bus, "series.discarded.1-2-1")
    assert isinstance(discarded, events.SeriesDiscarded)
    assert (discarded.decision.kind, discarded.decision.actor) == ("manual", "anna")
    await arrive(router, CT, "2")
    await router.due(CT)
    await router.study_due()
    assert await outcomes(router, CT) == ["discarded", "discarded"]
    recover = SeriesCommand(command_id=new_id(), actor="anna", series_uid=CT, action="route", targets=("a",))
    await router.command(recover)
    assert await outcomes(router, CT) == ["routed", "routed"]


async def test_a_held_study_goes_on_by_itself_when_what_is_missing_comes(router: Router) -> None:
    study = config.StudyCompletion(conditions=(PET_CT,), then=config.AfterWait.HOLD, max_wait=timedelta(minutes=1))
    await policies(router, config.Completion(study=study))
    await configure(router, study_rule("all", "study.series >= 1", "a"))
    await arrive(router, CT)
    await router.due(CT)
    loaded = await router.studies.load("1.2")
    assert loaded is not None
    await router.studies.store(loaded[0].model_copy(update={"opened_at": now() - timedelta(hours=3)}), loaded[1])
    await router.study_due()
    assert (await router.study()).state is records.StudyState.HELD
    await arrive(router, MR)
    await router.due(MR)
    await router.study_due()
    assert await outcomes(router, CT, MR) == ["routed", "routed"]


async def test_a_person_routes_every_series_of_a_study_once(router: Router) -> None:
    await configure(router, study_rule("none", "study.series >= 9", "a"))
    await arrive(router, CT)
    await arrive(router, MR)
    await router.due(CT, MR)
    command = StudyCommand(command_id=new_id(), actor="anna", study_uid="1.2", action="route", targets=("b",))
    await router.command(command)
    await router.command(command)
    router.start()
    async with asyncio.timeout(10):
        while len(await said(router.bus, "delivery.queued.b")) < 2:
            await asyncio.sleep(0.05)
    await router.stop()
    await router.study_due()
    assert await outcomes(router, CT, MR) == ["routed", "routed"]
    assert (await asked(router, CT))[1:] == [("manual", ["b"]), ("study", [])]
    assert await works(router.bus) == 2


async def test_what_a_person_discards_the_study_does_not_send(router: Router) -> None:
    await configure(router, study_rule("all", "study.series >= 1", "a"))
    await arrive(router, CT)
    await arrive(router, MR)
    await router.due(CT, MR)
    await router.command(SeriesCommand(command_id=new_id(), actor="anna", series_uid=CT, action="discard"))
    await router.study_due()
    assert await outcomes(router, CT, MR) == ["discarded", "routed"]


async def test_evaluating_a_series_again_asks_the_rules_about_its_study_again(router: Router) -> None:
    await configure(router, study_rule("none", "study.series >= 9", "a"))
    await arrive(router)
    await router.due(CT)
    await router.study_due()
    assert await outcomes(router, CT) == ["unmatched"]
    await configure(router, study_rule("all", "study.series >= 1", "b"), revision=2)
    command = SeriesCommand(command_id=new_id(), actor="anna", series_uid=CT, action="reevaluate")
    await router.command(command)
    await router.study_due()
    assert (await asked(router, CT))[-1] == ("study", ["b"])
    await router.command(command)
    await router.study_due()
    assert set((await queued(router.bus)).values()) == {1}


async def test_a_study_rule_that_fails_is_visible_on_the_series_and_nothing_is_discarded(
    router: Router,
) -> None:
    broken = config.Rule.model_construct(
        **{**study_rule("broken", "study.series >= 1", "a").model_dump(), "expression": "study.series === 1"}
    )
    await configure(
        router, rule("ct", 'Modality == "CT"', "b"), rule("rest", 'Modality == "MR"', action="discard"), broken
    )
    await arrive(router, CT)
    await arrive(router, MR)
    await router.due(CT, MR)
    await router.study_due()
    assert await outcomes(router, CT, MR) == ["routed", "unmatched"]
    [unmatched] = await said(router.bus, "series.unmatched.1-2-2")
    [_, routed] = await said(router.bus, "series.routed.1-2-1")
    for event in (unmatched, routed):
        assert any("rule broken failed" in problem for problem in event.decision.problems)


async def test_a_target_that_a_study_rule_asks_for_and_is_not_configured_is_a_problem_and_its_delivery_waits(
    router: Router,
) -> None:
    await configure(router, study_rule("all", "study.series >= 1", "c"))
    await arrive(router)
    await router.due(CT)
    await router.study_due()
    [routed] = await said(router.bus, "series.routed.1-2-1")
    assert routed.decision.problems == ["target c is asked for by all, but is not configured"]
    assert await works(router.bus) == 1


STEPS = [
    "hermes_router.adapters.documents.Documents.write_round",
    "hermes_router.handlers.joining.Studies.store",
    "hermes_router.handlers.studies.StudyDecider._say",
    "hermes_router.handlers.studies.StudyDecider._apply",
    "hermes_router.adapters.documents.Documents.write_decisions",
    "hermes_router.handlers.deciding.Decider.store",
    "hermes_router.handlers.deciding.Decider.say_pending",
    "hermes_router.handlers.saying.Speaker.decided",
    "hermes_router.handlers.saying.Speaker._queue",
    "hermes_router.core.lifecycle.command_done",
    "hermes_router.core.studies.said",
]


@pytest.mark.parametrize("step", STEPS)
async def test_a_crash_at_any_step_of_a_study_loses_nothing_and_doubles_nothing(
    router: Router, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"), study_rule("all", "study.series >= 1", "a", "b"))
    await arrive(router, CT)
    await arrive(router, MR)
    await router.due(CT, MR)

    def crash(*_: object, **__: object) -> None:
        raise ConnectionAbortedError("the process is gone")

    with monkeypatch.context() as patched:
        patched.setattr(step, crash)
        with pytest.raises(ConnectionAbortedError):
            await router.study_due()
    for _ in range(2):
        await router.due(CT, MR)
        await router.study_due()
    found = await queued(router.bus)
    assert sorted(target for _, target in found) == ["a", "a", "b", "b"]
    assert set(found.values()) == {1}
    assert await works(router.bus) == 4
    assert len(await said(router.bus, STUDY_TYPE)) == 1
    assert await awaiting(router, CT, MR) == 0
    assert (await router.study()).round == 1


@pytest.mark.parametrize(
    "step", ["hermes_router.handlers.joining.Studies.batched", "hermes_router.core.lifecycle.said"]
)
async def test_a_crash_before_the_study_knows_of_a_batch_is_made_good(
    router: Router, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await configure(router, study_rule("all", "study.series >= 1", "a"))
    await arrive(router)

    def crash(*_: object, **__: object) -> None:
        raise ConnectionAbortedError("the process is gone")

    with monkeypatch.context() as patched:
        patched.setattr(step, crash)
        with pytest.raises(ConnectionAbortedError):
            await router.due(CT)
    await router.due(CT)
    assert await router.bus.last_sequence(subjects.TIMERS, subjects.study_timer("1.2")) > 0
    await router.study_due()
    assert await outcomes(router, CT) == ["routed"]


@pytest.fixture
async def second(bus: Bus, nats_url: str, tmp_path: Path) -> AsyncIterator[Router]:
    """Another router on the same bus and the same store."""
    other = Bus(RuntimeSettings(nats_url=SecretStr(nats_url)), "second")
    other.start()
    await asyncio.wait_for(other.ready(), 10)
    made = Router(other, DirectoryStore(tmp_path / "store"))
    yield made
    await made.stop()
    made.store.close()
    await other.close()


async def test_two_routers_side_by_side_decide_every_study_once(router: Router, second: Router) -> None:
    quick = timedelta(seconds=1)
    study = config.StudyCompletion(quiet_period=quick)
    await policies(router, config.Completion(quiet_period=quick, study=study))
    await configure(router, rule("ct", 'Modality == "CT"', "a"), study_rule("all", "study.series >= 1", "a", "b"))
    for each in (router, second):
        each.start()
    uids = [(f"1.{study}", f"1.{study}.{series}") for study in range(2, 8) for series in range(1, 4)]
    for number in range(3):
        for study_uid, series_uid in uids:
            modality = ["CT"] if series_uid.endswith("1") else ["MR"]
            await stored(router.bus, f"{series_uid}.{number}", series=series_uid, study=study_uid, Modality=modality)
    async with asyncio.timeout(30):
        while len(await said(router.bus, "study.completed.*")) < 6 or await awaiting(router, *(uid for _, uid in uids)):
            await asyncio.sleep(0.2)
    found = await queued(router.bus)
    assert set(found.values()) == {1}
    batches = [batch for _, uid in uids for batch in (await router.record(uid)).batches]
    assert set(found) == {(batch.batch_id, target) for batch in batches for target in ("a", "b")}
    assert sum(batch.instances for batch in batches) == 3 * len(uids)


async def test_both_routers_looking_at_once_decide_once(router: Router, second: Router) -> None:
    await configure(router, study_rule("all", "study.series >= 1", "a"))
    await second.config.refresh()
    await arrive(router, CT)
    await arrive(router, MR)
    await router.due(CT, MR)
    looks = [each.study_due() for each in (router, second) for _ in range(4)]
    await asyncio.gather(*looks, return_exceptions=True)
    await router.study_due()
    assert (await router.study()).round == 1
    assert set((await queued(router.bus)).values()) == {1}
    assert len(await said(router.bus, STUDY_TYPE)) == 1
    assert await works(router.bus) == 2


async def test_instances_that_come_around_the_completion_of_their_study_are_all_sent(router: Router) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    await configure(router, rule("ct", 'Modality == "CT"', "a"), study_rule("all", "study.series >= 2", "b"))
    series = [f"1.2.{number}" for number in range(10, 16)]
    sent = 0

    async def act() -> None:
        nonlocal sent
        uid = chance.choice(series)
        match chance.randrange(5):
            case 0 | 1:
                sent += 1
                modality = "CT" if uid < "1.2.13" else "MR"
                await arrive(router, uid, str(sent), Modality=[modality])
            case 2 | 3:
                await router.due(uid)
            case _:
                await router.study_due()

    for _ in range(60):
        group = [act() for _ in range(chance.randint(1, 4))]
        await asyncio.gather(*group, return_exceptions=True)
    for _ in range(2):
        await router.due(*series)
        await router.study_due()
    batches = []
    for uid in series:
        if await router.bus.load(subjects.STATE, subjects.series_state(uid), records.SeriesRecord):
            batches += [(uid, batch) for batch in (await router.record(uid)).batches]
    assert sum(batch.instances for _, batch in batches) == sent, f"seed {seed}"
    found = await queued(router.bus)
    assert set(found.values()) == {1}, f"seed {seed}"
    expected = {(batch.batch_id, "b") for _, batch in batches}
    expected |= {(batch.batch_id, "a") for uid, batch in batches if uid < "1.2.13"}
    assert set(found) == expected, f"seed {seed}"
    assert not any(batch.awaits_study for _, batch in batches), f"seed {seed}"


async def test_every_decision_reproduces_from_the_revision_it_names_while_the_rules_are_edited(router: Router) -> None:
    revisions: dict[int, tuple[config.Rule, ...]] = {}
    await configure(router)

    def rules_of(number: int) -> tuple[config.Rule, ...]:
        return (
            rule(
                f"ct-{number}",
                'Modality == "CT"',
                "a" if number % 2 else "b",
                then="stop" if number % 3 else "continue",
            ),
            study_rule(f"study-{number}", f"study.series >= {number % 3 + 1}", "c" if number % 2 else "a"),
            rule(f"rest-{number}", "", "b", fallback=True),
        )

    async def edit() -> None:
        for number in range(2, EDITS + 2):
            revisions[number] = rules_of(number)
            await save(router.bus, config.Kind.RULES, config.RuleSet(rules=revisions[number]), number)
            await router.config.refresh()
            while number > (received + 1) * EDITS // len(series):  # neither is done before the other
                await asyncio.sleep(0.001)

    async def receive() -> None:
        nonlocal received
        for number, (uid, study) in enumerate(series):
            while len(revisions) < number * EDITS // len(series):
                await asyncio.sleep(0.001)
            received = number
            await arrive(router, uid, Modality=["CT" if number % 2 else "MR"], study=study)
            await router.due(uid)
            if number % 4 == 3:
                await router.study_due(study)
        received = len(series)

    revisions[1] = ()
    received = 0
    series = [(f"1.2.{number // 25}.{number}", f"1.2.{number // 25}") for number in range(EDITED_SERIES)]
    await asyncio.gather(edit(), receive())
    for study in {study for _, study in series}:
        await router.study_due(study)
    checked, named = 0, set()
    for uid, _ in series:
        for event in await said(router.bus, f"series.*.{uid.replace('.', '-')}"):
            decision = getattr(event, "decision", None)
            if decision is None or decision.kind == "late":
                continue
            [stored_again] = [
                d for d in await router.documents.decisions(decision.key) if d.batch_id == decision.batch_id
            ]
            assert stored_again.revision == decision.revision
            compiled = CompiledRuleSet.compile_all(revisions[decision.revision])
            record = await router.record(uid)
            manifests = await router.documents.manifests(record.batches)
            fields = rule_fields(manifests, manifests[-1].last_received_at.astimezone())
            known = {each.slug for each in decision.rules}
            slugs = {each.slug for each in revisions[decision.revision]}
            assert known <= slugs
            if decision.kind == "rules":
                again = decide_series(compiled, Context(fields), decision.decided_at)
                assert again.outcome == decision.outcome
                assert [t.target for t in again.targets] == [p.target for p in decision.deliveries]
            else:
                count = int(next(c.seen[0] for r in decision.rules for c in r.clauses if "study.series" in c.text))
                study = Context(study_fields([fields] * count, count, fields), [fields] * count)
                [batch] = record.batches
                all_of_them = await router.documents.decisions_on(batch)
                before = all_of_them[: [each.key for each in all_of_them].index(decision.key)]
                earlier = earlier_of(before) if before[-1].outcome == "routed" else None
                again = decide_in_study(compiled, Context(fields), study, decision.decided_at, earlier=earlier)
                there = {planned.target for each in before for planned in each.deliveries}
                assert [t.target for t in again.targets if t.target not in there] == [
                    planned.target for planned in decision.deliveries
                ]
                assert [each.status for each in again.results] == [each.status for each in decision.rules]
            checked += 1
            named.add(decision.revision)
    assert checked >= EDITED_SERIES
    assert len(named) > EDITED_SERIES // 3, "the rules were edited meanwhile"


async def test_the_quiet_period_of_a_modality_is_used_and_recorded(router: Router) -> None:
    entries = (
        config.QuietPeriod(source="other", quiet_period=timedelta(minutes=9)),
        config.QuietPeriod(source="ct01", modality="MR", quiet_period=timedelta(minutes=8)),
        config.QuietPeriod(modality="CT", quiet_period=timedelta(seconds=1)),
    )
    source = config.Source(slug="ct01", name="CT", calling_aet="CT01")
    await save(router.bus, config.Kind.SOURCES, config.Sources(sources=(source,)))
    await policies(router, config.Completion(quiet_period=timedelta(minutes=7), quiet_periods=entries))
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    router.start()
    await stored(router.bus, "1.2.1.1", series=CT)
    await stored(router.bus, "1.2.2.1", series=MR, Modality=["MR"])
    async with asyncio.timeout(10):
        while not (completed := await said(router.bus, "series.completed.1-2-1")):
            await asyncio.sleep(0.1)
    assert isinstance(completed[0], events.SeriesCompleted)
    assert (completed[0].quiet_period, completed[0].quiet_for) == (timedelta(seconds=1), "modality CT")
    assert await said(router.bus, "series.completed.1-2-2") == []


def message(body: bytes) -> Message:
    return Message(subjects.series_due(CT), {}, body, 1, 1)


CLOSED = {"instances": 3, "duration": timedelta(seconds=1)}


async def test_a_closed_association_and_a_known_number_of_instances_shorten_the_wait(router: Router) -> None:
    await policies(router, config.Completion(quiet_period=timedelta(minutes=5)))
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    router.start()
    for number in range(3):
        await stored(router.bus, f"1.2.1.{number}", series=CT, NumberOfSeriesRelatedInstances=["3"])
        await stored(router.bus, f"1.2.2.{number}", series=MR, NumberOfSeriesRelatedInstances=["4"])
    async with asyncio.timeout(10):
        while await router.bus.last_sequence(subjects.TIMERS, subjects.series_timer(MR)) == 0:
            await asyncio.sleep(0.05)
    sender = events.Sender(calling_aet="CT01", called_aet="HERMES", address="10.0.0.7")
    async with asyncio.timeout(10):
        while not (completed := await said(router.bus, "series.completed.1-2-1")):
            await router.bus.publish(events.AssociationClosed(association_id="a1", sender=sender, **CLOSED))
            await asyncio.sleep(0.3)
    assert isinstance(completed[0], events.SeriesCompleted)
    assert (completed[0].instances, completed[0].quiet_period) == (3, timedelta(minutes=5))
    assert "all 3 instances are there (NumberOfSeriesRelatedInstances)" in completed[0].shortened_by
    assert await said(router.bus, "series.completed.1-2-2") == []
    await stored(router.bus, "1.2.1.9", series=CT, NumberOfSeriesRelatedInstances=["3"])
    async with asyncio.timeout(10):
        while len(await said(router.bus, "series.completed.1-2-1")) < 2:
            await asyncio.sleep(0.1)
    assert (await asked(router, CT))[-1] == ("late", ["a"])


async def test_a_count_that_only_repetitions_reach_shortens_nothing(router: Router) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    for _ in range(3):
        await stored(router.bus, "1.2.1.1", series=CT)
    note = b'{"quiet_period": "5m", "shortened_by": "x", "expected": 3}'
    await router.decider.handle(message(note))
    assert await router.bus.load(subjects.STATE, subjects.series_state(CT), records.SeriesRecord) is None
    assert await router.bus.last_sequence(subjects.TIMERS, subjects.series_timer(CT)) > 0
    await router.decider.handle(message(b'{"quiet_period": "5m"}'))
    assert (await router.record(CT)).batches[0].quiet_period == timedelta(minutes=5)


async def test_a_known_number_of_instances_of_the_study_shortens_its_wait(router: Router) -> None:
    await policies(router, config.Completion(study=config.StudyCompletion(quiet_period=timedelta(hours=1))))
    await configure(router, study_rule("all", "study.series >= 1", "a"))
    await stored(router.bus, "1.2.1.1", series=CT, NumberOfStudyRelatedInstances=["2"])
    await router.due(CT)
    await router.study_due()
    assert (await router.study()).round == 0
    await stored(router.bus, "1.2.2.1", series=MR, NumberOfStudyRelatedInstances=["2"])
    await router.due(MR)
    await router.study_due()
    [completed] = await said(router.bus, STUDY_TYPE)
    assert completed.reason == "all 2 instances are there (NumberOfStudyRelatedInstances)"
