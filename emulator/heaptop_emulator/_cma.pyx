# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The bitmap of one CMA area and its search (mm/cma.c, lib/bitmap.c; the same rules from 5.10 to 7.3).

One bit stands for 2**order_per_bit pages, 1 = allocated, in 64-bit words.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

cdef extern from *:
    """
    #define trailing_zeros(word) ((unsigned)__builtin_ctzll(word))
    #define set_bits(word) ((unsigned)__builtin_popcountll(word))
    """
    unsigned trailing_zeros(uint64_t word) noexcept nogil
    unsigned set_bits(uint64_t word) noexcept nogil

cdef enum:
    ORDERS = 11     # of /proc/pagetypeinfo
    ORDER_MAX = 31  # of a bit, and of an alignment


cdef class CmaBitmap:
    """One area of count_pages from base_pfn on. Places in it are bit numbers."""

    cdef readonly uint64_t count_pages
    cdef readonly uint64_t base_pfn
    cdef readonly int order_per_bit
    cdef uint64_t count_bits
    cdef uint64_t *words

    def __cinit__(self, uint64_t count_pages, uint64_t base_pfn, int order_per_bit=0):
        if not 0 <= order_per_bit <= ORDER_MAX:
            raise ValueError(f"order_per_bit {order_per_bit}: 0 to {ORDER_MAX} can be")
        if not 0 < count_pages < (<uint64_t>1 << 40) or count_pages & ((<uint64_t>1 << order_per_bit) - 1):
            raise ValueError(f"{count_pages} pages: not a whole number of bits, or too many")
        self.count_pages = count_pages
        self.base_pfn = base_pfn
        self.order_per_bit = order_per_bit
        self.count_bits = count_pages >> order_per_bit
        self.words = <uint64_t *>calloc((self.count_bits + 63) >> 6, sizeof(uint64_t))
        if self.words == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.words)

    cdef inline uint64_t next_bit(self, uint64_t size, uint64_t start, uint64_t flip) noexcept nogil:
        """First bit from start on that is 1 (flip 0) or 0 (flip all ones); size where there is none."""
        cdef uint64_t index = start >> 6, word
        if start >= size:
            return size
        word = (self.words[index] ^ flip) & (~<uint64_t>0 << (start & 63))
        while word == 0:
            index += 1
            if index << 6 >= size:
                return size
            word = self.words[index] ^ flip
        return min(size, (index << 6) + trailing_zeros(word))

    cdef inline uint64_t bits_of(self, uint64_t count_pages) noexcept nogil:
        """Pages as bits, rounded up (cma_bitmap_pages_to_bits)."""
        return (count_pages + (<uint64_t>1 << self.order_per_bit) - 1) >> self.order_per_bit

    cdef void fill(self, uint64_t start, uint64_t count, bint value) noexcept nogil:
        cdef uint64_t bit = start, end = start + count, here, mask
        while bit < end:
            here = min(end - bit, 64 - (bit & 63))
            mask = (~<uint64_t>0 >> (64 - here)) << (bit & 63)
            if value:
                self.words[bit >> 6] |= mask
            else:
                self.words[bit >> 6] &= ~mask
            bit += here

    def allocate(self, uint64_t count_pages, int align_order):
        """First bit of the first free run that fits, now taken; -1 where none does.

        The alignment is that of the absolute page frame number, not of the bit (cma_bitmap_aligned_offset).
        """
        cdef uint64_t mask = 0, offset, count, bit = 0, taken
        if not 0 <= align_order <= ORDER_MAX:
            raise ValueError(f"align order {align_order}: 0 to {ORDER_MAX} can be")
        if count_pages == 0:
            raise ValueError("no pages asked for")
        if count_pages > self.count_pages:
            return -1
        if align_order > self.order_per_bit:
            mask = (<uint64_t>1 << (align_order - self.order_per_bit)) - 1
        offset = (self.base_pfn & ((<uint64_t>1 << align_order) - 1)) >> self.order_per_bit
        count = self.bits_of(count_pages)
        while True:
            bit = self.next_bit(self.count_bits, bit, ~<uint64_t>0)
            bit = ((bit + offset + mask) & ~mask) - offset
            if bit + count > self.count_bits:
                return -1
            taken = self.next_bit(bit + count, bit, 0)
            if taken == bit + count:
                break
            bit = taken + 1
        self.fill(bit, count, True)
        return bit

    def release(self, uint64_t bit, uint64_t count_pages):
        """Give a run back. ValueError where any of it is not allocated, or outside."""
        cdef uint64_t count
        if not 0 < count_pages <= self.count_pages:
            raise ValueError(f"{count_pages} pages from bit {bit} are not in the area")
        count = self.bits_of(count_pages)
        if bit > self.count_bits - count:
            raise ValueError(f"{count_pages} pages from bit {bit} are not in the area")
        if self.next_bit(bit + count, bit, ~<uint64_t>0) != bit + count:
            raise ValueError(f"{count_pages} pages from bit {bit} are not all allocated")
        self.fill(bit, count, False)

    @property
    def used_pages(self):
        """Pages whose bit is set, as debugfs `used` (6.12 and before)."""
        cdef uint64_t index, used = 0
        for index in range((self.count_bits + 63) >> 6):
            used += set_bits(self.words[index])
        return used << self.order_per_bit

    @property
    def max_free_run_pages(self):
        """Pages of the longest run of clear bits, whatever its alignment, as debugfs `maxchunk`."""
        cdef uint64_t start = 0, end = 0, longest = 0
        while True:
            start = self.next_bit(self.count_bits, end, ~<uint64_t>0)
            if start == self.count_bits:
                return longest << self.order_per_bit
            end = self.next_bit(self.count_bits, start, 0)
            longest = max(longest, end - start)

    def free_counts(self):
        """Free blocks of each order, from 0, as /proc/pagetypeinfo has them: naturally aligned, as large as can be."""
        cdef uint64_t counts[ORDERS]
        cdef uint64_t start, end = 0, pfn, pfn_end
        cdef int order
        for order in range(ORDERS):
            counts[order] = 0
        while True:
            start = self.next_bit(self.count_bits, end, ~<uint64_t>0)
            if start == self.count_bits:
                return tuple([counts[order] for order in range(ORDERS)])
            end = self.next_bit(self.count_bits, start, 0)
            pfn = self.base_pfn + (start << self.order_per_bit)
            pfn_end = self.base_pfn + (end << self.order_per_bit)
            while pfn < pfn_end:
                order = ORDERS - 1
                while pfn & ((1u << order) - 1) or pfn + (1u << order) > pfn_end:
                    order -= 1
                counts[order] += 1
                pfn += 1u << order

    def bitmap(self):
        """The bits, bit 0 of byte 0 first; padded with 0 to whole 64-bit words."""
        cdef Py_ssize_t index, words = (self.count_bits + 63) >> 6
        cdef bytes answer = PyBytes_FromStringAndSize(NULL, words * 8)
        cdef unsigned char *raw = answer
        for index in range(words * 8):
            raw[index] = (self.words[index >> 3] >> ((index & 7) << 3)) & 0xff
        return answer
