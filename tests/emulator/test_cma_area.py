"""CMA areas equal a twin that knows each page by itself: ranges, pins, and pages that are lent and move away."""

import errno
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heaptop_emulator.cma_area import CmaArea, CmaRange
from tests.emulator.twins import NaiveArea

BASES = (0x40010, 0x48000, 0x50004)
STEP = st.one_of(
    st.tuples(st.just("allocate"), st.integers(1, 90), st.integers(0, 7)),
    st.tuples(st.just("allocate"), st.integers(1, 90), st.integers(0, 7)),
    st.tuples(st.just("release"), st.integers(0, 1 << 16), st.just(0)),
    st.tuples(st.just("lend"), st.integers(0, 40), st.just(0)),
    st.tuples(st.just("pin"), st.integers(0, 300), st.just(0)),
    st.tuples(st.just("unpin"), st.integers(0, 300), st.just(0)),
    st.tuples(st.just("room"), st.integers(0, 60), st.just(0)),
)


class Elsewhere:
    """Room for so many movable pages outside of the area."""

    pages = 0

    def migrate(self, count_pages: int) -> bool:
        if count_pages > self.pages:
            return False
        self.pages -= count_pages
        return True


def area_of(counts: list[int], order_per_bit: int = 0, elsewhere: Elsewhere | None = None) -> CmaArea:
    ranges = tuple(CmaRange(base, count, order_per_bit) for base, count in zip(BASES, counts, strict=False))
    return CmaArea("area", ranges, (elsewhere or Elsewhere()).migrate)


@settings(max_examples=150)
@given(
    bits=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    order_per_bit=st.integers(0, 2),
    steps=st.lists(STEP, max_size=60),
)
def test_equals_its_twin(bits: list[int], order_per_bit: int, steps: list[tuple[str, int, int]]) -> None:
    counts = [number << order_per_bit for number in bits]
    elsewhere = Elsewhere()
    area = area_of(counts, order_per_bit, elsewhere)
    twin = NaiveArea(list(BASES[: len(counts)]), counts, order_per_bit)
    live: list[tuple[int, int]] = []
    asked = 0
    for what, number, align_order in steps:
        if what == "allocate":
            asked += 1
            expected = twin.allocate(number, align_order)
            try:
                found: int | str = area.allocate(number, align_order)
            except OSError as error:
                found = errno.errorcode[error.errno or 0]
            assert found == expected
            if isinstance(found, int):
                live.append((found, number))
        elif what == "release" and live:
            run = live.pop(number % len(live))
            area.release(*run)
            twin.release(*run)
        elif what == "lend":
            assert area.lend(number) == twin.lend(number)
        elif what == "room":
            elsewhere.pages = twin.room_elsewhere = number
        elif what == "pin" and number < sum(counts):
            if twin.pin(number):
                area.pin([number])
            else:
                with pytest.raises(ValueError, match="allocated"):
                    area.pin([number])
        elif what == "unpin" and number < sum(counts):
            twin.unpin(number)
            area.unpin([number])
        pages = [state for part in twin.pages for state in part]
        assert area.taken_pages == pages.count("taken") == sum(count for _, count in live)
        assert area.free_pages == pages.count("free")
        assert area.available_pages == len(pages) - pages.count("taken")
        assert sum(part.pinned.count for part in area.ranges) == pages.count("pinned")
        assert elsewhere.pages == twin.room_elsewhere
        assert [part.bits.used_pages for part in area.ranges] == [sum(one.bits) << order_per_bit for one in twin.bits]
    assert area.alloc_calls + area.fail_calls <= asked
    assert sum(count << order for order, count in enumerate(area.free_counts())) == area.free_pages


def test_a_pinned_page_sends_the_search_on_behind_it() -> None:
    area = area_of([256])
    area.pin([5, 70])
    assert area.allocate(16, 4) == BASES[0] + 16
    assert area.busy_retries == 1
    assert area.allocate(4, 0) == BASES[0]  # the page before the pin is free
    with pytest.raises(OSError, match="Device or resource busy"):
        area.allocate(200, 0)
    assert area.busy_retries > 1
    area.unpin([5, 70])
    assert area.fail_calls == 1
    with pytest.raises(OSError, match="Cannot allocate memory"):
        area.allocate(230, 0)


def test_a_buffer_never_spans_two_ranges() -> None:
    area = area_of([64, 128])
    assert area.allocate(100, 0) == BASES[1]
    assert area.allocate(40, 0) == BASES[0]
    with pytest.raises(OSError, match="Cannot allocate memory"):
        area.allocate(30, 0)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        area.allocate(1000, 0)  # from 6.15 on that too is counted
    assert (area.fail_calls, area.alloc_pages_fail) == (2, 1030)


def test_pages_behind_the_last_bit_of_a_buffer_are_used_but_not_taken() -> None:
    one, several = area_of([64], 2), area_of([64, 64], 2)
    for area in (one, several):
        area.allocate(5, 0)
        assert (area.taken_pages, area.available_pages) == (5, area.count_pages - 5)
        assert area.lend(area.count_pages) == area.count_pages - 5  # CMA never gives them, the page allocator does
    assert (one.used_pages, several.used_pages) == (8, 5)


@pytest.mark.parametrize("count_pages", [0, 1, 64])
@pytest.mark.parametrize("pfn", [0, BASES[0] - 1, BASES[0] + 1, BASES[0] + 64, 1 << 63])
def test_what_is_not_taken_cannot_be_released(pfn: int, count_pages: int) -> None:
    area = area_of([64])
    with pytest.raises(ValueError, match="pages from"):
        area.release(pfn, count_pages)
    assert area.taken_pages == 0


def test_a_claim_moves_what_is_lent_and_stops_at_what_is_pinned() -> None:
    elsewhere = Elsewhere()
    area = area_of([64], 0, elsewhere)
    area.lend(10)
    area.pin([40])
    with pytest.raises(ValueError, match="moved away"):
        area.claim(BASES[0], 16)
    elsewhere.pages = 10
    area.claim(BASES[0], 16)
    with pytest.raises(ValueError, match="moved away"):
        area.claim(BASES[0] + 32, 16)
    with pytest.raises(ValueError, match="not all free"):
        area.claim(BASES[0] + 15, 1)
    with pytest.raises(ValueError, match="begin a bit"):
        area_of([64], 2).claim(BASES[0] + 1, 1)
    assert (area.taken_pages, area.free_pages) == (16, 47)
    area.release(BASES[0], 16)


def test_pages_are_counted_through_all_ranges() -> None:
    area = area_of([64, 64])
    area.pin([63, 64])
    assert [part.pinned.find_set() for part in area.ranges] == [63, 0]
    for page in (-1, 128):
        with pytest.raises(ValueError, match="has no page"):
            area.pin([page])
    assert all(one.base_pfn < other.base_pfn for one, other in pairwise(area.ranges))
