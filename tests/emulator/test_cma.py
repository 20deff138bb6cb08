"""The compiled CMA bitmap equals its naive twin and the kernel's rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop_emulator._bits import Bits
from heaptop_emulator._cma import CmaBitmap
from tests.emulator.twins import NaiveCma, longest_free, packed

STEP = st.one_of(
    st.tuples(st.just("allocate"), st.integers(1, 90), st.integers(0, 9), st.integers(0, 420)),
    st.tuples(st.just("release"), st.integers(0, 1 << 16), st.just(0), st.just(0)),
    st.tuples(st.just("claim"), st.integers(0, 90), st.just(0), st.integers(0, 420)),
)


@given(
    count_bits=st.integers(1, 400),
    base_pfn=st.one_of(st.just(0x40000), st.integers(0, 1 << 30)),
    order_per_bit=st.integers(0, 3),
    steps=st.lists(STEP, max_size=60),
)
def test_equals_its_twin(
    count_bits: int, base_pfn: int, order_per_bit: int, steps: list[tuple[str, int, int, int]]
) -> None:
    count_pages = count_bits << order_per_bit
    area, twin = CmaBitmap(count_pages, base_pfn, order_per_bit), NaiveCma(count_pages, base_pfn, order_per_bit)
    live: list[tuple[int, int]] = []
    for what, number, align_order, start in steps:
        if what == "allocate":
            bit = area.allocate(number, align_order, start)
            assert bit == twin.allocate(number, align_order, start)
            if bit >= 0:
                live.append((bit, number))
        elif what == "claim":
            try:
                twin.claim(start, number)
            except ValueError:
                with pytest.raises(ValueError, match="pages from bit"):
                    area.claim(start, number)
            else:
                area.claim(start, number)
                live.append((start, number))
        elif live:
            run = live.pop(number % len(live))
            area.release(*run)
            twin.release(*run)
        assert area.used_pages == sum(twin.bits) << order_per_bit
    assert area.max_free_run_pages == longest_free(twin.bits) << order_per_bit
    assert area.bitmap()[: -(-count_bits // 8)] == packed(twin.bits)
    assert not any(area.bitmap()[-(-count_bits // 8) :])
    assert [area.is_set(bit) for bit in range(count_bits + 2)] == [*twin.bits, False, False]


@given(
    size=st.integers(1, 20000),
    base=st.integers(0, 1 << 30),
    fills=st.lists(st.tuples(st.integers(0, 20000), st.integers(0, 9000), st.booleans()), max_size=20),
    looks=st.lists(st.tuples(st.integers(0, 20000), st.integers(0, 9000)), max_size=10),
)
def test_bits_equal_a_list(
    size: int, base: int, fills: list[tuple[int, int, bool]], looks: list[tuple[int, int]]
) -> None:
    """Large enough that whole words of the summary are full."""
    bits, plain = Bits(size), [False] * size
    for start, count, value in fills:
        if start + count > size:
            with pytest.raises(ValueError, match="not among"):
                bits.fill(start, count, value)
            continue
        bits.fill(start, count, value)
        plain[start : start + count] = [value] * count
        assert bits.count == sum(plain)
    for start, count in looks:
        assert bits.find_clear(start) == (plain.index(False, start) if False in plain[start:] else size)
        assert bits.find_set(start) == (plain.index(True, start) if True in plain[start:] else size)
        if start + count <= size:
            assert bits.count_set(start, count) == sum(plain[start : start + count])
        else:
            with pytest.raises(ValueError, match="not among"):
                bits.count_set(start, count)
    assert bits.longest_clear() == longest_free(plain)
    assert bits.to_bytes()[: -(-size // 8)] == packed(plain)
    counts = bits.clear_counts(base)
    assert sum(count << order for order, count in enumerate(counts)) == size - sum(plain)
    if size < 600:
        assert counts == NaiveCma.of(plain, base).free_counts()


def test_the_alignment_is_that_of_the_page_frame_number() -> None:
    area = CmaBitmap(64, 0x40010)
    requests = [(3, 2), (1, 0), (4, 2), (16, 4), (8, 3)]
    assert [area.allocate(*request) for request in requests] == [0, 3, 4, 16, 8]


def test_a_full_area_and_one_too_large_a_request() -> None:
    area = CmaBitmap(128, 0)
    assert area.allocate(129, 0) == -1
    assert area.allocate((1 << 64) - 1, 0) == -1
    assert area.allocate(128, 7) == 0
    assert area.allocate(1, 0) == -1
    assert area.allocate(1, 0, (1 << 64) - 1) == -1
    assert (area.used_pages, area.max_free_run_pages) == (128, 0)


@pytest.mark.parametrize(("bit", "count_pages"), [(0, 0), (0, 5), (4, 1), (60, 5), (64, 1), (1 << 63, 1), (0, 1 << 63)])
def test_a_release_of_no_run_changes_nothing(bit: int, count_pages: int) -> None:
    area = CmaBitmap(64, 0x40000)
    assert area.allocate(4, 0) == 0
    with pytest.raises(ValueError, match=r"pages from bit|in the area"):
        area.release(bit, count_pages)
    assert area.used_pages == 4


def test_inputs_are_checked() -> None:
    for count_pages, order_per_bit in ((0, 0), (3, 1), (1 << 41, 0), (64, -1), (64, 32)):
        with pytest.raises(ValueError, match=r"pages|order_per_bit"):
            CmaBitmap(count_pages, 0, order_per_bit)
    area = CmaBitmap(64, 0)
    for count_pages, align_order in ((0, 0), (1, -1), (1, 32)):
        with pytest.raises(ValueError, match=r"pages|order"):
            area.allocate(count_pages, align_order)
    with pytest.raises(OverflowError):
        area.allocate(-1, 0)
    with pytest.raises(ValueError, match="bits"):
        Bits(0)
