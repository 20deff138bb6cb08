# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The mappings of buffers, in the text that /proc/PID/maps has for them.

By PROCMAP_QUERY (6.11 on), which passes over all that is no shared mapping of a file in the kernel, or from the text.
"""

from libc.errno cimport EINTR, ENOENT, errno
from libc.stdint cimport uint64_t
from libc.stdio cimport SEEK_SET, snprintf
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp, memcpy, memmove, strlen, strstr
from posix.unistd cimport lseek

from heaptop.scan._linux cimport heaptop_vma, next_vma
from heaptop.scan._reader cimport Reader, Text

cdef enum:
    MAPS_PATH_COLUMN = 73  # where show_map_vma (fs/proc/task_mmu.c) begins the path
    DELETED_BYTES = 10

cdef const char *DELETED = " (deleted)"
cdef const char *SHOWN = "/dmabuf:"


cdef class Maps(Reader):
    """Knows buffers by how their paths begin."""

    def __cinit__(self, str root, list pids, tuple prefixes, *, bint stand_ins=False, bint complete=False,
                  tuple libraries=(), **_):
        """See `Look`."""
        cdef Py_ssize_t i
        self.are_stand_ins = stand_ins
        self.is_complete = complete
        self.kept = prefixes[:WORDS], libraries[:WORDS]
        self.prefix_count, self.library_count = len(self.kept[0]), len(self.kept[1])
        for i in range(self.prefix_count):
            self.prefixes[i] = prefixes[i]
            self.prefix_bytes[i] = len(prefixes[i])
        for i in range(self.library_count):
            self.libraries[i] = libraries[i]
        self.name = <char *>realloc(NULL, NAME_BYTES)
        if self.name == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.name)

    cdef bint is_buffer(self, const char *target, size_t length) noexcept nogil:
        for i in range(self.prefix_count):
            if length >= self.prefix_bytes[i] and memcmp(target, self.prefixes[i], self.prefix_bytes[i]) == 0:
                return True
        return False

    cdef int query_maps(self, int maps, uint64_t flags, bint are_libraries) noexcept nogil:
        """The lines of buffers (or libraries), as maps would have them, by PROCMAP_QUERY; an errno where it fails."""
        cdef heaptop_vma vma
        cdef uint64_t address = 0
        while True:
            self.steps += 1
            self.name[0] = 0
            if next_vma(maps, address, flags, &vma, self.name, NAME_BYTES) != 0:
                if errno != EINTR:
                    return 0 if errno == ENOENT else errno
                continue
            address = vma.end
            if self.is_library() if are_libraries else self.is_buffer(self.name, strlen(self.name)):
                self.keep_vma(&vma, are_libraries)
                self.has_mapping |= not are_libraries

    cdef bint is_library(self) noexcept nogil:
        for i in range(self.library_count):
            if strstr(self.name, self.libraries[i]) != NULL:
                return True
        return False

    cdef void keep_vma(self, heaptop_vma *vma, bint is_library) noexcept nogil:
        """A line as show_map_vma (fs/proc/task_mmu.c) has it, a newline in the path as it escapes it."""
        cdef char *line
        cdef size_t length
        cdef Text path
        if not self.make_room(256):
            return
        line = self.text + self.text_bytes
        length = snprintf(
            line, 256, "%08lx-%08lx %c%c%c%c %08lx %02x:%02x %lu ", <unsigned long>vma.start, <unsigned long>vma.end,
            c"r" if vma.flags & 1 else c"-", c"w" if vma.flags & 2 else c"-", c"x" if vma.flags & 4 else c"-",
            c"s" if vma.flags & 8 else c"p", <unsigned long>vma.offset, vma.dev_major, vma.dev_minor,
            <unsigned long>vma.inode)
        while length < MAPS_PATH_COLUMN:
            line[length] = c" "
            length += 1
        self.text_bytes += length
        if is_library:
            self.keep(self.name, strlen(self.name), &path)
        else:
            self.keep_path(self.name, strlen(self.name), &path)
        self.escape_newlines(path.at)
        self.keep("\n", 1, &path)

    cdef void escape_newlines(self, size_t start) noexcept nogil:
        cdef size_t at = start
        while at < self.text_bytes and self.make_room(3):
            if self.text[at] == c"\n":
                memmove(self.text + at + 4, self.text + at + 1, self.text_bytes - at - 1)
                memcpy(self.text + at, "\\012", 4)
                self.text_bytes += 3
            at += 1

    cdef int read_maps(self, int maps, bint are_libraries) noexcept nogil:
        """The lines of buffers (or libraries) in the text of maps; an errno where it cannot be read."""
        cdef Text whole
        cdef char *begin
        cdef char *end
        cdef char *path
        cdef char *line
        cdef size_t kept = self.text_bytes
        lseek(maps, 0, SEEK_SET)
        self.read_open(maps, &whole)
        if whole.error:
            return whole.error
        line, end = self.text + whole.at, self.text + whole.at + whole.length
        while line < end:
            begin, line = line, <char *>memchr(line, c"\n", end - line)
            line = end if line == NULL else line + 1
            path = <char *>memchr(begin + MAPS_PATH_COLUMN - 1, c"/", line - begin - MAPS_PATH_COLUMN + 1) \
                if line - begin > MAPS_PATH_COLUMN else NULL
            if path != NULL and (path - 1)[0] == c" " and (
                    self.is_library_line(begin, path, line) if are_libraries
                    else self.is_buffer(path, line - path - 1)):
                self.has_mapping |= not are_libraries
                kept = self.keep_line(begin, path, line, kept, are_libraries)
            self.steps += 1
        self.text_bytes = kept
        return 0

    cdef bint is_library_line(self, const char *begin, const char *path, const char *end) noexcept nogil:
        """Whether it is executable, and a library's."""
        cdef const char *permissions = <const char *>memchr(begin, c" ", path - begin) + 1
        cdef size_t length = min(<size_t>NAME_BYTES - 1, <size_t>(end - path - 1))
        if permissions[2] != c"x":
            return False
        memcpy(self.name, path, length)
        self.name[length] = 0
        return self.is_library()

    cdef size_t keep_line(self, const char *begin, const char *path, const char *end, size_t at,
                          bint is_library) noexcept nogil:
        """Move a line to an earlier place in the text, and say where it ends there."""
        cdef size_t length = min(<size_t>NAME_BYTES, <size_t>(end - path - 1))
        cdef Text shown
        memcpy(self.name, path, length)
        memmove(self.text + at, begin, path - begin)
        self.text_bytes = at + (path - begin)  # no line becomes longer: there is room
        if is_library:
            self.keep(self.name, length, &shown)
        else:
            self.keep_path(self.name, length, &shown)
        self.keep("\n", 1, &shown)
        return self.text_bytes

    cdef void keep_path(self, const char *path, size_t length, Text *text) noexcept nogil:
        """A buffer's path; that of a stand-in as a dma-buf of its name would have it."""
        cdef size_t skipped = self.prefix_bytes[0]
        cdef Text name
        if not self.are_stand_ins:
            self.keep(path, length, text)
            return
        if length >= skipped + DELETED_BYTES and memcmp(path + length - DELETED_BYTES, DELETED, DELETED_BYTES) == 0:
            length -= DELETED_BYTES
        self.keep(SHOWN, strlen(SHOWN), text)
        self.keep(path + skipped, length - skipped, &name)
        text.length += name.length
