cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    ORDERS = 11                         # MAX_PAGE_ORDER + 1 with 4 KiB pages
    PAGEBLOCK_ORDER = 9                 # pageblock_order with 4 KiB pages and huge pages of 2 MiB
    KINDS = 2                           # migratetypes: unmovable, movable
    COUNT_PAGES_MAX = (1 << 28) - 1     # page numbers are packed into 28 bits, of which the last stands for none

cdef struct Link:
    uint32_t following
    uint32_t previous


@cython.final
cdef class Buddy:
    cdef readonly uint32_t count_pages
    cdef readonly uint32_t free_pages
    cdef uint8_t *begins
    cdef Link *links
    cdef uint8_t *kinds
    cdef uint32_t head[KINDS][ORDERS]
    cdef uint32_t counts[KINDS][ORDERS]
    cdef uint32_t *scratch
    cdef size_t scratch_size

    cdef void push(self, uint32_t page, int order, int kind) noexcept nogil
    cdef void unlink(self, uint32_t page, int order) noexcept nogil
    cdef void split(self, uint32_t page, int found, int order, int kind) noexcept nogil
    cdef uint32_t take(self, int order, int kind) noexcept nogil
    cdef uint32_t steal(self, int order, int kind) noexcept nogil
    cdef bint is_mostly_alike(self, uint32_t pageblock, int kind) noexcept nogil
    cdef void move_free(self, uint32_t pageblock, int kind) noexcept nogil
    cdef int smallest(self, int order, int kind) noexcept nogil
    cdef bint give_back(self, uint32_t page, int order) noexcept nogil
    cdef void join(self, uint32_t page, int order) noexcept nogil
    cdef void join_all(self, uint32_t page, uint32_t end) noexcept nogil
    cdef Py_ssize_t take_some(self, uint64_t count, int order, int kind, Py_ssize_t taken) noexcept nogil
    cdef Py_ssize_t mark(self, uint32_t page, uint32_t count_pages) noexcept nogil
    cdef bint grow_scratch(self, size_t size) noexcept nogil
    cdef Py_ssize_t take_chunks(
        self, uint64_t count_pages, const int *orders, int orders_count, int kind
    ) noexcept nogil
    cdef Py_ssize_t give_back_chunks(self, const uint32_t *words, Py_ssize_t count) noexcept nogil
    cdef bytes packed(self, Py_ssize_t count)
