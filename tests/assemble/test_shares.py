"""`analysis.ownership`."""

from hypothesis import given
from hypothesis import strategies as st

from heaptop.assemble.shares import Share, shares
from heaptop.model import ProcessId
from tests.analysis.builders import buffer, holder


def test_a_buffer_counts_once_whole_and_once_shared() -> None:
    mine, shared = (
        buffer(2, 8192, holders=[holder(1, fds=[3, 4])]),
        buffer(1, 100, holders=[holder(1), holder(2), holder(3)]),
    )
    assert shares([mine, shared]) == {
        ProcessId(1, 100): Share(8292, 8192 + 33, (1, 2)),
        ProcessId(2, 200): Share(100, 33, (1,)),
        ProcessId(3, 300): Share(100, 33, (1,)),
    }


def test_an_unknown_size_counts_as_nothing() -> None:
    assert shares([buffer(1, None, holders=[holder(1)])]) == {ProcessId(1, 100): Share(0, 0, (1,))}


def test_nobody_holds_an_orphan() -> None:
    assert shares([buffer(1)]) == {}


@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.sets(st.integers(1, 6), max_size=6)), max_size=12))
def test_all_pss_is_what_is_held_less_what_division_drops(table: list[tuple[int, set[int]]]) -> None:
    buffers = [buffer(i, size, holders=[holder(pid) for pid in sorted(pids)]) for i, (size, pids) in enumerate(table)]
    found = shares(buffers)
    held = sum(size for size, pids in table if pids)
    lost = sum(size % len(pids) for size, pids in table if pids)
    assert sum(share.pss_bytes for share in found.values()) == held - lost
    assert all(share.pss_bytes <= share.rss_bytes for share in found.values())
