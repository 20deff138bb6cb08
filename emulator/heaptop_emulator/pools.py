"""Android's page pools: what the system heaps free is kept back, by order, for the next who asks.

kernel/common 5.10 to 6.1, drivers/dma-buf/heaps/page_pool.c: first in, first out; a shrinker gives pages back under
pressure, those of the smallest order first.
"""

from collections import deque
from collections.abc import Sequence

from heaptop_emulator._buddy import Buddy


class PagePools:
    """One pool for each order (largest first in `orders`), over the pages of one buddy allocator."""

    def __init__(self, buddy: Buddy, orders: Sequence[int]) -> None:
        self._buddy = buddy
        self._pages: dict[int, deque[int]] = {order: deque() for order in orders}
        self.count_pages = 0

    def take(self, order: int) -> int | None:
        """The block that lies longest in the pool of this order; None where it is empty."""
        if not self._pages[order]:
            return None
        self.count_pages -= 1 << order
        return self._pages[order].popleft()

    def put(self, page: int, order: int) -> None:
        """Keep a block that is allocated."""
        self._pages[order].append(page)
        self.count_pages += 1 << order

    def shrink(self, count_pages: int) -> int:
        """Free blocks until at least so many pages are free again, or the pools are empty; how many pages that was."""
        freed = 0
        for order, pages in reversed(self._pages.items()):
            while pages and freed < count_pages:
                self._buddy.free(pages.popleft(), order)
                freed += 1 << order
        self.count_pages -= freed
        return freed
