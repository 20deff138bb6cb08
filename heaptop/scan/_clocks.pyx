# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Who has run since the look before, of all processes: no object of Python's for those who have not.

Listing /proc costs more than asking all clocks, and the number of links of /proc counts the processes (fs/proc/root.c
proc_root_getattr): of the whole system, and two and one for each other folder. Where that sum was right when all were
listed, so that none is hidden from here, nobody can have come while it is the same and nobody has gone.
"""

from libc.errno cimport ENOMEM, errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, qsort, realloc

from heaptop.scan._linux cimport (
    AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_RDONLY, close, entry_bytes, entry_name, is_folder, list_entries, open,
    run_time_ns, stat_quietly, statx,
)

cdef enum:
    LIST_BYTES = 64 << 10

cdef struct Clock:
    int pid
    uint64_t time_ns    # 0: it has ended, or may not be asked


cdef struct Clocks:
    Clock *of
    size_t count, room


cdef unsigned links_of(const char *root) noexcept nogil:
    cdef statx stat
    return stat.stx_nlink if stat_quietly(AT_FDCWD, root, &stat) == 0 else 0


cdef int by_pid(const void *one, const void *other) noexcept nogil:
    return (<const Clock *>one).pid - (<const Clock *>other).pid


cdef class ProcClocks:
    """The `incremental.Clocks` of one proc file system."""

    cdef bytes root
    cdef char *entries
    cdef Clocks before, now
    cdef unsigned links  # of /proc when all were listed, 0 where it does not count them
    cdef int error      # an errno

    def __cinit__(self, str root):
        self.root = root.encode("utf-8", "surrogateescape")
        self.entries = <char *>realloc(NULL, LIST_BYTES)
        if self.entries == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.entries)
        free(self.before.of)
        free(self.now.of)

    def look(self):
        """Who has run since the look before, or is new; who has ended; and how many there are.

        Raises:
            OSError: proc cannot be listed.
        """
        cdef const char *root = self.root
        with nogil:
            self.error = 0
            if not self.are_the_same(root):
                self.list_processes(root)
                self.ask_clocks()
        if self.error:
            raise OSError(self.error, "cannot be listed", self.root.decode("utf-8", "surrogateescape"))
        ran, ended = self.compared()
        self.before, self.now = self.now, self.before
        return ran, ended, self.before.count

    cdef bint are_the_same(self, const char *root) noexcept nogil:
        """Whether there are no others than before, whose clocks then were asked."""
        if self.links == 0 or links_of(root) != self.links:
            return False
        self.now.count = 0
        for i in range(self.before.count):
            if not self.make_room():
                return False
            self.now.of[i].pid = self.before.of[i].pid
            self.now.count += 1
        return self.ask_clocks()

    cdef bint ask_clocks(self) noexcept nogil:
        """Whether all told a time, so that none has ended."""
        cdef bint is_each_told = True
        for i in range(self.now.count):
            self.now.of[i].time_ns = run_time_ns(self.now.of[i].pid)
            is_each_told &= self.now.of[i].time_ns != 0
        return is_each_told

    cdef void list_processes(self, const char *root) noexcept nogil:
        """Put the processes into `now`, by pid, as the kernel lists them."""
        cdef int folder = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        cdef bint is_rising = True
        cdef unsigned folders = 0
        cdef long count
        cdef char *entry
        cdef int pid
        self.now.count = 0
        if folder < 0:
            self.error = errno
            return
        while self.error == 0:
            count = list_entries(folder, self.entries, LIST_BYTES)
            if count <= 0:
                self.error = errno if count < 0 else 0
                break
            entry = self.entries
            while entry < self.entries + count:
                pid = number(entry_name(entry))
                folders += is_folder(entry)  # `.` and `..` too, as links are counted
                if pid > 0:
                    if not self.make_room():
                        break
                    self.now.of[self.now.count].pid = pid
                    is_rising &= self.now.count == 0 or self.now.of[self.now.count - 1].pid < pid
                    self.now.count += 1
                entry += entry_bytes(entry)
        close(folder)
        self.links = links_of(root)
        if self.links != folders:
            self.links = 0
        if not is_rising:
            qsort(self.now.of, self.now.count, sizeof(Clock), by_pid)

    cdef bint make_room(self) noexcept nogil:
        """False, and the error is told, where there is no memory."""
        cdef size_t room
        cdef Clock *larger
        if self.now.count == self.now.room:
            room = max(2 * self.now.room, 1024)
            larger = <Clock *>realloc(self.now.of, room * sizeof(Clock))
            if larger == NULL:
                self.error = ENOMEM
                return False
            self.now.of, self.now.room = larger, room
        return True

    cdef tuple compared(self):
        cdef list ran = []
        cdef list ended = []
        cdef size_t i = 0, j
        cdef Clock *now
        for j in range(self.now.count):
            now = &self.now.of[j]
            while i < self.before.count and self.before.of[i].pid < now.pid:
                ended.append(self.before.of[i].pid)
                i += 1
            if i < self.before.count and self.before.of[i].pid == now.pid:
                if now.time_ns == 0 or now.time_ns != self.before.of[i].time_ns:
                    ran.append(now.pid)
                i += 1
            else:
                ran.append(now.pid)
        for i in range(i, self.before.count):
            ended.append(self.before.of[i].pid)
        return ran, ended


cdef int number(const char *name) noexcept nogil:
    """A pid; 0 for any other name."""
    cdef int found = 0
    cdef size_t i = 0
    while c"0" <= name[i] <= c"9" and i < 9:
        found = 10 * found + (name[i] - c"0")
        i += 1
    return 0 if name[i] else found
