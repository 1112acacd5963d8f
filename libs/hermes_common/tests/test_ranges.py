"""Sets of positions and their text."""

from hypothesis import given
from hypothesis import strategies as st

from hermes_common.ranges import Positions, format_ranges, parse_ranges

POSITIONS = st.lists(st.integers(0, 60), max_size=40)


@given(POSITIONS)
def test_the_text_of_a_set_of_positions_is_read_back_as_that_set(positions: list[int]) -> None:
    assert parse_ranges(format_ranges(positions)) == set(positions)


@given(POSITIONS, POSITIONS)
def test_positions_that_grow_have_the_text_of_the_whole_set_at_every_step(before: list[int], added: list[int]) -> None:
    grown = Positions(format_ranges(before))
    for number, position in enumerate(added, 1):
        grown.add(position)
        assert grown.text() == format_ranges([*before, *added[:number]])
    assert set(grown) == {*before, *added}
    assert len(grown) == len({*before, *added})
