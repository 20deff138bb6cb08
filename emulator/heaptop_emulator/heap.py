"""The heaps: which pages a buffer gets, and back (drivers/dma-buf/heaps, 6.4 to 7.3; RFC v4 where it differs).

A heap is a short class over one of the machine's allocators. `others.py` has those that v4 left in ION, and Android's.
"""

import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from heaptop_emulator._runs import claim, free_heads
from heaptop_emulator.cma_area import CmaArea
from heaptop_emulator.machine import SYSTEM_ORDERS, Machine

PAGE_ARRAY_PAGES_MAX: Final = (4 << 20) // 8
"""Pages whose pointers still fit into one kmalloc (KMALLOC_MAX_SIZE with 4 KiB pages): 2 GiB. It limits every CMA heap
up to 7.3, and the system heap of RFC v4.
"""
NO_RUN: Final = "no run large enough"
PINNED: Final = "pages pinned (busy)"


class NoPagesError(OSError):
    """A heap has no pages to give: ENOMEM, and for a CMA area the reason that its tracepoints tell."""

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(errno.ENOMEM, os.strerror(errno.ENOMEM))
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive pages of a buffer, from page frame `pfn` on."""

    pfn: int
    count_pages: int

    @property
    def order(self) -> int:
        """The largest order of a block that it has room for."""
        return self.count_pages.bit_length() - 1


class Pages(Protocol):
    """The pages of one buffer, which it holds until `release`."""

    def runs(self) -> tuple[Run, ...]:
        """Where they are, in the buffer's order: of the system heap a run a block."""

    def release(self) -> None:
        """Give them back, once."""


class Heap(Protocol):
    """What the framework asks of a heap."""

    @property
    def name(self) -> str:
        """The node's name below /dev/dma_heap."""

    @property
    def exporter(self) -> str:
        """exp_name of its buffers."""

    @property
    def can_map(self) -> bool:
        """Whether its buffers may be mapped."""

    def allocate(self, count_pages: int) -> Pages:
        """Take pages. OSError with the heap's errno where it cannot."""

    def claim(self, runs: Sequence[Run]) -> Pages:
        """Take exactly these pages, which a buffer of this heap had before a restart.

        Raises:
            ValueError: they are not free, or not of this heap; nothing is taken.
        """


@dataclass(frozen=True, slots=True)
class BlockPages:
    """Blocks from the buddy, packed as it gave them."""

    machine: Machine
    chunks: bytes

    def runs(self) -> tuple[Run, ...]:
        """One run a block."""
        base = self.machine.base_pfn
        return tuple(Run(base + (word >> 4), 1 << (word & 15)) for word in memoryview(self.chunks).cast("I"))

    def release(self) -> None:
        """Give each block back with its own order: to the pools where there are any, and as RFC v4 where that leaks."""
        machine = self.machine
        if machine.layout.leak:
            lose(machine, self.chunks)
        elif machine.pools is not None:
            for word in memoryview(self.chunks).cast("I"):
                machine.pools.put(word >> 4, word & 15)
        else:
            machine.buddy.free_chunks(self.chunks)


def lose(machine: Machine, chunks: bytes) -> None:
    """Free as RFC v4 does: it frees each page of a compound page alone, so that only the first comes back."""
    before = machine.buddy.free_pages
    free_heads(machine.buddy, chunks)
    freed = machine.buddy.free_pages - before
    machine.lost_pages += sum(1 << (word & 15) for word in memoryview(chunks).cast("I")) - freed


def claim_blocks(machine: Machine, runs: Sequence[Run]) -> bytes:
    """Runs of the buddy's pages, packed: each as the block, or the blocks, that it was. ValueError, nothing taken."""
    taken: list[bytes] = []
    try:
        for run in runs:  # a page frame below memory makes a negative number, which claim cannot take
            taken.append(claim(machine.buddy, run.pfn - machine.base_pfn, run.count_pages))  # noqa: PERF401
    except (ValueError, OverflowError) as error:
        for chunks in taken:
            machine.buddy.free_chunks(chunks)
        raise ValueError(str(error)) from error
    return b"".join(taken)


@dataclass(frozen=True, slots=True)
class SystemHeap:
    """Blocks of order 8, 4 and 0, largest first, and never larger than the one before (system_heap.c).

    Its pages are unmovable, and zeroed when they are given: here they are a new file's, so they are zero.
    """

    machine: Machine
    name: str = "system"
    can_map: ClassVar[bool] = True

    @property
    def exporter(self) -> str:
        """The heap's name (RFC v4: its module's, which is the same)."""
        return self.name

    def allocate(self, count_pages: int) -> Pages:
        """Take pages; ENOMEM rather than go below the zone's watermark."""
        machine = self.machine
        if machine.layout.profile == "v4" and count_pages > PAGE_ARRAY_PAGES_MAX:
            raise NoPagesError
        chunks = self._take(count_pages)
        if chunks is None:
            if machine.layout.leak and (most := self._most(count_pages)):
                lose(machine, most)  # what it had got so far goes the same way (RFC v4, the error path)
            raise NoPagesError
        return BlockPages(machine, chunks)

    def claim(self, runs: Sequence[Run]) -> Pages:
        """Blocks as they were."""
        return BlockPages(self.machine, claim_blocks(self.machine, runs))

    def _take(self, count_pages: int) -> bytes | None:
        if self.machine.pools is None:
            return self.machine.allocate_chunks(count_pages, SYSTEM_ORDERS)
        return self._take_pooled(count_pages)

    def _most(self, count_pages: int) -> bytes | None:
        most = self.machine.buddy.free_pages - self.machine.layout.min_watermark_pages
        return self._take(min(count_pages, most)) if most > 0 else None

    def _take_pooled(self, count_pages: int) -> bytes | None:
        """Each block from its order's pool first (kernel/common, dmabuf_page_pool_alloc). Only order 0 reclaims."""
        machine, words, left = self.machine, bytearray(), count_pages
        assert machine.pools is not None
        if count_pages > machine.pools.count_pages + machine.buddy.free_pages - machine.layout.min_watermark_pages:
            return None
        for order in SYSTEM_ORDERS:
            while left >= 1 << order:
                page = machine.pools.take(order)
                if page is None and (order == 0 or not self._is_short(1 << order)):
                    fresh = machine.allocate_chunks(1 << order, (order,))
                    page = None if fresh is None else memoryview(fresh).cast("I")[0] >> 4
                if page is None:
                    break
                words += (page << 4 | order).to_bytes(4, sys.byteorder)
                left -= 1 << order
        if left:
            machine.buddy.free_chunks(bytes(words))
            return None
        return bytes(words)

    def _is_short(self, count_pages: int) -> bool:
        return count_pages + self.machine.layout.min_watermark_pages > self.machine.buddy.free_pages


@dataclass(frozen=True, slots=True)
class CmaPages:
    """One run of a CMA area."""

    area: CmaArea
    run: Run

    def runs(self) -> tuple[Run, ...]:
        """The one run."""
        return (self.run,)

    def release(self) -> None:
        """Give the run back to the area."""
        self.area.release(self.run.pfn, self.run.count_pages)


@dataclass(frozen=True, slots=True)
class CmaHeap:
    """One run of exactly the pages asked for, aligned to their order up to CONFIG_CMA_ALIGNMENT (cma_heap.c)."""

    area: CmaArea
    exporter: str
    align_order_max: int = 8
    can_map: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The area's name (5.6 to 6.16, and RFC v4)."""
        return self.area.name

    def allocate(self, count_pages: int) -> Pages:
        """Take pages; ENOMEM whatever CMA's own reason is."""
        try:
            pfn = self.area.allocate(count_pages, min((count_pages - 1).bit_length(), self.align_order_max))
        except OSError as error:
            raise NoPagesError(PINNED if error.errno == errno.EBUSY else NO_RUN) from error
        if count_pages > PAGE_ARRAY_PAGES_MAX:
            self.area.release(pfn, count_pages)  # after the run was had and cleared, as the kernel does
            raise NoPagesError
        return CmaPages(self.area, Run(pfn, count_pages))

    def claim(self, runs: Sequence[Run]) -> Pages:
        """The one run."""
        if len(runs) != 1:
            raise ValueError(f"{len(runs)} runs: a CMA buffer has one")
        self.area.claim(runs[0].pfn, runs[0].count_pages)
        return CmaPages(self.area, runs[0])
