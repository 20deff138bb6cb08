# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The pass over /proc without an object of Python's per descriptor: many processes in one go, the interpreter let go.

It does what is common fast, and leaves what is not (a process that may not be read, threads with a table of their own,
a leader that has ended) to its plain twin in proc.py. A link's text decides what is a buffer, since reading it never
waits; stat is asked of buffers alone, and not to ask a server for news (AT_STATX_DONT_SYNC).
"""

from libc.errno cimport EACCES, ENOENT, ENOTTY, EPERM, ESRCH, errno
from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport atoi, calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

from heaptop.scan._linux cimport (
    O_CLOEXEC, O_DIRECTORY, O_NONBLOCK, O_RDONLY, close, entry_bytes, entry_name, list_entries, openat, readlinkat,
    run_time_ns, share_table, stat_quietly, statx,
)
from heaptop.scan._maps cimport NAME_BYTES, Maps
from heaptop.scan._reader cimport DETAILS, Text

from heaptop.capture import FdLink, FdStat
from heaptop.scan._reader import DETAIL_NAMES, LATER

cdef enum:
    LIST_BYTES = 64 << 10
    EXECUTABLE = 4         # PROCMAP_QUERY_VMA_EXECUTABLE
    SHARED = 8             # PROCMAP_QUERY_VMA_SHARED
    FNV_PRIME = 0x100000001B3
    MISSES = 32            # numbers without a descriptor that probing bears with before it lists the folder

cdef char[21] RING
memcpy(RING, <const char *>"anon_inode:[io_uring]", sizeof(RING))

cdef struct Row:
    int fd
    bint is_ring
    Text target
    Text info          # of a ring, or in a complete look
    statx stat

cdef enum Outcome:
    NOTHING = 0        # it holds nothing, or has ended
    HOLDS = 1
    ODD = 2            # the plain twin must look

cdef struct Process:
    int pid
    Outcome outcome
    uint64_t table     # see `table_sum`
    size_t first_row
    size_t row_count
    Text maps
    bint has_mapping
    Text linked
    Text details[DETAILS]


def run_times(list pids):
    """Run time of each process in nanoseconds; 0 for one that has ended. A process can change its own descriptors and
    mappings only by running, so while this stands still so do they.
    """
    cdef int pid
    return [run_time_ns(pid) for pid in pids]


def table_sum(links):
    """What `Look.tables` has, for a table that was read otherwise: links by rising fd."""
    cdef uint64_t total = 0
    for link in links:
        total = mix(total, link.fd, link.target, len(link.target))
    return total


cdef inline uint64_t mix(uint64_t total, int fd, const char *target, size_t length) noexcept nogil:
    """As FNV-1a, over descriptors and eight bytes at a time of what they refer to: tables of one sum may be one table.
    """
    cdef uint64_t word
    total = (total ^ <uint64_t>(fd + 1)) * FNV_PRIME
    while length > 0:
        word = 0
        memcpy(&word, target, min(length, sizeof(word)))
        total = (total ^ word ^ word >> 32) * FNV_PRIME
        target += sizeof(word)
        length -= min(length, sizeof(word))
    return total


cdef inline void write_number(char *text, int number) noexcept nogil:
    """As snprintf's `%d`, of what is not negative: it is done for each descriptor that there may be."""
    cdef char digits[12]
    cdef int count = 0
    while number >= 10:
        digits[count] = c"0" + number % 10
        number //= 10
        count += 1
    text[0] = c"0" + number
    while count > 0:
        text += 1
        count -= 1
        text[0] = digits[count]
    text[1] = 0


cdef class Look(Maps):
    """One way through some processes. `run` may hang in a process; another thread sees where by `index`, and that all
    is well while `steps` grow. `found` is for after `run` alone.
    """

    cdef Process *processes
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t index
    cdef readonly bint is_done
    cdef Row *rows
    cdef size_t row_count, row_room
    cdef char *entries
    cdef readonly bint asks
    cdef bint probes, wants_maps, is_hurried
    cdef uint64_t table

    def __cinit__(self, str root, list pids, tuple prefixes, *, bint maps=True, bint asks=True, bint probes=True,
                  bint hurried=False, **_):
        """`prefixes` begin the links of buffers. `asks` and `probes` allow PROCMAP_QUERY (6.11 on) and descriptor
        numbers by guess (the folder tells how many there are, 6.2 on); without, or where the kernel lacks them, maps is
        read and the folder listed.

        `complete`: the fdinfo of every descriptor of a buffer too, private mappings, and the executable mappings with
        one of `libraries` in their path. `hurried`: of the details `stat` alone. `stand_ins`: files of the first prefix
        stand for buffers, and are shown so.
        """
        cdef Py_ssize_t i
        self.count = len(pids)
        self.asks, self.probes, self.wants_maps, self.is_hurried = asks, probes, maps, hurried
        self.processes = <Process *>calloc(max(1, self.count), sizeof(Process))
        self.entries = <char *>realloc(NULL, LIST_BYTES)
        if self.processes == NULL or self.entries == NULL:
            raise MemoryError
        for i in range(self.count):
            self.processes[i].pid = pids[i]

    def __dealloc__(self):
        free(self.processes)
        free(self.rows)
        free(self.entries)

    def run(self):
        """Look at all of them."""
        with nogil:
            while self.index < self.count and not self.is_out_of_memory:
                self.look(&self.processes[self.index])
                self.index += 1
                self.steps += 1
        self.is_done = True
        if self.is_out_of_memory:
            raise MemoryError

    cdef void look(self, Process *process) noexcept nogil:
        cdef char path[64]
        cdef int folder
        snprintf(path, sizeof(path), "%d/fd", process.pid)
        folder = openat(self.root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if folder < 0:
            process.outcome = NOTHING if errno in (ENOENT, ESRCH) else ODD
            return
        process.first_row = self.row_count
        self.table = 0
        if not self.look_at_table(process, folder):
            process.outcome = ODD
        close(folder)
        process.table = self.table
        if process.outcome == ODD or self.has_other_tables(process) or not self.look_at_maps(process):
            process.outcome = ODD
            return
        process.row_count = self.row_count - process.first_row
        if process.row_count or process.has_mapping:
            process.outcome = HOLDS
            self.read_details(process.pid, process.details, 1 if self.is_hurried else DETAILS)

    # ---- descriptors ----

    cdef bint look_at_table(self, Process *process, int folder) noexcept nogil:
        """False where it cannot be read whole."""
        cdef statx stat
        cdef char name[16]
        cdef long left, misses = 0, missed_max
        cdef int fd = 0, answer
        if not self.probes or stat_quietly(folder, b"", &stat) != 0:
            return self.list_table(folder)
        left = <long>stat.stx_size  # how many there are (fs/proc/fd.c proc_fd_getattr, 6.2 on; 0 before)
        if left == 0:
            return self.list_table(folder)
        missed_max = MISSES + left // 2
        while left > 0:
            write_number(name, fd)
            answer = self.look_at_link(folder, fd, name)
            if answer < 0:
                return False
            left -= answer
            misses += 1 - answer
            if misses > missed_max:
                self.row_count = process.first_row
                self.table = 0
                return self.list_table(folder)
            fd += 1
        return True

    cdef bint list_table(self, int folder) noexcept nogil:
        cdef long count
        cdef char *entry
        cdef const char *name
        while True:
            count = list_entries(folder, self.entries, LIST_BYTES)
            if count <= 0:
                return count == 0 or errno == ENOENT
            entry = self.entries
            while entry < self.entries + count:
                name = entry_name(entry)
                if name[0] != b"." and self.look_at_link(folder, atoi(name), name) < 0:
                    return False
                entry += entry_bytes(entry)

    cdef int look_at_link(self, int folder, int fd, const char *name) noexcept nogil:
        """1, or 0 where there is no such descriptor, or -1 where it may not be read."""
        cdef long length = readlinkat(folder, name, self.name, NAME_BYTES)
        cdef bint is_ring
        cdef Row *row
        self.steps += 1
        if length < 0:
            return -1 if errno in (EACCES, EPERM) else 0
        self.table = mix(self.table, fd, self.name, length)
        is_ring = <size_t>length == sizeof(RING) and memcmp(self.name, RING, sizeof(RING)) == 0
        if not is_ring and not self.is_buffer(self.name, length):
            return 1
        row = self.new_row()
        if row == NULL:
            return -1
        row.fd, row.is_ring = fd, is_ring
        if not is_ring and stat_quietly(folder, name, &row.stat) != 0:
            self.row_count -= 1  # closed meanwhile
            return 1
        self.keep_path(self.name, length, &row.target)
        if is_ring or self.is_complete:
            self.read_info(folder, name, &row.info)
        return 1

    cdef void read_info(self, int folder, const char *name, Text *text) noexcept nogil:
        cdef char path[32]
        snprintf(path, sizeof(path), "../fdinfo/%s", name)
        self.read_at(folder, path, text)

    cdef bint has_other_tables(self, Process *process) noexcept nogil:
        """Whether a thread has, or may have, an fd table of its own. /proc/PID/task has a link for each thread."""
        cdef char path[32]
        cdef statx stat
        cdef int folder
        cdef long count
        cdef char *entry
        cdef bint found = False
        snprintf(path, sizeof(path), "%d/task", process.pid)
        if stat_quietly(self.root, path, &stat) != 0 or stat.stx_nlink == 3:
            return False
        folder = openat(self.root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if folder < 0:
            return False
        while not found:
            count = list_entries(folder, self.entries, LIST_BYTES)
            if count <= 0:
                break
            entry = self.entries
            while entry < self.entries + count and not found:
                if entry_name(entry)[0] != b"." and atoi(entry_name(entry)) != process.pid:
                    found = not share_table(process.pid, atoi(entry_name(entry)))
                    self.steps += 1
                entry += entry_bytes(entry)
        close(folder)
        return found

    # ---- mappings ----

    cdef bint look_at_maps(self, Process *process) noexcept nogil:
        """False where they cannot be read."""
        cdef char path[32]
        cdef int maps, answer
        if not self.wants_maps:
            return True
        snprintf(path, sizeof(path), "%d/maps", process.pid)
        maps = openat(self.root, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        if maps < 0:
            return errno in (ENOENT, ESRCH)
        process.maps.at = self.text_bytes
        self.has_mapping = False
        answer = self.query_maps(maps, 0 if self.is_complete else SHARED, False) if self.asks else ENOTTY
        if answer == ENOTTY:
            self.asks = False
            answer = self.read_maps(maps, False)
        process.maps.length = self.text_bytes - process.maps.at
        process.has_mapping = self.has_mapping
        if answer == 0 and self.is_complete and (self.has_mapping or self.row_count > process.first_row):
            process.linked.at = self.text_bytes
            answer = self.query_maps(maps, EXECUTABLE, True) if self.asks else self.read_maps(maps, True)
            process.linked.length = self.text_bytes - process.linked.at
        close(maps)
        return answer in (0, ENOENT, ESRCH)

    cdef Row *new_row(self) noexcept nogil:
        cdef Row *larger
        cdef size_t room
        if self.row_count == self.row_room:
            room = max(2 * self.row_room, 256)
            larger = <Row *>realloc(self.rows, room * sizeof(Row))
            if larger == NULL:
                self.is_out_of_memory = True
                return NULL
            self.rows, self.row_room = larger, room
        self.row_count += 1
        memset(&self.rows[self.row_count - 1], 0, sizeof(Row))
        return &self.rows[self.row_count - 1]

    # ---- results ----

    def found(self):
        """For each process: None (nothing, or ended), False (the twin must look), or its links, fdinfo by fd, and its
        other files by name, as a `ProcessCapture` has them. What could not be read is an errno.
        """
        return [self.result(&self.processes[i]) for i in range(self.count)]

    def tables(self):
        """For each process, the sum over its fd table; 0 for an empty one."""
        return [self.processes[i].table for i in range(self.count)]

    cdef object result(self, Process *process):
        cdef size_t i
        cdef Row *row
        if process.outcome != HOLDS:
            return None if process.outcome == NOTHING else False
        links, infos = [], {}
        for i in range(process.first_row, process.first_row + process.row_count):
            row = &self.rows[i]
            links.append(self.link(row))
            if row.is_ring or self.is_complete:
                infos[row.fd] = self.value(&row.info)
        files = {DETAIL_NAMES[i]: self.value(&process.details[i]) for i in range(1 if self.is_hurried else DETAILS)}
        if self.is_hurried:
            files[LATER] = b""
        if self.wants_maps:
            files["maps.buffers"] = self.value(&process.maps)
            if self.is_complete:
                files["maps.libraries"] = self.value(&process.linked)
        return tuple(links), infos, files

    cdef object link(self, Row *row):
        cdef statx *found = &row.stat
        target = self.value(&row.target)
        if row.is_ring:
            return FdLink(row.fd, target)
        mode = found.stx_mode & 0o7777 if self.are_stand_ins else found.stx_mode
        stat = FdStat((found.stx_dev_major, found.stx_dev_minor), found.stx_ino, found.stx_size, mode, found.stx_nlink,
                      found.stx_blocks)
        return FdLink(row.fd, target, stat)
