"""Which buffers stand in the way of a CMA request that does not fit."""

from collections.abc import Sequence
from typing import NamedTuple

from heaptop.analysis.occupancy import Fit
from heaptop.analysis.placement import Placement
from heaptop.model import Buffer, CmaArea


class Standing(NamedTuple):
    """A buffer that lies in the window a request would take, and with how many pages."""

    buffer: Buffer
    count_pages: int


class InTheWay(NamedTuple):
    """What is used in the window that is nearest to being free (`Fit.nearest_pfn`).

    `count_pages` are all used ones. `buffers` are those known to lie there, the one with the most pages there first.
    `other_pages` are used by none of them: by what is no dma-buf, or by buffers of which no source tells where they
    lie. `is_told` is False where no buffer's place is told at all.
    """

    count_pages: int
    buffers: tuple[Standing, ...]
    other_pages: int
    is_told: bool


def in_the_way(area: CmaArea, found: Fit, size_pages: int, buffers: Sequence[Buffer]) -> InTheWay | None:
    """Who is in the way of the request that `found` (`occupancy.fit`) answers; None where it fits, or never could."""
    if found.fits is not False or found.in_the_way_pages is None:
        return None
    if found.nearest_pfn is None:
        return InTheWay(found.in_the_way_pages, (), found.in_the_way_pages, is_told=False)
    bit_pages = 1 << (area.order_per_bit or 0)
    start_pfn = found.nearest_pfn
    end_pfn = start_pfn + -(-size_pages // bit_pages) * bit_pages
    placement = Placement(buffers, start_pfn, end_pfn)
    pages: dict[int, int] = {}
    for pfn, count, inode in placement.lying:
        here = min(pfn + count, end_pfn) - max(pfn, start_pfn)
        # The bitmap knows whole bits only: what is left of a buffer's last one is used too.
        pages[inode] = pages.get(inode, 0) + -(-here // bit_pages) * bit_pages
    standing = [Standing(buffer, pages[buffer.inode]) for buffer in buffers if buffer.inode in pages]
    return InTheWay(
        count_pages=found.in_the_way_pages,
        buffers=tuple(sorted(standing, key=lambda one: (-one.count_pages, one.buffer.inode))),
        # Bitmap and buffers are not read at one moment: a buffer that came in between has pages the bitmap lacks.
        other_pages=max(0, found.in_the_way_pages - sum(pages.values())),
        is_told=placement.is_told,
    )
