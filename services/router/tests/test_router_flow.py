"""The router on a real bus: from stored instances to deliveries."""

import asyncio
import hashlib
import os
import random
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from hermes_common import config, events, records, subjects
from hermes_common.commands import SeriesCommand
from hermes_common.ids import delivery_id
from hermes_common.runtime.clock import new_id
from hermes_common.runtime.consumer import Message
from hermes_common.runtime.errors import TransientError

sys.path.insert(0, str(Path(__file__).parent))
from router_kit import SERIES, Router, configure, policies, rule, said, save, stored, works

pytestmark = pytest.mark.servers


async def test_a_series_that_has_been_quiet_goes_to_the_targets_of_the_rules_that_match(router: Router) -> None:
    await configure(
        router, rule("ct", 'Modality == "CT" and source.aet == "CT01"', "a", "b"), rule("mr", 'Modality == "MR"', "b")
    )
    await save(
        router.bus,
        config.Kind.POLICIES,
        config.Policies(completion=config.Completion(quiet_period=timedelta(seconds=1))),
    )
    router.start()
    await router.config.loaded.wait()
    for number in range(5):
        await stored(router.bus, f"1.2.3.{number}")
    async with asyncio.timeout(10):
        while not (routed := await said(router.bus, "series.routed.1-2-3")):
            await asyncio.sleep(0.1)
        while await works(router.bus) < 2:
            await asyncio.sleep(0.05)
    assert isinstance(routed[0], events.SeriesRouted)
    decision = routed[0].decision
    assert [planned.target for planned in decision.deliveries] == ["a", "b"]
    assert [(each.slug, each.status) for each in decision.rules] == [("ct", "fired"), ("mr", "not_matched")]
    assert decision.rules[0].clauses[0].seen == ["CT"]
    assert decision.revision == 1
    [completed] = await said(router.bus, "series.completed.1-2-3")
    assert isinstance(completed, events.SeriesCompleted)
    assert completed.instances == 5
    for planned in decision.deliveries:
        loaded = await router.bus.load(
            subjects.STATE, subjects.delivery_state(planned.delivery_id), records.DeliveryRecord
        )
        assert loaded is not None
        assert loaded[0].instances == 5


async def test_deciding_twice_has_the_effect_of_deciding_once(router: Router) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    await stored(router.bus)
    await asyncio.gather(*(router.due() for _ in range(5)), return_exceptions=True)
    await router.due()
    assert len((await router.record()).batches) == 1
    assert len(await said(router.bus, "series.completed.1-2-3")) == 1
    assert len(await said(router.bus, "delivery.queued.a")) == 1
    assert await works(router.bus) == 1


@pytest.mark.parametrize("step", ["completed", "decided", "_queue"])
async def test_a_crash_after_the_decision_is_made_good_by_the_next_attempt(
    router: Router, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    await stored(router.bus)

    async def crash(*_: object) -> None:
        raise ConnectionAbortedError("the process is gone")

    with monkeypatch.context() as patched:
        patched.setattr(f"hermes_router.handlers.saying.Speaker.{step}", crash)
        with pytest.raises(ConnectionAbortedError):
            await router.due()
    assert not (await router.record()).batches[0].said
    await configure(router, rule("ct", 'Modality == "CT"', "b"), revision=2)
    await router.due()
    [routed] = await said(router.bus, "series.routed.1-2-3")
    assert isinstance(routed, events.SeriesRouted)
    assert routed.decision.revision == 1
    assert [planned.target for planned in routed.decision.deliveries] == ["a"]
    assert await works(router.bus) == 1


async def test_a_series_is_delivered_although_the_store_has_lost_what_was_decided_on_it(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a power cut: the record of the series names documents that the store acknowledged and has not."""
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    await stored(router.bus)

    async def crash(*_: object) -> None:
        raise ConnectionAbortedError("the process is gone")

    with monkeypatch.context() as patched:
        patched.setattr("hermes_router.handlers.saying.Speaker.completed", crash)
        with pytest.raises(ConnectionAbortedError):
            await router.due()
    lost = [info.key for info in router.store.list("manifests/")]
    assert len(lost) == 2
    router.store.delete_many(lost)
    await router.due()
    [routed] = await said(router.bus, "series.routed.1-2-3")
    assert isinstance(routed, events.SeriesRouted)
    assert [planned.target for planned in routed.decision.deliveries] == ["a"]
    assert await works(router.bus) == 1
    assert {info.key for info in router.store.list("manifests/")} == set(lost)
    router.store.delete_many(lost)
    await stored(router.bus, "1.2.3.2")
    await router.due()
    assert len(await said(router.bus, "series.routed.1-2-3")) == 2, "late instances need them as well"


async def test_a_decision_whose_copy_is_not_taken_is_not_taken_and_is_taken_later(router: Router) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    await stored(router.bus)
    await router.bus.js.delete_stream(subjects.DOCUMENTS)
    with pytest.raises(TransientError):
        await router.due()
    key = subjects.series_state(SERIES)
    assert await router.bus.load(subjects.STATE, key, records.SeriesRecord) is None
    await router.bus._ensure_topology()
    await router.due()
    assert await works(router.bus) == 1


async def test_late_instances_go_where_the_series_went_even_if_the_rules_changed(router: Router) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    await stored(router.bus, "1.2.3.1")
    await router.due()
    await configure(router, rule("ct", 'Modality == "CT"', "b"), revision=2)
    await stored(router.bus, "1.2.3.2")
    await router.due()
    first, late = await said(router.bus, "series.routed.1-2-3")
    assert isinstance(first, events.SeriesRouted)
    assert isinstance(late, events.SeriesRouted)
    assert late.decision.kind == "late"
    assert late.decision.revision == 1
    assert [planned.target for planned in late.decision.deliveries] == ["a"]
    assert late.decision.deliveries[0].delivery_id != first.decision.deliveries[0].delivery_id
    assert [batch.instances for batch in (await router.record()).batches] == [1, 1]


async def test_instances_that_come_while_and_after_their_series_is_decided_all_go_where_it_went(router: Router) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    count = int(os.environ.get("HERMES_TEST_LATE_SERIES", "20"))  # docs/reliability.md speaks of 1,000
    came: dict[str, int] = {}
    for number in range(count):
        uid, study = f"1.2.{number}.1", f"1.2.{number}"
        went = "a" if number % 2 else "b"
        await configure(router, rule("ct", 'Modality == "CT"', went), revision=number + 1)
        came[uid] = 0

        async def arrive(uid: str = uid, study: str = study) -> None:
            came[uid] += 1
            await stored(router.bus, f"{uid}.{came[uid]}", series=uid, study=study)

        for _ in range(chance.randint(1, 4)):
            await arrive()
        late = [arrive() for _ in range(chance.randint(1, 4))]  # while it is decided, before or after by chance
        await asyncio.gather(*chance.sample([router.due(uid), *late], len(late) + 1))
        for _ in range(chance.randint(0, 2)):
            await arrive()
            await router.due(uid)
    for number, uid in enumerate(came):
        await router.due(uid)
        batches = (await router.record(uid)).batches
        assert sum(batch.instances for batch in batches) == came[uid], f"seed {seed}"
        assert {batch.outcome for batch in batches} == {"routed"}, f"seed {seed}"
        decisions = [event.decision for event in await said(router.bus, f"series.routed.{uid.replace('.', '-')}")]
        assert [decision.kind for decision in decisions] == ["rules"] + ["late"] * (len(batches) - 1), f"seed {seed}"
        targets = Counter(planned.target for decision in decisions for planned in decision.deliveries)
        assert targets == {"a" if number % 2 else "b": len(batches)}, f"seed {seed}"


async def test_by_policy_late_instances_go_where_the_present_rules_send_their_series(router: Router) -> None:
    await policies(router, config.Completion(late=config.Late.PRESENT_RULES))
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    await stored(router.bus, "1.2.3.1")
    await router.due()
    await configure(router, rule("ct", 'Modality == "CT"', "b"), revision=2)
    await stored(router.bus, "1.2.3.2")
    await router.due()
    _, late = await said(router.bus, "series.routed.1-2-3")
    assert isinstance(late, events.SeriesRouted)
    assert (late.decision.kind, late.decision.revision) == ("rules", 2)
    assert [planned.target for planned in late.decision.deliveries] == ["b"]
    assert [batch.rules for batch in (await router.record()).batches] == [("ct",), ("ct",)]


async def test_late_instances_of_an_unmatched_series_are_looked_at_with_all_its_tags(router: Router) -> None:
    await configure(router, rule("both", 'ImageType has "A" and ImageType has "B"', "a"))
    await stored(router.bus, "1.2.3.1", ImageType=["A"])
    await router.due()
    await stored(router.bus, "1.2.3.2", ImageType=["B"])
    await router.due()
    assert [batch.outcome for batch in (await router.record()).batches] == ["unmatched", "routed"]


async def test_the_same_reception_said_again_long_after_makes_no_new_batch(router: Router) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    reception = await stored(router.bus)
    await router.due()
    [message] = [m async for m in router.bus.read(subjects.EVENTS, subjects.instances_of(SERIES), 0)]
    await router.bus.send(
        message.subject,
        message.data,
        {"ce-id": reception, "ce-type": message.headers["ce-type"], "ce-time": message.headers["ce-time"]},
    )
    await router.due()
    record = await router.record()
    assert len(record.batches) == 1
    assert record.through_seq == await router.bus.last_sequence(subjects.EVENTS, subjects.instances_of(SERIES))


async def test_the_same_instance_again_is_a_duplicate_and_other_bytes_are_a_conflict_of_which_the_newest_goes(
    router: Router,
) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    await stored(router.bus, data=b"x")
    await stored(router.bus, data=b"x")
    await stored(router.bus, data=b"y")
    await router.due()
    [completed] = await said(router.bus, "series.completed.1-2-3")
    assert isinstance(completed, events.SeriesCompleted)
    assert (completed.instances, completed.duplicates, completed.conflicts) == (1, 1, 1)
    [manifest] = await router.documents.manifests((await router.record()).batches)
    assert manifest.instances[0].digest == hashlib.sha256(b"y").hexdigest()
    assert len(manifest.superseded) == 1
    assert manifest.redundant[0].same_as == manifest.superseded[0].key
    await stored(router.bus, data=b"y")
    await router.due()
    assert [batch.outcome for batch in (await router.record()).batches] == ["routed", "duplicates"]
    assert await works(router.bus) == 1


async def test_a_rule_that_fails_is_visible_and_the_series_is_kept_as_unmatched(router: Router) -> None:
    broken = config.Rule.model_construct(
        **{**rule("broken", "Modality is present", "a").model_dump(), "expression": "Modality ==== 3"}
    )
    await configure(router, broken)
    await stored(router.bus)
    await router.due()
    [unmatched] = await said(router.bus, "series.unmatched.1-2-3")
    assert isinstance(unmatched, events.SeriesUnmatched)
    assert unmatched.decision.rules[0].status == "failed"
    assert "rule broken failed" in unmatched.decision.problems[0]


async def test_a_target_that_is_not_configured_is_a_problem_of_the_series_and_its_delivery_is_made(
    router: Router,
) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "gone"))
    await stored(router.bus)
    await router.due()
    [routed] = await said(router.bus, "series.routed.1-2-3")
    assert isinstance(routed, events.SeriesRouted)
    assert routed.decision.problems == ["target gone is asked for by ct, but is not configured"]
    assert await works(router.bus) == 1


async def test_an_unmatched_series_is_recovered_by_routing_it_by_hand_once(router: Router) -> None:
    await configure(router)
    await stored(router.bus)
    await router.due()
    command = SeriesCommand(command_id=new_id(), actor="anna", series_uid=SERIES, action="route", targets=("b",))
    message = Message(subjects.SERIES_COMMANDS, {}, command.model_dump_json().encode(), 1, 1)
    await router.commander.handle(message)
    await router.commander.handle(message)
    [recovered] = await said(router.bus, "series.recovered.1-2-3")
    assert isinstance(recovered, events.SeriesRecovered)
    assert recovered.targets == ["b"]
    [routed] = await said(router.bus, "series.routed.1-2-3")
    assert isinstance(routed, events.SeriesRouted)
    assert (routed.decision.kind, routed.decision.actor) == ("manual", "anna")
    record = await router.record()
    assert record.batches[0].outcome == "routed"
    assert len(record.batches[0].deliveries) == 1
    assert record.pending is None
    assert await works(router.bus) == 1


async def test_reevaluation_sends_only_where_the_series_did_not_go_before(router: Router) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    await stored(router.bus)
    await router.due()
    await configure(router, rule("ct", 'Modality == "CT"', "a", "b"), revision=2)
    command = SeriesCommand(command_id=new_id(), actor="anna", series_uid=SERIES, action="reevaluate")
    await router.commander.handle(Message(subjects.SERIES_COMMANDS, {}, command.model_dump_json().encode(), 1, 1))
    assert len(await said(router.bus, "delivery.queued.a")) == 1
    assert len(await said(router.bus, "delivery.queued.b")) == 1


async def test_discarding_leaves_what_is_on_its_way_alone(router: Router) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    await stored(router.bus)
    await router.due()
    command = SeriesCommand(command_id=new_id(), actor="anna", series_uid=SERIES, action="discard")
    await router.commander.handle(Message(subjects.SERIES_COMMANDS, {}, command.model_dump_json().encode(), 1, 1))
    assert (await router.record()).batches[0].outcome == "routed"
    assert await said(router.bus, "series.discarded.1-2-3") == []


async def test_when_bytes_change_and_change_back_the_newest_are_sent(router: Router) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    for data in (b"x", b"y", b"x"):
        newest = await stored(router.bus, data=data)
    await router.due()
    [manifest] = await router.documents.manifests((await router.record()).batches)
    assert [item.reception_id for item in manifest.instances] == [newest]
    assert len(manifest.superseded) == 2
    assert manifest.redundant == []


async def test_late_instances_of_a_series_that_was_routed_by_hand_go_there_too(router: Router) -> None:
    await configure(router)
    await stored(router.bus, "1.2.3.1")
    await router.due()
    command = SeriesCommand(command_id=new_id(), actor="anna", series_uid=SERIES, action="route", targets=("b",))
    await router.commander.handle(Message(subjects.SERIES_COMMANDS, {}, command.model_dump_json().encode(), 1, 1))
    await stored(router.bus, "1.2.3.2")
    await router.due()
    late = (await said(router.bus, "series.routed.1-2-3"))[-1]
    assert isinstance(late, events.SeriesRouted)
    assert (late.decision.kind, late.decision.actor) == ("late", "anna")
    assert [planned.target for planned in late.decision.deliveries] == ["b"]


async def test_one_batch_of_a_series_is_routed_by_hand_with_its_priority_under_an_id_that_can_be_foretold(
    router: Router,
) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    for uid in ("1.2.3.1", "1.2.3.2"):
        await stored(router.bus, uid)
        await router.due()
    first, second = (await router.record()).batches
    command = SeriesCommand(
        command_id=new_id(), actor="anna", series_uid=SERIES, action="route", targets=("b",),
        batch_ids=(second.batch_id,), priority=config.Priority.URGENT,
    )  # fmt: skip
    await router.commander.handle(Message(subjects.SERIES_COMMANDS, {}, command.model_dump_json().encode(), 1, 1))
    [queued] = await said(router.bus, "delivery.queued.b")
    assert isinstance(queued, events.DeliveryQueued)
    assert queued.delivery_id == delivery_id(second.batch_id, "b", command.command_id)
    assert (queued.batch_id, queued.priority) == (second.batch_id, config.Priority.URGENT)
    assert (await router.record()).batches[0].deliveries == first.deliveries


async def test_a_dry_run_is_recorded_with_the_decision_and_sends_nothing(router: Router) -> None:
    await configure(router, rule("dry", 'Modality == "CT"', "a", "b", state="dry_run"))
    await stored(router.bus)
    await router.due()
    [unmatched] = await said(router.bus, "series.unmatched.1-2-3")
    assert isinstance(unmatched, events.SeriesUnmatched)
    [outcome] = unmatched.decision.rules
    assert (outcome.slug, outcome.status, outcome.verdict, outcome.targets) == (
        "dry",
        "would_fire",
        "match",
        ["a", "b"],
    )
    assert outcome.clauses[0].seen == ["CT"]
    assert unmatched.decision.deliveries == []
    assert await works(router.bus) == 0
    assert await said(router.bus, "delivery.>") == []


async def test_a_rule_that_fails_is_counted_and_told_and_the_series_is_kept_as_unmatched(router: Router) -> None:
    await configure(router, rule("broken", "Modality ==", "a"), rule("mr", 'Modality == "MR"', "b"))
    before = _failures("broken")
    await stored(router.bus)
    await router.due()
    [unmatched] = await said(router.bus, "series.unmatched.1-2-3")
    assert isinstance(unmatched, events.SeriesUnmatched)
    assert [(each.slug, each.status) for each in unmatched.decision.rules] == [
        ("broken", "failed"),
        ("mr", "not_matched"),
    ]
    assert "broken failed: the expression cannot be used" in unmatched.decision.problems[0]
    assert _failures("broken") == before + 1
    assert (await router.record()).batches[0].outcome == "unmatched"


async def test_a_rule_that_fails_does_not_keep_another_from_routing(router: Router) -> None:
    await configure(router, rule("broken", "Modality ==", "a"), rule("ct", 'Modality == "CT"', "b"))
    await stored(router.bus)
    await router.due()
    [routed] = await said(router.bus, "series.routed.1-2-3")
    assert isinstance(routed, events.SeriesRouted)
    assert [planned.target for planned in routed.decision.deliveries] == ["b"]
    assert "broken failed" in routed.decision.problems[0]


def _failures(slug: str) -> float:
    return REGISTRY.get_sample_value("hermes_rule_failures_total", {"rule": slug}) or 0.0


async def test_a_new_revision_is_applied_within_a_second_and_named_in_the_decision(router: Router) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a"))
    router.start()
    await router.config.loaded.wait()
    for revision in range(2, 6):
        await save(
            router.bus, config.Kind.RULES, config.RuleSet(rules=(rule("ct", 'Modality == "CT"', "b"),)), revision
        )
        async with asyncio.timeout(1):
            while router.config.rules[0] != revision:
                await asyncio.sleep(0.01)
    await stored(router.bus)
    await router.due()
    [routed] = await said(router.bus, "series.routed.1-2-3")
    assert isinstance(routed, events.SeriesRouted)
    assert routed.decision.revision == 5
    assert [planned.target for planned in routed.decision.deliveries] == ["b"]


async def test_a_decision_says_what_a_rule_wants_to_be_told_and_whom_to_ask(router: Router) -> None:
    await configure(router, rule("ct", 'Modality == "CT"', "a", notifications=["matched"], contact="CT team"))
    await stored(router.bus)
    await router.due()
    [routed] = await said(router.bus, "series.routed.1-2-3")
    assert isinstance(routed, events.SeriesRouted)
    [outcome] = routed.decision.rules
    assert (outcome.notifications, outcome.contact) == (["matched"], "CT team")
