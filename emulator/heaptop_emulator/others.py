"""The heaps that RFC v4 left in ION, and those that Android added; each on one of the machine's allocators.

ION: drivers/staging/android/ion of 4.19 to 5.4 (ion_system_heap.c, ion_carveout_heap.c, ion_chunk_heap.c); carve-outs
and chunks come from a gen_pool, whose search is first fit. No kernel has them as dma-heaps, so their names are the
layout's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from heaptop_emulator._cma import CmaBitmap
from heaptop_emulator._runs import allocate_contiguous
from heaptop_emulator.heap import BlockPages, CmaHeap, Heap, NoPagesError, Pages, Run, SystemHeap, claim_blocks
from heaptop_emulator.layout import MAX_ORDER, HeapLayout
from heaptop_emulator.machine import Machine


@dataclass(frozen=True, slots=True)
class ContigPages(BlockPages):
    """One run, which the buddy knows as several blocks."""

    def runs(self) -> tuple[Run, ...]:
        """The one run."""
        blocks = BlockPages.runs(self)
        return (Run(blocks[0].pfn, sum(block.count_pages for block in blocks)),)

    def release(self) -> None:
        """Free every page: they were single ones from the start (split_page)."""
        self.machine.buddy.free_chunks(self.chunks)


@dataclass(frozen=True, slots=True)
class SystemContigHeap:
    """One run from the page allocator, at most the largest block, 4 MiB (ion_system_contig_heap_allocate)."""

    machine: Machine
    name: str
    can_map: ClassVar[bool] = True

    @property
    def exporter(self) -> str:
        """The heap's name."""
        return self.name

    def allocate(self, count_pages: int) -> Pages:
        """Take the smallest block that holds it, and free the rest of that."""
        if count_pages > 1 << MAX_ORDER:
            raise NoPagesError
        if not self.machine.reclaim(1 << (count_pages - 1).bit_length()):
            raise NoPagesError
        chunks = allocate_contiguous(self.machine.buddy, count_pages)
        if chunks is None:
            raise NoPagesError
        return ContigPages(self.machine, chunks)

    def claim(self, runs: Sequence[Run]) -> Pages:
        """The one run."""
        if len(runs) != 1:
            raise ValueError(f"{len(runs)} runs: there is one")
        return ContigPages(self.machine, claim_blocks(self.machine, runs))


@dataclass(frozen=True, slots=True)
class CarvedPages:
    """Runs of a heap's own memory, each of the same number of pages."""

    memory: CmaBitmap
    places: tuple[Run, ...]

    def runs(self) -> tuple[Run, ...]:
        """As they were taken."""
        return self.places

    def release(self) -> None:
        """Give each back."""
        for run in self.places:
            self.memory.release(_bit(self.memory, run), run.count_pages)


@dataclass(frozen=True, slots=True)
class CarveoutHeap:
    """One run of memory that only this heap has, first fit, not aligned (ion_carveout_heap_allocate)."""

    memory: CmaBitmap
    name: str
    can_map: ClassVar[bool] = True

    @property
    def exporter(self) -> str:
        """The heap's name."""
        return self.name

    def allocate(self, count_pages: int) -> Pages:
        """Take one run."""
        return CarvedPages(self.memory, (_take(self.memory, count_pages),))

    def claim(self, runs: Sequence[Run]) -> Pages:
        """The runs as they were."""
        return _claim(self.memory, runs)


@dataclass(frozen=True, slots=True)
class SecureHeap(CarveoutHeap):
    """Memory that the CPU may not touch, as Android's heaps for protected video have it: no buffer can be mapped."""

    can_map: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class ChunkHeap(CarveoutHeap):
    """Chunks of one size, wherever they lie, as many as hold the buffer (ion_chunk_heap_allocate)."""

    def allocate(self, count_pages: int) -> Pages:
        """Take chunks, first fit each; all or none."""
        chunk_pages = 1 << self.memory.order_per_bit
        count = -(-count_pages // chunk_pages)
        if count * chunk_pages > self.memory.count_pages - self.memory.used_pages:
            raise NoPagesError
        return CarvedPages(self.memory, tuple(_take(self.memory, chunk_pages) for _ in range(count)))


def _take(memory: CmaBitmap, count_pages: int) -> Run:
    bit = memory.allocate(count_pages, 0)
    if bit < 0:
        raise NoPagesError
    return Run(memory.base_pfn + (bit << memory.order_per_bit), count_pages)


def _bit(memory: CmaBitmap, run: Run) -> int:
    page = run.pfn - memory.base_pfn
    if page < 0 or page & ((1 << memory.order_per_bit) - 1):
        raise ValueError(f"page frame {run.pfn:#x} begins nothing of this memory")
    return page >> memory.order_per_bit


def _claim(memory: CmaBitmap, runs: Sequence[Run]) -> CarvedPages:
    taken: list[Run] = []
    try:
        for run in runs:
            memory.claim(_bit(memory, run), run.count_pages)
            taken.append(run)
    except (ValueError, OverflowError) as error:
        CarvedPages(memory, tuple(taken)).release()
        raise ValueError(str(error)) from error
    return CarvedPages(memory, tuple(taken))


def heaps_of(machine: Machine) -> tuple[Heap, ...]:
    """All heaps of a machine, in the order they register: the system heap, one for each area, the others."""
    layout = machine.layout
    return (
        SystemHeap(machine, layout.system_heap_name),
        *(_cma_heap(machine, name) for name in machine.areas),
        *(_other(machine, heap) for heap in layout.heaps),
    )


def _cma_heap(machine: Machine, name: str) -> CmaHeap:
    """RFC v4 names the exporter of all of them by the module."""
    exporter = "cma_heap" if machine.layout.profile == "v4" else name
    return CmaHeap(machine.areas[name], exporter, machine.layout.cma_alignment_order)


def _other(machine: Machine, heap: HeapLayout) -> Heap:
    match heap.kind:
        case "system-contig":
            return SystemContigHeap(machine, heap.name)
        case "system-uncached":
            return SystemHeap(machine, heap.name)
        case "chunk":
            return ChunkHeap(machine.carveouts[heap.name], heap.name)
        case "secure":
            return SecureHeap(machine.carveouts[heap.name], heap.name)
        case _:
            return CarveoutHeap(machine.carveouts[heap.name], heap.name)
