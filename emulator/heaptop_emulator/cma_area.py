"""A CMA area: which pages it gives, as cma_alloc does (mm/cma.c), and the movable pages that borrow it meanwhile.

Only who allocates from the area sets bits of its bitmap. Movable pages (page cache, anonymous memory) fill pages whose
bit is clear and are moved away when an allocation wants their place; those that are pinned cannot be, and the search
goes on behind them.
"""

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from heaptop_emulator._bits import Bits
from heaptop_emulator._cma import CmaBitmap


class CmaRange:
    """Consecutive pages of an area, and the state of each.

    `bits` is the area's bitmap here. `busy` are pages that somebody has, the area's user or a movable page; `pinned`
    are movable ones that cannot be moved now.
    """

    def __init__(self, base_pfn: int, count_pages: int, order_per_bit: int) -> None:
        self.bits = CmaBitmap(count_pages, base_pfn, order_per_bit)
        self.busy = Bits(count_pages)
        self.pinned = Bits(count_pages)

    @property
    def base_pfn(self) -> int:
        """First page frame."""
        return self.bits.base_pfn

    @property
    def count_pages(self) -> int:
        """Pages."""
        return self.bits.count_pages

    def has(self, pfn: int, count_pages: int = 1) -> bool:
        """Whether these pages are all of this range."""
        return self.base_pfn <= pfn and pfn + count_pages <= self.base_pfn + self.count_pages

    def is_taken(self, page: int) -> bool:
        """Whether the bit of this page, counted from base_pfn, is set."""
        return self.bits.is_set(page >> self.bits.order_per_bit)


@dataclass(slots=True)
class CmaArea:
    """One CMA area and its counters since boot: pages as in /sys/kernel/mm/cma, calls as in /proc/vmstat.

    `migrate` finds other places for so many movable pages, and tells whether it did.
    """

    name: str
    ranges: tuple[CmaRange, ...]
    migrate: Callable[[int], bool]
    alloc_pages_success: int = 0
    alloc_pages_fail: int = 0
    release_pages_success: int = 0
    alloc_calls: int = 0
    fail_calls: int = 0
    busy_retries: int = 0
    taken_pages: int = field(default=0)
    """Pages that were asked for and not released: less than the bits say where these stand for several pages."""

    @property
    def order_per_bit(self) -> int:
        """Pages that a bit stands for, as an order: the same in each range."""
        return self.ranges[0].bits.order_per_bit

    @property
    def count_pages(self) -> int:
        """Pages of all ranges."""
        return sum(part.count_pages for part in self.ranges)

    @property
    def available_pages(self) -> int:
        """Pages that no one allocated, as sysfs `available_pages` (6.15 on)."""
        return self.count_pages - self.taken_pages

    @property
    def used_pages(self) -> int:
        """Debugfs `used`: whole bits up to 6.14; from 6.15 on, when areas may have several ranges, pages."""
        if len(self.ranges) > 1:
            return self.taken_pages
        return self.ranges[0].bits.used_pages

    @property
    def max_free_run_pages(self) -> int:
        """Debugfs `maxchunk`."""
        return max(part.bits.max_free_run_pages for part in self.ranges)

    @property
    def free_pages(self) -> int:
        """Pages that nobody has, movable pages included: what CmaFree counts."""
        return sum(part.count_pages - part.busy.count for part in self.ranges)

    def free_counts(self) -> tuple[int, ...]:
        """Free blocks by order from 0, as the page allocator has them: what /proc/pagetypeinfo tells as CMA."""
        return tuple(map(sum, zip(*(part.busy.clear_counts(part.base_pfn) for part in self.ranges), strict=True)))

    def allocate(self, count_pages: int, align_order: int) -> int:
        """First page frame of a run, by cma_alloc's search.

        Raises:
            OSError: EBUSY where pages in all places large enough could not be moved, ENOMEM for any other reason.
        """
        if len(self.ranges) == 1 and count_pages > self.count_pages:
            raise _error(errno.ENOMEM)  # 6.12 does not even count it
        failure = errno.ENOMEM
        for part in self.ranges:
            start = 0
            while (bit := part.bits.allocate(count_pages, align_order, start)) >= 0:
                page = bit << self.order_per_bit
                refused = self._clear(part, page, count_pages)
                if not refused:
                    self._note_taken(part, page, count_pages)
                    self.alloc_pages_success += count_pages
                    self.alloc_calls += 1
                    return part.base_pfn + page
                part.bits.release(bit, count_pages)
                if refused != errno.EBUSY:
                    raise self._failed(count_pages, refused)
                failure = refused
                self.busy_retries += 1
                start = bit + (1 << max(0, align_order - self.order_per_bit))
        raise self._failed(count_pages, failure)

    def _failed(self, count_pages: int, number: int) -> OSError:
        self.alloc_pages_fail += count_pages
        self.fail_calls += 1
        return _error(number)

    def _clear(self, part: CmaRange, page: int, count_pages: int) -> int:
        """Move what is movable out of these pages (alloc_contig_range): 0, or the errno of what is in the way."""
        lent = part.busy.count_set(page, count_pages)
        if not lent:
            return 0
        if part.pinned.count_set(page, count_pages):
            return errno.EBUSY
        if not self.migrate(lent):
            return errno.ENOMEM
        part.busy.fill(page, count_pages, value=False)
        return 0

    def _note_taken(self, part: CmaRange, page: int, count_pages: int) -> None:
        part.busy.fill(page, count_pages, value=True)
        self.taken_pages += count_pages

    def release(self, pfn: int, count_pages: int) -> None:
        """Give a run back. ValueError where it is not one that was given."""
        part = self._range_of(pfn, count_pages)
        page = pfn - part.base_pfn
        part.bits.release(page >> self.order_per_bit, count_pages)
        part.busy.fill(page, count_pages, value=False)
        self.taken_pages -= count_pages
        self.release_pages_success += count_pages

    def claim(self, pfn: int, count_pages: int) -> None:
        """Take exactly this run, whatever movable page is there. ValueError where it is not free, or cannot be had."""
        part = self._range_of(pfn, count_pages)
        page = pfn - part.base_pfn
        if page & ((1 << self.order_per_bit) - 1):
            raise ValueError(f"page frame {pfn:#x} does not begin a bit of {self.name}")
        part.bits.claim(page >> self.order_per_bit, count_pages)
        if self._clear(part, page, count_pages):
            part.bits.release(page >> self.order_per_bit, count_pages)
            raise ValueError(f"pages from {pfn:#x} on cannot be moved away")
        self._note_taken(part, page, count_pages)

    def lend(self, count_pages: int) -> int:
        """Put movable pages into the first pages that nobody has; how many found room."""
        left = count_pages
        for part in self.ranges:
            page = part.busy.find_clear()
            while left and page < part.count_pages:
                end = min(part.busy.find_set(page), page + left)
                part.busy.fill(page, end - page, value=True)
                left -= end - page
                page = part.busy.find_clear(end)
        return count_pages - left

    def pin(self, pages: Iterable[int]) -> None:
        """Pin movable pages, by their number through all ranges; where none is yet, one is put there.

        Raises:
            ValueError: a page is allocated from the area, or not in it.
        """
        for part, page in self._placed(pages):
            if part.is_taken(page) and not part.pinned.count_set(page, 1):
                raise ValueError(f"page {page} of {self.name} is allocated: none of a movable page's")
            part.busy.fill(page, 1, value=True)
            part.pinned.fill(page, 1, value=True)

    def unpin(self, pages: Iterable[int]) -> None:
        """Let pages be moved again. ValueError where one is not in the area."""
        for part, page in self._placed(pages):
            part.pinned.fill(page, 1, value=False)

    def _placed(self, pages: Iterable[int]) -> Sequence[tuple[CmaRange, int]]:
        found = []
        for number in pages:
            page = number
            for part in self.ranges:
                if 0 <= page < part.count_pages:
                    found.append((part, page))
                    break
                page -= part.count_pages
            else:
                raise ValueError(f"area {self.name} has no page {number}")
        return found

    def _range_of(self, pfn: int, count_pages: int) -> CmaRange:
        for part in self.ranges:
            if count_pages > 0 and part.has(pfn, count_pages):
                return part
        raise ValueError(f"{count_pages} pages from {pfn:#x} on are not in one range of {self.name}")


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
