"""The state of a series, in every small world."""

import itertools

import pytest

from hermes_bookkeeper.core.state import (
    BatchFact,
    DecisionFact,
    DeliveryFact,
    SeriesFacts,
    SeriesState,
    final_outcomes,
    series_state,
)
from hermes_bookkeeper.core.tags import LIMIT, merge
from hermes_common.records import ENDED, DeliveryState

S = SeriesState
RECEIVED = {"received_seq": 1, "new_seq": 1}


def delivery(number, state, batch="b1"):
    return DeliveryFact(f"d{number}", batch, DeliveryState(state))


def routed(*planned, batch="b1", seq=3, **more):
    return DecisionFact(batch, seq, "routed", planned=planned, **more)


WORLDS = {
    "nothing but a reception": (RECEIVED, S.RECEIVING),
    "nothing at all": ({}, S.RECEIVING),
    "a batch waits to be decided": ({**RECEIVED, "batches": [BatchFact("b1", 2)]}, S.COMPLETED),
    "an instance after an undecided batch": (
        {"received_seq": 3, "new_seq": 3, "batches": [BatchFact("b1", 2)]},
        S.RECEIVING,
    ),
    "a duplicate after an undecided batch": (
        {"received_seq": 3, "new_seq": 1, "batches": [BatchFact("b1", 2)]},
        S.COMPLETED,
    ),
    "decided, and the deliveries are not said to be queued yet": (
        {**RECEIVED, "batches": [BatchFact("b1", 2)], "decisions": [routed("d1")]},
        S.ROUTED,
    ),
    "one delivery succeeded, the other not said to be queued yet": (
        {
            **RECEIVED,
            "batches": [BatchFact("b1", 2)],
            "decisions": [routed("d1", "d2")],
            "deliveries": [delivery(1, "succeeded")],
        },
        S.ROUTED,
    ),
    "unmatched": (
        {**RECEIVED, "batches": [BatchFact("b1", 2)], "decisions": [DecisionFact("b1", 3, "unmatched")]},
        S.UNMATCHED,
    ),
    "discarded": (
        {**RECEIVED, "batches": [BatchFact("b1", 2)], "decisions": [DecisionFact("b1", 3, "discarded")]},
        S.DISCARDED,
    ),
    "unmatched, then routed by a person and delivered": (
        {
            **RECEIVED,
            "batches": [BatchFact("b1", 2)],
            "decisions": [DecisionFact("b1", 3, "unmatched"), routed("d1", seq=4)],
            "deliveries": [delivery(1, "succeeded")],
        },
        S.DELIVERED,
    ),
    "unmatched, then discarded by a person": (
        {
            **RECEIVED,
            "batches": [BatchFact("b1", 2)],
            "decisions": [DecisionFact("b1", 3, "unmatched"), DecisionFact("b1", 4, "discarded")],
        },
        S.DISCARDED,
    ),
    "a late batch that no rule matched, beside a delivered one": (
        {
            "received_seq": 4,
            "new_seq": 4,
            "batches": [BatchFact("b1", 2), BatchFact("b2", 5)],
            "decisions": [routed("d1"), DecisionFact("b2", 6, "unmatched")],
            "deliveries": [delivery(1, "succeeded")],
        },
        S.UNMATCHED,
    ),
    "delivered, then evaluated again without a match": (
        {
            **RECEIVED,
            "batches": [BatchFact("b1", 2)],
            "decisions": [routed("d1"), DecisionFact("b1", 4, "unmatched")],
            "deliveries": [delivery(1, "succeeded")],
        },
        S.DELIVERED,
    ),
    "a late instance after everything was delivered": (
        {
            "received_seq": 9,
            "new_seq": 9,
            "batches": [BatchFact("b1", 2)],
            "decisions": [routed("d1")],
            "deliveries": [delivery(1, "succeeded")],
        },
        S.RECEIVING,
    ),
    "a late duplicate after everything was delivered": (
        {
            "received_seq": 9,
            "new_seq": 1,
            "batches": [BatchFact("b1", 2)],
            "decisions": [routed("d1")],
            "deliveries": [delivery(1, "succeeded")],
        },
        S.DELIVERED,
    ),
    "a late batch of duplicates that nobody decides": (
        {
            "received_seq": 9,
            "new_seq": 1,
            "batches": [BatchFact("b1", 2), BatchFact("b2", 10, instances=0)],
            "decisions": [routed("d1")],
            "deliveries": [delivery(1, "succeeded")],
        },
        S.DELIVERED,
    ),
    "a late instance does not hide a failure": (
        {
            "received_seq": 9,
            "new_seq": 9,
            "batches": [BatchFact("b1", 2)],
            "decisions": [routed("d1")],
            "deliveries": [delivery(1, "failed")],
        },
        S.FAILED,
    ),
    "a failed delivery that was restarted": (
        {
            **RECEIVED,
            "batches": [BatchFact("b1", 2)],
            "decisions": [routed("d1")],
            "deliveries": [delivery(1, "queued")],
        },
        S.ROUTED,
    ),
    "deleted": (
        {
            **RECEIVED,
            "deleted_seq": 8,
            "batches": [BatchFact("b1", 2)],
            "decisions": [routed("d1")],
            "deliveries": [delivery(1, "succeeded")],
        },
        S.DELETED,
    ),
    "sent again after its deletion": (
        {
            "received_seq": 9,
            "new_seq": 1,
            "deleted_seq": 8,
            "batches": [BatchFact("b1", 2)],
            "decisions": [routed("d1")],
            "deliveries": [delivery(1, "succeeded")],
        },
        S.RECEIVING,
    ),
    "sent again after its deletion, and completed": (
        {
            "received_seq": 9,
            "new_seq": 1,
            "deleted_seq": 8,
            "batches": [BatchFact("b1", 2), BatchFact("b2", 10)],
            "decisions": [routed("d1")],
            "deliveries": [delivery(1, "succeeded")],
        },
        S.COMPLETED,
    ),
}


@pytest.mark.parametrize("world", WORLDS)
def test_the_state_in_a_world_where(world):
    facts, expected = WORLDS[world]
    assert series_state(SeriesFacts(**facts)) is expected


def test_every_combination_of_deliveries_has_the_state_that_the_definition_says():
    for count in (1, 2, 3):
        for states in itertools.product(DeliveryState, repeat=count):
            for late in (False, True):
                deliveries = [delivery(number, state) for number, state in enumerate(states)]
                facts = SeriesFacts(
                    received_seq=9 if late else 1,
                    new_seq=9 if late else 1,
                    batches=[BatchFact("b1", 2)],
                    decisions=[routed(*(f"d{number}" for number in range(count)))],
                    deliveries=deliveries,
                )
                assert series_state(facts) is _by_definition(states, late=late), (states, late)


def _by_definition(states, *, late):
    open_ = [state for state in states if state not in ENDED]
    failed = [state for state in states if state == "failed"]
    succeeded = [state for state in states if state == "succeeded"]
    if open_:
        return S.ROUTED
    if failed:
        return S.PARTLY_FAILED if succeeded else S.FAILED
    if late:
        return S.RECEIVING
    return S.DELIVERED if succeeded else S.DISCARDED


def test_delivered_is_said_only_when_no_batch_is_open_undecided_or_unmatched():
    outcomes = ["routed", "unmatched", "discarded", None]
    for first, second, state, new in itertools.product(outcomes, outcomes, DeliveryState, (1, 9)):
        decisions = [
            DecisionFact(f"b{n}", n + 4, outcome, planned=("d1",) if outcome == "routed" and n == 1 else ())
            for n, outcome in ((1, first), (2, second))
            if outcome
        ]
        deliveries = [delivery(1, state)] if first == "routed" else []
        batches = [BatchFact("b1", 2), BatchFact("b2", 4)]
        found = series_state(SeriesFacts(9, new, 0, batches, decisions, deliveries))
        if found is S.DELIVERED:
            assert state == "succeeded"
            assert new == 1
            assert first == "routed"
            assert second in ("routed", "discarded")


def test_the_last_decision_about_a_batch_holds_for_that_batch_alone():
    decisions = [
        DecisionFact("b1", 1, "unmatched"),
        DecisionFact("b2", 2, "unmatched"),
        DecisionFact("b1", 3, "routed"),
    ]
    assert final_outcomes(decisions) == {"b1": "routed", "b2": "unmatched"}
    assert final_outcomes(decisions[::-1]) == final_outcomes(decisions)


def test_tags_keep_the_first_distinct_values_and_empty_tags():
    parts = [{"A": ["2", "1"], "E": []}, {"A": ["1", "3"]}, {"A": [str(n) for n in range(10, 60)]}]
    merged = merge(parts)
    assert merged["A"][:3] == ["2", "1", "3"]
    assert len(merged["A"]) == LIMIT
    assert merged["E"] == []
