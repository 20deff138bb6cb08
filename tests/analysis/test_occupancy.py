"""`analysis.occupancy`, each function against a twin that goes bit by bit."""

import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis._cells import cells as compiled
from heaptop.analysis.occupancy import (
    Run,
    cell_edges,
    cells,
    fit,
    fitting_runs,
    free_runs_by_order,
    heap_align_order,
    plain_cells,
    run_at,
    runs,
    used_bits,
)
from heaptop.model import CmaArea, CmaRange


def packed(bits: list[bool]) -> bytes:
    return sum(1 << i for i, bit in enumerate(bits) if bit).to_bytes(len(bits) // 8 + 1, "little")


def area(bits: list[bool], base_pfn: int | None = 0, order_per_bit: int = 0) -> CmaArea:
    count = len(bits) << order_per_bit
    return CmaArea("a", count, order_per_bit, None, None, (CmaRange(base_pfn, count, packed(bits)),))


bit_lists = st.lists(st.booleans(), max_size=200) | st.lists(st.integers(1, 30), max_size=10).map(
    lambda lengths: [i % 2 == 0 for i, n in enumerate(lengths) for _ in range(n)]
)


def naive_fit(bits: list[bool], base_pfn: int, order_per_bit: int, pages: int, order: int) -> int | None:
    """The pfn that mm/cma.c's rule gives, by trying each bit."""
    need = -(-pages // (1 << order_per_bit))
    for bit in range(len(bits) - need + 1):
        pfn = base_pfn + (bit << order_per_bit)
        aligned = order <= order_per_bit or pfn % (1 << order) == 0
        if aligned and not any(bits[bit : bit + need]):
            return pfn
    return None


@given(bit_lists)
def test_runs(bits: list[bool]) -> None:
    found = runs(packed(bits), len(bits))
    assert [bit for run in found for bit in [run.used] * run.count_bits] == bits
    assert all(left.used != right.used for left, right in itertools.pairwise(found))
    assert all(run.start_bit == sum(other.count_bits for other in found[:i]) for i, run in enumerate(found))
    assert used_bits(packed(bits), len(bits)) == sum(bits)


@given(bit_lists.filter(bool), st.data())
def test_run_at(bits: list[bool], data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, len(bits) - 1))
    expected = next(run for run in reversed(runs(packed(bits), len(bits))) if run.start_bit <= bit)
    assert run_at(packed(bits), len(bits), bit) == expected


@given(bit_lists, st.integers(1, 300), st.data())
def test_cells(bits: list[bool], count: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(bits)))
    length = data.draw(st.integers(0, len(bits) - start))
    edges = cell_edges(start, length, count)
    assert (edges[0], edges[-1]) == (start, start + length)
    assert cells(packed(bits), start, length, count) == tuple(sum(bits[a:b]) for a, b in itertools.pairwise(edges))


@given(bit_lists, st.integers(0, 3))
def test_free_runs_by_order(bits: list[bool], order_per_bit: int) -> None:
    found = free_runs_by_order(area(bits, 0, order_per_bit).ranges[0], order_per_bit)
    pages = [run.count_bits << order_per_bit for run in runs(packed(bits), len(bits)) if not run.used]
    for order, count in enumerate(found):
        assert count == sum(2**order <= size < 2 ** (order + 1) for size in pages)
    assert sum(found) == len(pages)


@given(bit_lists, st.integers(0, 64), st.integers(0, 2), st.integers(1, 80), st.integers(0, 6))
def test_fit_is_the_kernels_first_fit(bits: list[bool], base: int, order_per_bit: int, pages: int, order: int) -> None:
    base <<= order_per_bit
    answer = fit(area(bits, base, order_per_bit), pages, order)
    expected = naive_fit(bits, base, order_per_bit, pages, order)
    assert (answer.fits, answer.pfn) == (expected is not None, expected)
    holes = fitting_runs(area(bits, base, order_per_bit).ranges[0], order_per_bit, pages, order)
    assert bool(holes) == bool(answer.fits)
    if expected is not None:
        assert holes[0].start_bit <= (expected - base) >> order_per_bit


@given(bit_lists, st.integers(0, 64), st.integers(1, 80), st.integers(0, 5))
def test_where_it_does_not_fit_the_least_is_in_the_way(bits: list[bool], base: int, pages: int, order: int) -> None:
    answer = fit(area(bits, base), pages, order)
    if answer.fits:
        return
    ways = [
        (sum(bits[i : i + pages]), i + base) for i in range(len(bits) - pages + 1) if (i + base) % (1 << order) == 0
    ]
    best = min(ways, default=(None, None))
    assert (answer.in_the_way_pages, answer.nearest_pfn) == best
    hole = answer.largest_hole_pages
    assert hole is not None
    assert hole < pages
    assert naive_fit(bits, base, 0, hole + 1, order) is None
    assert hole == 0 or naive_fit(bits, base, 0, hole, order) is not None


def test_the_reference_example() -> None:
    """order_per_bit 0, base_pfn 0x40010, 64 bits: (pages, order) in turn land at these bits."""
    bits = [False] * 64
    for pages, order, expected in ((3, 2, 0), (1, 0, 3), (4, 2, 4), (16, 4, 16), (8, 3, 8)):
        answer = fit(area(bits, 0x40010), pages, order)
        assert answer.start_bit == expected
        bits[expected : expected + pages] = [True] * pages


def test_ranges_are_tried_in_turn() -> None:
    full, free = CmaRange(0x100, 16, b"\xff\xff"), CmaRange(0x400, 16, b"\x0f\x00")
    both = CmaArea("a", 32, 0, None, None, (full, free))
    assert (fit(both, 8, 0).pfn, fit(both, 8, 0).range_index) == (0x404, 1)
    miss = fit(both, 16, 0)
    assert (miss.fits, miss.nearest_pfn, miss.in_the_way_pages, miss.largest_hole_pages) == (False, 0x400, 4, 12)
    assert fit(both, 24, 0).nearest_pfn is None  # a buffer never spans two ranges


def test_what_no_bitmap_tells_is_unknown() -> None:
    dark = CmaArea("a", 64, 0, 8, None, (CmaRange(0, 64, None),))
    assert fit(dark, 8, 0).fits is None
    assert fit(dark, 65, 0).fits is False
    assert fit(CmaArea("a", None, None, None, None, ()), 1, 0).fits is None
    assert fit(CmaArea("a", 64, 0, 8, 4, ()), 8, 0).fits is False
    half = CmaArea("a", 64, 0, None, None, (CmaRange(0, 32, None), CmaRange(32, 32, bytes(4))))
    assert fit(half, 8, 0).pfn == 32
    assert fit(half, 33, 0).fits is None


def test_without_base_pfn_the_bit_is_told() -> None:
    answer = fit(area([True, False, False, False], None), 2, 1)
    assert (answer.fits, answer.pfn, answer.start_bit) == (True, None, 2)


@pytest.mark.parametrize("pages", [0, -1])
def test_nothing_fits_nowhere(pages: int) -> None:
    assert fit(area([False] * 8), pages, 0).fits is False


def test_heap_align_order() -> None:
    assert [heap_align_order(pages) for pages in (1, 2, 3, 4, 5, 255, 256, 257, 8192)] == [0, 1, 2, 2, 3, 8, 8, 8, 8]


def test_a_million_bits_cost_little() -> None:
    bitmap = random.Random(1).randbytes(1 << 17)
    worst = CmaArea("a", 1 << 20, 0, None, None, (CmaRange(0, 1 << 20, bitmap),))
    began = time.process_time()
    assert sum(cells(bitmap, 0, 1 << 20, 10_000)) == used_bits(bitmap, 1 << 20)
    assert fit(worst, 64, 0).fits is False
    assert fit(worst, 8192, 8).fits is False
    assert run_at(bitmap, 1 << 20, 77).used in (True, False)
    assert free_runs_by_order(worst.ranges[0], 0)[0] > 0
    assert time.process_time() - began < 3
    assert runs(b"", 0) == ()
    assert runs(b"\x01", 16) == (Run(0, 1, used=True), Run(1, 15, used=False))


@given(st.binary(max_size=200), st.integers(0, 1500), st.integers(0, 2000), st.integers(1, 300))
def test_the_compiled_cells_are_the_plain_ones(bitmap: bytes, start: int, count: int, cell_count: int) -> None:
    assert compiled(bitmap, start, count, cell_count) == plain_cells(bitmap, start, count, cell_count)
