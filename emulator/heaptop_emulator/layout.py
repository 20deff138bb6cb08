"""How an emulated machine is made: its memory, its CMA areas, its heaps, and what it behaves like."""

from dataclasses import dataclass, field
from typing import Final

from heaptop_emulator.errors import LayoutError

PAGE_SHIFT: Final = 12
PAGE_BYTES: Final = 1 << PAGE_SHIFT
MIB_PAGES: Final = (1 << 20) >> PAGE_SHIFT
MAX_ORDER: Final = 10
PAGEBLOCK_ORDER: Final = 9
RANGES_MAX: Final = 8
"""CMA_MAX_RANGES (mm/cma.h, 6.15 on)."""
RAM_PAGES_MAX: Final = (1 << 28) - (1 << MAX_ORDER)
NAME_BYTES_MAX: Final = 63
"""CMA_MAX_NAME less its end (include/linux/cma.h); a heap's node takes as much."""
PROFILES: Final = ("mainline", "v4")
HEAP_KINDS: Final = ("system-contig", "system-uncached", "carveout", "chunk", "secure")
SIZED_KINDS: Final = ("carveout", "chunk", "secure")
"""Kinds of heaps with memory of their own, which no one else gets."""
_ALIGNMENT_ORDERS: Final = range(2, 13)
"""CONFIG_CMA_ALIGNMENT (kernel/dma/Kconfig)."""


@dataclass(frozen=True, slots=True)
class AreaLayout:
    """A CMA area: pages of each range (several: 6.15 on). `lent_pages` hold movable pages from the start; `pinned`
    are pages, counted through all ranges, whose content cannot be moved away.
    """

    name: str
    ranges_pages: tuple[int, ...]
    order_per_bit: int = 0
    lent_pages: int = 0
    pinned: tuple[int, ...] = ()

    @property
    def count_pages(self) -> int:
        """Pages of all ranges."""
        return sum(self.ranges_pages)


@dataclass(frozen=True, slots=True)
class HeapLayout:
    """A heap beside the system heap and those of the areas. Only SIZED_KINDS have a size, only `chunk` has chunks."""

    kind: str
    name: str
    size_pages: int = 0
    chunk_pages: int = 0


def _default_areas() -> tuple[AreaLayout, ...]:
    return AreaLayout("reserved", (64 * MIB_PAGES,)), AreaLayout("camera", (32 * MIB_PAGES,))


@dataclass(frozen=True, slots=True)
class Layout:
    """A machine. Areas, then the heaps' own memory, lie at the end of RAM, the first of them last.

    `system_pages` is what the kernel and its programs hold for good, `movable_pages` what they hold that can be moved:
    it goes where the kernel would put it. The zone's watermarks are the kernel's for about this much RAM
    (`min_watermark_pages`: allocations fail rather than go below it). `pools`: freed pages of the system heaps are
    kept back for reuse, as in Android's kernels. `leak`: the system heap of RFC v4 gives back the first page of each
    compound page alone.

    Raises:
        LayoutError: no such machine can be.
    """

    profile: str = "mainline"
    ram_pages: int = 1024 * MIB_PAGES
    base_pfn: int = 0x40000
    areas: tuple[AreaLayout, ...] = field(default_factory=_default_areas)
    heaps: tuple[HeapLayout, ...] = ()
    system_pages: int = 64 * MIB_PAGES
    movable_pages: int = 0
    min_watermark_pages: int = 1024
    cma_alignment_order: int = 8
    pools: bool = False
    leak: bool = False

    def __post_init__(self) -> None:
        """Check it: what is wrong is told as the text form has it."""
        _demand(self.profile in PROFILES, f"profile {self.profile!r}", f"it is one of {', '.join(PROFILES)}")
        _demand(0 < self.ram_pages <= RAM_PAGES_MAX, "ram", "from one page to 1 TiB can be")
        _demand(0 <= self.base_pfn < 1 << 40, "base-pfn", "it is no page frame number")
        _demand(self.base_pfn % (1 << MAX_ORDER) == 0, "base-pfn", f"it is no multiple of {1 << MAX_ORDER}")
        _demand(self.cma_alignment_order in _ALIGNMENT_ORDERS, "alignment", "an order from 2 to 12 can be")
        for name in ("system_pages", "movable_pages", "min_watermark_pages"):
            _demand(getattr(self, name) >= 0, name.removesuffix("_pages"), "it is negative")
        _demand(not (self.leak and self.pools), "leak", "the pools keep what would leak")
        names = [self.system_heap_name, *(area.name for area in self.areas), *(heap.name for heap in self.heaps)]
        for name in names:
            _demand(names.count(name) == 1, f"heap {name!r}", "there are two of that name")
            _demand(_is_name(name), f"name {name!r}", "a name is 1 to 63 visible ASCII characters, without /")
        for area in self.areas:
            _check_area(area)
        for heap in self.heaps:
            _check_heap(heap)
        taken = self.system_pages + self.min_watermark_pages + self.apart_pages
        _demand(taken <= self.ram_pages, "ram", "the areas, the heaps and the system take more than there is")
        movable = self.movable_pages + sum(area.lent_pages for area in self.areas)
        room = self.ram_pages - self.system_pages - self.min_watermark_pages - self.carved_pages
        _demand(movable <= room, "movable", "there is not so much memory left")

    @property
    def system_heap_name(self) -> str:
        """Name of the system heap's node, and its buffers' exporter."""
        return "system_heap" if self.profile == "v4" else "system"

    @property
    def carved_pages(self) -> int:
        """Pages of the heaps' own memory, which the kernel does not count as its own."""
        return sum(heap.size_pages for heap in self.heaps)

    @property
    def apart_pages(self) -> int:
        """Pages of the areas and of the heaps' own memory, and of what lies between the ranges of an area."""
        gaps = sum(len(area.ranges_pages) - 1 for area in self.areas) << MAX_ORDER
        return self.carved_pages + sum(area.count_pages for area in self.areas) + gaps


def _check_area(area: AreaLayout) -> None:
    what = f"area {area.name!r}"
    _demand(1 <= len(area.ranges_pages) <= RANGES_MAX, what, f"an area has 1 to {RANGES_MAX} ranges")
    _demand(0 <= area.order_per_bit <= MAX_ORDER, what, f"order_per_bit from 0 to {MAX_ORDER} can be")
    unit = 1 << max(PAGEBLOCK_ORDER, area.order_per_bit)
    for pages in area.ranges_pages:
        _demand(pages > 0 and pages % unit == 0, what, f"a range is a multiple of {unit * PAGE_BYTES >> 20} MiB")
    _demand(0 <= area.lent_pages <= area.count_pages, what, "more is lent than it has")
    for page in area.pinned:
        _demand(0 <= page < area.count_pages, what, f"it has no page {page}")


def _check_heap(heap: HeapLayout) -> None:
    what = f"heap {heap.name!r}"
    _demand(heap.kind in HEAP_KINDS, what, f"a kind is one of {', '.join(HEAP_KINDS)}")
    if heap.kind in SIZED_KINDS:
        _demand(0 < heap.size_pages < RAM_PAGES_MAX, what, f"a {heap.kind} heap needs a size")
    else:
        _demand(heap.size_pages == 0, what, f"a {heap.kind} heap has no memory of its own")
    if heap.kind == "chunk":
        is_power = heap.chunk_pages > 0 and heap.chunk_pages & (heap.chunk_pages - 1) == 0
        _demand(is_power, what, "its chunks are no power of two of pages")
        _demand(heap.size_pages % heap.chunk_pages == 0, what, "its size is no whole number of chunks")
    else:
        _demand(heap.chunk_pages == 0, what, f"a {heap.kind} heap has no chunks")


def _is_name(name: str) -> bool:
    return name.isascii() and name.isprintable() and "/" not in name and 0 < len(name) <= NAME_BYTES_MAX


def _demand(holds: bool, what: str, why: str) -> None:
    if not holds:
        raise LayoutError(what, why)
