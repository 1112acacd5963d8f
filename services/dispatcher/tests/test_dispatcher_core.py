"""The decisions of the dispatcher, as tables."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_common.commands import DeliveryCommand
from hermes_common.config import DicomTarget, FolderTarget, Pause, Priority, Retry, Targets
from hermes_common.dicom.status import meaning_of
from hermes_common.records import ENDED, DeliveryRecord, DeliveryState, Lease, PauseRecord
from hermes_dispatcher.core import breaking, lifecycle, pausing, saying
from hermes_dispatcher.core.outcomes import PASSING, Delivered, NotDelivered, Trouble, outcome_of
from hermes_dispatcher.core.queues import REMOVED, Want, wanted
from hermes_dispatcher.core.retry_after import asked_wait
from hermes_dispatcher.core.retrying import GiveUp, Succeed, TryAgain, decide, delay, missing_of
from hermes_dispatcher.core.turns import LONGEST_WAIT, Served, choose

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINE = Lease(owner="me", until=NOW + timedelta(seconds=60))
THEIRS = Lease(owner="they", until=NOW + timedelta(seconds=10))
EXPIRED = Lease(owner="they", until=NOW)
ID = "00000000-0000-7000-8000-000000000001"
POLICY = Retry(max_attempts=3, delay=timedelta(seconds=10), factor=2, max_delay=timedelta(seconds=25))


def record(state: DeliveryState = DeliveryState.QUEUED, **changes: object) -> DeliveryRecord:
    made = DeliveryRecord(
        delivery_id=ID, series_uid="1.2", study_uid="1.3", batch_id="b", target="t", manifest_key="k",
        instances=10, octets=1, state=state, created_at=NOW, updated_at=NOW,
    )  # fmt: skip
    return made.model_copy(update=changes)


def command(action: str, scope: str = "missing", number: int = 2) -> DeliveryCommand:
    return DeliveryCommand.model_validate(
        {
            "command_id": ID[:-1] + str(number), "actor": "ann", "delivery_id": ID, "action": action, "scope": scope,
            "to": "elsewhere" if action == "reroute" else None,
        }
    )  # fmt: skip


def test_only_success_and_warnings_of_the_standard_are_delivered_for_every_possible_status() -> None:
    delivered = {code for code in range(0x10000) if isinstance(outcome_of(meaning_of(code), ""), Delivered)}
    assert delivered == {0x0000, 0x0001, 0x0107, 0x0116} | set(range(0xB000, 0xC000))


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        (0xA700, Trouble.BUSY), (0xA7FF, Trouble.BUSY), (0x0213, Trouble.BUSY), (0x0110, Trouble.BUSY),
        (0xFFFF, Trouble.BUSY), (0xA900, Trouble.REFUSED), (0xC000, Trouble.REFUSED), (0xCFFF, Trouble.REFUSED),
        (0x0122, Trouble.REFUSED), (0x0124, Trouble.REFUSED),
    ],
)  # fmt: skip
def test_a_failing_status_is_either_worth_another_attempt_or_not(status: int, trouble: Trouble) -> None:
    outcome = outcome_of(meaning_of(status), "why")
    assert isinstance(outcome, NotDelivered)
    assert (outcome.trouble, outcome.status) == (trouble, status)
    assert "why" in outcome.reason


@pytest.mark.parametrize(("tries", "seconds"), [(1, 10), (2, 20), (3, 25), (1000, 25)])
def test_the_delay_grows_by_its_factor_up_to_its_bound(tries: int, seconds: float) -> None:
    assert delay(POLICY, tries, 0) == timedelta(seconds=seconds)
    assert delay(POLICY, tries, 1) == timedelta(seconds=seconds * 1.1)


@pytest.mark.parametrize(
    ("troubles", "tries"),
    list(product([[a] for a in Trouble] + [[a, b] for a in Trouble for b in Trouble], [1, 2, 3, 4])),
)
def test_a_delivery_is_tried_again_only_if_an_attempt_may_cure_something_and_attempts_are_left(
    troubles: list[Trouble], tries: int
) -> None:
    left = [NotDelivered(trouble, f"because {trouble}") for trouble in troubles]
    decision = decide(POLICY, tries, left, 10, NOW, 0)
    if any(trouble in PASSING for trouble in troubles) and tries < 3:
        assert isinstance(decision, TryAgain)
        assert decision.at == NOW + delay(POLICY, tries, 0)
    else:
        assert isinstance(decision, GiveUp)
    assert all(f"because {trouble}" in decision.reason for trouble in troubles) or len(set(troubles)) < len(troubles)
    assert f"{len(troubles)} of 10 instances missing" in decision.reason


@pytest.mark.parametrize(
    ("asked", "waited", "words"),
    [
        (None, 10, ""), (3, 10, "left alone for 3s"), (120, 120, "left alone for 2m"),
        (999_999_999, 3600, "of which 1h are granted"),
    ],
)  # fmt: skip
def test_a_target_is_left_alone_for_as_long_as_it_asks_within_bounds(
    asked: int | None, waited: int, words: str
) -> None:
    busy = NotDelivered(Trouble.BUSY, "HTTP 503", wait=None if asked is None else timedelta(seconds=asked))
    decision = decide(POLICY, 1, [NotDelivered(Trouble.BUSY, "why"), busy], 10, NOW, 0)
    assert isinstance(decision, TryAgain)
    assert decision.at == NOW + timedelta(seconds=waited)
    assert words in decision.reason
    assert ("left alone" in decision.reason) == (asked is not None)
    old = decide(POLICY, 1, [busy], 10, NOW, 0, NOW + timedelta(seconds=5))
    assert isinstance(old, TryAgain)
    assert old.at == NOW + timedelta(seconds=5)
    patient = POLICY.model_copy(update={"max_delay": timedelta(hours=6)})
    longer = decide(patient, 1, [busy], 10, NOW, 0)
    assert isinstance(longer, TryAgain)
    assert longer.at - NOW == timedelta(seconds=max(10, min(asked or 0, 6 * 3600)))
    assert isinstance(decide(POLICY, 3, [busy], 10, NOW, 0), GiveUp)


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("120", None, 120), (" 7 ", None, 7), ("Thu, 01 Jan 2026 00:01:00 GMT", None, 60),
        ("Thursday, 01-Jan-26 00:01:00 GMT", None, 60), ("Thu Jan  1 00:01:00 2026", None, 60),
        ("Fri, 02 Jan 2026 00:01:00 GMT", "Fri, 02 Jan 2026 00:00:30 GMT", 30),
        ("Thu, 01 Jan 2026 00:01:00 GMT", "yesterday", 60),
        (None, None, None), ("", None, None), ("0", None, None), ("-5", None, None), ("1.5", None, None),
        ("1, 2", None, None), ("soon", None, None), ("9" * 5000, None, None), ("\u0663", None, None),
        ("Wed, 31 Dec 2025 23:59:59 GMT", None, None), ("Thu, 99 Jan 2026 00:01:00 GMT", None, None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date_and_anything_else_is_ignored(
    value: str | None, date: str | None, seconds: int | None
) -> None:
    assert asked_wait(value, date, NOW) == (None if seconds is None else timedelta(seconds=seconds))


@given(st.text(max_size=60), st.text(max_size=60) | st.none())
def test_whatever_stands_in_retry_after_is_a_time_or_nothing(value: str, date: str | None) -> None:
    found = asked_wait(value, date, NOW)
    assert found is None or found > timedelta(0)


def test_nothing_missing_is_success_also_after_too_many_tries() -> None:
    assert decide(POLICY, 99, [], 10, NOW, 0) == Succeed()


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_every_instance_is_either_delivered_or_missing_for_a_reason(delivered: set[int], known: set[int]) -> None:
    why = NotDelivered(Trouble.REFUSED, "no")
    rest = NotDelivered(Trouble.UNREACHABLE, "gone")
    left = missing_of(31, delivered, dict.fromkeys(known, why), rest)
    assert len(left) == 31 - len(delivered)
    assert left.count(why) == len(known - delivered)


@pytest.mark.parametrize("state", list(DeliveryState))
@pytest.mark.parametrize("lease", [None, THEIRS, EXPIRED])
def test_work_means_one_thing_in_each_state(state: DeliveryState, lease: Lease | None) -> None:
    found = lifecycle.on_work(record(state, lease=lease, attempt=4, tries=2), MINE, NOW)
    match state:
        case DeliveryState.QUEUED:
            assert isinstance(found, lifecycle.Begin)
            assert (found.record.attempt, found.record.tries, found.record.lease) == (5, 3, MINE)
        case DeliveryState.SENDING if lease is THEIRS:
            assert found == lifecycle.Wait(THEIRS.until)
        case DeliveryState.SENDING:
            assert isinstance(found, lifecycle.Begin)
            assert (found.record.attempt, found.record.tries, found.record.interruptions) == (5, 2, 1)
        case DeliveryState.RETRYING:
            assert found == lifecycle.WaitsForTimer()
        case _:
            assert state in ENDED | {DeliveryState.HELD}
            assert found == lifecycle.HasEnded()


def test_a_delivery_over_which_dispatchers_die_in_a_row_fails_unless_it_makes_progress() -> None:
    now = record(DeliveryState.SENDING, attempt=1, tries=1)
    for _ in range(lifecycle.INTERRUPTIONS - 1):
        begun = lifecycle.on_work(now, EXPIRED, NOW)
        assert isinstance(begun, lifecycle.Begin)
        now = begun.record
    worn = lifecycle.on_work(now, EXPIRED, NOW)
    assert isinstance(worn, lifecycle.Worn)
    assert worn.record.state is DeliveryState.FAILED
    moved = lifecycle.progressed(now, "0", "", "", EXPIRED)
    assert isinstance(lifecycle.on_work(moved, EXPIRED, NOW), lifecycle.Begin)


def test_an_attempt_that_is_given_back_costs_no_try() -> None:
    begun = lifecycle.on_work(record(tries=1), MINE, NOW)
    assert isinstance(begun, lifecycle.Begin)
    back = lifecycle.given_back(begun.record, NOW)
    assert (back.state, back.tries, back.attempt, back.lease) == (DeliveryState.QUEUED, 1, 1, None)


ALLOWED = {
    ("restart", "missing"): {"failed", "cancelled", "retrying", "dismissed"},
    ("restart", "all"): {"failed", "cancelled", "retrying", "dismissed", "succeeded"},
    ("cancel", "missing"): {"queued", "sending", "retrying", "held"},
    ("hold", "missing"): {"queued", "sending", "retrying"},
    ("release", "missing"): {"held"},
    ("reroute", "missing"): {"queued", "sending", "retrying", "held", "failed"},
    ("dismiss", "missing"): {"failed"},
}


@pytest.mark.parametrize("state", list(DeliveryState))
@pytest.mark.parametrize(("action", "scope"), list(ALLOWED))
def test_commands_are_carried_out_in_these_states_and_refused_in_all_others(
    state: DeliveryState, action: str, scope: str
) -> None:
    before = record(state, delivered="0-3", refused="5", tries=3, attempt=3, lease=THEIRS)
    result = lifecycle.on_command(before, command(action, scope), NOW)
    if state.value not in ALLOWED[action, scope]:
        assert isinstance(result, lifecycle.Refusal)
        assert state.value in result.reason
        return
    assert isinstance(result, lifecycle.Change)
    after = result.record
    assert (after.actor, after.commands) == ("ann", (command(action).command_id,))
    is_being_stopped = state is DeliveryState.HELD and action in ("cancel", "reroute")
    assert after.lease == (THEIRS if state is DeliveryState.SENDING or is_being_stopped else None)
    match action:
        case "restart":
            assert (after.state, after.generation, after.tries, after.refused) == (DeliveryState.QUEUED, 1, 0, "")
            assert after.delivered == ("" if scope == "all" else "0-3")
        case "cancel":
            assert (after.state, after.generation) == (DeliveryState.CANCELLED, 0)
        case "hold" | "reroute":
            assert (after.state, after.generation) == (DeliveryState.HELD, 0)
        case "release":
            assert (after.state, after.generation, after.tries) == (DeliveryState.QUEUED, 1, 3)
        case _:
            assert after.state is DeliveryState.DISMISSED


def test_a_record_remembers_a_bounded_number_of_commands() -> None:
    now = record(DeliveryState.FAILED)
    for number in range(40):
        done = command("restart").model_copy(update={"command_id": str(number)})
        result = lifecycle.on_command(now.model_copy(update={"state": DeliveryState.FAILED}), done, NOW)
        assert isinstance(result, lifecycle.Change)
        now = result.record
    assert now.commands == tuple(str(number) for number in range(24, 40))


@pytest.mark.parametrize("state", list(DeliveryState))
def test_what_is_said_again_has_the_same_id_and_another_attempt_or_generation_has_another(state: DeliveryState) -> None:
    now = record(state, attempt=2, next_attempt_at=NOW, reason="r")
    said = saying.standing(now)
    if state not in (DeliveryState.SUCCEEDED, DeliveryState.FAILED, DeliveryState.RETRYING):
        assert said is None
        return
    assert said is not None
    assert saying.standing(now) == said
    others = [now.model_copy(update=change) for change in ({"attempt": 3}, {"generation": 1}, {"delivery_id": "x"})]
    assert len({said[1], *(other[1] for other in map(saying.standing, others) if other)}) == 4


def test_paused_targets_rest_and_work_for_removed_ones_is_looked_at() -> None:
    folder = FolderTarget(slug="a", name="a", path="/a", concurrency=7)
    pacs = DicomTarget(slug="b", name="b", host="h", port=1, called_aet="B", enabled=False)
    for_an_hour = folder.model_copy(update={"slug": "c", "pause": Pause(since=NOW - timedelta(hours=1), until=NOW)})
    targets = Targets(targets=(folder, pacs, for_an_hour, folder.model_copy(update={"slug": "d"})))
    queued = {"b": {Priority.URGENT}, "gone": {Priority.NORMAL}, "a": {Priority.URGENT, Priority.OFF_PEAK}}
    normal = frozenset({Priority.NORMAL})
    found = wanted(targets, queued, {"d"}, False, NOW)
    assert found == {
        "a": Want(7, frozenset({Priority.NORMAL, Priority.URGENT}), 7),
        "c": Want(7, normal, 7),
        "gone": Want(REMOVED, normal, REMOVED),
    }
    assert Priority.OFF_PEAK in wanted(targets, queued, set(), True, NOW)["a"].priorities
    assert "c" not in wanted(targets, queued, set(), True, NOW - timedelta(seconds=1))


@given(st.lists(st.sets(st.sampled_from(Priority)), min_size=LONGEST_WAIT, max_size=200))
def test_the_urgent_come_first_and_whoever_waits_has_a_turn_before_long(arrivals: list[set[Priority]]) -> None:
    waiting: dict[Priority, int] = {}
    served = Served()
    for arrived in arrivals:
        for priority in arrived:
            waiting.setdefault(priority, 0)
        if not waiting:
            continue
        chosen, served = choose(waiting, served)
        assert chosen in waiting
        del waiting[chosen]
        waiting = {priority: turns + 1 for priority, turns in waiting.items()}
        assert all(turns < LONGEST_WAIT for turns in waiting.values())


def test_of_those_who_always_wait_the_urgent_have_most_turns_and_the_last_have_some() -> None:
    served, turns = Served(), []
    for _ in range(100):
        chosen, served = choose(list(Priority), served)
        turns.append(chosen)
    assert turns[0] is Priority.URGENT
    counts = Counter(turns)
    assert (counts[Priority.URGENT], counts[Priority.NORMAL], counts[Priority.OFF_PEAK]) == (80, 16, 4)


PAUSE = Pause(since=NOW, until=NOW + timedelta(hours=1), reason="r", actor="ann")
SAID = PauseRecord(target="a", since=NOW, actor="ann", reason="r", until=NOW + timedelta(hours=1))
PAUSED = FolderTarget(slug="a", name="a", path="/a", pause=PAUSE)


@pytest.mark.parametrize(
    ("target", "said", "at", "expected"),
    [
        (PAUSED, None, NOW, [pausing.Began(SAID)]),
        (PAUSED, SAID, NOW, []),
        (PAUSED, SAID, NOW + timedelta(hours=1), [pausing.Ended(SAID, by_itself=True)]),
        (PAUSED, None, NOW + timedelta(hours=1), []),
        (PAUSED.model_copy(update={"pause": None}), SAID, NOW, [pausing.Ended(SAID, by_itself=False)]),
        (None, SAID, NOW, [pausing.Ended(SAID, by_itself=False)]),
        (
            PAUSED.model_copy(update={"pause": Pause(since=NOW + timedelta(minutes=1))}), SAID, NOW,
            [pausing.Ended(SAID, by_itself=False),
             pausing.Began(PauseRecord(target="a", since=NOW + timedelta(minutes=1)))],
        ),
    ],
)  # fmt: skip
def test_pauses_are_said_once_and_their_ends_too(target, said, at, expected) -> None:
    targets = Targets(targets=() if target is None else (target,))
    assert pausing.changes(targets, {} if said is None else {"a": said}, at) == expected


def test_an_outage_is_tested_again_by_one_at_a_time_until_a_test_passes() -> None:
    record = breaking.opened("a", "o", "down", NOW)
    assert not breaking.is_due(record, NOW)
    later = NOW + breaking.EVERY
    assert breaking.is_due(record, later)
    claimed = breaking.claimed(record, later)
    assert not breaking.is_due(claimed, later + breaking.LONGEST - timedelta(seconds=1))
    again = breaking.tested(claimed, "still", later)
    assert (again.reason, again.is_up, again.next_test_at) == ("still", False, later + breaking.EVERY)
    over = breaking.tested(again, "", later)
    assert over.is_up
    assert not breaking.is_due(over, later + timedelta(days=1))


@pytest.mark.parametrize("trouble", list(Trouble))
def test_only_a_target_that_cannot_be_reached_or_lets_nobody_in_is_suspected(trouble: Trouble) -> None:
    is_suspect = trouble in (Trouble.UNREACHABLE, Trouble.REJECTED)
    left = [NotDelivered(Trouble.REFUSED, "no"), NotDelivered(trouble, "why")]
    assert (breaking.suspicion(left) is not None) == is_suspect


def test_what_is_cancelled_after_it_was_held_still_knows_who_is_sending() -> None:
    lease = Lease(owner="d", until=NOW + timedelta(seconds=10))
    held = lifecycle.on_command(record(DeliveryState.SENDING, lease=lease), command("hold"), NOW)
    assert isinstance(held, lifecycle.Change)
    cancelled = lifecycle.on_command(held.record, command("cancel", number=3), NOW)
    assert isinstance(cancelled, lifecycle.Change)
    assert cancelled.record.lease == lease
