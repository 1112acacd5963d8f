"""The checker can fail: books with one thing wrong in them, each of which it has to see."""

from dataclasses import replace

import pytest
from hermes_chaos.books import Delivery, Evidence, Fault, Kept, Outcome, Reception, Sent
from hermes_chaos.checker import LedgerViolation, contradictions, unended, verify

BYTES, OTHER = "a" * 64, "b" * 64
SENT = Sent("1.2.1", "1.2", BYTES, "steady", {"pacs": "delivered"}, acknowledged_at=100.0)
KEPT = Kept("pacs", "1.2.1", BYTES, 0, 110.0)
RECEPTION = Reception("r1", "1.2", "1.2.1", BYTES, "1.2/1.2.1.dcm", BYTES)
OUTCOME = Outcome("d1", "1.2.1", "delivered", 0)
DELIVERY = Delivery("d1", "1.2", "pacs", "succeeded", 1, 1, 1, "", "succeeded", 1, "succeeded", frozenset({OUTCOME}))
FAILED_OUTCOME = Outcome("d1", "1.2.1", "failed", 0xC000)
FAILED = replace(
    DELIVERY, state="failed", delivered=0, live_state="failed", live_delivered=0, api_state="failed",
    api_outcomes=frozenset({FAILED_OUTCOME}),
)  # fmt: skip
GOOD = Evidence([SENT], [KEPT], [RECEPTION], {"1.2": "delivered"}, [DELIVERY], [OUTCOME], [])
REFUSED = replace(
    GOOD, sent=[replace(SENT, ends={"pacs": "failed"})], kept=[replace(KEPT, status=0xC000)], deliveries=[FAILED],
    outcomes=[FAILED_OUTCOME], series={"1.2": "failed"},
)  # fmt: skip


KEEPS = replace(DELIVERY, commitment="committed", live_commitment="committed")
COMMITTED = replace(GOOD, deliveries=[KEEPS], committing=frozenset({"pacs"}), promised=frozenset({("pacs", "1.2.1")}))


@pytest.mark.parametrize("evidence", [GOOD, REFUSED, COMMITTED], ids=["delivered", "refused", "committed"])
def test_books_that_agree_are_no_violation(evidence: Evidence) -> None:
    verify(evidence)
    assert unended(evidence) == []


@pytest.mark.parametrize(
    ("doctored", "seen"),
    [
        (replace(GOOD, receptions=[]), "lost: instance 1.2.1 (route steady) was acknowledged at 00:01:40.000"),
        (replace(GOOD, receptions=[replace(RECEPTION, stored_digest=None)]), "lost: the object 1.2/1.2.1.dcm"),
        (replace(GOOD, receptions=[replace(RECEPTION, stored_digest=OTHER)]), "changed: the object 1.2/1.2.1.dcm"),
        (replace(GOOD, receptions=[replace(RECEPTION, digest=OTHER)]), "received as bbbbbbbbbbbb"),
        (replace(GOOD, sent=[]), "foreign: instance 1.2.1 is recorded as received and was never sent"),
        (replace(GOOD, kept=[]), 'false "delivered": instance 1.2.1 (route steady) at pacs; the target says: it never'),
        (replace(GOOD, kept=[replace(KEPT, status=None)]), 'false "delivered"'),
        (replace(GOOD, kept=[replace(KEPT, status=0xA700)]), "answered with A700H"),
        (replace(GOOD, kept=[replace(KEPT, digest=OTHER)]), "has other bytes there than were sent"),
        (replace(GOOD, outcomes=[], deliveries=[]), "stuck, there is no delivery"),
        (replace(GOOD, outcomes=[FAILED_OUTCOME], deliveries=[FAILED]), "stuck, not delivered (failed"),
        (replace(REFUSED, deliveries=[replace(FAILED, state="retrying")]), "no provable end"),
        (replace(GOOD, sent=[replace(SENT, ends={})]), "stuck: instance 1.2.1 (route steady) matches no rule"),
        (replace(GOOD, sent=[replace(SENT, ends={})], series={"1.2": "unmatched"}), "astray: instance 1.2.1"),
        (replace(GOOD, kept=[KEPT, replace(KEPT, at=111.0)]), "twice: 1.2.1 was delivered to pacs"),
        (replace(GOOD, kept=[KEPT, replace(KEPT, digest=OTHER, status=0xC000)]), "was sent other bytes"),
        (replace(GOOD, deliveries=[replace(DELIVERY, delivered=2)]), "counts 2 delivered, and 1 outcomes say so"),
        (replace(GOOD, deliveries=[replace(DELIVERY, instances=2)]), "of 2 instances has only 1 delivered"),
        (replace(GOOD, deliveries=[replace(DELIVERY, live_state="sending")]), "is sending in its live record"),
        (replace(GOOD, deliveries=[replace(DELIVERY, live_delivered=0)]), "has 0 delivered in its live record"),
        (replace(GOOD, deliveries=[replace(DELIVERY, api_state="failed")]), "reads differently in the API"),
        (replace(REFUSED, series={"1.2": "deleted"}), "early: series 1.2 is deleted, and delivery d1"),
        (
            replace(COMMITTED, promised=frozenset()),
            'false "committed": instance 1.2.1 at pacs; the target never said so',
        ),
        (replace(COMMITTED, deliveries=[replace(KEEPS, commitment="requested")]), "stuck, not committed: delivery d1"),
        (replace(COMMITTED, deliveries=[DELIVERY]), "(storage commitment: not asked)"),
        (replace(COMMITTED, deliveries=[replace(KEEPS, live_commitment="asked")]), "is asked in its live record"),
        (
            replace(COMMITTED, deliveries=[replace(KEEPS, commitment="failed")], series={"1.2": "deleted"}),
            "early: series 1.2 is deleted, and pacs has not committed to delivery d1",
        ),
        (
            replace(GOOD, steps=frozenset({("2.25.1", "set")})),
            "lost: procedure step 2.25.1 was answered with Success when",
        ),
        (replace(GOOD, parked=["bookkeeper: a reason"]), "parked: bookkeeper: a reason"),
    ],
)
def test_each_thing_that_is_wrong_in_the_books_is_seen_and_said(doctored: Evidence, seen: str) -> None:
    with pytest.raises(LedgerViolation) as violation:
        verify(doctored)
    assert seen in str(violation.value)


def test_a_second_copy_is_put_down_to_a_fault_between_the_two_and_to_no_other() -> None:
    twice = replace(GOOD, kept=[KEPT, replace(KEPT, at=115.0)])
    assert contradictions(replace(twice, faults=[Fault("kill", 112.0, 112.0, repeats=True)])) == []
    assert contradictions(replace(twice, faults=[Fault("kill", 112.0, 112.0, repeats=False)]))
    assert contradictions(replace(twice, faults=[Fault("kill", 10.0, 20.0, repeats=True)]))
    assert contradictions(replace(twice, faults=[Fault("kill", 200.0, 201.0, repeats=True)]))


def test_of_an_instance_that_was_sent_again_one_object_is_enough() -> None:
    again = replace(RECEPTION, reception_id="r2", key="1.2/1.2.1-again.dcm", stored_digest=None)
    assert contradictions(replace(GOOD, receptions=[RECEPTION, again])) == []
    assert contradictions(replace(GOOD, receptions=[replace(RECEPTION, stored_digest=None), again]))


def test_what_was_never_acknowledged_may_be_there_or_not() -> None:
    unheard = replace(SENT, acknowledged_at=None)
    assert contradictions(replace(GOOD, sent=[unheard])) == []
    assert contradictions(Evidence([unheard], [], [], {}, [], [], [])) == []
