# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Pages of a Buddy that are not asked for by order: a run of any length, given pages, the first page of each block."""

from libc.stdint cimport uint8_t, uint32_t

from heaptop_emulator._buddy cimport ORDERS, PAGEBLOCK_ORDER, Buddy

cdef extern from *:
    """
    #define lowest_bit(word) ((int)__builtin_ctz(word))
    """
    int lowest_bit(uint32_t word) noexcept nogil

cdef enum:
    ALLOCATED = 0x80
    OF_MOVABLE = 0x40
    BEGINS = 0x8f   # of what begins at a page: allocated or free, and the order

cdef uint32_t NIL = (1 << 28) - 1


def allocate_contiguous(Buddy buddy not None, uint32_t count_pages):
    """One run of count_pages, cut from the smallest block that holds it; None where there is none.

    What is left of the block is free again at once (ion_system_heap.c: split_page, __free_page of the tail).
    Packed as Buddy.allocate_chunks has it.
    """
    cdef int order = 0
    cdef uint32_t page, end, rest
    cdef Py_ssize_t taken
    if count_pages == 0:
        raise ValueError("no pages asked for")
    while order < ORDERS and 1u << order < count_pages:
        order += 1
    if not buddy.grow_scratch(ORDERS):
        raise MemoryError
    page = buddy.take(order, 0) if order < ORDERS else NIL
    if page == NIL:
        return None
    taken = buddy.mark(page, count_pages)
    rest = page + count_pages
    end = page + (1u << order)
    while rest < end:
        order = lowest_bit(rest)
        buddy.begins[rest] = <uint8_t>(ALLOCATED | (order + 1))
        buddy.give_back(rest, order)
        rest += 1u << order
    return buddy.packed(taken)


def free_heads(Buddy buddy not None, bytes chunks):
    """Free the first page of each block alone; the others stay allocated for good. ValueError as Buddy.free_chunks."""
    cdef const uint8_t *raw = chunks
    cdef const uint32_t *words = <const uint32_t *>raw
    cdef Py_ssize_t index
    cdef uint32_t page
    cdef int order, part
    cdef uint8_t of_movable
    for index in range(len(chunks) // <Py_ssize_t>sizeof(uint32_t)):
        page, order = words[index] >> 4, words[index] & 15
        if page >= buddy.count_pages or (buddy.begins[page] & BEGINS) != (ALLOCATED | (order + 1)):
            raise ValueError(f"page {page} begins no allocated block of order {order}")
        of_movable = buddy.begins[page] & OF_MOVABLE
        for part in range(order):
            buddy.begins[page + (1u << part)] = <uint8_t>(ALLOCATED | of_movable | (part + 1))
        buddy.begins[page] = <uint8_t>(ALLOCATED | of_movable | 1)
        buddy.give_back(page, 0)


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
        if (buddy.begins[page >> order << order] & BEGINS) == order + 1:
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
