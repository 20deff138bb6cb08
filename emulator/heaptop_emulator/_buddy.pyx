# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The page allocator of the emulated machine: binary buddies with the kernel's orders (mm/page_alloc.c, 6.10 on).

Every pageblock has a kind (a migratetype): unmovable or movable. Free blocks of each kind and order are a doubly linked
list. One byte a page says what begins there: nothing, a free block or an allocated one, with its order and kind, so a
bad or second free is told from a good one. These bytes stand apart from the links, since a merge looks at buddies that
mostly are not free: packed so densely they stay in the cache.
"""

cimport cython
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
    # In the byte of a page, beside order + 1:
    ALLOCATED = 0x80
    OF_MOVABLE = 0x40           # an allocated block's own kind; of a free one, which list it is on
    BEGINS = 0x8f               # allocated or free, and the order

cdef uint32_t NIL = (1 << 28) - 1


@cython.final
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
        self.begins = <uint8_t *>calloc(count_pages, 1)
        self.links = <Link *>malloc(count_pages * sizeof(Link))
        self.kinds = <uint8_t *>malloc((count_pages >> PAGEBLOCK_ORDER) + 1)
        if self.begins == NULL or self.links == NULL or self.kinds == NULL:
            raise MemoryError
        memset(self.kinds, MOVABLE, (count_pages >> PAGEBLOCK_ORDER) + 1)  # as at boot (memmap_init)
        # From the end, so that the lowest block is the first of its list.
        while page:
            order = min(lowest_bit(page), ORDERS - 1)
            page -= 1u << order
            self.push(page, order, MOVABLE)
        self.free_pages = count_pages

    def __dealloc__(self):
        free(self.begins)
        free(self.links)
        free(self.kinds)
        free(self.scratch)

    # A store of a byte may be one to anything, so that all of self is loaded anew: it comes last.

    cdef inline void push(self, uint32_t page, int order, int kind) noexcept nogil:
        cdef uint32_t first = self.head[kind][order]
        cdef Link *links = self.links
        links[page].following = first
        links[page].previous = NIL
        if first != NIL:
            links[first].previous = page
        self.head[kind][order] = page
        self.counts[kind][order] += 1
        self.begins[page] = <uint8_t>((OF_MOVABLE if kind else 0) | (order + 1))

    cdef inline void unlink(self, uint32_t page, int order) noexcept nogil:
        cdef Link *links = self.links
        cdef uint32_t after = links[page].following, before = links[page].previous
        cdef int kind = MOVABLE if self.begins[page] & OF_MOVABLE else UNMOVABLE
        if before != NIL:
            links[before].following = after
        else:
            self.head[kind][order] = after
        if after != NIL:
            links[after].previous = before
        self.counts[kind][order] -= 1
        self.begins[page] = 0

    cdef inline void split(self, uint32_t page, int found, int order, int kind) noexcept nogil:
        """Free the upper halves of a block that is on no list, down to `order`."""
        while found > order:
            found -= 1
            self.push(page + (1u << found), found, kind)

    cdef inline uint32_t take(self, int order, int kind) noexcept nogil:
        """A block, split off a larger one where need be; NIL where none is large enough."""
        cdef int found = self.smallest(order, kind)
        cdef uint32_t page
        if found < ORDERS:
            page = self.head[kind][found]
            self.unlink(page, found)
            self.split(page, found, order, kind)
        else:
            page = self.steal(order, kind)
            if page == NIL:
                return NIL
        self.begins[page] = <uint8_t>(ALLOCATED | (OF_MOVABLE if kind else 0) | (order + 1))
        self.free_pages -= 1u << order
        return page

    cdef inline int smallest(self, int order, int kind) noexcept nogil:
        """The smallest order from this on that has a free block; ORDERS where none has."""
        while order < ORDERS and self.head[kind][order] == NIL:
            order += 1
        return order

    cdef uint32_t steal(self, int order, int kind) noexcept nogil:
        """A block of the other kind: the largest, and where it may be with its whole pageblock, which then is of this
        kind (__rmqueue_fallback, steal_suitable_fallback). On no list, and not marked yet.
        """
        cdef int other = 1 - kind, found, old
        cdef uint32_t page, pageblock
        cdef bint may_claim
        found = ORDERS - 1
        while self.head[other][found] == NIL:
            found -= 1
            if found < order:
                return NIL
        may_claim = kind == UNMOVABLE or found >= PAGEBLOCK_ORDER // 2
        if not may_claim:
            found = self.smallest(order, other)
        page = self.head[other][found]
        if found >= PAGEBLOCK_ORDER:
            self.unlink(page, found)
            memset(self.kinds + (page >> PAGEBLOCK_ORDER), kind, 1u << (found - PAGEBLOCK_ORDER))
            self.split(page, found, order, kind)
            return page
        pageblock = page & ~<uint32_t>(PAGEBLOCK_PAGES - 1)
        if may_claim and self.is_mostly_alike(pageblock, kind):
            self.move_free(pageblock, kind)
            found = self.smallest(order, kind)
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
        cdef uint8_t known
        if end > self.count_pages:
            return False
        while page < end:
            known = self.begins[page]
            size = 1u << ((known & 15) - 1)
            if not known & ALLOCATED or (known & OF_MOVABLE != 0) == (kind == MOVABLE):
                alike += size
            page += size
        return alike >= PAGEBLOCK_PAGES // 2

    cdef void move_free(self, uint32_t pageblock, int kind) noexcept nogil:
        """Make a pageblock one of this kind, and move its free blocks to that kind's lists."""
        cdef uint32_t page = pageblock
        cdef uint8_t known
        cdef int order
        self.kinds[pageblock >> PAGEBLOCK_ORDER] = kind
        while page < pageblock + PAGEBLOCK_PAGES:
            known = self.begins[page]
            order = <int>(known & 15) - 1
            if not known & ALLOCATED:
                self.unlink(page, order)
                self.push(page, order, kind)
            page += 1u << order

    cdef inline bint give_back(self, uint32_t page, int order) noexcept nogil:
        """Free a block and join it with its free buddies; false if no such block is allocated."""
        if page >= self.count_pages or (self.begins[page] & BEGINS) != (ALLOCATED | (order + 1)):
            return False
        self.begins[page] = 0
        self.join(page, order)
        return True

    cdef inline void join(self, uint32_t page, int order) noexcept nogil:
        """Free a block that is marked as nothing, together with its free buddies."""
        cdef uint32_t buddy
        cdef int kind = self.kinds[page >> PAGEBLOCK_ORDER]
        self.free_pages += 1u << order
        while order < ORDERS - 1:
            buddy = page ^ (1u << order)
            if buddy >= self.count_pages or (self.begins[buddy] & BEGINS) != order + 1:
                break
            self.unlink(buddy, order)
            if order >= PAGEBLOCK_ORDER:
                self.kinds[buddy >> PAGEBLOCK_ORDER] = kind  # __free_one_page: the buddy's kind follows
            page &= buddy
            order += 1
        self.push(page, order, kind)

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
        cdef int tried = 0
        cdef Py_ssize_t taken = 0, more
        while count_pages and tried < orders_count:
            more = 0
            if (1u << orders[tried]) <= count_pages:
                more = self.take_some(count_pages >> orders[tried], orders[tried], kind, taken)
            if more == 0:
                tried += 1
            taken += more
            count_pages -= <uint64_t>more << orders[tried]
        if not count_pages:
            return taken
        while taken:
            taken -= 1
            self.give_back(self.scratch[taken] >> 4, self.scratch[taken] & 15)
        return -1

    cdef inline Py_ssize_t take_some(self, uint64_t count, int order, int kind, Py_ssize_t taken) noexcept nogil:
        """One or more blocks, at most `count`, behind the `taken` ones in `scratch`; how many, 0 where there are none.

        They are cut from one larger block at once. Where they lie, and what is left, is as if they were taken one by
        one: whatever the first leaves of the larger block is smaller than any other, and so is cut next.
        """
        cdef int found = self.smallest(order, kind)
        cdef uint32_t page, end, at
        cdef uint8_t *begins
        cdef uint32_t *scratch
        cdef uint8_t mark = <uint8_t>(ALLOCATED | (OF_MOVABLE if kind else 0) | (order + 1))
        cdef Py_ssize_t index, cut
        if found == ORDERS:
            if not self.grow_scratch(<size_t>taken + 1):
                return 0
            page = self.take(order, kind)
            self.scratch[taken] = page << 4 | <uint32_t>order
            return 0 if page == NIL else 1
        cut = <Py_ssize_t>min(count, <uint64_t>1 << (found - order))
        if <size_t>(taken + cut) > self.scratch_size and not self.grow_scratch(<size_t>(taken + cut)):
            return 0
        page = self.head[kind][found]
        self.unlink(page, found)
        end = page + (1u << found)
        at = page
        begins, scratch = self.begins, self.scratch
        for index in range(taken, taken + cut):
            begins[at] = mark
            scratch[index] = at << 4 | <uint32_t>order
            at += 1u << order
        self.free_pages -= at - page
        while at < end:
            found = lowest_bit(at)
            self.push(at, found, kind)
            at += 1u << found
        return cut

    cdef Py_ssize_t give_back_chunks(self, const uint32_t *words, Py_ssize_t count) noexcept nogil:
        """Give packed blocks back. Index of the first that is not allocated, or `count`.

        Neighbours are freed as the blocks that they make up, as they would be once the last of them is.
        """
        cdef Py_ssize_t index
        cdef uint32_t page, start = 0, end = 0, count_pages = self.count_pages
        cdef uint8_t *begins = self.begins
        cdef int order
        for index in range(count):
            page, order = words[index] >> 4, words[index] & 15
            if order >= ORDERS or page >= count_pages or (begins[page] & BEGINS) != (ALLOCATED | (order + 1)):
                self.join_all(start, end)
                return index
            begins[page] = 0
            if page != end:
                self.join_all(start, end)
                start = page
            end = page + (1u << order)
        self.join_all(start, end)
        return count

    cdef inline void join_all(self, uint32_t page, uint32_t end) noexcept nogil:
        """Free pages that are marked as nothing."""
        cdef int order
        while page < end:
            order = min(lowest_bit(page | 1u << PAGEBLOCK_ORDER), highest_bit(end - page))
            self.join(page, order)
            page += 1u << order

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

    cdef Py_ssize_t mark(self, uint32_t page, uint32_t count_pages) noexcept nogil:
        """Say of pages that are on no list that they are allocated, as the largest blocks that can be; these are in
        `scratch`, which has room for them.
        """
        cdef uint32_t end = page + count_pages
        cdef int order
        cdef Py_ssize_t marked = 0
        while page < end:
            order = min(lowest_bit(page | 1u << (ORDERS - 1)), highest_bit(end - page))
            self.begins[page] = <uint8_t>(ALLOCATED | (order + 1))
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
