# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A row of bits in 64-bit words, with a summary that says which words are full, so that a search skips 64 of them."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

cdef extern from *:
    """
    #define trailing_zeros(word) ((unsigned)__builtin_ctzll(word))
    #define highest_bit(word) (63 - (unsigned)__builtin_clzll(word))
    #define set_bits(word) ((unsigned)__builtin_popcountll(word))
    #define is_big_endian (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
    """
    unsigned trailing_zeros(uint64_t word) noexcept nogil
    unsigned highest_bit(uint64_t word) noexcept nogil
    unsigned set_bits(uint64_t word) noexcept nogil
    bint is_big_endian

cdef enum:
    ORDERS = 11     # of /proc/pagetypeinfo

cdef uint64_t ALL = ~<uint64_t>0


@cython.final
cdef class Bits:
    """`size` bits, of which `count` are set; none at first."""

    def __cinit__(self, uint64_t size):
        if not 0 < size < (<uint64_t>1 << 40):
            raise ValueError(f"{size} bits: none, or too many")
        self.size = size
        self.words = <uint64_t *>calloc((size + 63) >> 6, sizeof(uint64_t))
        self.full = <uint64_t *>calloc((size + 4095) >> 12, sizeof(uint64_t))
        if self.words == NULL or self.full == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.words)
        free(self.full)

    cdef inline uint64_t before(self, uint64_t bit, uint64_t most) noexcept nogil:
        """Clear bits right before `bit`, counted up to at least `most` where there are so many."""
        cdef uint64_t index = bit >> 6, word, found = bit & 63
        if found:
            word = self.words[index] & ~(ALL << found)
            if word:
                return found - 1 - highest_bit(word)
        while index and found < most:
            index -= 1
            word = self.words[index]
            if word:
                return found + 63 - highest_bit(word)
            found += 64
        return found

    cdef inline void set_run(self, uint64_t start, uint64_t count) noexcept nogil:
        """Set clear bits."""
        cdef uint64_t index = start >> 6, last = (start + count - 1) >> 6
        cdef uint64_t head = ALL << (start & 63), tail = ALL >> (63 - ((start + count - 1) & 63))
        self.count += count
        if index == last:
            self.words[index] |= head & tail
            self.note_full(index)
            return
        self.words[index] |= head
        self.note_full(index)
        self.words[last] |= tail
        self.note_full(last)
        for index in range(index + 1, last):
            self.words[index] = ALL
        self.mark_full(start, last, True)

    cdef inline void clear_run(self, uint64_t start, uint64_t count) noexcept nogil:
        """Clear set bits."""
        cdef uint64_t index = start >> 6, last = (start + count - 1) >> 6
        cdef uint64_t head = ALL << (start & 63), tail = ALL >> (63 - ((start + count - 1) & 63))
        self.count -= count
        self.full[index >> 6] &= ~(<uint64_t>1 << (index & 63))
        self.full[last >> 6] &= ~(<uint64_t>1 << (last & 63))
        if index == last:
            self.words[index] &= ~(head & tail)
            return
        self.words[index] &= ~head
        self.words[last] &= ~tail
        for index in range(index + 1, last):
            self.words[index] = 0
        self.mark_full(start, last, False)

    cdef inline void note_full(self, uint64_t index) noexcept nogil:
        if self.words[index] == ALL:
            self.full[index >> 6] |= <uint64_t>1 << (index & 63)

    cdef inline void mark_full(self, uint64_t start, uint64_t last, bint value) noexcept nogil:
        """Say of the words between that of bit `start` and word `last` whether they are full."""
        cdef uint64_t index = (start >> 6) + 1, here, mask
        while index < last:
            here = min(last - index, 64 - (index & 63))
            mask = (ALL >> (64 - here)) << (index & 63)
            if value:
                self.full[index >> 6] |= mask
            else:
                self.full[index >> 6] &= ~mask
            index += here

    cdef void put(self, uint64_t start, uint64_t count, bint value) noexcept nogil:
        """Make `count` bits from start on this value, whatever they were."""
        cdef uint64_t were_set = self.set_between(start, start + count), were_clear = count - were_set
        if count == 0:
            return
        if value:
            self.set_run(start, count)
            self.count -= were_set
        else:
            self.clear_run(start, count)
            self.count += were_clear

    cdef uint64_t set_between(self, uint64_t start, uint64_t end) noexcept nogil:
        """How many bits from start on, before `end`, are set."""
        cdef uint64_t index, last, found
        if start >= end:
            return 0
        index, last = start >> 6, (end - 1) >> 6
        if index == last:
            return set_bits(self.words[index] >> (start & 63) << (start & 63) << (63 - ((end - 1) & 63)))
        found = set_bits(self.words[index] >> (start & 63))
        for index in range(index + 1, last):
            found += set_bits(self.words[index])
        return found + set_bits(self.words[last] << (63 - ((end - 1) & 63)))

    def fill(self, uint64_t start, uint64_t count, bint value):
        """Make `count` bits from start on this value. ValueError where not all of them are there."""
        self.check(start, count)
        self.put(start, count, value)

    def count_set(self, uint64_t start, uint64_t count):
        """How many of `count` bits from start on are set. ValueError where not all of them are there."""
        self.check(start, count)
        return self.set_between(start, start + count)

    def find_clear(self, uint64_t start=0):
        """First clear bit from start on; `size` where there is none."""
        return self.next_clear(start)

    def find_set(self, uint64_t start=0):
        """First set bit from start on; `size` where there is none."""
        return self.next_set(start, self.size)

    cdef int check(self, uint64_t start, uint64_t count) except -1:
        if start > self.size or count > self.size - start:
            raise ValueError(f"{count} bits from bit {start} are not among {self.size}")
        return 0

    def longest_clear(self):
        """Length of the longest run of clear bits."""
        cdef uint64_t start = 0, end = 0, longest = 0
        while True:
            start = self.next_clear(end)
            if start == self.size:
                return longest
            end = self.next_set(start, self.size)
            longest = max(longest, end - start)

    def clear_counts(self, uint64_t base):
        """Clear bits as naturally aligned blocks, as large as can be, by order from 0; bit 0 is number `base`."""
        cdef uint64_t counts[ORDERS]
        cdef uint64_t start, end = 0, at, behind
        cdef int order
        for order in range(ORDERS):
            counts[order] = 0
        while True:
            start = self.next_clear(end)
            if start == self.size:
                return tuple([counts[order] for order in range(ORDERS)])
            end = self.next_set(start, self.size)
            at, behind = base + start, base + end
            while at < behind:
                order = ORDERS - 1
                while at & ((1u << order) - 1) or at + (1u << order) > behind:
                    order -= 1
                counts[order] += 1
                at += 1u << order

    def to_bytes(self):
        """The bits, bit 0 of byte 0 first; padded with 0 to whole 64-bit words."""
        cdef Py_ssize_t index, size = <Py_ssize_t>((self.size + 63) >> 6) * 8
        cdef bytes answer = PyBytes_FromStringAndSize(NULL, size)
        cdef unsigned char *raw = answer
        if not is_big_endian:
            memcpy(raw, self.words, size)
            return answer
        for index in range(size):
            raw[index] = (self.words[index >> 3] >> ((index & 7) << 3)) & 0xff
        return answer
