# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The bitmap of one range of a CMA area and its search (mm/cma.c, lib/bitmap.c; the same rules from 5.10 to 7.3).

One bit stands for 2**order_per_bit pages, 1 = allocated.
"""

cimport cython
from libc.stdint cimport uint64_t

from heaptop_emulator._bits cimport Bits

cdef extern from *:
    """
    #define highest_bit(word) (63 - (int)__builtin_clzll(word))
    """
    int highest_bit(uint64_t word) noexcept nogil

cdef enum:
    ORDER_MAX = 31  # of a bit, and of an alignment
    LENGTH_MAX = 1 << (CLASSES - 1)

cdef uint64_t NONE = ~<uint64_t>0


@cython.final
cdef class CmaBitmap:
    """One range of count_pages from base_pfn on. Places in it are bit numbers."""

    def __cinit__(self, uint64_t count_pages, uint64_t base_pfn, int order_per_bit=0):
        if not 0 <= order_per_bit <= ORDER_MAX:
            raise ValueError(f"order_per_bit {order_per_bit}: 0 to {ORDER_MAX} can be")
        if not 0 < count_pages < (<uint64_t>1 << 40) or count_pages & ((<uint64_t>1 << order_per_bit) - 1):
            raise ValueError(f"{count_pages} pages: not a whole number of bits, or too many")
        self.count_pages = count_pages
        self.base_pfn = base_pfn
        self.order_per_bit = order_per_bit
        self.bits = Bits(count_pages >> order_per_bit)

    # hints[n]: no run of 2**n clear bits or more begins before this bit. Taking bits leaves that true.

    cdef inline uint64_t bits_of(self, uint64_t count_pages) noexcept nogil:
        """Pages as bits, rounded up (cma_bitmap_pages_to_bits)."""
        return (count_pages + (<uint64_t>1 << self.order_per_bit) - 1) >> self.order_per_bit

    cdef uint64_t take(self, uint64_t count_pages, int align_order, uint64_t start) noexcept nogil:
        """As allocate, of 1 to self.count_pages pages; NONE where there is no room.

        It begins where no run that is shorter than the request's class ends the search sooner (`hints`), which is
        where the kernel, which begins at `start`, would get to.
        """
        cdef uint64_t mask = 0, offset, count = self.bits_of(count_pages), first, bit, taken, hint = NONE
        cdef int size_class = class_of(count)
        cdef uint64_t least = <uint64_t>1 << size_class
        if align_order > self.order_per_bit:
            mask = (<uint64_t>1 << (align_order - self.order_per_bit)) - 1
        offset = (self.base_pfn & ((<uint64_t>1 << align_order) - 1)) >> self.order_per_bit
        bit = max(start, self.hints[size_class])
        while True:
            first = self.bits.next_clear(bit)
            bit = ((first + offset + mask) & ~mask) - offset
            if bit + count > self.bits.size:
                taken = NONE
                break
            taken = self.bits.next_set(bit, bit + count)
            if hint == NONE and taken - first >= least:
                hint = first
            if taken == bit + count:
                break
            bit = taken + 1
        if start <= self.hints[size_class]:
            self.hints[size_class] = min(hint, first)
        if taken == NONE:
            return NONE
        self.bits.set_run(bit, count)
        return bit

    cdef bint give_back(self, uint64_t bit, uint64_t count_pages) noexcept nogil:
        """Clear a run of 1 to self.count_pages pages; false, and nothing done, where it is not all allocated."""
        cdef uint64_t count = self.bits_of(count_pages), first, length
        cdef int size_class
        if bit > self.bits.size - count or self.bits.next_clear(bit) < bit + count:
            return False
        self.bits.clear_run(bit, count)
        first = bit - self.bits.before(bit, LENGTH_MAX)
        length = min(self.bits.next_set(bit + count, min(self.bits.size, bit + count + LENGTH_MAX)) - first, LENGTH_MAX)
        for size_class in range(class_of(length) + 1):
            self.hints[size_class] = min(self.hints[size_class], first)
        return True

    def allocate(self, uint64_t count_pages, int align_order, uint64_t start_bit=0):
        """First bit of the first free run from start_bit on that fits, now taken; -1 where none does.

        The alignment is that of the absolute page frame number, not of the bit (cma_bitmap_aligned_offset).
        """
        cdef uint64_t bit
        if not 0 <= align_order <= ORDER_MAX:
            raise ValueError(f"align order {align_order}: 0 to {ORDER_MAX} can be")
        if count_pages == 0:
            raise ValueError("no pages asked for")
        if count_pages > self.count_pages or start_bit >= self.bits.size:
            return -1
        bit = self.take(count_pages, align_order, start_bit)
        return -1 if bit == NONE else bit

    def claim(self, uint64_t bit, uint64_t count_pages):
        """Take exactly this run. ValueError where any of it is allocated, or outside."""
        cdef uint64_t count
        self.check(bit, count_pages)
        count = self.bits_of(count_pages)
        if self.bits.set_between(bit, bit + count):
            raise ValueError(f"{count_pages} pages from bit {bit} are not all free")
        self.bits.put(bit, count, True)

    def release(self, uint64_t bit, uint64_t count_pages):
        """Give a run back. ValueError where any of it is not allocated, or outside."""
        self.check(bit, count_pages)
        if not self.give_back(bit, count_pages):
            raise ValueError(f"{count_pages} pages from bit {bit} are not all allocated")

    def is_set(self, uint64_t bit):
        """Whether a bit is set; false outside."""
        return self.bits.set_between(bit, bit + 1) > 0 if bit < self.bits.size else False

    cdef int check(self, uint64_t bit, uint64_t count_pages) except -1:
        if not 0 < count_pages <= self.count_pages or bit > self.bits.size - self.bits_of(count_pages):
            raise ValueError(f"{count_pages} pages from bit {bit} are not in the area")
        return 0

    @property
    def used_pages(self):
        """Pages whose bit is set, as debugfs `used` (6.12 and before)."""
        return self.bits.count << self.order_per_bit

    @property
    def max_free_run_pages(self):
        """Pages of the longest run of clear bits, whatever its alignment, as debugfs `maxchunk`."""
        return self.bits.longest_clear() << self.order_per_bit

    def bitmap(self):
        """The bits, bit 0 of byte 0 first; padded with 0 to whole 64-bit words."""
        return self.bits.to_bytes()


cdef inline int class_of(uint64_t count) noexcept nogil:
    """Requests of 2**n to 2**(n+1) - 1 bits are of one class; the last has all larger ones."""
    return min(highest_bit(count), CLASSES - 1)
