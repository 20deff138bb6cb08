"""The emulated machine's memory: one zone of RAM with CMA areas carved from its end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from heaptop_emulator._buddy import Buddy
from heaptop_emulator._cma import CmaBitmap

PAGE_SHIFT = 12
PAGE_BYTES = 1 << PAGE_SHIFT
PAGEBLOCK_ORDER = 9
MAX_ORDER = 10
MIB_PAGES = (1 << 20) >> PAGE_SHIFT


@dataclass(slots=True)
class CmaArea:
    """One CMA area and its counters since boot: pages as in /sys/kernel/mm/cma, calls as in /proc/vmstat."""

    name: str
    bits: CmaBitmap
    alloc_pages_success: int = 0
    alloc_pages_fail: int = 0
    release_pages_success: int = 0
    alloc_calls: int = 0
    fail_calls: int = 0

    def allocate(self, count_pages: int, align_order: int) -> int | None:
        """First page frame of a run, by cma_alloc's search; None where there is none."""
        bit = self.bits.allocate(count_pages, align_order)
        if bit < 0:
            self.alloc_pages_fail += count_pages
            self.fail_calls += 1
            return None
        self.alloc_pages_success += count_pages
        self.alloc_calls += 1
        return self.bits.base_pfn + (bit << self.bits.order_per_bit)

    def release(self, pfn: int, count_pages: int) -> None:
        """Give a run back."""
        self.bits.release((pfn - self.bits.base_pfn) >> self.bits.order_per_bit, count_pages)
        self.release_pages_success += count_pages

    @property
    def free_pages(self) -> int:
        """Pages that no one allocated from the area."""
        return self.bits.count_pages - self.bits.used_pages


@dataclass(frozen=True, slots=True)
class Layout:
    """How large the machine is. `areas_mib` are the CMA areas by name, from the end of RAM downwards.

    `system_mib` is what the kernel and its programs hold for good; the zone's watermarks are the kernel's for about
    this much RAM (`min_watermark_pages`: allocations fail rather than go below it).
    """

    ram_mib: int = 1024
    base_pfn: int = 0x40000
    areas_mib: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({"reserved": 64, "camera": 32}))
    system_mib: int = 64
    min_watermark_pages: int = 1024


class Machine:
    """RAM as its parts: the buddy's pages from `base_pfn` on, then the CMA areas; each page is in exactly one."""

    def __init__(self, layout: Layout | None = None) -> None:
        layout = layout or Layout()
        self.layout = layout
        self.count_pages = layout.ram_mib * MIB_PAGES
        self.base_pfn = layout.base_pfn
        end = self.count_pages
        self.areas: dict[str, CmaArea] = {}
        for name, size_mib in layout.areas_mib.items():
            end -= size_mib * MIB_PAGES
            self.areas[name] = CmaArea(name, CmaBitmap(size_mib * MIB_PAGES, layout.base_pfn + end))
        self.buddy = Buddy(end)
        for _ in range(layout.system_mib * MIB_PAGES >> MAX_ORDER):
            self.buddy.allocate(MAX_ORDER)

    @property
    def free_pages(self) -> int:
        """Free pages of the buddy and of the areas, as MemFree counts them."""
        return self.buddy.free_pages + self.cma_free_pages

    @property
    def available_pages(self) -> int:
        """Free pages above the low watermark (5/4 of min), as MemAvailable has them where there is no page cache."""
        return max(0, self.free_pages - self.layout.min_watermark_pages * 5 // 4)

    @property
    def cma_total_pages(self) -> int:
        """Pages of all areas."""
        return sum(area.bits.count_pages for area in self.areas.values())

    @property
    def cma_free_pages(self) -> int:
        """Free pages of all areas. Nothing borrows from them here, so CmaFree is just this."""
        return sum(area.free_pages for area in self.areas.values())
