cimport cython
from libc.stdint cimport uint64_t

from heaptop_emulator._bits cimport Bits

cdef enum:
    CLASSES = 14    # of sizes, by the order of bits


@cython.final
cdef class CmaBitmap:
    cdef readonly uint64_t count_pages
    cdef readonly uint64_t base_pfn
    cdef readonly int order_per_bit
    cdef Bits bits
    cdef uint64_t hints[CLASSES]

    cdef uint64_t bits_of(self, uint64_t count_pages) noexcept nogil
    cdef uint64_t take(self, uint64_t count_pages, int align_order, uint64_t start) noexcept nogil
    cdef bint give_back(self, uint64_t bit, uint64_t count_pages) noexcept nogil
    cdef int check(self, uint64_t bit, uint64_t count_pages) except -1
