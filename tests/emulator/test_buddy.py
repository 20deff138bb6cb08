"""The compiled buddy allocator equals its naive twin, and refuses what is no block."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop_emulator._buddy import Buddy
from heaptop_emulator.heap import SYSTEM_ORDERS
from tests.emulator.twins import NaiveBuddy, longest_free, packed

ORDER = st.integers(0, 10)
STEP = st.one_of(
    st.tuples(st.just("allocate"), ORDER),
    st.tuples(st.just("free"), st.integers(0, 1 << 16)),
    st.tuples(st.just("chunks"), st.integers(1, 700)),
    st.tuples(st.just("free chunks"), st.integers(0, 1 << 16)),
)


def assert_equal(buddy: Buddy, twin: NaiveBuddy) -> None:
    used = twin.used()
    assert buddy.free_pages == twin.free_pages
    assert buddy.free_counts() == twin.free_counts()
    assert buddy.bitmap() == packed(used)
    assert buddy.max_free_run() == longest_free(used)


@given(count_pages=st.integers(1, 3000), steps=st.lists(STEP, max_size=60), keep=st.integers(0, 300))
def test_equals_its_twin(count_pages: int, steps: list[tuple[str, int]], keep: int) -> None:
    buddy, twin = Buddy(count_pages), NaiveBuddy(count_pages)
    blocks: list[tuple[int, int]] = []
    buffers: list[bytes] = []
    assert_equal(buddy, twin)
    for what, number in steps:
        if what == "allocate":
            page = buddy.allocate(number)
            assert page == twin.allocate(number)
            if page >= 0:
                blocks.append((page, number))
        elif what == "chunks":
            packed_chunks = buddy.allocate_chunks(number, SYSTEM_ORDERS, keep)
            plain = twin.allocate_chunks(number, SYSTEM_ORDERS, keep)
            chunks = packed_chunks and [(word >> 4, word & 15) for word in memoryview(packed_chunks).cast("I")]
            assert chunks == plain
            if packed_chunks:
                buffers.append(packed_chunks)
        elif what == "free" and blocks:
            block = blocks.pop(number % len(blocks))
            buddy.free(*block)
            twin.free(*block)
        elif what == "free chunks" and buffers:
            packed_chunks = buffers.pop(number % len(buffers))
            buddy.free_chunks(packed_chunks)
            for word in memoryview(packed_chunks).cast("I"):
                twin.free(word >> 4, word & 15)
    assert_equal(buddy, twin)


@given(count_pages=st.integers(1, 3000), wanted=st.lists(st.integers(1, 600), max_size=30))
def test_all_freed_is_as_new(count_pages: int, wanted: list[int]) -> None:
    buddy = Buddy(count_pages)
    new = buddy.free_counts()
    taken = [chunks for count in wanted if (chunks := buddy.allocate_chunks(count, SYSTEM_ORDERS))]
    for chunks in reversed(taken):
        buddy.free_chunks(chunks)
    assert buddy.free_counts() == new
    assert buddy.free_pages == count_pages
    assert buddy.bitmap() == bytes(-(-count_pages // 8))


@given(page=st.integers(0, 80), order=ORDER)
def test_a_free_of_no_block_changes_nothing(page: int, order: int) -> None:
    buddy = Buddy(64)
    taken = buddy.allocate(3)
    before = buddy.free_counts()
    if (page, order) == (taken, 3):
        return
    with pytest.raises(ValueError, match="no allocated block"):
        buddy.free(page, order)
    assert buddy.free_counts() == before


def test_a_second_free_is_refused() -> None:
    buddy = Buddy(1024)
    page = buddy.allocate(4)
    buddy.free(page, 4)
    with pytest.raises(ValueError, match="no allocated block"):
        buddy.free(page, 4)
    chunks = buddy.allocate_chunks(273, SYSTEM_ORDERS)
    assert chunks is not None
    buddy.free_chunks(chunks)
    with pytest.raises(ValueError, match="no allocated block"):
        buddy.free_chunks(chunks)
    assert buddy.free_pages == 1024


def test_orders_go_down_with_what_remains_and_with_what_is_free() -> None:
    def orders(chunks: bytes | None) -> list[int]:
        assert chunks is not None
        return [word & 15 for word in memoryview(chunks).cast("I")]

    buddy = Buddy(1024)
    assert orders(buddy.allocate_chunks(2 * 256 + 16 + 2, SYSTEM_ORDERS)) == [8, 8, 4, 0, 0]
    for _ in range(64):
        buddy.allocate(0)  # breaks up the last 256 pages but one
    assert orders(buddy.allocate_chunks(256 + 1, SYSTEM_ORDERS)) == [8, 0]
    assert orders(buddy.allocate_chunks(160, SYSTEM_ORDERS)) == [4] * 10


def test_chunks_of_an_order_that_is_missing_are_given_back() -> None:
    buddy = Buddy(24)
    assert buddy.allocate_chunks(20, (4, 3)) is None
    assert buddy.free_pages == 24
    assert buddy.free_counts() == Buddy(24).free_counts()


@pytest.mark.parametrize("order", [-1, 11, 64])
def test_orders_are_checked(order: int) -> None:
    buddy = Buddy(16)
    for act in (lambda: buddy.allocate(order), lambda: buddy.free(0, order)):
        with pytest.raises(ValueError, match="order"):
            act()
    with pytest.raises(ValueError, match="order"):
        buddy.allocate_chunks(1, (order,))


def test_inputs_are_checked() -> None:
    with pytest.raises(ValueError, match="pages"):
        Buddy(0)
    with pytest.raises(ValueError, match="pages"):
        Buddy((1 << 28) + 1)
    with pytest.raises(OverflowError):
        Buddy(-1)
    with pytest.raises(ValueError, match="orders"):
        Buddy(16).allocate_chunks(1, ())
    assert Buddy(16).allocate_chunks((1 << 64) - 1, SYSTEM_ORDERS) is None
    assert Buddy(16).allocate_chunks(1, SYSTEM_ORDERS, (1 << 64) - 1) is None
