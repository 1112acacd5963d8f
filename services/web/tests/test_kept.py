"""Answers that are kept: given at once while they are asked for again, waited for when they are too old."""

import asyncio
from datetime import timedelta

import pytest

from hermes_web.adapters.kept import Kept
from hermes_web.core.columns import FIXED, parse_columns
from hermes_web.core.search import beginnings, is_uid
from hermes_web.errors import InvalidError

NEVER, ALWAYS = timedelta(days=1), timedelta(0)


class Question:
    """Answers 1, 2, 3…, each when it is let."""

    def __init__(self):
        self.asked = 0
        self.let = asyncio.Event()
        self.let.set()

    async def ask(self):
        self.asked += 1
        number = self.asked
        await self.let.wait()
        if number == 3:
            raise OSError("the third is never answered")
        return number


async def test_an_answer_that_is_not_fresh_is_given_while_it_is_asked_for_once_again():
    question = Question()
    kept = Kept(question.ask, ALWAYS, NEVER)
    assert (await kept.get()).value == 1
    question.let.clear()
    assert [(await kept.get()).value for _ in range(5)] == [1] * 5
    await asyncio.sleep(0)
    assert question.asked == 2
    question.let.set()
    while (await kept.get()).value == 1:
        await asyncio.sleep(0)


async def test_a_fresh_answer_is_given_without_asking():
    question = Question()
    kept = Kept(question.ask, NEVER, NEVER)
    assert [(await kept.get()).value for _ in range(3)] == [1, 1, 1]
    assert question.asked == 1


async def test_an_answer_that_is_too_old_is_waited_for_by_all_and_its_failure_is_theirs():
    question = Question()
    kept = Kept(question.ask, ALWAYS, ALWAYS)
    answers = await asyncio.gather(*(kept.get() for _ in range(4)))
    assert {answer.value for answer in answers} == {1}
    assert (await kept.get()).value == 2
    with pytest.raises(OSError, match="third"):
        await kept.get()
    assert (await kept.get()).value == 4


def test_a_search_is_parted_into_the_beginnings_of_words():
    assert beginnings("T1_BRAIN/ax") == "'T1':* & 'BRAIN':* & 'ax':*"
    assert beginnings("O'Neil\\x | !y:*") == "'O':* & 'Neil':* & 'x':* & 'y':*"
    assert beginnings("山田^太郎") == "'山田':* & '太郎':*"
    assert beginnings("-_'") == ""
    assert [is_uid(text) for text in ("1.2.840.10008", "1.5", "A1.2.3.4", "1..2.3.4")] == [True, False, False, False]


def test_columns_are_checked_named_canonically_and_without_persons_where_names_are_masked():
    assert parse_columns("", masked=False).names == FIXED
    assert {"patient_name", "patient_id"}.isdisjoint(parse_columns(" ,", masked=True).names)
    assert parse_columns("modality, SliceThickness,modality", masked=True).names == ("modality", "SliceThickness")
    for name in ("PatientSex", "OperatorsName", "patient_id", "ReferringPhysicianName"):
        assert parse_columns(name, masked=False).names == (name,)
        with pytest.raises(InvalidError):
            parse_columns(name, masked=True)
    with pytest.raises(InvalidError):
        parse_columns("PixelData", masked=False)
