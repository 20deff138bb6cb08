"""The heaps: which pages a buffer gets, and back (drivers/dma-buf/heaps, 6.4 to 7.3)."""

import errno
import os
from dataclasses import dataclass
from typing import Protocol

from heaptop_emulator.machine import CmaArea, Machine

SYSTEM_ORDERS = (8, 4, 0)
CMA_ALIGNMENT_ORDER_MAX = 8
"""CONFIG_CMA_ALIGNMENT by default: no alignment beyond 1 MiB with 4 KiB pages."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive pages of a buffer, from page frame `pfn` on."""

    pfn: int
    count_pages: int


class Pages(Protocol):
    """The pages of one buffer, which it holds until `release`."""

    def runs(self) -> tuple[Run, ...]:
        """Where they are, in the buffer's order."""

    def release(self) -> None:
        """Give them back, once."""


class Heap(Protocol):
    """What the framework asks of a heap. `name` is also its buffers' exp_name (5.11 on)."""

    @property
    def name(self) -> str:
        """The node's name below /dev/dma_heap."""

    def allocate(self, count_pages: int) -> Pages:
        """Take pages. OSError with the heap's errno where it cannot."""


@dataclass(frozen=True, slots=True)
class SystemPages:
    """Blocks from the buddy, packed as it gave them."""

    machine: Machine
    chunks: bytes

    def runs(self) -> tuple[Run, ...]:
        """One run a block."""
        base = self.machine.base_pfn
        return tuple(Run(base + (word >> 4), 1 << (word & 15)) for word in memoryview(self.chunks).cast("I"))

    def release(self) -> None:
        """Give each block back with its own order."""
        self.machine.buddy.free_chunks(self.chunks)


@dataclass(frozen=True, slots=True)
class SystemHeap:
    """Blocks of order 8, 4 and 0, largest first, and never larger than the one before (system_heap.c)."""

    machine: Machine
    name: str = "system"

    def allocate(self, count_pages: int) -> Pages:
        """Take pages; ENOMEM rather than go below the zone's watermark."""
        keep = self.machine.layout.min_watermark_pages
        chunks = self.machine.buddy.allocate_chunks(count_pages, SYSTEM_ORDERS, keep)
        if chunks is None:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return SystemPages(self.machine, chunks)


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

    @property
    def name(self) -> str:
        """The area's name (5.6 to 6.16)."""
        return self.area.name

    def allocate(self, count_pages: int) -> Pages:
        """Take pages; ENOMEM whatever CMA's own reason is."""
        align_order = min((count_pages - 1).bit_length(), CMA_ALIGNMENT_ORDER_MAX)
        pfn = self.area.allocate(count_pages, align_order)
        if pfn is None:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return CmaPages(self.area, Run(pfn, count_pages))
