"""When a study is complete, and how long series have to be quiet: pure."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hermes_common.config import (
    AfterWait,
    Completion,
    Late,
    QuietPeriod,
    Rule,
    RuleSet,
    RuleState,
    Source,
    Sources,
    StudyCompletion,
    StudyCondition,
    Targets,
)
from hermes_common.events import Decision, InstanceStored, Sender
from hermes_common.records import BatchRef, Forced, SeriesRecord, StudyRecord, StudyState
from hermes_common.rules import CompiledRuleSet, Context, decide_series
from hermes_common.rules.facts import study_fields
from hermes_router.core import completeness, planning, rounds, studies
from hermes_router.core.quiet import (
    Quiet,
    Waited,
    distinct_instances,
    expected_of_series,
    expected_of_study,
    quiet_for,
    read_note,
    shortened,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUIET, WAIT = timedelta(seconds=60), timedelta(hours=2)
POLICY = StudyCompletion(quiet_period=QUIET, max_wait=WAIT)
HOLDING = StudyCompletion(quiet_period=QUIET, max_wait=WAIT, then=AfterWait.HOLD)
SENDER = Sender(calling_aet="CT01", called_aet="HERMES", address="10.0.0.7")


def record(**more: Any) -> StudyRecord:
    fields = {"study_uid": "1.2", "series": ("1.2.1",), "opened_at": NOW, "created_at": NOW, "updated_at": NOW}
    return StudyRecord.model_validate({**fields, **more})


def batch(number: int = 1, **more: Any) -> BatchRef:
    fields = {
        "batch_id": f"b{number}", "batch": number, "manifest_key": "m", "decision_key": "d", "instances": 1,
        "octets": 1, "through_seq": number, "outcome": "unmatched", "decided_at": NOW, "said": True,
        "awaits_study": True, "deferred": True, "received_at": NOW,
    }  # fmt: skip
    return BatchRef.model_validate({**fields, **more})


def member(*batches: BatchRef, uid: str = "1.2.1", receiving: bool = False) -> completeness.Member:
    made = SeriesRecord(series_uid=uid, study_uid="1.2", batches=batches, created_at=NOW, updated_at=NOW)
    return completeness.Member(uid, made if batches else None, receiving)


@pytest.mark.parametrize("behind", [timedelta(minutes=1), timedelta(minutes=59), timedelta(hours=1)])
def test_a_router_whose_clock_is_behind_waits_no_longer_than_others(behind: timedelta) -> None:
    judgement = completeness.judge(record(), [member(batch())], [], 1, POLICY, NOW - behind)
    assert isinstance(judgement, completeness.Wait)
    assert judgement.until - (NOW - behind) <= QUIET


def judged(
    after: timedelta,
    *,
    missing: tuple[str, ...] = (),
    receiving: bool = False,
    instances: int = 1,
    policy: StudyCompletion = POLICY,
    **of_record: Any,
) -> completeness.Judgement:
    members = [member(batch(), receiving=receiving)]
    lacks = [completeness.Lack(words, policy.max_wait, policy.then) for words in missing]
    return completeness.judge(record(**of_record), members, lacks, instances, policy, NOW + after)


def test_a_study_is_complete_when_nothing_has_come_for_its_quiet_period() -> None:
    assert judged(QUIET) == completeness.Complete("nothing has come for 60 s")
    early = judged(QUIET - timedelta(seconds=5))
    assert early == completeness.Wait(NOW + QUIET, "nothing must come for 60 s")


def test_a_study_of_which_nothing_is_undecided_waits_for_nothing() -> None:
    decided = member(batch(awaits_study=False))
    assert completeness.judge(record(), [decided], [], 1, POLICY, NOW + WAIT * 2) == completeness.Nothing()
    assert (
        completeness.judge(record(), [member(receiving=True)], [], 1, POLICY, NOW + WAIT * 2) == completeness.Nothing()
    )


def test_what_is_missing_is_waited_for_until_the_maximum_wait_and_then_proceeded_with_or_held() -> None:
    assert judged(QUIET * 2, missing=("x: no CT",)) == completeness.Wait(
        NOW + QUIET * 2 + timedelta(hours=1), "x: no CT"
    )
    late = judged(WAIT - timedelta(seconds=9), missing=("x: no CT",), receiving=True)
    assert isinstance(late, completeness.Wait)
    assert late.until == NOW + WAIT
    assert late.reason == "x: no CT; 1 of its series are still being received"
    assert isinstance(judged(WAIT, missing=("x: no CT",)), completeness.Complete)
    assert judged(WAIT, missing=("x: no CT",), policy=HOLDING) == completeness.Hold(
        "the maximum wait of 7200 s has passed: x: no CT"
    )


def test_a_study_that_is_never_quiet_is_decided_after_the_maximum_wait() -> None:
    busy = [member(batch(received_at=NOW + WAIT - timedelta(seconds=1)))]
    assert isinstance(completeness.judge(record(), busy, [], 1, POLICY, NOW + WAIT), completeness.Complete)


def test_a_count_shortens_only_the_wait_for_quiet() -> None:
    assert isinstance(judged(timedelta(seconds=1), expected=3, instances=3), completeness.Complete)
    assert isinstance(judged(timedelta(seconds=1), expected=3, instances=2), completeness.Wait)
    assert isinstance(judged(timedelta(seconds=1), expected=3, instances=3, receiving=True), completeness.Wait)
    assert isinstance(judged(timedelta(seconds=1), expected=3, instances=3, missing=("x",)), completeness.Wait)
    assert isinstance(judged(QUIET, expected=300, instances=3), completeness.Complete), "a wrong count holds nothing up"


def test_a_person_completes_what_is_held_or_waits() -> None:
    forced = Forced(command_id="c", actor="anna")
    wish = judged(timedelta(0), missing=("x",), receiving=True, policy=HOLDING, forced=forced)
    assert wish == completeness.Complete("anna said that it is complete")


@given(
    after=st.timedeltas(min_value=timedelta(days=-3650), max_value=timedelta(days=3650)),
    missing=st.lists(st.just("x"), max_size=2).map(tuple),
    receiving=st.booleans(),
    expected=st.none() | st.integers(1, 5),
    instances=st.integers(0, 9),
    then=st.sampled_from(AfterWait),
)
@settings(max_examples=300, deadline=None)
def test_whatever_clocks_do_a_study_is_decided_held_or_looked_at_again_within_the_hour(
    after: timedelta, missing: tuple[str, ...], receiving: bool, expected: int | None, instances: int, then: AfterWait
) -> None:
    policy = StudyCompletion(quiet_period=QUIET, max_wait=WAIT, then=then)
    found = judged(after, missing=missing, receiving=receiving, expected=expected, instances=instances, policy=policy)
    match found:
        case completeness.Wait(until, reason):
            assert timedelta(seconds=1) <= until - (NOW + after) <= timedelta(hours=1)
            assert reason
        case completeness.Hold():
            assert then is AfterWait.HOLD
            assert missing or receiving
            assert after >= WAIT
        case completeness.Complete():
            assert not (missing or receiving) or after >= WAIT
        case _:
            pytest.fail(f"something is undecided, and nothing is done: {found}")


def test_conditions_ask_for_series_of_the_studies_they_are_about() -> None:
    pet_ct = StudyCondition(
        name="PET/CT", when='Modality == "PT"', required=('Modality == "CT"', 'Modality == "PT"'), series=3
    )
    pet, ct, mr = ({"Modality": [name]} for name in ("PT", "CT", "MR"))

    def missing(*series: dict[str, list[str]]) -> list[str]:
        fields = study_fields(series, len(series), {})
        return [each.words for each in completeness.unmet([pet_ct], POLICY, Context(fields, list(series)), NOW)]

    assert missing(mr) == []
    assert missing(pet) == ["PET/CT: 1 of 3 series are there", 'PET/CT: no series is Modality == "CT"']
    assert missing(pet, ct, mr) == []


def test_a_condition_that_cannot_be_evaluated_is_not_met_and_says_so() -> None:
    broken = StudyCondition(name="broken", required=("Modality === 1",))
    [said] = completeness.unmet([broken], POLICY, Context({}, [{"Modality": ["CT"]}]), NOW)
    assert said.words.startswith("broken: it cannot be evaluated")


def test_an_active_rule_about_studies_that_needs_series_is_a_condition_for_the_studies_it_is_about() -> None:
    needs = {"required": ['Modality == "CT"'], "series": 2, "max_wait": "6h", "then": "hold"}
    pet = rule("pet", 'Modality == "PT"', "a", scope="study", needs=needs)
    asleep = [pet.model_copy(update={"state": state}) for state in (RuleState.PAUSED, RuleState.DRY_RUN)]
    conditions = completeness.conditions_of(POLICY, [pet, *asleep, rule("series", 'Modality == "PT"', "a")])
    assert [each.name for each in conditions] == ["rule pet"]

    def missing(*modalities: str) -> list[completeness.Lack]:
        series = [{"Modality": [name]} for name in modalities]
        study = Context(study_fields(series, len(series), {}), series)
        return completeness.unmet(conditions, POLICY, study, NOW)

    assert missing("MR") == []
    assert missing("PT", "CT") == []
    assert missing("PT") == [
        completeness.Lack("rule pet: 1 of 2 series are there", timedelta(hours=6), AfterWait.HOLD),
        completeness.Lack('rule pet: no series is Modality == "CT"', timedelta(hours=6), AfterWait.HOLD),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"scope": "series", "needs": {"series": 2}},
        {"scope": "study", "needs": {}},
        {"scope": "study", "fallback": True, "needs": {"series": 2}},
        {"scope": "study", "needs": {"series": 2, "max_wait": "0s"}},
    ],
)
def test_a_rule_that_cannot_need_series_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"needs|max_wait"):
        rule("r", 'Modality == "PT"', "a", **wrong)


def test_each_condition_is_waited_for_as_long_as_it_says() -> None:
    soon = completeness.Lack("soon", timedelta(minutes=10), AfterWait.PROCEED)
    long = completeness.Lack("long", timedelta(hours=6), AfterWait.HOLD)

    def at(after: timedelta, *lacks: completeness.Lack, received: timedelta = timedelta(0)) -> completeness.Judgement:
        members = [member(batch(received_at=NOW + received))]
        return completeness.judge(record(), members, lacks, 1, POLICY, NOW + after)

    assert isinstance(at(timedelta(minutes=9), soon), completeness.Wait)
    assert isinstance(at(timedelta(minutes=10), soon), completeness.Complete)
    assert isinstance(at(timedelta(minutes=10), soon, received=timedelta(minutes=9.5)), completeness.Wait)
    assert at(timedelta(hours=5), soon, long) == completeness.Wait(NOW + timedelta(hours=6), "long")
    assert at(timedelta(hours=6), soon, long) == completeness.Hold("the maximum wait of 21600 s has passed: long")


def test_a_study_with_too_many_series_takes_no_more() -> None:
    full = record(series=tuple(f"1.2.{number}" for number in range(studies.MOST_SERIES)))
    assert studies.joined(full, "1.2", "1.9", NOW) is None
    assert studies.joined(record(), "1.2", "1.2.1", NOW) is None
    more = studies.joined(record(state=StudyState.COMPLETE), "1.2", "1.2.2", NOW + QUIET)
    assert more is not None
    assert (more.series, more.state, more.opened_at) == (("1.2.1", "1.2.2"), StudyState.OPEN, NOW + QUIET)


def rule(slug: str, expression: str, *targets: str, **more: Any) -> Rule:
    return Rule.model_validate({"slug": slug, "name": slug, "expression": expression, "targets": targets, **more})


RULES = st.lists(
    st.builds(
        lambda scope, value, target, then, fallback, state: {
            "scope": scope,
            "expression": f'Modality == "{value}"',
            "targets": (target,) if target else (),
            "action": "route" if target else "discard",
            "then": then,
            "fallback": fallback,
            "state": state,
        },
        st.sampled_from(["series", "study"]),
        st.sampled_from(["CT", "MR"]),
        st.sampled_from(["a", "b", ""]),
        st.sampled_from(["continue", "stop"]),
        st.booleans(),
        st.sampled_from(["active", "active", "dry_run", "paused"]),
    ),
    max_size=6,
)


@given(
    rules=RULES, modalities=st.lists(st.sampled_from(["CT", "MR", "XA"]), min_size=1, max_size=4), late=st.booleans()
)
@settings(max_examples=300, deadline=None)
def test_a_decided_study_leaves_no_series_deferred_and_sends_no_batch_to_a_target_twice(
    rules: list[dict[str, Any]], modalities: list[str], late: bool
) -> None:
    made = [Rule.model_validate({"slug": f"r{n}", "name": "r", **fields}) for n, fields in enumerate(rules)]
    document, compiled = RuleSet(rules=tuple(made)), CompiledRuleSet.compile_all(made)
    series, deferred = [], {}
    for number, modality in enumerate(modalities):
        uid, fields = f"1.2.{number}", {"Modality": [modality]}
        said = decide_series(compiled, Context(fields), NOW)
        decision = planning.by_rules(said, uid, 1, document, Targets(), NOW, "")
        deferred[uid] = said.outcome == "deferred"
        one = batch(
            batch_id=uid,
            deferred=deferred[uid],
            outcome="unmatched" if deferred[uid] else said.outcome,
            deliveries=tuple(each.delivery_id for each in decision.deliveries),
        )
        series.append(rounds.Series(member(one, uid=uid), fields, {uid: [decision]}))
    fields_of = [each.fields for each in series]
    case = rounds.Case(
        record=record(), series=series, study=Context(study_fields(fields_of, len(series), {}), fields_of),
        instances=len(series), policy=POLICY, late=Late.AS_BEFORE, previous=None, reason="quiet",
    )  # fmt: skip
    found = rounds.decide_study(case, rounds.Moment("d1", 1, document, compiled, Targets(), NOW))
    if late:
        again = rounds.Case(
            record=record(round=1), series=series, study=case.study, instances=len(series), policy=POLICY,
            late=Late.AS_BEFORE, previous=found, reason="quiet",
        )  # fmt: skip
        found = rounds.decide_study(again, rounds.Moment("d2", 2, document, compiled, Targets(), NOW))
    assert {each.series_uid: each.batches for each in found.series} == {uid: [uid] for uid in deferred}
    for each, of_series in zip(found.series, series, strict=True):
        decisions: list[Decision] = [*of_series.before[each.series_uid], *each.decisions]
        targets = [planned.target for decision in decisions for planned in decision.deliveries]
        assert len(targets) == len(set(targets))
        assert all(decision.outcome != "deferred" for decision in each.decisions)
        if deferred[each.series_uid]:
            assert len(each.decisions) == 1, "a series that was deferred is told what became of it"
        for decision in each.decisions:
            assert (decision.outcome == "routed") == (bool(targets) or not deferred[each.series_uid])
            assert decision.decided_at == NOW


@pytest.mark.parametrize(
    ("calling", "modality", "quiet"),
    [
        ("CT01", "CT", Quiet(timedelta(seconds=2), "source ct01, modality CT")),
        ("CT01", "SR", Quiet(timedelta(seconds=3), "source ct01")),
        ("XX", "MR", Quiet(timedelta(seconds=4), "modality MR")),
        ("XX", "CT", Quiet(timedelta(seconds=10), "")),
    ],
)
def test_the_first_quiet_period_that_fits_source_and_modality_holds(calling: str, modality: str, quiet: Quiet) -> None:
    entries = [("ct01", "CT", 2), ("ct01", None, 3), (None, "MR", 4), ("ct01", "MR", 5)]
    completion = Completion(
        quiet_periods=tuple(
            QuietPeriod(source=source, modality=name, quiet_period=timedelta(seconds=seconds))
            for source, name, seconds in entries
        )
    )
    sources = Sources(sources=(Source(slug="ct01", name="CT", calling_aet="CT01"),))
    sender = SENDER.model_copy(update={"calling_aet": calling})
    assert quiet_for(completion, sources, sender, [modality]) == quiet


@pytest.mark.parametrize(
    ("called", "modality", "quiet"),
    [
        ("RESEARCH", "CT", Quiet(timedelta(seconds=5), "called AE title RESEARCH, modality CT")),
        ("RESEARCH ", "MR", Quiet(timedelta(seconds=6), "called AE title RESEARCH")),
        ("HERMES", "CT", Quiet(timedelta(seconds=10), "")),
    ],
)
def test_a_quiet_period_can_be_that_of_the_ae_title_that_was_called(called: str, modality: str, quiet: Quiet) -> None:
    entries = (
        QuietPeriod(called_aet="RESEARCH", modality="CT", quiet_period=timedelta(seconds=5)),
        QuietPeriod(called_aet="RESEARCH", quiet_period=timedelta(seconds=6)),
    )
    sender = SENDER.model_copy(update={"called_aet": called})
    assert quiet_for(Completion(quiet_periods=entries), Sources(), sender, [modality]) == quiet
    with pytest.raises(ValidationError, match="called_aet"):
        QuietPeriod(quiet_period=timedelta(seconds=5))


@given(st.dictionaries(st.sampled_from(["NumberOfSeriesRelatedInstances", "ImagesInAcquisition"]), st.lists(st.text())))
def test_whatever_a_sender_writes_a_number_of_instances_is_a_sound_number_or_none(tags: dict[str, list[str]]) -> None:
    found = expected_of_series({**tags, "AcquisitionNumber": ["1"]})
    assert found is None or 0 < found[0] <= 1_000_000


def test_the_number_of_images_counts_only_where_there_is_one_acquisition() -> None:
    assert expected_of_series({"ImagesInAcquisition": ["7"], "AcquisitionNumber": ["1"]}) == (7, "ImagesInAcquisition")
    assert expected_of_series({"ImagesInAcquisition": ["7"], "AcquisitionNumber": ["1", "2"]}) is None
    both = {"ImagesInAcquisition": ["7"], "AcquisitionNumber": ["1"], "NumberOfSeriesRelatedInstances": ["9", "8"]}
    assert expected_of_series(both) == (9, "NumberOfSeriesRelatedInstances")
    assert expected_of_study({"NumberOfStudyRelatedInstances": [" 12 "]}) == 12
    assert expected_of_study({"NumberOfStudyRelatedInstances": ["0", "-1", "²", "99999999999"]}) is None


def test_a_known_number_shortens_a_wait_to_a_second_and_that_of_an_acquisition_to_the_half_of_it() -> None:
    minute, second = timedelta(minutes=1), timedelta(seconds=1)
    assert shortened(minute, "NumberOfSeriesRelatedInstances") == second
    assert shortened(minute, "ImagesInAcquisition") == minute / 2
    assert shortened(second, "ImagesInAcquisition") == second


def test_repetitions_of_an_instance_count_once() -> None:
    event = InstanceStored.model_construct(sop_instance_uid="1")
    assert distinct_instances([event, event], ["2", "1"]) == 2


@given(st.binary(max_size=200))
def test_a_timer_that_says_nothing_that_can_be_read_says_nothing(body: bytes) -> None:
    assert isinstance(read_note(body), Waited)


def test_the_contents_of_a_study_are_read_only_when_they_may_end_its_wait() -> None:
    members = [member(batch(instances=2)), member(batch(instances=1), uid="1.2.2")]

    def reads(after: timedelta, **of_record: Any) -> bool:
        one = record(**of_record)
        return completeness.may_end(completeness.judge(one, members, [], 0, POLICY, NOW + after), one, members)

    assert not reads(timedelta(seconds=1))
    assert not reads(timedelta(seconds=1), expected=4)
    assert reads(timedelta(seconds=1), expected=3)
    assert reads(QUIET)
    assert not completeness.may_end(completeness.Nothing(), record(expected=1), members)
