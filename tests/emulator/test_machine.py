"""The machine's memory adds up, and each heap takes the pages that the kernel's rules say."""

import errno
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heaptop_emulator.heap import CmaHeap, Pages, SystemHeap
from heaptop_emulator.machine import MIB_PAGES, Layout, Machine

SMALL = Layout(ram_mib=64, areas_mib=MappingProxyType({"reserved": 8, "camera": 4}), system_mib=8)


def heaps_of(machine: Machine) -> list[SystemHeap | CmaHeap]:
    return [SystemHeap(machine), *(CmaHeap(area) for area in machine.areas.values())]


def test_the_default_machine() -> None:
    machine = Machine()
    assert machine.count_pages == 1024 * MIB_PAGES
    assert {name: area.bits.count_pages for name, area in machine.areas.items()} == {
        "reserved": 64 * MIB_PAGES,
        "camera": 32 * MIB_PAGES,
    }
    assert machine.buddy.count_pages + machine.cma_total_pages == machine.count_pages
    assert machine.free_pages == machine.count_pages - 64 * MIB_PAGES
    assert all(area.bits.base_pfn % 1024 == 0 for area in machine.areas.values())


@settings(max_examples=50)
@given(requests=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3000), st.booleans()), max_size=40))
def test_each_page_is_in_exactly_one_place(requests: list[tuple[int, int, bool]]) -> None:
    machine = Machine(SMALL)
    heaps = heaps_of(machine)
    new = (machine.free_pages, machine.buddy.free_counts())
    held: list[Pages] = []
    for which, count_pages, keep in requests:
        try:
            pages = heaps[which].allocate(count_pages)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            continue
        assert sum(run.count_pages for run in pages.runs()) == count_pages
        held.append(pages)
        if not keep:
            held.pop(0).release()
    taken = [page for pages in held for run in pages.runs() for page in range(run.pfn, run.pfn + run.count_pages)]
    assert len(taken) == len(set(taken))
    assert all(machine.base_pfn <= page < machine.base_pfn + machine.count_pages for page in taken)
    assert machine.free_pages + len(taken) + SMALL.system_mib * MIB_PAGES == machine.count_pages
    for pages in held:
        pages.release()
    assert (machine.free_pages, machine.buddy.free_counts()) == new
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
    heap = CmaHeap(machine.areas["reserved"])
    first = heap.allocate(1)
    (run,) = heap.allocate(count_pages).runs()
    assert run.count_pages == count_pages
    assert run.pfn == first.runs()[0].pfn + alignment


def test_the_cma_areas_count_pages_and_calls() -> None:
    machine = Machine()
    area = machine.areas["camera"]
    heap = CmaHeap(area)
    pages = heap.allocate(100)
    heap.allocate(28)
    pages.release()
    with pytest.raises(OSError, match="Cannot allocate memory"):
        heap.allocate(32 * MIB_PAGES)
    assert (area.alloc_pages_success, area.alloc_pages_fail, area.release_pages_success) == (128, 32 * MIB_PAGES, 100)
    assert (area.alloc_calls, area.fail_calls) == (2, 1)
    assert area.free_pages == 32 * MIB_PAGES - 28
