"""`analysis.cycles`."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.cycles import Mark, cycle_growth, steadied
from heaptop.model import Buffer
from tests.analysis.builders import buffer, holder

MEDIA, CAMERA, APP, FLINGER = (holder(pid, comm) for pid, comm in ((1, "media"), (2, "camera"), (3, "app"), (4, "sf")))


def marks(*each: Iterable[Buffer]) -> list[Mark]:
    return [Mark(str(number), float(number), tuple(buffers)) for number, buffers in enumerate(each)]


def leaked(inode: int) -> Buffer:
    return buffer(inode, 16384, name="codec-out", holders=[MEDIA])


def test_one_each_cycle() -> None:
    growth = cycle_growth(marks(*([leaked(inode) for inode in range(1, 3 + cycle)] for cycle in range(5))))
    (grown,) = growth.grown
    assert (grown.key.holder, grown.name, grown.kept, grown.is_even) == ("media", "codec-out", (1, 1, 1, 1), True)
    assert (grown.count, grown.total_bytes, grown.per_cycle, grown.inodes) == (4, 65536, 1.0, (3, 4, 5, 6))
    assert (growth.cycles, growth.duration_s, growth.count, growth.total_bytes) == (4, 4.0, 4, 65536)


@given(st.integers(0, 19), st.integers(0, 5))
def test_one_buffer_in_twenty_cycles_is_seen_whenever_it_comes(cycle: int, there_before: int) -> None:
    kept = [buffer(100 + number, holders=[MEDIA]) for number in range(there_before)]
    growth = cycle_growth(marks(*([*kept, *([leaked(1)] if number > cycle else [])] for number in range(21))))
    (grown,) = growth.grown
    assert (grown.count, grown.kept[cycle], grown.is_even) == (1, 1, False)


def test_nothing_is_left() -> None:
    growth = cycle_growth(marks([leaked(1)], [leaked(1), leaked(2)], [leaked(1)]))
    assert (growth.grown, growth.count) == ((), 0)


def test_a_ring_that_turns() -> None:
    growth = cycle_growth(marks(*([leaked(number + each) for each in range(4)] for number in range(20))))
    assert growth.grown == ()


def test_one_turn_of_a_ring_with_sizes_by_lot() -> None:
    """The gallery draws a texture of another size, once, with holders that are not the same ones."""
    old = buffer(1, 1 << 18, name="texture 256x256", holders=[APP])
    new = buffer(9, 1 << 20, name="texture 512x512", holders=[APP, FLINGER])
    assert cycle_growth(marks([old], [old], [new], [new])).grown == ()


def test_sizes_by_lot_again_and_again() -> None:
    sizes = (1, 2, 4, 1, 1, 4, 2, 2, 1, 4)
    rings = [
        [buffer(turn + each, sizes[(turn + each) % 10] << 18, name="texture", holders=[APP]) for each in range(3)]
        for turn in range(10)
    ]
    assert cycle_growth(marks(*rings)).grown == ()


def test_another_process_cannot_make_up_for_it() -> None:
    went = buffer(1, 16384, name="codec-out", holders=[CAMERA])
    assert cycle_growth(marks([went], [leaked(2)])).count == 1
    assert cycle_growth(marks([buffer(1, 4096, name="codec-out", holders=[MEDIA])], [], [leaked(2)])).count == 1


def test_a_buffer_that_changes_hands_has_not_grown() -> None:
    before, after = (buffer(1, 16384, holders=[one]) for one in (MEDIA, APP))
    assert cycle_growth(marks([before], [after], [after])).grown == ()


def test_what_goes_up_and_down_must_grow_by_more() -> None:
    counts = (3, 4, 3, 5, 4, 3, 4)
    noisy = [[leaked(turn * 100 + each) for each in range(count)] for turn, count in enumerate(counts)]
    assert cycle_growth(marks(*noisy)).grown == ()
    grown = [[*buffers, *(leaked(9000 + each) for each in range(turn))] for turn, buffers in enumerate(noisy)]
    assert cycle_growth(marks(*grown)).count > 2


def test_noise_of_others_hides_no_quiet_class() -> None:
    noisy = [[buffer(turn * 100 + each, holders=[APP]) for each in range(turn % 4)] for turn in range(20)]
    quiet = [[*buffers, *([buffer(9000, holders=[MEDIA])] if turn > 7 else [])] for turn, buffers in enumerate(noisy)]
    assert [one.key.holder for one in cycle_growth(marks(*quiet)).grown] == ["media"]


def test_numbered_names_and_several_classes() -> None:
    last = [buffer(each, 4096, name=f"frame-{each}", holders=[APP]) for each in range(3)]
    last += [buffer(10, 1 << 20, name="x"), buffer(11, None, exporter=None)]
    grown = cycle_growth(marks([], last)).grown
    assert [(one.name, one.count, one.total_bytes) for one in grown] == [
        ("x", 1, 1 << 20),
        ("frame-#", 3, 12288),
        (None, 1, 0),
    ]


@pytest.mark.parametrize("glitch", [0, 1, 2])
def test_looks_that_do_not_agree_are_taken_at_their_lowest(glitch: int) -> None:
    looks: list[tuple[Buffer, ...]] = [(leaked(1), leaked(2)), (leaked(2), leaked(3)), (leaked(2), leaked(3))]
    looks[glitch] = (*looks[glitch], leaked(7))
    other = buffer(50, name="other")
    seen = steadied([(*look, other) for look in looks])
    assert len(seen) == 3
    assert other in seen


shapes = st.tuples(st.integers(1, 3), st.sampled_from(["a", "b"]), st.sampled_from([MEDIA, APP]))
worlds = st.lists(st.dictionaries(st.integers(1, 30), shapes, max_size=12), min_size=2, max_size=6)


@given(worlds)
def test_any_marks(rows: list[dict[int, tuple[int, str, object]]]) -> None:
    """Whatever happens, no more has grown than came, and what is kept was born in its cycle."""
    shape: dict[int, tuple[int, str, object]] = {}
    for row in rows:
        for inode in row:
            row[inode] = shape.setdefault(inode, row[inode])
    seen = marks(*([buffer(i, s, name=n, holders=[h]) for i, (s, n, h) in row.items()] for row in rows))  # type: ignore[list-item]
    growth = cycle_growth(seen)
    came = rows[-1].keys() - rows[0].keys()
    inodes = [inode for one in growth.grown for inode in one.inodes]
    assert set(inodes) <= came
    assert len(inodes) == len(set(inodes)) == growth.count
    if rows[-1].keys() <= rows[0].keys():
        assert growth.grown == ()
