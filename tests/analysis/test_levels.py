"""`analysis.levels`."""

from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.levels import ENTRIES_MAX, Levels, summed


def test_floors() -> None:
    levels = Levels((0,), (5,))
    for at, count in ((10, 7), (15, 6), (20, 9)):
        levels = levels.noted(at, count)
    assert levels.floors(0, 40, 4) == [5, 6, 9, 9]
    assert [levels.at(time) for time in (-1, 0, 10, 12, 99)] == [0, 5, 7, 7, 9]
    assert (levels.newest, levels.since) == (9, 20)
    assert summed([levels, levels], 0, 40, 2) == [10, 18]
    assert summed([], 0, 40, 2) == [0, 0]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=2000))
def test_long_stories_are_thinned_to_their_floor(counts: list[int]) -> None:
    levels = Levels((0,), (counts[0],))
    for at, count in enumerate(counts):
        levels = levels.noted(at, count)
    assert len(levels.times) <= ENTRIES_MAX + 1
    assert levels.newest == counts[-1]
    floors = levels.floors(0, len(counts), 4)
    assert min(floors) == min(counts)
    assert all(floor <= max(counts) for floor in floors)
