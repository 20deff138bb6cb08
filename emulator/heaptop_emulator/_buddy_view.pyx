# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What can be seen of a Buddy: how many free blocks there are, and which pages are allocated."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from heaptop_emulator._buddy cimport KINDS, ORDERS, PAGEBLOCK_ORDER, Buddy

cdef enum:
    ALLOCATED = 0x80

cdef uint32_t NIL = (1 << 28) - 1


def free_counts(Buddy buddy not None, movable=None):
    """Free blocks of each order, from 0, as /proc/buddyinfo has them; of one kind as /proc/pagetypeinfo has."""
    cdef int order, kind
    if movable is not None:
        kind = 1 if movable else 0
        return tuple([buddy.counts[kind][order] for order in range(ORDERS)])
    return tuple([buddy.counts[0][order] + buddy.counts[1][order] for order in range(ORDERS)])


def pageblock_counts(Buddy buddy not None):
    """Pageblocks of each kind: unmovable, movable. One that the end of memory cuts off counts."""
    cdef uint32_t count = (buddy.count_pages + (1 << PAGEBLOCK_ORDER) - 1) >> PAGEBLOCK_ORDER, index, movable = 0
    for index in range(count):
        movable += buddy.kinds[index]
    return count - movable, movable


def bitmap(Buddy buddy not None):
    """One bit a page, bit 0 of byte 0 first, 1 = allocated; bits past the end are 0."""
    cdef Py_ssize_t size = (<Py_ssize_t>buddy.count_pages + 7) >> 3
    cdef bytes answer = PyBytes_FromStringAndSize(NULL, size)
    cdef uint8_t *bits = answer
    cdef int order, kind
    cdef uint32_t page
    with nogil:
        memset(bits, 0xff, size)
        if buddy.count_pages & 7:
            bits[size - 1] = <uint8_t>((1u << (buddy.count_pages & 7)) - 1)
        for kind in range(KINDS):
            for order in range(ORDERS):
                page = buddy.head[kind][order]
                while page != NIL:
                    if order >= 3:
                        memset(bits + (page >> 3), 0, 1u << (order - 3))
                    else:
                        bits[page >> 3] &= <uint8_t>~(((1u << (1u << order)) - 1) << (page & 7))
                    page = buddy.links[page].following
    return answer


def max_free_run(Buddy buddy not None):
    """Pages of the longest stretch of free pages, across block borders."""
    cdef uint32_t page = 0, run = 0, longest = 0, size
    with nogil:
        while page < buddy.count_pages:
            size = 1u << ((buddy.begins[page] & 15) - 1)
            run = 0 if buddy.begins[page] & ALLOCATED else run + size
            longest = max(longest, run)
            page += size
    return longest
