"""The machine's memory adds up, and each heap takes the pages that the kernel's rules say."""

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heaptop_emulator._buddy_view import free_counts
from heaptop_emulator.heap import NO_RUN, CmaHeap, Heap, NoPagesError, Pages, Run, SystemHeap
from heaptop_emulator.layout import MIB_PAGES, AreaLayout, HeapLayout, Layout
from heaptop_emulator.machine import Machine
from heaptop_emulator.others import heaps_of

SMALL = Layout(
    ram_pages=80 * MIB_PAGES,
    areas=(AreaLayout("reserved", (8 * MIB_PAGES,)), AreaLayout("camera", (2 * MIB_PAGES, 4 * MIB_PAGES))),
    heaps=(
        HeapLayout("system-contig", "contig"),
        HeapLayout("carveout", "carveout", 3 * MIB_PAGES + 5),
        HeapLayout("chunk", "chunk", 4 * MIB_PAGES, 16),
        HeapLayout("secure", "secure", MIB_PAGES),
    ),
    system_pages=8 * MIB_PAGES,
)
HEAPS = ("system", "reserved", "camera", "contig", "carveout", "chunk", "secure")


def cma_heap(machine: Machine, name: str = "reserved") -> CmaHeap:
    return CmaHeap(machine.areas[name], name)


def test_the_default_machine() -> None:
    machine = Machine()
    assert machine.count_pages == 1024 * MIB_PAGES
    assert {name: area.count_pages for name, area in machine.areas.items()} == {
        "reserved": 64 * MIB_PAGES,
        "camera": 32 * MIB_PAGES,
    }
    assert machine.free_pages == machine.count_pages - 64 * MIB_PAGES
    assert all(part.base_pfn % 1024 == 0 for area in machine.areas.values() for part in area.ranges)
    assert [heap.name for heap in heaps_of(machine)] == ["system", "reserved", "camera"]


@settings(max_examples=50)
@given(requests=st.lists(st.tuples(st.integers(0, len(HEAPS) - 1), st.integers(1, 3000), st.booleans()), max_size=40))
def test_each_page_is_in_exactly_one_place(requests: list[tuple[int, int, bool]]) -> None:
    machine = Machine(SMALL)
    heaps = heaps_of(machine)
    assert tuple(heap.name for heap in heaps) == HEAPS
    new = (machine.free_pages, free_counts(machine.buddy))
    held: list[Pages] = []
    for which, count_pages, keep in requests:
        try:
            pages = heaps[which].allocate(count_pages)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            continue
        given = sum(run.count_pages for run in pages.runs())
        assert given == (-(-count_pages // 16) * 16 if HEAPS[which] == "chunk" else count_pages)
        held.append(pages)
        if not keep:
            held.pop(0).release()
    taken = [page for pages in held for run in pages.runs() for page in range(run.pfn, run.pfn + run.count_pages)]
    assert len(taken) == len(set(taken))
    assert all(machine.base_pfn <= page < machine.base_pfn + SMALL.ram_pages for page in taken)
    own = [machine.carveouts[name] for name in ("carveout", "chunk", "secure")]
    ends = [(memory.base_pfn, memory.base_pfn + memory.count_pages) for memory in own]
    apart = [page for page in taken if any(first <= page < end for first, end in ends)]
    assert len(apart) == sum(memory.used_pages for memory in own)
    assert machine.free_pages + len(taken) - len(apart) + SMALL.system_pages == machine.count_pages
    for pages in held:
        pages.release()
    assert (machine.free_pages, free_counts(machine.buddy)) == new
    assert machine.cma_free_pages == machine.cma_total_pages


def test_the_system_heap_goes_from_order_8_to_0() -> None:
    machine = Machine()
    runs = SystemHeap(machine).allocate(2 * 256 + 3 * 16 + 2).runs()
    assert [run.count_pages for run in runs] == [256, 256, 16, 16, 16, 1, 1]


def test_the_system_heap_stops_at_the_watermark() -> None:
    machine = Machine(SMALL)
    heap = SystemHeap(machine)
    most = machine.buddy.free_pages - SMALL.min_watermark_pages
    for too_many in (most + 1, 1 << 52):
        with pytest.raises(OSError, match="Cannot allocate memory"):
            heap.allocate(too_many)
    pages = heap.allocate(most)
    assert machine.buddy.free_pages == SMALL.min_watermark_pages
    with pytest.raises(OSError, match="Cannot allocate memory"):
        heap.allocate(1)
    pages.release()


@pytest.mark.parametrize(
    ("count_pages", "alignment"), [(1, 1), (2, 2), (3, 4), (16, 16), (17, 32), (256, 256), (300, 256), (1024, 256)]
)
def test_the_cma_heap_aligns_to_the_order_of_the_size_up_to_8(count_pages: int, alignment: int) -> None:
    machine = Machine()
    heap = cma_heap(machine)
    first = heap.allocate(1)
    (run,) = heap.allocate(count_pages).runs()
    assert run.count_pages == count_pages
    assert run.pfn == first.runs()[0].pfn + alignment


def test_the_cma_areas_count_pages_and_calls() -> None:
    machine = Machine()
    area = machine.areas["camera"]
    heap = cma_heap(machine, "camera")
    pages = heap.allocate(100)
    heap.allocate(28)
    pages.release()
    with pytest.raises(NoPagesError) as refused:
        heap.allocate(32 * MIB_PAGES)
    assert (refused.value.errno, refused.value.reason) == (errno.ENOMEM, NO_RUN)
    assert (area.alloc_pages_success, area.alloc_pages_fail, area.release_pages_success) == (128, 32 * MIB_PAGES, 100)
    assert (area.alloc_calls, area.fail_calls) == (2, 1)
    assert area.free_pages == 32 * MIB_PAGES - 28
    with pytest.raises(NoPagesError):
        heap.allocate(32 * MIB_PAGES + 1)  # larger than the area: 6.12 does not count it
    assert area.fail_calls == 1


@pytest.mark.parametrize("name", HEAPS)
@pytest.mark.parametrize("count_pages", [1 << 40, (1 << 52) - 1])
def test_a_huge_request_is_refused_and_changes_nothing(name: str, count_pages: int) -> None:
    machine = Machine(SMALL)
    free_pages = machine.free_pages
    with pytest.raises(NoPagesError):
        _named(machine, name).allocate(count_pages)
    assert machine.free_pages == free_pages


def _named(machine: Machine, name: str) -> Heap:
    return next(heap for heap in heaps_of(machine) if heap.name == name)


@settings(max_examples=50)
@given(requests=st.lists(st.tuples(st.sampled_from(HEAPS), st.integers(1, 2000), st.booleans()), max_size=40))
def test_a_restart_claims_the_pages_of_the_buffers_that_live(requests: list[tuple[str, int, bool]]) -> None:
    before, after = Machine(SMALL), Machine(SMALL)
    kept: list[tuple[str, Pages]] = []
    gone: list[Pages] = []
    for name, count_pages, keep in requests:
        try:
            pages = _named(before, name).allocate(count_pages)
        except NoPagesError:
            continue
        if keep:
            kept.append((name, pages))
        else:
            gone.append(pages)
    for pages in gone:
        pages.release()
    new = _state(after)
    claimed = [_named(after, name).claim(pages.runs()) for name, pages in kept]
    assert [pages.runs() for pages in claimed] == [pages.runs() for _, pages in kept]
    assert _state(after) == _state(before)
    for (name, pages), again in zip(kept, claimed, strict=True):
        with pytest.raises(ValueError, match=r"page|bit|run"):
            _named(after, name).claim(pages.runs())
        assert again.runs() == pages.runs()
    assert _state(after) == _state(before)
    for pages in claimed:
        pages.release()
    assert _state(after) == new


def _state(machine: Machine) -> object:
    areas = [(area.taken_pages, [part.bits.bitmap() for part in area.ranges]) for area in machine.areas.values()]
    return free_counts(machine.buddy), areas, [memory.bitmap() for memory in machine.carveouts.values()]


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("system", [Run(0, 1)]),
        ("system", [Run(SMALL.base_pfn + SMALL.ram_pages, 1)]),
        ("system", [Run(SMALL.base_pfn + 9000, 1), Run(SMALL.base_pfn + 9000, 1)]),
        ("reserved", []),
        ("reserved", [Run(SMALL.base_pfn, 1)]),
        ("carveout", [Run(SMALL.base_pfn, 1)]),
        ("chunk", [Run(1 << 60, 16)]),
        ("contig", []),
        ("contig", [Run(SMALL.base_pfn, 1)]),  # the kernel's own
    ],
)
def test_pages_that_are_not_free_or_not_the_heaps_cannot_be_claimed(name: str, runs: list[Run]) -> None:
    machine = Machine(SMALL)
    new = _state(machine)
    with pytest.raises(ValueError, match=r".+"):
        _named(machine, name).claim(runs)
    assert _state(machine) == new


def test_the_v4_leak_returns_the_first_page_of_each_block() -> None:
    machine = Machine(Layout(profile="v4", leak=True))
    heap = _named(machine, "system_heap")
    free_pages = machine.buddy.free_pages
    heap.allocate(2 * 256 + 3 * 16 + 5).release()
    assert free_pages - machine.buddy.free_pages == machine.lost_pages == 2 * 255 + 3 * 15
    with pytest.raises(NoPagesError):
        heap.allocate(free_pages)  # what it had by then leaks too
    assert machine.buddy.free_pages < 1024 + free_pages // 200


@pytest.mark.parametrize("profile", ["mainline", "v4"])
def test_two_gib_are_the_limit_where_pages_are_listed(profile: str) -> None:
    layout = Layout(profile=profile, ram_pages=8192 * MIB_PAGES, areas=(AreaLayout("big", (3072 * MIB_PAGES,)),))
    machine = Machine(layout)
    system, cma = heaps_of(machine)
    assert (system.name, cma.exporter) == (("system_heap", "cma_heap") if profile == "v4" else ("system", "big"))
    cma.allocate(2048 * MIB_PAGES).release()
    with pytest.raises(NoPagesError):
        cma.allocate(2048 * MIB_PAGES + 1)
    assert machine.areas["big"].free_pages == 3072 * MIB_PAGES
    system.allocate(2048 * MIB_PAGES).release()
    if profile == "v4":
        with pytest.raises(NoPagesError):
            system.allocate(2048 * MIB_PAGES + 1)
    else:
        system.allocate(2048 * MIB_PAGES + 1).release()


def test_movable_pages_go_where_most_is_free() -> None:
    layout = Layout(ram_pages=128 * MIB_PAGES, areas=(AreaLayout("reserved", (64 * MIB_PAGES,)),), system_pages=0)
    machine = Machine(layout)
    assert machine.cma_free_pages == machine.buddy.free_pages
    assert machine.add_movable(1001) == 1001
    assert machine.cma_free_pages - 1 == machine.buddy.free_pages
    taken = SystemHeap(machine).allocate(10000)
    assert machine.add_movable(8000) == 8000
    assert machine.areas["reserved"].free_pages == 64 * MIB_PAGES - 500 - 8000
    assert machine.areas["reserved"].used_pages == 0
    taken.release()
    everything = machine.free_pages - layout.min_watermark_pages
    assert machine.add_movable(1 << 40) == everything


def test_movable_pages_make_way_for_a_buffer_as_long_as_there_is_room_elsewhere() -> None:
    areas = (AreaLayout("reserved", (8 * MIB_PAGES,), lent_pages=5 * MIB_PAGES),)
    machine = Machine(Layout(ram_pages=64 * MIB_PAGES, areas=areas, system_pages=0))
    area, elsewhere = machine.areas["reserved"], machine.buddy.free_pages
    assert (area.free_pages, area.available_pages) == (3 * MIB_PAGES, 8 * MIB_PAGES)
    cma_heap(machine).allocate(4 * MIB_PAGES)
    assert (area.free_pages, area.available_pages) == (3 * MIB_PAGES, 4 * MIB_PAGES)
    assert machine.buddy.free_pages == elsewhere - 4 * MIB_PAGES
    SystemHeap(machine).allocate(machine.buddy.free_pages - 1024)
    with pytest.raises(NoPagesError) as refused:
        cma_heap(machine).allocate(2 * MIB_PAGES)  # a mebibyte of movable pages is in the way
    assert refused.value.reason == NO_RUN
    assert area.available_pages == 4 * MIB_PAGES
