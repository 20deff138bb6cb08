"""The compiled buddy allocator equals its naive twin, step by step, and refuses what is no block."""

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from heaptop_emulator._buddy import Buddy
from heaptop_emulator._buddy_view import bitmap, free_counts, max_free_run, pageblock_counts
from heaptop_emulator._runs import allocate_contiguous, claim, free_heads
from heaptop_emulator.machine import SYSTEM_ORDERS
from tests.emulator.twins import MOVABLE, UNMOVABLE, NaiveBuddy, longest_free, packed

ORDER = st.integers(0, 10)


def blocks_of(chunks: bytes | None) -> list[tuple[int, int]] | None:
    """Packed blocks as (page, order)."""
    return None if chunks is None else [(word >> 4, word & 15) for word in memoryview(chunks).cast("I")]


class BuddyMachine(RuleBasedStateMachine):
    """Any sequence of calls leaves the two alike after every step."""

    blocks = Bundle("blocks")
    buffers = Bundle("buffers")

    @initialize(count_pages=st.integers(1, 4000))
    def start(self, count_pages: int) -> None:
        self.buddy, self.twin = Buddy(count_pages), NaiveBuddy(count_pages)

    @rule(target=blocks, order=ORDER, movable=st.booleans())
    def allocate(self, order: int, movable: bool) -> object:
        page = self.buddy.allocate(order, movable)
        assert page == self.twin.allocate(order, MOVABLE if movable else UNMOVABLE)
        return multiple() if page < 0 else (page, order)

    @rule(block=consumes(blocks))
    def free(self, block: tuple[int, int]) -> None:
        self.buddy.free(*block)
        self.twin.free(*block)

    @rule(target=buffers, count=st.integers(1, 1500), keep=st.sampled_from([0, 0, 0, 300]), movable=st.booleans())
    def allocate_chunks(self, count: int, keep: int, movable: bool) -> object:
        chunks = self.buddy.allocate_chunks(count, SYSTEM_ORDERS, keep, movable)
        plain = self.twin.allocate_chunks(count, SYSTEM_ORDERS, keep, MOVABLE if movable else UNMOVABLE)
        assert blocks_of(chunks) == plain
        return multiple() if chunks is None else chunks

    @rule(target=buffers, count=st.integers(1, 1100))
    def allocate_contiguous(self, count: int) -> object:
        chunks = allocate_contiguous(self.buddy, count)
        assert blocks_of(chunks) == self.twin.allocate_contiguous(count)
        return multiple() if chunks is None else chunks

    @rule(target=buffers, page=st.integers(0, 4000), count=st.integers(0, 1500))
    def claim(self, page: int, count: int) -> object:
        try:
            plain = self.twin.claim(page, count)
        except ValueError:
            with pytest.raises(ValueError, match="page"):
                claim(self.buddy, page, count)
            return multiple()
        chunks = claim(self.buddy, page, count)
        assert blocks_of(chunks) == plain
        return chunks

    @rule(chunks=consumes(buffers))
    def free_chunks(self, chunks: bytes) -> None:
        self.buddy.free_chunks(chunks)
        for block in blocks_of(chunks) or ():
            self.twin.free(*block)

    @rule(chunks=consumes(buffers))
    def free_heads(self, chunks: bytes) -> None:
        free_heads(self.buddy, chunks)
        self.twin.free_heads(blocks_of(chunks) or [])

    @invariant()
    def are_alike(self) -> None:
        if not hasattr(self, "twin"):
            return
        used = self.twin.used()
        assert self.buddy.free_pages == self.twin.free_pages == used.count(False)
        assert free_counts(self.buddy) == self.twin.free_counts()
        assert free_counts(self.buddy, movable=False) == self.twin.free_counts(UNMOVABLE)
        assert free_counts(self.buddy, movable=True) == self.twin.free_counts(MOVABLE)
        assert pageblock_counts(self.buddy) == (self.twin.kinds.count(UNMOVABLE), self.twin.kinds.count(MOVABLE))
        assert bitmap(self.buddy) == packed(used)
        assert max_free_run(self.buddy) == longest_free(used)

    def teardown(self) -> None:
        """All given back, everything is as large as it was, whatever was lost to free_heads."""
        if hasattr(self, "twin"):
            self.are_alike()


TestBuddy = BuddyMachine.TestCase
TestBuddy.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@given(count_pages=st.integers(1, 3000), wanted=st.lists(st.integers(1, 600), max_size=30))
def test_all_freed_is_as_new(count_pages: int, wanted: list[int]) -> None:
    buddy = Buddy(count_pages)
    new = free_counts(buddy)
    taken = [chunks for count in wanted if (chunks := buddy.allocate_chunks(count, SYSTEM_ORDERS))]
    for chunks in reversed(taken):
        buddy.free_chunks(chunks)
    assert free_counts(buddy) == new
    assert buddy.free_pages == count_pages
    assert bitmap(buddy) == bytes(-(-count_pages // 8))


@given(count_pages=st.integers(1, 3000), wanted=st.lists(st.tuples(st.integers(1, 600), st.booleans()), max_size=30))
def test_a_restart_finds_the_pages_of_those_that_live(count_pages: int, wanted: list[tuple[int, bool]]) -> None:
    before, after = Buddy(count_pages), Buddy(count_pages)
    taken = [(chunks, keep) for count, keep in wanted if (chunks := before.allocate_chunks(count, SYSTEM_ORDERS))]
    kept = [chunks for chunks, keep in taken if keep]
    for chunks, keep in taken:
        if not keep:
            before.free_chunks(chunks)
    claimed = [claim(after, page, 1 << order) for chunks in kept for page, order in blocks_of(chunks) or ()]
    assert b"".join(claimed) == b"".join(kept)
    assert bitmap(after) == bitmap(before)
    assert free_counts(after) == free_counts(before)
    for chunks in claimed:
        after.free_chunks(chunks)
    assert free_counts(after) == free_counts(Buddy(count_pages))


@given(page=st.integers(0, 80), order=ORDER)
def test_a_free_of_no_block_changes_nothing(page: int, order: int) -> None:
    buddy = Buddy(64)
    taken = buddy.allocate(3)
    before = free_counts(buddy)
    if (page, order) == (taken, 3):
        return
    with pytest.raises(ValueError, match="no allocated block"):
        buddy.free(page, order)
    assert free_counts(buddy) == before


def test_a_second_free_is_refused() -> None:
    buddy = Buddy(1024)
    page = buddy.allocate(4)
    buddy.free(page, 4)
    with pytest.raises(ValueError, match="no allocated block"):
        buddy.free(page, 4)
    chunks = buddy.allocate_chunks(273, SYSTEM_ORDERS)
    assert chunks is not None
    buddy.free_chunks(chunks)
    for free in (buddy.free_chunks, partial(free_heads, buddy)):
        with pytest.raises(ValueError, match="no allocated block"):
            free(chunks)
    assert buddy.free_pages == 1024


def test_orders_go_down_with_what_remains_and_with_what_is_free() -> None:
    def orders(chunks: bytes | None) -> list[int]:
        return [order for _, order in blocks_of(chunks) or ()]

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
    assert free_counts(buddy) == free_counts(Buddy(24))


def test_pageblocks_take_the_kind_of_who_takes_most_of_them() -> None:
    buddy = Buddy(2048)
    assert pageblock_counts(buddy) == (0, 4)
    buddy.allocate(0)
    assert pageblock_counts(buddy) == (2, 2)  # a whole block of order 10 came over
    movable = [buddy.allocate(0, movable=True) for _ in range(1024)]
    assert pageblock_counts(buddy) == (2, 2)
    for page in movable[:300]:  # the first of them is in the third pageblock
        buddy.free(page, 0)
    unmovable = [buddy.allocate(0) for _ in range(1023)]
    assert pageblock_counts(buddy) == (2, 2)
    assert min(unmovable) < 1024
    buddy.allocate(0)
    assert pageblock_counts(buddy) == (3, 1)  # 300 of 512 pages were free


def test_heads_alone_are_freed() -> None:
    buddy = Buddy(1024)
    chunks = buddy.allocate_chunks(256 + 16 + 3, SYSTEM_ORDERS)
    assert chunks is not None
    free_heads(buddy, chunks)
    assert buddy.free_pages == 1024 - 255 - 15
    with pytest.raises(ValueError, match="no allocated block"):
        buddy.free_chunks(chunks)


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
        Buddy(1 << 28)
    with pytest.raises(OverflowError):
        Buddy(-1)
    with pytest.raises(ValueError, match="orders"):
        Buddy(16).allocate_chunks(1, ())
    with pytest.raises(ValueError, match="no pages"):
        allocate_contiguous(Buddy(16), 0)
    assert Buddy(16).allocate_chunks((1 << 64) - 1, SYSTEM_ORDERS) is None
    assert Buddy(16).allocate_chunks(1, SYSTEM_ORDERS, (1 << 64) - 1) is None
    assert allocate_contiguous(Buddy(4096), 1025) is None
    assert allocate_contiguous(Buddy(4096), (1 << 32) - 1) is None
    for page, count_pages in ((0, 0), (16, 1), (0, 17), (15, 2), (1 << 31, 1), (0, (1 << 32) - 1)):
        with pytest.raises(ValueError, match="not in memory"):
            claim(Buddy(16), page, count_pages)
