cimport cython
from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #define trailing_zeros(word) ((unsigned)__builtin_ctzll(word))
    """
    unsigned trailing_zeros(uint64_t word) noexcept nogil


@cython.final
cdef class Bits:
    cdef readonly uint64_t size
    cdef readonly uint64_t count
    cdef uint64_t *words
    cdef uint64_t *full

    cdef uint64_t before(self, uint64_t bit, uint64_t most) noexcept nogil
    cdef void set_run(self, uint64_t start, uint64_t count) noexcept nogil
    cdef void clear_run(self, uint64_t start, uint64_t count) noexcept nogil
    cdef void note_full(self, uint64_t index) noexcept nogil
    cdef void mark_full(self, uint64_t start, uint64_t last, bint value) noexcept nogil
    cdef void put(self, uint64_t start, uint64_t count, bint value) noexcept nogil
    cdef uint64_t set_between(self, uint64_t start, uint64_t end) noexcept nogil
    cdef int check(self, uint64_t start, uint64_t count) except -1

    # Here, so that who uses them has them inlined.

    cdef inline uint64_t next_clear(self, uint64_t start) noexcept nogil:
        """First clear bit from start on; `size` where there is none."""
        cdef uint64_t index = start >> 6, last = (self.size - 1) >> 6, above, word
        if start >= self.size:
            return self.size
        word = ~self.words[index] & ((~<uint64_t>0) << (start & 63))
        if word == 0:
            if index == last:
                return self.size
            index += 1
            above = ~self.full[index >> 6] & ((~<uint64_t>0) << (index & 63))
            while above == 0:
                index = ((index >> 6) + 1) << 6
                if index > last:
                    return self.size
                above = ~self.full[index >> 6]
            index = (index & ~<uint64_t>63) + trailing_zeros(above)
            if index > last:
                return self.size
            word = ~self.words[index]
        return min(self.size, (index << 6) + trailing_zeros(word))

    cdef inline uint64_t next_set(self, uint64_t start, uint64_t end) noexcept nogil:
        """First set bit from start on, before `end`; `end` where there is none."""
        cdef uint64_t index = start >> 6, word
        if start >= end:
            return end
        word = self.words[index] & ((~<uint64_t>0) << (start & 63))
        while word == 0:
            index += 1
            if index << 6 >= end:
                return end
            word = self.words[index]
        return min(end, (index << 6) + trailing_zeros(word))
