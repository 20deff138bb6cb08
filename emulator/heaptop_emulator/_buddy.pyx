# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The page allocator of the emulated machine: binary buddies with the kernel's orders (mm/page_alloc.c).

Free blocks of each order are a doubly linked list of page numbers in flat arrays. One byte a page says what begins
there: nothing, a free block, or an allocated one, so a bad or second free is told from a good one.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset

cdef enum:
    ORDERS = 11                 # MAX_PAGE_ORDER + 1 with 4 KiB pages
    ALLOCATED = 0x80            # flag in `begins`, beside order + 1
    COUNT_PAGES_MAX = 1 << 28   # a chunk is packed as pfn << 4 | order into 32 bits

cdef uint32_t NIL = 0xffffffff


cdef class Buddy:
    """Buddies over pages 0 to count_pages - 1. Blocks are named by their first page and order."""

    cdef readonly uint32_t count_pages
    cdef readonly uint32_t free_pages
    cdef uint32_t head[ORDERS]
    cdef uint32_t counts[ORDERS]
    cdef uint32_t *following
    cdef uint32_t *previous
    cdef uint8_t *begins
    cdef uint32_t *scratch
    cdef uint32_t scratch_size

    def __cinit__(self, uint32_t count_pages):
        cdef int order
        cdef uint32_t page = count_pages
        if not 0 < count_pages <= COUNT_PAGES_MAX:
            raise ValueError(f"{count_pages} pages: 1 to {COUNT_PAGES_MAX} can be managed")
        self.count_pages = count_pages
        for order in range(ORDERS):
            self.head[order] = NIL
        self.following = <uint32_t *>malloc(sizeof(uint32_t) * <size_t>count_pages)
        self.previous = <uint32_t *>malloc(sizeof(uint32_t) * <size_t>count_pages)
        self.begins = <uint8_t *>calloc(count_pages, 1)
        if self.following == NULL or self.previous == NULL or self.begins == NULL:
            raise MemoryError
        # From the end, so that the lowest block is the first of its list.
        while page:
            order = ORDERS - 1
            while page & ((1u << order) - 1):
                order -= 1
            page -= 1u << order
            self.push(page, order)
        self.free_pages = count_pages

    def __dealloc__(self):
        free(self.following)
        free(self.previous)
        free(self.begins)
        free(self.scratch)

    cdef inline void push(self, uint32_t page, int order) noexcept nogil:
        cdef uint32_t first = self.head[order]
        self.following[page] = first
        self.previous[page] = NIL
        if first != NIL:
            self.previous[first] = page
        self.head[order] = page
        self.begins[page] = <uint8_t>(order + 1)
        self.counts[order] += 1

    cdef inline void unlink(self, uint32_t page, int order) noexcept nogil:
        cdef uint32_t after = self.following[page], before = self.previous[page]
        if before != NIL:
            self.following[before] = after
        else:
            self.head[order] = after
        if after != NIL:
            self.previous[after] = before
        self.begins[page] = 0
        self.counts[order] -= 1

    cdef inline uint32_t take(self, int order) noexcept nogil:
        """A block, split off a larger one where need be; NIL where none is large enough."""
        cdef int found = order
        cdef uint32_t page
        while found < ORDERS and self.head[found] == NIL:
            found += 1
        if found == ORDERS:
            return NIL
        page = self.head[found]
        self.unlink(page, found)
        while found > order:
            found -= 1
            self.push(page + (1u << found), found)
        self.begins[page] = <uint8_t>(ALLOCATED | (order + 1))
        self.free_pages -= 1u << order
        return page

    cdef inline bint give_back(self, uint32_t page, int order) noexcept nogil:
        """Free a block and join it with its free buddies; false if no such block is allocated."""
        cdef uint32_t buddy
        if page >= self.count_pages or self.begins[page] != (ALLOCATED | (order + 1)):
            return False
        self.begins[page] = 0
        self.free_pages += 1u << order
        while order < ORDERS - 1:
            buddy = page ^ (1u << order)
            if buddy >= self.count_pages or self.begins[buddy] != order + 1:
                break
            self.unlink(buddy, order)
            page &= buddy
            order += 1
        self.push(page, order)
        return True

    def allocate(self, int order):
        """First page of a block of 2**order pages, or -1 where none is free."""
        cdef uint32_t page
        check_order(order)
        page = self.take(order)
        return -1 if page == NIL else page

    def free(self, uint32_t page, int order):
        """Give a block back. ValueError where it is not an allocated block of this order."""
        check_order(order)
        if not self.give_back(page, order):
            raise ValueError(f"page {page} begins no allocated block of order {order}")

    def allocate_chunks(self, uint64_t count_pages, tuple orders, uint64_t keep_free_pages=0):
        """Exactly count_pages as blocks of the given orders, largest first; None, and nothing taken, without them.

        An order that was not to be had, or is larger than what remains, is not tried again (system_heap.c,
        alloc_largest_available). The answer is packed: a native 32-bit `page << 4 | order` for each block.
        """
        cdef int wanted[ORDERS]
        cdef int orders_count = len(orders), tried = 0, order
        cdef uint32_t taken = 0, page
        cdef uint64_t remaining = count_pages
        if not 0 < orders_count <= ORDERS:
            raise ValueError("no orders, or too many")
        for index in range(orders_count):
            wanted[index] = orders[index]
            check_order(wanted[index])
        if keep_free_pages > self.free_pages or count_pages > self.free_pages - keep_free_pages:
            return None
        with nogil:
            while remaining and tried < orders_count:
                order = wanted[tried]
                page = self.take(order) if (1u << order) <= remaining else NIL
                if page == NIL:
                    tried += 1
                    continue
                if taken == self.scratch_size and not self.grow_scratch():
                    self.give_back(page, order)
                    break
                self.scratch[taken] = page << 4 | <uint32_t>order
                taken += 1
                remaining -= 1u << order
            if remaining:
                while taken:
                    taken -= 1
                    self.give_back(self.scratch[taken] >> 4, self.scratch[taken] & 15)
        if remaining:
            return None
        return PyBytes_FromStringAndSize(<char *>self.scratch, sizeof(uint32_t) * <Py_ssize_t>taken)

    def free_chunks(self, bytes chunks):
        """Give back what allocate_chunks gave. ValueError at the first that is not an allocated block."""
        cdef const uint8_t *raw = chunks
        cdef const uint32_t *words = <const uint32_t *>raw
        cdef Py_ssize_t index, count = len(chunks) // <Py_ssize_t>sizeof(uint32_t)
        for index in range(count):
            if (words[index] & 15) >= ORDERS or not self.give_back(words[index] >> 4, words[index] & 15):
                raise ValueError(f"page {words[index] >> 4} begins no allocated block of order {words[index] & 15}")

    cdef bint grow_scratch(self) noexcept nogil:
        cdef uint32_t size = self.scratch_size * 2 if self.scratch_size else 64
        cdef uint32_t *larger = <uint32_t *>realloc(self.scratch, sizeof(uint32_t) * <size_t>size)
        if larger == NULL:
            return False
        self.scratch = larger
        self.scratch_size = size
        return True

    def free_counts(self):
        """Free blocks of each order, from 0, as /proc/buddyinfo has them."""
        return tuple([self.counts[order] for order in range(ORDERS)])

    def bitmap(self):
        """One bit a page, bit 0 of byte 0 first, 1 = allocated; bits past the end are 0."""
        cdef Py_ssize_t size = (<Py_ssize_t>self.count_pages + 7) >> 3
        cdef bytes answer = PyBytes_FromStringAndSize(NULL, size)
        cdef uint8_t *bits = answer
        cdef int order
        cdef uint32_t page
        with nogil:
            memset(bits, 0xff, size)
            if self.count_pages & 7:
                bits[size - 1] = <uint8_t>((1u << (self.count_pages & 7)) - 1)
            for order in range(ORDERS):
                page = self.head[order]
                while page != NIL:
                    if order >= 3:
                        memset(bits + (page >> 3), 0, 1u << (order - 3))
                    else:
                        bits[page >> 3] &= <uint8_t>~(((1u << (1u << order)) - 1) << (page & 7))
                    page = self.following[page]
        return answer

    def max_free_run(self):
        """Pages of the longest stretch of free pages, across block borders."""
        cdef uint32_t page = 0, run = 0, longest = 0, size
        with nogil:
            while page < self.count_pages:
                size = 1u << ((self.begins[page] & 15) - 1)
                run = 0 if self.begins[page] & ALLOCATED else run + size
                longest = max(longest, run)
                page += size
        return longest


cdef int check_order(int order) except -1:
    if not 0 <= order < ORDERS:
        raise ValueError(f"order {order}: 0 to {ORDERS - 1} exist")
    return 0
