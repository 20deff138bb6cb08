# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Taking pages of a Buddy by their number: after a restart the buffers that still live lie where they lay."""

from libc.stdint cimport uint32_t

from heaptop_emulator._buddy cimport ORDERS, PAGEBLOCK_ORDER, Buddy

cdef enum:
    BEGINS = 0x8f   # of a page's lowest byte: allocated or free, and the order


def claim(Buddy buddy not None, uint32_t page, uint32_t count_pages):
    """Take exactly these pages, all of which must be free: packed blocks, the largest that can be. ValueError, and
    nothing taken, where any is not free.
    """
    cdef uint32_t at = page, end
    cdef int order
    if count_pages == 0 or page >= buddy.count_pages or count_pages > buddy.count_pages - page:
        raise ValueError(f"{count_pages} pages from page {page} on are not in memory")
    end = page + count_pages
    while at < end:
        order = free_order_at(buddy, at)
        if order < 0:
            raise ValueError(f"page {at} is not free")
        at = (at >> order) + 1 << order
    if not buddy.grow_scratch(2 * ORDERS + (count_pages >> (ORDERS - 1))):
        raise MemoryError
    at = page
    while at < end:
        at = take_out(buddy, at, end)
    buddy.free_pages -= count_pages
    return buddy.packed(buddy.mark(page, count_pages))


cdef int free_order_at(Buddy buddy, uint32_t page) noexcept nogil:
    """Order of the free block that this page is in; -1 where it is in none."""
    cdef int order
    for order in range(ORDERS):
        if (buddy.pages[page >> order << order] & BEGINS) == order + 1:
            return order
    return -1


cdef uint32_t take_out(Buddy buddy, uint32_t page, uint32_t end) noexcept nogil:
    """Take the free block around a page off its list, and put back of it what is before the page or from `end` on.

    The first page behind the block.
    """
    cdef int order = free_order_at(buddy, page)
    cdef uint32_t first = page >> order << order
    buddy.unlink(first, order)
    put_back(buddy, first, order, page, end)
    return first + (1u << order)


cdef void put_back(Buddy buddy, uint32_t first, int order, uint32_t start, uint32_t end) noexcept nogil:
    """Free what of a block is outside of start to end."""
    cdef uint32_t behind = first + (1u << order)
    if behind <= start or first >= end:
        buddy.push(first, order, buddy.kinds[first >> PAGEBLOCK_ORDER])
    elif first < start or behind > end:
        put_back(buddy, first, order - 1, start, end)
        put_back(buddy, first + (1u << (order - 1)), order - 1, start, end)
