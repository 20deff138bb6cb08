"""Whose page a page frame is: the buffers that lie in a stretch of memory."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from heaptop.model import Buffer, PageRun

ORDER_MAX = 10
"""The largest block of the page allocator (MAX_PAGE_ORDER), as runs are counted by."""


class Lying(NamedTuple):
    """A run of a buffer."""

    pfn: int
    count_pages: int
    inode: int


class Placement:
    """The buffers in the page frames from `start_pfn` to `end_pfn`. `is_told` where any buffer's place is known."""

    def __init__(self, buffers: Iterable[Buffer], start_pfn: int, end_pfn: int) -> None:
        self.is_told = False
        self.lying: list[Lying] = []
        for buffer in buffers:
            if buffer.runs is None:
                continue
            self.is_told = True
            self.lying += [
                Lying(pfn, count, buffer.inode)
                for pfn, count in buffer.runs
                if pfn < end_pfn and pfn + count > start_pfn
            ]
        self.lying.sort()

    def at(self, pfn: int) -> Lying | None:
        """The run that has this page frame. No two buffers have the same."""
        index = bisect_right(self.lying, pfn, key=lambda one: one.pfn) - 1
        found = self.lying[index] if index >= 0 else None
        return found if found is not None and pfn < found.pfn + found.count_pages else None


def runs_by_order(runs: Iterable[PageRun]) -> tuple[int, ...]:
    """How many runs there are of each order: from `1 << order` pages on, up to twice that; the last has all larger."""
    counts = [0] * (ORDER_MAX + 1)
    for run in runs:
        counts[min(run.count_pages.bit_length() - 1, ORDER_MAX)] += 1
    return tuple(counts)
