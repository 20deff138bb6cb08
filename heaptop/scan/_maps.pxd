# cython: language_level=3
"""See _maps.pyx."""

from libc.stdint cimport uint64_t

from heaptop.scan._linux cimport heaptop_vma
from heaptop.scan._reader cimport Reader, Text

cdef enum:
    WORDS = 8
    NAME_BYTES = 4096


cdef class Maps(Reader):
    cdef char *name  # a path that was just read
    cdef bint are_stand_ins, is_complete, has_mapping
    cdef tuple kept
    cdef const char *prefixes[WORDS]
    cdef size_t prefix_bytes[WORDS]
    cdef Py_ssize_t prefix_count, library_count
    cdef const char *libraries[WORDS]

    cdef bint is_buffer(self, const char *target, size_t length) noexcept nogil
    cdef int query_maps(self, int maps, uint64_t flags, bint are_libraries) noexcept nogil
    cdef int read_maps(self, int maps, bint are_libraries) noexcept nogil
    cdef void keep_path(self, const char *path, size_t length, Text *text) noexcept nogil
    cdef bint is_library(self) noexcept nogil
    cdef void keep_vma(self, heaptop_vma *vma, bint is_library) noexcept nogil
    cdef void escape_newlines(self, size_t start) noexcept nogil
    cdef bint is_library_line(self, const char *begin, const char *path, const char *end) noexcept nogil
    cdef size_t keep_line(self, const char *begin, const char *path, const char *end, size_t at,
                          bint is_library) noexcept nogil
