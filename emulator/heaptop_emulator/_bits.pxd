cimport cython
from libc.stdint cimport uint64_t


@cython.final
cdef class Bits:
    cdef readonly uint64_t size
    cdef readonly uint64_t count
    cdef uint64_t *words
    cdef uint64_t *full

    cdef uint64_t next_clear(self, uint64_t start) noexcept nogil
    cdef uint64_t next_set(self, uint64_t start, uint64_t end) noexcept nogil
    cdef uint64_t before(self, uint64_t bit, uint64_t most) noexcept nogil
    cdef void set_run(self, uint64_t start, uint64_t count) noexcept nogil
    cdef void clear_run(self, uint64_t start, uint64_t count) noexcept nogil
    cdef void note_full(self, uint64_t index) noexcept nogil
    cdef void mark_full(self, uint64_t start, uint64_t last, bint value) noexcept nogil
    cdef void put(self, uint64_t start, uint64_t count, bint value) noexcept nogil
    cdef uint64_t set_between(self, uint64_t start, uint64_t end) noexcept nogil
    cdef int check(self, uint64_t start, uint64_t count) except -1
