# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Reading many of the kernel's files in one go, the interpreter let go, into one piece of memory."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EFBIG, EINTR, ENOENT, errno
from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, realloc, strtoull
from libc.string cimport memcpy

from heaptop.scan._linux cimport (
    O_CLOEXEC, O_DIRECTORY, O_NONBLOCK, O_RDONLY, close, find, open, openat, read, stat_quietly, statx,
)

cdef enum:
    CHUNK_BYTES = 16 << 10
    FILE_BYTES_MAX = 64 << 20

DETAIL_NAMES = ("stat", "comm", "status", "cmdline", "cgroup", "oom_score_adj")
LATER = "details.later"
"""What stands for the details but `stat`, where those are still to be read."""
cdef const char *detail_names[DETAILS]
detail_names[:] = [b"stat", b"comm", b"status", b"cmdline", b"cgroup", b"oom_score_adj"]


cdef class Reader:
    """Files below one folder. While something hangs, another thread sees by `steps` that nothing moves."""

    def __cinit__(self, str root, *_, **__):
        self.root = open(root.encode("utf-8", "surrogateescape"), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if self.root < 0:
            raise OSError(errno, "cannot be opened", root)

    def __dealloc__(self):
        if self.root > 0:
            close(self.root)
        free(self.text)

    cdef void read_file(self, const char *path, Text *text) noexcept nogil:
        self.read_at(self.root, path, text)

    cdef void read_at(self, int folder, const char *path, Text *text) noexcept nogil:
        cdef int file = openat(folder, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        if file < 0:
            text.error = errno
            return
        self.read_open(file, text)
        close(file)

    cdef void read_open(self, int file, Text *text) noexcept nogil:
        """All that is left of an open file."""
        cdef long count
        text.at, text.length, text.error = self.text_bytes, 0, 0
        while self.make_room(CHUNK_BYTES) and text.length < FILE_BYTES_MAX:
            count = read(file, self.text + self.text_bytes, CHUNK_BYTES)
            self.steps += 1
            if count > 0:
                self.text_bytes += count
                text.length += count
            elif count == 0:
                return
            elif errno != EINTR:
                text.error = errno
                return
        text.error = EFBIG

    cdef void read_details(self, int pid, Text *details, int count) noexcept nogil:
        """The first `count` of a process's details."""
        cdef char path[64]
        for i in range(count):
            snprintf(path, sizeof(path), "%d/%s", pid, detail_names[i])
            self.read_file(path, &details[i])

    cdef void keep(self, const char *bytes, size_t length, Text *text) noexcept nogil:
        text.at, text.length, text.error = self.text_bytes, length, 0
        if self.make_room(length):
            memcpy(self.text + self.text_bytes, bytes, length)
            self.text_bytes += length

    cdef bint make_room(self, size_t length) noexcept nogil:
        cdef char *larger
        cdef size_t room
        if self.text_bytes + length > self.text_room:
            room = max(self.text_room * 2, self.text_bytes + length, CHUNK_BYTES)
            larger = <char *>realloc(self.text, room)
            if larger == NULL:
                self.is_out_of_memory = True
                return False
            self.text, self.text_room = larger, room
        return True

    cdef object value(self, Text *text):
        if text.error:
            return text.error
        return PyBytes_FromStringAndSize(self.text + text.at, text.length)


cdef struct Known:
    int pid
    Text details[DETAILS]


cdef class Details(Reader):
    """The details of some processes: `run`, then `found`. Another thread sees by `index` where it hangs."""

    cdef Known *known
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t index
    cdef int wanted

    def __cinit__(self, str root, list pids, *, bint hurried=False):
        """`hurried`: no more than `Look` reads then."""
        cdef Py_ssize_t i
        self.count = len(pids)
        self.wanted = 1 if hurried else DETAILS
        self.known = <Known *>calloc(max(1, self.count), sizeof(Known))
        if self.known == NULL:
            raise MemoryError
        for i in range(self.count):
            self.known[i].pid = pids[i]

    def __dealloc__(self):
        free(self.known)

    def run(self):
        """Read all of them."""
        with nogil:
            while self.index < self.count:
                self.read_details(self.known[self.index].pid, self.known[self.index].details, self.wanted)
                self.index += 1
        if self.is_out_of_memory:
            raise MemoryError

    def found(self):
        """Each process's texts by name, or the errno."""
        return [{DETAIL_NAMES[j]: self.value(&self.known[i].details[j]) for j in range(self.wanted)}
                for i in range(self.count)]


cdef struct Wanted:
    int pid, tid, fd
    uint64_t inode
    Text text


cdef class Infos(Reader):
    """The fdinfo of some descriptors: `run`, then `found`."""

    cdef Wanted *wanted
    cdef readonly Py_ssize_t count
    cdef readonly bint is_done
    cdef int folder            # of the fdinfo that was read last, which costs half as much to open where it is the same
    cdef int folder_pid, folder_tid

    def __cinit__(self, str root, list wanted):
        """`wanted` are (pid, tid or 0, fd, inode of the file that is expected there); quickest in the order of pids."""
        cdef Py_ssize_t i
        self.count = len(wanted)
        self.wanted = <Wanted *>calloc(max(1, self.count), sizeof(Wanted))
        if self.wanted == NULL:
            raise MemoryError
        for i in range(self.count):
            self.wanted[i].pid, self.wanted[i].tid, self.wanted[i].fd, self.wanted[i].inode = wanted[i]

    def __dealloc__(self):
        if self.folder > 0:
            close(self.folder)
        free(self.wanted)

    def run(self):
        """Read all of them."""
        cdef Py_ssize_t i
        with nogil:
            for i in range(self.count):
                self.read_info(&self.wanted[i])
        self.is_done = True
        if self.is_out_of_memory:
            raise MemoryError

    cdef void read_info(self, Wanted *wanted) noexcept nogil:
        cdef char path[96]
        cdef statx stat
        cdef const char *inode
        cdef bint is_other
        if not self.open_folder(wanted):
            wanted.text.error = errno
            return
        snprintf(path, sizeof(path), "%d", wanted.fd)
        self.read_at(self.folder, path, &wanted.text)
        if wanted.text.error:
            return
        inode = <const char *>find(self.text + wanted.text.at, wanted.text.length, "\nino:\t", 6)  # 5.14 on
        if inode != NULL:
            is_other = strtoull(inode + 6, NULL, 10) != wanted.inode
        else:
            snprintf(path, sizeof(path), "../fd/%d", wanted.fd)
            is_other = stat_quietly(self.folder, path, &stat) != 0 or stat.stx_ino != wanted.inode
        if is_other:
            wanted.text.error = ENOENT

    cdef bint open_folder(self, Wanted *wanted) noexcept nogil:
        """The folder of this fdinfo, in `folder`."""
        cdef char path[64]
        if self.folder > 0:
            if self.folder_pid == wanted.pid and self.folder_tid == wanted.tid:
                return True
            close(self.folder)
        if wanted.tid:
            snprintf(path, sizeof(path), "%d/task/%d/fdinfo", wanted.pid, wanted.tid)
        else:
            snprintf(path, sizeof(path), "%d/fdinfo", wanted.pid)
        self.folder = openat(self.root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        self.folder_pid, self.folder_tid = wanted.pid, wanted.tid
        return self.folder > 0

    def found(self):
        """Each text, or the errno; ENOENT also where the descriptor is another file's by now."""
        cdef Py_ssize_t i
        return [self.value(&self.wanted[i].text) for i in range(self.count)]
