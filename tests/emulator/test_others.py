"""The heaps beside the two of the patch series: ION's and Android's."""

import errno
import fcntl
import mmap
import os
import select
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heaptop_emulator import linux
from heaptop_emulator.framework import Framework
from heaptop_emulator.heap import Heap, NoPagesError, Pages
from heaptop_emulator.layout import MIB_PAGES, HeapLayout, Layout
from heaptop_emulator.machine import Machine
from heaptop_emulator.others import heaps_of
from heaptop_emulator.pools import PagePools

LAYOUT = Layout(
    ram_pages=64 * MIB_PAGES,
    areas=(),
    heaps=(
        HeapLayout("system-contig", "contig"),
        HeapLayout("system-uncached", "system-uncached"),
        HeapLayout("carveout", "carveout", 200),
        HeapLayout("chunk", "chunk", 256, 16),
        HeapLayout("secure", "secure", 64),
    ),
    system_pages=0,
)
REQUESTS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(1, 80)), max_size=80)
"""Which of those that live goes first, or none; then so many pages are asked for."""


def heaps() -> dict[str, Heap]:
    return {heap.name: heap for heap in heaps_of(Machine(LAYOUT))}


@pytest.mark.parametrize("count_pages", [1, 2, 3, 5, 16, 17, 511, 513, 1000, 1024])
def test_contig_buffers_are_one_run_and_take_no_more_than_they_need(count_pages: int) -> None:
    machine = Machine(LAYOUT)
    heap = next(heap for heap in heaps_of(machine) if heap.name == "contig")
    before = machine.free_pages
    pages = heap.allocate(count_pages)
    (run,) = pages.runs()
    assert run.count_pages == count_pages
    assert run.pfn % (1 << (count_pages - 1).bit_length()) == 0
    assert machine.free_pages == before - count_pages
    pages.release()
    assert machine.free_pages == before


def test_contig_buffers_end_at_the_largest_block() -> None:
    heap = heaps()["contig"]
    with pytest.raises(NoPagesError):
        heap.allocate(1025)
    for _ in range(64 * MIB_PAGES // 1024 - 1):  # the last 1024 pages are the watermark
        heap.allocate(600)  # each in a block of 1024
    with pytest.raises(NoPagesError):
        heap.allocate(600)


@settings(max_examples=100)
@given(REQUESTS)
def test_a_carve_out_is_first_fit(requests: list[tuple[int, int]]) -> None:
    heap = heaps()["carveout"]
    taken = [False] * 200
    live: list[Pages] = []
    base: int | None = None
    for which, count_pages in requests:
        if which % 2 and live:
            gone = live.pop(which % len(live))
            assert base is not None
            taken[gone.runs()[0].pfn - base : gone.runs()[0].pfn - base + gone.runs()[0].count_pages] = [
                False for _ in range(gone.runs()[0].count_pages)
            ]
            gone.release()
        places = (at for at in range(200 - count_pages + 1) if not any(taken[at : at + count_pages]))
        place = next(places, None)
        if place is None:
            with pytest.raises(NoPagesError):
                heap.allocate(count_pages)
            continue
        pages = heap.allocate(count_pages)
        (run,) = pages.runs()
        base = run.pfn - place if base is None else base
        assert (run.pfn - base, run.count_pages) == (place, count_pages)
        taken[place : place + count_pages] = [True] * count_pages
        live.append(pages)


@settings(max_examples=100)
@given(REQUESTS)
def test_chunks_are_the_first_free_ones_all_or_none(requests: list[tuple[int, int]]) -> None:
    heap = heaps()["chunk"]
    free = list(range(16))
    live: list[tuple[Pages, list[int]]] = []
    base: int | None = None
    for which, count_pages in requests:
        if which % 2 and live:
            pages, chunks = live.pop(which % len(live))
            pages.release()
            free = sorted(free + chunks)
        count = -(-count_pages // 16)
        if count > len(free):
            with pytest.raises(NoPagesError):
                heap.allocate(count_pages)
            continue
        mine, free = free[:count], free[count:]
        pages = heap.allocate(count_pages)
        base = pages.runs()[0].pfn - 16 * mine[0] if base is None else base
        assert [(run.pfn - base, run.count_pages) for run in pages.runs()] == [(16 * chunk, 16) for chunk in mine]
        live.append((pages, mine))


class NaivePools:
    """Lists of blocks by order, and how many pages are free elsewhere."""

    def __init__(self) -> None:
        self.lists: dict[int, list[int]] = {8: [], 4: [], 0: []}

    def shrink(self, count_pages: int) -> int:
        freed = 0
        for order in (0, 4, 8):
            while self.lists[order] and freed < count_pages:
                del self.lists[order][0]
                freed += 1 << order
        return freed


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "take", "shrink"]), st.sampled_from([0, 4, 8]), st.integers(0, 900)),
        max_size=60,
    )
)
def test_pools_equal_their_twin(steps: list[tuple[str, int, int]]) -> None:
    buddy = Machine(LAYOUT).buddy
    pools, twin = PagePools(buddy, (8, 4, 0)), NaivePools()
    all_free = buddy.free_pages
    outside: list[tuple[int, int]] = []
    for what, order, number in steps:
        if what == "put":
            page = buddy.allocate(order)
            pools.put(page, order)
            twin.lists[order].append(page)
        elif what == "take":
            page_taken = pools.take(order)
            assert page_taken == (twin.lists[order].pop(0) if twin.lists[order] else None)
            if page_taken is not None:
                outside.append((page_taken, order))
        else:
            assert pools.shrink(number) == twin.shrink(number)
        kept = sum(len(pages) << order for order, pages in twin.lists.items())
        assert pools.count_pages == kept
        assert buddy.free_pages == all_free - kept - sum(1 << order for _, order in outside)


def test_freed_buffers_stay_in_the_pools_until_memory_is_short() -> None:
    layout = Layout(
        ram_pages=64 * MIB_PAGES,
        areas=(),
        heaps=(HeapLayout("system-uncached", "system-uncached"),),
        system_pages=0,
        pools=True,
    )
    machine = Machine(layout)
    system, uncached = heaps_of(machine)
    all_free = machine.buddy.free_pages
    first = system.allocate(256 + 3 * 16 + 2)
    runs = first.runs()
    first.release()
    assert (machine.pool_pages, machine.buddy.free_pages) == (256 + 3 * 16 + 2, all_free - 256 - 3 * 16 - 2)
    second = uncached.allocate(256 + 16)  # both heaps share the pools, first in, first out
    assert second.runs() == runs[:2]
    assert machine.pool_pages == 2 * 16 + 2
    most = machine.buddy.free_pages + machine.pool_pages - layout.min_watermark_pages
    with pytest.raises(NoPagesError):
        system.allocate(most + 1)
    everything = system.allocate(most)
    assert (machine.pool_pages, machine.buddy.free_pages) == (0, layout.min_watermark_pages)
    for pages in (second, everything):
        pages.release()
    assert machine.pool_pages + machine.buddy.free_pages == all_free


@pytest.fixture
def framework() -> Iterator[Framework]:
    made = Framework(heaps_of(Machine(LAYOUT)))
    yield made
    made.close()


@pytest.mark.parametrize("access", [os.O_RDONLY, os.O_RDWR])
def test_a_secure_buffer_cannot_be_mapped_read_or_written(framework: Framework, access: int) -> None:
    buffer, fd = framework.allocate("secure", 8192, fd_flags=access)
    assert (buffer.exporter, buffer.access, os.fstat(fd).st_size) == ("secure", access, 8192)
    for writable in (False, True):
        with pytest.raises(PermissionError):
            linux.Mapping(fd, 4096, writable=writable)
    with pytest.raises(PermissionError):
        mmap.mmap(fd, 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pread(fd, 1, 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(fd, b"x", 0)
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
    os.close(fd)
    assert select.select([framework.releases], [], [], 0)[0]
    assert framework.collect() == [buffer]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_secure_buffer_is_opened_anew_by_nobody_but_root(framework: Framework) -> None:
    _, fd = framework.allocate("secure", 4096)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setuid(65534)
            try:
                os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
            except PermissionError:
                status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(fd)


def test_a_heap_that_is_full_says_enomem(framework: Framework) -> None:
    _, fd = framework.allocate("secure", 64 * 4096)
    with pytest.raises(OSError) as refused:  # noqa: PT011 - its number is what is looked at
        framework.allocate("secure", 1)
    assert refused.value.errno == errno.ENOMEM
    os.close(fd)
