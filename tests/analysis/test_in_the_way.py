from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.in_the_way import InTheWay, in_the_way
from heaptop.analysis.occupancy import fit
from heaptop.model import Buffer, CmaArea, CmaRange, PageRun


def lying(inode: int, *runs: tuple[int, int]) -> Buffer:
    return Buffer(inode, None, None, None, None, None, None, None, (), runs=tuple(map(PageRun._make, runs)))


def area(used: set[int], count_bits: int, base_pfn: int | None = 0x100, order_per_bit: int = 0) -> CmaArea:
    bitmap = sum(1 << bit for bit in used).to_bytes(count_bits // 8 + 1, "little")
    count = count_bits << order_per_bit
    return CmaArea("a", count, order_per_bit, None, None, (CmaRange(base_pfn, count, bitmap),))


def asked(of: CmaArea, pages: int, order: int, buffers: list[Buffer]) -> InTheWay | None:
    return in_the_way(of, fit(of, pages, order), pages, buffers)


def names(found: InTheWay | None) -> list[tuple[int, int]]:
    assert found is not None
    return [(one.buffer.inode, one.count_pages) for one in found.buffers]


def test_the_buffers_in_the_nearest_window_by_what_they_have_there() -> None:
    used = {*range(16), 17, 20, 21, 22, *range(30, 32)}
    buffers = [lying(7, (0x100, 16)), lying(8, (0x111, 1)), lying(9, (0x11E, 2), (0x114, 2), (0x900, 50))]
    found = asked(area(used, 32), 16, 4, buffers)
    assert names(found) == [(9, 4), (8, 1)]
    assert found is not None
    assert (found.count_pages, found.other_pages, found.is_told) == (6, 1, True)


def test_a_buffer_counts_only_what_lies_in_the_window() -> None:
    found = asked(area(set(range(4, 12)), 16), 8, 3, [lying(5, (0x104, 8))])
    assert names(found) == [(5, 4)]


def test_nobody_is_in_the_way_of_what_fits_or_never_could() -> None:
    free = area({1}, 32)
    assert asked(free, 4, 0, []) is None
    assert asked(free, 33, 0, []) is None
    dark = CmaArea("a", 64, 0, 8, None, (CmaRange(0, 64, None),))
    assert asked(dark, 8, 0, []) is None


def test_where_no_place_is_told_the_pages_are_counted_all_the_same() -> None:
    full = area(set(range(8)), 8)
    unknown = Buffer(1, None, None, None, None, None, None, None, ())
    assert asked(full, 4, 0, [unknown]) == InTheWay(4, (), 4, is_told=False)
    nowhere = area(set(range(8)), 8, base_pfn=None)
    assert asked(nowhere, 4, 0, [lying(1, (0, 8))]) == InTheWay(4, (), 4, is_told=False)


def test_a_bit_of_several_pages_is_used_whole() -> None:
    """order_per_bit 2: a buffer of 5 pages takes two bits, 8 pages."""
    found = asked(area({0, 1, 2, 3}, 4, order_per_bit=2), 16, 0, [lying(3, (0x100, 5)), lying(4, (0x108, 8))])
    assert names(found) == [(3, 8), (4, 8)]
    assert found is not None
    assert found.other_pages == 0


def test_a_buffer_that_came_after_the_bitmap_was_read() -> None:
    found = asked(area({0}, 8), 8, 0, [lying(1, (0x100, 1)), lying(2, (0x102, 4))])
    assert found is not None
    assert (found.count_pages, found.other_pages) == (1, 0)


@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=12), st.integers(1, 40), st.data())
def test_all_that_is_used_is_somebodys(sizes: list[tuple[int, bool]], pages: int, data: st.DataObject) -> None:
    """Buffers side by side, some with a gap behind them, as a twin that goes page by page counts them."""
    owner: list[int | None] = []
    buffers = []
    for inode, (size, gap) in enumerate(sizes):
        buffers.append(lying(inode, (0x100 + len(owner), size)))
        owner += [inode] * size + [None] * gap
    of = area({bit for bit, inode in enumerate(owner) if inode is not None}, len(owner))
    order = data.draw(st.integers(0, 3))
    answer = fit(of, pages, order)
    found = in_the_way(of, answer, pages, buffers)
    if found is None:
        assert answer.fits or answer.in_the_way_pages is None
        return
    assert answer.start_bit is not None
    window = owner[answer.start_bit : answer.start_bit + pages]
    assert dict(names(found)) == {inode: window.count(inode) for inode in window if inode is not None}
    assert found.other_pages == 0
    assert found.count_pages == sum(inode is not None for inode in window)
