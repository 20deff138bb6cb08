# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The page allocator of the emulated machine: binary buddies with the kernel's orders (mm/page_alloc.c, 6.10 on).

Every pageblock has a kind (a migratetype): unmovable or movable. Free blocks of each kind and order are a doubly linked
list. All that is known of a page is packed into 64 bits, so that a step of a list costs one cache line:

    0-7     what begins here: nothing (0), a free block or an allocated one, with its order and kind
    8-35    the next block of the list, 36-63 the one before (free blocks only)

So a bad or second free is told from a good one.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset

cdef extern from *:
    """
    #define lowest_bit(word) ((int)__builtin_ctz(word))
    #define highest_bit(word) (31 - (int)__builtin_clz(word))
    """
    int lowest_bit(uint32_t word) noexcept nogil
    int highest_bit(uint32_t word) noexcept nogil

cdef enum:
    UNMOVABLE = 0
    MOVABLE = 1
    PAGEBLOCK_PAGES = 1 << PAGEBLOCK_ORDER
    # In the lowest byte of a page, beside order + 1:
    ALLOCATED = 0x80
    OF_MOVABLE = 0x40           # an allocated block's own kind; of a free one, which list it is on
    BEGINS = 0x8f               # allocated or free, and the order

cdef uint32_t NIL = (1 << 28) - 1
cdef uint64_t NEXT = <uint64_t>NIL << 8
cdef uint64_t PREVIOUS = <uint64_t>NIL << 36


cdef class Buddy:
    """Buddies over pages 0 to count_pages - 1. Blocks are named by their first page and order."""

    def __cinit__(self, uint32_t count_pages):
        cdef int order, kind
        cdef uint32_t page = count_pages
        if not 0 < count_pages <= COUNT_PAGES_MAX:
            raise ValueError(f"{count_pages} pages: 1 to {COUNT_PAGES_MAX} can be managed")
        self.count_pages = count_pages
        for kind in range(KINDS):
            for order in range(ORDERS):
                self.head[kind][order] = NIL
        self.pages = <uint64_t *>calloc(count_pages, sizeof(uint64_t))
        self.kinds = <uint8_t *>malloc((count_pages >> PAGEBLOCK_ORDER) + 1)
        if self.pages == NULL or self.kinds == NULL:
            raise MemoryError
        memset(self.kinds, MOVABLE, (count_pages >> PAGEBLOCK_ORDER) + 1)  # as at boot (memmap_init)
        # From the end, so that the lowest block is the first of its list.
        while page:
            order = min(lowest_bit(page), ORDERS - 1)
            page -= 1u << order
            self.push(page, order, MOVABLE)
        self.free_pages = count_pages

    def __dealloc__(self):
        free(self.pages)
        free(self.kinds)
        free(self.scratch)

    cdef inline void push(self, uint32_t page, int order, int kind) noexcept nogil:
        cdef uint32_t first = self.head[kind][order]
        cdef uint64_t begins = (OF_MOVABLE if kind else 0) | (order + 1)
        self.pages[page] = begins | <uint64_t>first << 8 | PREVIOUS
        if first != NIL:
            self.pages[first] = (self.pages[first] & ~PREVIOUS) | <uint64_t>page << 36
        self.head[kind][order] = page
        self.filled[kind] |= 1u << order
        self.counts[kind][order] += 1

    cdef inline void unlink(self, uint32_t page, int order) noexcept nogil:
        cdef uint64_t known = self.pages[page]
        cdef uint32_t after = (known >> 8) & NIL, before = known >> 36
        cdef int kind = MOVABLE if known & OF_MOVABLE else UNMOVABLE
        if before != NIL:
            self.pages[before] = (self.pages[before] & ~NEXT) | <uint64_t>after << 8
        else:
            self.head[kind][order] = after
            if after == NIL:
                self.filled[kind] &= ~(1u << order)
        if after != NIL:
            self.pages[after] = (self.pages[after] & ~PREVIOUS) | <uint64_t>before << 36
        self.pages[page] = 0
        self.counts[kind][order] -= 1

    cdef inline void split(self, uint32_t page, int found, int order, int kind) noexcept nogil:
        """Free the upper halves of a block that is on no list, down to `order`."""
        while found > order:
            found -= 1
            self.push(page + (1u << found), found, kind)

    cdef inline uint32_t take(self, int order, int kind) noexcept nogil:
        """A block, split off a larger one where need be; NIL where none is large enough."""
        cdef uint32_t filled = self.filled[kind] >> order, page
        cdef int found
        if filled:
            found = order + lowest_bit(filled)
            page = self.head[kind][found]
            self.unlink(page, found)
            self.split(page, found, order, kind)
        else:
            page = self.steal(order, kind)
            if page == NIL:
                return NIL
        self.pages[page] = ALLOCATED | (OF_MOVABLE if kind else 0) | (order + 1)
        self.free_pages -= 1u << order
        return page

    cdef uint32_t steal(self, int order, int kind) noexcept nogil:
        """A block of the other kind: the largest, and where it may be with its whole pageblock, which then is of this
        kind (__rmqueue_fallback, steal_suitable_fallback). On no list, and not marked yet.
        """
        cdef int other = 1 - kind, found, old
        cdef uint32_t page, pageblock
        cdef bint may_claim
        if not self.filled[other] >> order:
            return NIL
        found = highest_bit(self.filled[other])
        may_claim = kind == UNMOVABLE or found >= PAGEBLOCK_ORDER // 2
        if not may_claim:
            found = order + lowest_bit(self.filled[other] >> order)
        page = self.head[other][found]
        if found >= PAGEBLOCK_ORDER:
            self.unlink(page, found)
            memset(self.kinds + (page >> PAGEBLOCK_ORDER), kind, 1u << (found - PAGEBLOCK_ORDER))
            self.split(page, found, order, kind)
            return page
        pageblock = page & ~<uint32_t>(PAGEBLOCK_PAGES - 1)
        if may_claim and self.is_mostly_alike(pageblock, kind):
            self.move_free(pageblock, kind)
            found = order + lowest_bit(self.filled[kind] >> order)
            page = self.head[kind][found]
            self.unlink(page, found)
            self.split(page, found, order, kind)
            return page
        old = self.kinds[page >> PAGEBLOCK_ORDER]
        self.unlink(page, found)
        self.split(page, found, order, old)
        return page

    cdef bint is_mostly_alike(self, uint32_t pageblock, int kind) noexcept nogil:
        """Whether half of a pageblock or more is free or of this kind. One cut off by the end of memory never is."""
        cdef uint32_t page = pageblock, end = pageblock + PAGEBLOCK_PAGES, alike = 0, size
        cdef uint64_t known
        if end > self.count_pages:
            return False
        while page < end:
            known = self.pages[page]
            size = 1u << ((known & 15) - 1)
            if not known & ALLOCATED or (known & OF_MOVABLE != 0) == (kind == MOVABLE):
                alike += size
            page += size
        return alike >= PAGEBLOCK_PAGES // 2

    cdef void move_free(self, uint32_t pageblock, int kind) noexcept nogil:
        """Make a pageblock one of this kind, and move its free blocks to that kind's lists."""
        cdef uint32_t page = pageblock
        cdef uint64_t known
        cdef int order
        self.kinds[pageblock >> PAGEBLOCK_ORDER] = kind
        while page < pageblock + PAGEBLOCK_PAGES:
            known = self.pages[page]
            order = <int>(known & 15) - 1
            if not known & ALLOCATED:
                self.unlink(page, order)
                self.push(page, order, kind)
            page += 1u << order

    cdef inline bint give_back(self, uint32_t page, int order) noexcept nogil:
        """Free a block and join it with its free buddies; false if no such block is allocated."""
        cdef uint32_t buddy
        cdef int kind
        if page >= self.count_pages or (self.pages[page] & BEGINS) != (ALLOCATED | (order + 1)):
            return False
        self.pages[page] = 0
        self.free_pages += 1u << order
        kind = self.kinds[page >> PAGEBLOCK_ORDER]
        while order < ORDERS - 1:
            buddy = page ^ (1u << order)
            if buddy >= self.count_pages or (self.pages[buddy] & BEGINS) != order + 1:
                break
            self.unlink(buddy, order)
            if order >= PAGEBLOCK_ORDER:
                self.kinds[buddy >> PAGEBLOCK_ORDER] = kind  # __free_one_page: the buddy's kind follows
            page &= buddy
            order += 1
        self.push(page, order, kind)
        return True

    def allocate(self, int order, bint movable=False):
        """First page of a block of 2**order pages, or -1 where none is free."""
        cdef uint32_t page
        check_order(order)
        page = self.take(order, MOVABLE if movable else UNMOVABLE)
        return -1 if page == NIL else page

    def free(self, uint32_t page, int order):
        """Give a block back. ValueError where it is not an allocated block of this order."""
        check_order(order)
        if not self.give_back(page, order):
            raise ValueError(f"page {page} begins no allocated block of order {order}")

    cdef Py_ssize_t take_chunks(
        self, uint64_t count_pages, const int *orders, int orders_count, int kind
    ) noexcept nogil:
        """Exactly count_pages in `scratch`, and how many blocks; -1, and nothing taken, where they are not to be had.

        An order that was not to be had, or is larger than what remains, is not tried again (system_heap.c,
        alloc_largest_available).
        """
        cdef int tried = 0, order
        cdef uint32_t page
        cdef Py_ssize_t taken = 0
        while count_pages and tried < orders_count:
            order = orders[tried]
            page = self.take(order, kind) if (1u << order) <= count_pages else NIL
            if page == NIL:
                tried += 1
                continue
            if taken == self.scratch_size and not self.grow_scratch(<size_t>taken + 1):
                self.give_back(page, order)
                break
            self.scratch[taken] = page << 4 | <uint32_t>order
            taken += 1
            count_pages -= 1u << order
        if not count_pages:
            return taken
        while taken:
            taken -= 1
            self.give_back(self.scratch[taken] >> 4, self.scratch[taken] & 15)
        return -1

    cdef Py_ssize_t give_back_chunks(self, const uint32_t *words, Py_ssize_t count) noexcept nogil:
        """Give packed blocks back. Index of the first that is not allocated, or `count`."""
        cdef Py_ssize_t index
        for index in range(count):
            if (words[index] & 15) >= ORDERS or not self.give_back(words[index] >> 4, words[index] & 15):
                return index
        return count

    def allocate_chunks(
        self, uint64_t count_pages, tuple orders, uint64_t keep_free_pages=0, bint movable=False
    ):
        """Exactly count_pages as blocks of the given orders, largest first; None, and nothing taken, without them.

        Nothing is tried where fewer than keep_free_pages would be left. The answer is packed: a native 32-bit
        `page << 4 | order` for each block.
        """
        cdef int wanted[ORDERS]
        cdef int orders_count = len(orders), index, kind = MOVABLE if movable else UNMOVABLE
        cdef Py_ssize_t taken
        if not 0 < orders_count <= ORDERS:
            raise ValueError("no orders, or too many")
        for index in range(orders_count):
            wanted[index] = orders[index]
            check_order(wanted[index])
        if keep_free_pages > self.free_pages or count_pages > self.free_pages - keep_free_pages:
            return None
        with nogil:
            taken = self.take_chunks(count_pages, wanted, orders_count, kind)
        return None if taken < 0 else self.packed(taken)

    def allocate_contiguous(self, uint32_t count_pages):
        """One run of count_pages, cut from the smallest block that holds it; None where there is none.

        What is left of the block is free again at once (ion_system_heap.c: split_page, __free_page of the tail).
        Packed as allocate_chunks has it.
        """
        cdef int order = 0
        cdef uint32_t page, end, rest
        cdef Py_ssize_t taken
        if count_pages == 0:
            raise ValueError("no pages asked for")
        while order < ORDERS and 1u << order < count_pages:
            order += 1
        page = self.take(order, UNMOVABLE) if order < ORDERS else NIL
        if page == NIL:
            return None
        if not self.grow_scratch(ORDERS):
            self.give_back(page, order)
            raise MemoryError
        taken = self.mark(page, count_pages)
        rest = page + count_pages
        end = page + (1u << order)
        while rest < end:
            order = lowest_bit(rest)
            self.pages[rest] = ALLOCATED | (order + 1)
            self.give_back(rest, order)
            rest += 1u << order
        return self.packed(taken)

    cdef Py_ssize_t mark(self, uint32_t page, uint32_t count_pages) noexcept nogil:
        """Say of pages that are on no list that they are allocated, as the largest blocks that can be; these are in
        `scratch`, which has room for them.
        """
        cdef uint32_t end = page + count_pages
        cdef int order
        cdef Py_ssize_t marked = 0
        while page < end:
            order = min(lowest_bit(page | 1u << (ORDERS - 1)), highest_bit(end - page))
            self.pages[page] = ALLOCATED | (order + 1)
            self.scratch[marked] = page << 4 | <uint32_t>order
            marked += 1
            page += 1u << order
        return marked

    def free_chunks(self, bytes chunks):
        """Give back what allocate_chunks gave. ValueError at the first that is not an allocated block."""
        cdef const uint8_t *raw = chunks
        cdef const uint32_t *words = <const uint32_t *>raw
        cdef Py_ssize_t count = len(chunks) // <Py_ssize_t>sizeof(uint32_t), index
        with nogil:
            index = self.give_back_chunks(words, count)
        if index < count:
            raise ValueError(f"page {words[index] >> 4} begins no allocated block of order {words[index] & 15}")

    def free_heads(self, bytes chunks):
        """Free the first page of each block alone; the others stay allocated for good. ValueError as free_chunks."""
        cdef const uint8_t *raw = chunks
        cdef const uint32_t *words = <const uint32_t *>raw
        cdef Py_ssize_t index
        cdef uint32_t page
        cdef int order, part
        cdef uint64_t of_movable
        for index in range(len(chunks) // <Py_ssize_t>sizeof(uint32_t)):
            page, order = words[index] >> 4, words[index] & 15
            if page >= self.count_pages or (self.pages[page] & BEGINS) != (ALLOCATED | (order + 1)):
                raise ValueError(f"page {page} begins no allocated block of order {order}")
            of_movable = self.pages[page] & OF_MOVABLE
            for part in range(order):
                self.pages[page + (1u << part)] = ALLOCATED | of_movable | (part + 1)
            self.pages[page] = ALLOCATED | of_movable | 1
            self.give_back(page, 0)

    cdef bytes packed(self, Py_ssize_t count):
        return PyBytes_FromStringAndSize(<char *>self.scratch, sizeof(uint32_t) * count)

    cdef bint grow_scratch(self, size_t size) noexcept nogil:
        """Make room for at least `size` blocks."""
        cdef size_t room = self.scratch_size if self.scratch_size else 64
        cdef uint32_t *larger
        while room < size:
            room *= 2
        if room == self.scratch_size:
            return True
        larger = <uint32_t *>realloc(self.scratch, sizeof(uint32_t) * room)
        if larger == NULL:
            return False
        self.scratch = larger
        self.scratch_size = room
        return True


cdef int check_order(int order) except -1:
    if not 0 <= order < ORDERS:
        raise ValueError(f"order {order}: 0 to {ORDERS - 1} exist")
    return 0
