"""When a process that ended starts again."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from hermes_local.core.restart import (
    AT_ONCE,
    GOOD_RUN,
    LONGEST,
    LONGEST_WHEN_IT_WORKED,
    decide,
    describe_exit,
)

RUNS = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3650))
SHORT = timedelta(seconds=1)


def waits(count, *, was_ready):
    failures, result = 0, []
    for _ in range(count):
        decision = decide(failures, SHORT, was_ready=was_ready)
        failures = decision.failures
        result.append(decision.after.total_seconds())
    return result


def test_one_that_never_becomes_ready_is_started_less_and_less_often():
    assert waits(9, was_ready=False) == [0.2, 1, 2, 4, 8, 16, 30, 30, 30]


def test_one_that_was_ready_is_back_soon_however_often_it_is_killed():
    assert waits(9, was_ready=True) == [0.2, 1, 2, 3, 3, 3, 3, 3, 3]


def test_a_good_run_starts_the_count_again():
    assert decide(50, GOOD_RUN, was_ready=False).after == AT_ONCE
    assert decide(50, GOOD_RUN, was_ready=False).failures == 1


@given(failures=st.integers(0, 10**6), ran_for=RUNS, was_ready=st.booleans())
def test_the_wait_is_bounded_and_the_count_positive(failures, ran_for, was_ready):
    decision = decide(failures, ran_for, was_ready=was_ready)
    assert AT_ONCE <= decision.after <= (LONGEST_WHEN_IT_WORKED if was_ready else LONGEST)
    assert 1 <= decision.failures <= failures + 1


def test_an_exit_is_described_in_words():
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-9) == "signal SIGKILL"
    assert describe_exit(-250) == "signal 250"
