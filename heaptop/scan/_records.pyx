# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Reads the records of bpf_records.py: to what a `ProcessCapture` has, each equal object made once."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memchr

from heaptop._named cimport named

import mmap
import os

from heaptop.capture import FdLink, FdStat
from heaptop.scan.told import Told

cdef enum:
    PROCESS = 1
    DESCRIPTOR = 2
    RING = 3
    MAPPING = 4
    ODD = 5
    NAME_BYTES = 64
    COMM_BYTES = 16
    EXPORTER_BYTES = 32
    WORDS_BEFORE_NAME = 10
    CLOSES_ON_EXEC = 0o2000000  # O_CLOEXEC (include/uapi/asm-generic/fcntl.h)
    INFO_BYTES = 256
    MAPS_PATH_COLUMN = 73  # where show_map_vma (fs/proc/task_mmu.c) begins the path
    LINE_BYTES = 512       # of a line of maps, with a name whose every byte is a newline
    MAY_SHARE = 0x80       # VM_MAYSHARE (include/linux/mm.h)
    MINOR_BITS = 20        # of a device's number in the kernel
    PERMISSIONS = 0o7777
    PRIME = 0x9E3779B97F4A7C15

cdef uint64_t PAGE_BYTES = mmap.PAGESIZE
cdef uint64_t SEED = int.from_bytes(os.urandom(8), "little")

cdef struct Record:
    uint32_t kind, process, descriptor, device
    uint64_t inode, size, blocks
    uint32_t mode, links
    uint64_t start, end, offset
    int64_t length
    char name[NAME_BYTES]
    int64_t count
    uint32_t mount, nothing
    uint64_t closes
    char exporter[EXPORTER_BYTES]


cdef class Records:
    """Of one look. `skipped` bytes of each name are left out: what tells a stand-in from other files."""

    cdef bytes data
    cdef const Record *records
    cdef Py_ssize_t count
    cdef size_t skipped
    cdef dict seen      # by inode: FdStat and target

    def __cinit__(self, bytes data, size_t skipped=0):
        self.data = data
        self.records = <const Record *><const char *>data
        self.count = len(data) // sizeof(Record)
        self.skipped = skipped
        self.seen = {}

    def told(self):
        """What they tell, by process. A process's records stand together, or in several places."""
        cdef Py_ssize_t first = 0, i
        cdef dict found = {}
        for i in range(1, self.count + 1):
            if i == self.count or self.records[i].process != self.records[first].process:
                pid = self.records[first].process
                found[pid] = self.run(first, i, found.get(pid))
                first = i
        return found

    def info(self, Py_ssize_t first, uint32_t descriptor, uint64_t inode):
        """The fdinfo of a descriptor of the process whose first descriptor is told there; None where that is not to be
        had, or the descriptor is another file's.
        """
        cdef const Record *record
        cdef char[INFO_BYTES] text
        cdef int length
        for i in range(first, self.count) if first >= 0 else ():
            record = &self.records[i]
            if record.process != self.records[first].process or record.kind not in (DESCRIPTOR, RING):
                break
            if record.kind == DESCRIPTOR and record.descriptor == descriptor:
                if record.inode != inode or is_cut(record):
                    break
                length = snprintf(
                    text, INFO_BYTES, "pos:\t%lld\nflags:\t0%o\nmnt_id:\t%i\nino:\t%lu\n", <long long>record.start,
                    <unsigned int>(record.end & ~CLOSES_ON_EXEC) | (CLOSES_ON_EXEC if closes_on_exec(record) else 0),
                    <int>record.mount, <unsigned long>record.inode)
                if self.skipped:
                    return PyBytes_FromStringAndSize(text, length)
                if memchr(record.exporter, 0, EXPORTER_BYTES - 1) == NULL:
                    break
                length += snprintf(
                    text + length, INFO_BYTES - length, "size:\t%lu\ncount:\t%ld\nexp_name:\t%s\n",
                    <unsigned long>record.size, <long>record.count, record.exporter)
                found = PyBytes_FromStringAndSize(text, length)
                return found + b"name:\t" + self.name(record) + b"\n" if record.length > 0 else found
        return None

    cdef object run(self, size_t first, size_t end, object before):
        """What the records from `first` to before `end` tell of their process, and what others told `before`."""
        cdef const Record *record
        cdef list links = [] if before is None else list(before[3])
        cdef list lines = [] if before is None else [before[4]]
        cdef bint is_odd = before is not None and before[2]
        cdef uint64_t signature = SEED if before is None else before[5]
        cdef Py_ssize_t place = -1 if before is None else before[6]
        cdef uint64_t start = 0 if before is None else before[7]
        table, comm = (0, b"") if before is None else before[:2]
        for i in range(first, end):
            record = &self.records[i]
            signature = mixed(signature, record)
            if record.kind == PROCESS:
                table, comm, start = record.inode, text(record.name, COMM_BYTES), record.blocks
            elif record.kind == DESCRIPTOR:
                if place < 0:
                    place = i
                links.append(self.link(record))
                is_odd |= is_cut(record)
            elif record.kind == MAPPING:
                lines.append(self.line(record))
                is_odd |= is_cut(record)
            else:
                is_odd = True
        return named(Told, (table, comm, is_odd, tuple(links), b"".join(lines), signature, place, start))

    cdef object link(self, const Record *record):
        known = self.seen.get(record.inode)
        if known is None:
            dev = record.device >> MINOR_BITS, record.device & ((1 << MINOR_BITS) - 1)
            mode = record.mode & PERMISSIONS if self.skipped else record.mode
            stat = named(FdStat, (dev, record.inode, record.size, mode, record.links, record.blocks))
            known = self.seen[record.inode] = stat, b"/dmabuf:" + self.name(record)
        stat, target = known
        return named(FdLink, (record.descriptor, target, stat, 0))

    cdef bytes name(self, const Record *record):
        cdef bytes whole = text(record.name, NAME_BYTES) if record.length > 0 else b""
        return whole[self.skipped:] if self.skipped else whole

    cdef bytes line(self, const Record *record):
        """As show_map_vma has it, a newline in the path as it escapes it."""
        cdef char[LINE_BYTES] line
        cdef bytes name
        cdef uint32_t flags = record.descriptor
        cdef int length = snprintf(
            line, LINE_BYTES, "%08lx-%08lx %c%c%c%c %08lx %02x:%02x %lu ", <unsigned long>record.start,
            <unsigned long>record.end, c"r" if flags & 1 else c"-", c"w" if flags & 2 else c"-",
            c"x" if flags & 4 else c"-", c"s" if flags & MAY_SHARE else c"p",
            <unsigned long>(record.offset * PAGE_BYTES), record.device >> MINOR_BITS,
            record.device & ((1 << MINOR_BITS) - 1), <unsigned long>record.inode)
        while length < MAPS_PATH_COLUMN:
            line[length] = c" "
            length += 1
        name = self.name(record)
        if b"\n" in name:
            name = name.replace(b"\n", b"\\012")
        return PyBytes_FromStringAndSize(line, length) + b"/dmabuf:" + name + b"\n"


cdef inline uint64_t mixed(uint64_t total, const Record *record) noexcept:
    """A sum over all of a record that is set."""
    cdef const uint64_t *words = <const uint64_t *>record
    cdef size_t count = WORDS_BEFORE_NAME
    if record.kind == PROCESS:
        count += COMM_BYTES // 8
    elif record.kind == DESCRIPTOR or record.kind == MAPPING:
        for i in range(max(0, record.length)):
            total = (total ^ <unsigned char>record.name[i]) * PRIME
        if record.kind == DESCRIPTOR:
            total ^= closes_on_exec(record)
    else:
        return total + record.kind
    for i in range(count):
        total = (total ^ words[i]) * PRIME
        total ^= total >> 29
    return total


cdef inline bint closes_on_exec(const Record *record) noexcept:
    return record.closes >> (record.descriptor & 63) & 1


cdef inline bint is_cut(const Record *record) noexcept:
    """Whether the name may go on."""
    return record.length >= NAME_BYTES


cdef inline bytes text(const char *start, size_t room):
    cdef const char *end = <const char *>memchr(start, 0, room)
    return PyBytes_FromStringAndSize(start, room if end == NULL else end - start)
