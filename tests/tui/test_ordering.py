from collections.abc import Mapping
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.model import Buffer
from heaptop.tui import ordering
from heaptop.tui.ordering import Keep, Ordering
from tests.tui.feed import buffer

Sizes = dict[int, int | None]
sizes = st.dictionaries(st.integers(0, 40), st.none() | st.integers(0, 5), max_size=30)


def made(sizes: Sizes) -> Mapping[int, Buffer]:
    return {inode: buffer(inode, size, "x") for inode, size in sizes.items()}


def key(one: Buffer) -> int | None:
    return one.size_bytes


def even(one: Buffer) -> bool:
    return one.inode % 2 == 0


@pytest.mark.parametrize("place_cost", [0, 1_000_000])
@given(ticks=st.lists(sizes, min_size=1, max_size=5), descending=st.booleans(), filtered=st.booleans())
def test_following_gives_what_sorting_anew_gives(
    place_cost: int, ticks: list[Sizes], descending: bool, filtered: bool
) -> None:
    """Whether rows are placed one by one or all together."""
    with patch.object(ordering, "PLACE_COST", place_cost):
        _follow(ticks, even if filtered else None, descending=descending)


def _follow(ticks: list[Sizes], keep: Keep | None, *, descending: bool) -> None:
    followed, anew = Ordering(), Ordering()
    before: Mapping[int, Buffer] = {}
    followed.rebuild(before, key, keep, descending=descending)
    for tick in ticks:
        now = made(tick)
        touched = {n for n in before.keys() | now.keys() if before.get(n) != now.get(n)}
        followed.follow(now, key, keep, touched)
        anew.rebuild(now, key, keep, descending=descending)
        assert list(followed) == list(anew)
        assert [followed[i] for i in range(len(followed))] == list(anew)
        assert [followed.index_of(one.inode) for one in followed] == list(range(len(followed)))
        before = now


def test_unknown_values_come_last_both_ways() -> None:
    buffers = made({1: None, 2: 5, 3: 9})
    for descending, expected in ((False, [2, 3, 1]), (True, [3, 2, 1])):
        order = Ordering()
        order.rebuild(buffers, key, None, descending=descending)
        assert [one.inode for one in order] == expected
        assert [one.inode for one in order[1:]] == expected[1:]
        assert order[-1].inode == 1


def test_a_row_that_is_not_there() -> None:
    order = Ordering()
    order.rebuild(made({1: 1}), key, even, descending=False)
    assert len(order) == 0
    assert order.index_of(1) is None
