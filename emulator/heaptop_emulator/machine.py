"""The emulated machine's memory: one zone of RAM, with CMA areas and heaps' own memory carved from its end."""

from heaptop_emulator._buddy import Buddy
from heaptop_emulator._cma import CmaBitmap
from heaptop_emulator._runs import claim
from heaptop_emulator.cma_area import CmaArea, CmaRange
from heaptop_emulator.layout import MAX_ORDER, SIZED_KINDS, AreaLayout, HeapLayout, Layout
from heaptop_emulator.pools import PagePools

SYSTEM_ORDERS = (8, 4, 0)
"""Orders that the system heap asks for (drivers/dma-buf/heaps/system_heap.c)."""


class Machine:
    """RAM from `base_pfn` on, all of it in `buddy`, whose pages of areas and carve-outs are taken for good.

    `carveouts` is the memory of heaps that have their own, by heap; `pools` is None without them. `lost_pages` are
    those that RFC v4's system heap never gave back.
    """

    def __init__(self, layout: Layout | None = None) -> None:
        self.layout = layout = layout or Layout()
        self.base_pfn = layout.base_pfn
        self.count_pages = layout.ram_pages - layout.carved_pages
        self.buddy = Buddy(layout.ram_pages)
        self.lost_pages = 0
        self.pools = PagePools(self.buddy, SYSTEM_ORDERS) if layout.pools else None
        self._end = layout.ram_pages
        self.areas = {area.name: self._area(area) for area in layout.areas}
        self.carveouts = {heap.name: self._carveout(heap) for heap in layout.heaps if heap.kind in SIZED_KINDS}
        self._take_system()
        self._movable: list[bytes] = []
        for area in layout.areas:
            self.areas[area.name].lend(area.lent_pages)
            self.areas[area.name].pin(area.pinned)
        self.add_movable(layout.movable_pages)

    def _carve(self, count_pages: int, alignment: int) -> int:
        """Take pages below all that were carved so far; the first one's number."""
        start = (self._end - count_pages) & -alignment
        claim(self.buddy, start, count_pages)
        self._end = start
        return start

    def _area(self, area: AreaLayout) -> CmaArea:
        """Ranges from the end of memory downwards, the last the highest, a block of other memory between two."""
        ranges: list[CmaRange] = []
        for pages in reversed(area.ranges_pages):
            if ranges:
                self._end -= 1 << MAX_ORDER
            start = self._carve(pages, 1 << max(9, area.order_per_bit))
            ranges.append(CmaRange(self.base_pfn + start, pages, area.order_per_bit))
        return CmaArea(area.name, tuple(reversed(ranges)), self._migrate)

    def _carveout(self, heap: HeapLayout) -> CmaBitmap:
        order = max(0, heap.chunk_pages.bit_length() - 1)
        start = self._carve(heap.size_pages, 1 << order)
        return CmaBitmap(heap.size_pages, self.base_pfn + start, order)

    def _take_system(self) -> None:
        """What the kernel and its programs hold for good, in blocks as large as there are."""
        self.buddy.allocate_chunks(self.layout.system_pages, tuple(range(MAX_ORDER, -1, -1)))

    def allocate_chunks(self, count_pages: int, orders: tuple[int, ...], *, movable: bool = False) -> bytes | None:
        """Blocks from the buddy, above the watermark, giving back what the pools hold where that is needed; or None."""
        if not self.reclaim(count_pages):
            return None
        return self.buddy.allocate_chunks(count_pages, orders, self.layout.min_watermark_pages, movable)

    def reclaim(self, count_pages: int) -> bool:
        """See to it that so many pages can be taken above the watermark, from the pools; whether they can."""
        short = count_pages + self.layout.min_watermark_pages - self.buddy.free_pages
        return short <= 0 or (self.pools is not None and self.pools.shrink(short) >= short)

    def add_movable(self, count_pages: int) -> int:
        """Put movable pages where the kernel would; how many found room.

        They go to CMA while more than half of the free memory is there (mm/page_alloc.c, __rmqueue), and where else
        there is no room.
        """
        left = count_pages
        while left:
            in_cma, elsewhere = self.cma_free_pages, self.buddy.free_pages
            room = elsewhere + self.pool_pages - self.layout.min_watermark_pages
            if in_cma > elsewhere or room <= 0:
                placed = self._lend(min(left, in_cma - elsewhere) if in_cma > elsewhere else left)
            else:
                placed = min(left, room, max(elsewhere - in_cma, (left + 1) // 2))
                self._keep_movable(placed)
            if not placed:
                break
            left -= placed
        return count_pages - left

    def _lend(self, count_pages: int) -> int:
        left = count_pages
        for area in self.areas.values():
            left -= area.lend(left)
        return count_pages - left

    def _keep_movable(self, count_pages: int) -> bool:
        chunks = self.allocate_chunks(count_pages, (0,), movable=True)
        if chunks:
            self._movable.append(chunks)
        return chunks is not None

    def _migrate(self, count_pages: int) -> bool:
        """Find other places for movable pages of a CMA area."""
        return self._keep_movable(count_pages)

    @property
    def free_pages(self) -> int:
        """Free pages of the buddy and of the areas, as MemFree counts them."""
        return self.buddy.free_pages + self.cma_free_pages

    @property
    def pool_pages(self) -> int:
        """Pages that the heaps keep back."""
        return 0 if self.pools is None else self.pools.count_pages

    @property
    def available_pages(self) -> int:
        """MemAvailable where nothing but the pools can be reclaimed: what is free above the low watermark (5/4 of min),
        and the pools but for half of them or that watermark (mm/show_mem.c, si_mem_available).
        """
        low = self.layout.min_watermark_pages * 5 // 4
        return max(0, self.free_pages - low + self.pool_pages - min(self.pool_pages // 2, low))

    @property
    def cma_total_pages(self) -> int:
        """Pages of all areas."""
        return sum(area.count_pages for area in self.areas.values())

    @property
    def cma_free_pages(self) -> int:
        """Pages of all areas that nobody has."""
        return sum(area.free_pages for area in self.areas.values())
