# cython: language_level=3
"""See _reader.pyx."""

cdef enum:
    DETAILS = 6

cdef struct Text:
    size_t at
    size_t length
    int error  # an errno: there is no text


cdef class Reader:
    cdef int root
    cdef readonly unsigned long steps
    cdef char *text
    cdef size_t text_bytes, text_room
    cdef bint is_out_of_memory

    cdef void read_file(self, const char *path, Text *text) noexcept nogil
    cdef void read_at(self, int folder, const char *path, Text *text) noexcept nogil
    cdef void read_open(self, int file, Text *text) noexcept nogil
    cdef void read_details(self, int pid, Text *details, int count) noexcept nogil
    cdef void keep(self, const char *bytes, size_t length, Text *text) noexcept nogil
    cdef bint make_room(self, size_t length) noexcept nogil
    cdef object value(self, Text *text)
