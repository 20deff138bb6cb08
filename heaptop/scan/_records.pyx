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


cdef class Reader:
    """Of one look. `skipped` bytes of each name are left out: what tells a stand-in from other files."""

    cdef const Record *records
    cdef size_t skipped
    cdef dict seen      # by inode: FdStat and target

    def __cinit__(self, const unsigned char[::1] data, size_t skipped):
        self.records = <const Record *>&data[0] if data.shape[0] else NULL
        self.skipped = skipped
        self.seen = {}

    cdef object run(self, size_t first, size_t end, object before):
        """What the records from `first` to before `end` tell of their process, and what others told `before`."""
        cdef const Record *record
        cdef list links = [] if before is None else list(before[3])
        cdef list lines = [] if before is None else [before[4]]
        cdef bint is_odd = before is not None and before[2]
        cdef uint64_t signature = SEED if before is None else before[5]
        table, comm = (0, b"") if before is None else before[:2]
        for i in range(first, end):
            record = &self.records[i]
            signature = mixed(signature, record)
            if record.kind == PROCESS:
                table, comm = record.inode, text(record.name, COMM_BYTES)
            elif record.kind == DESCRIPTOR:
                links.append(self.link(record))
                is_odd |= is_cut(record)
            elif record.kind == MAPPING:
                lines.append(self.line(record))
                is_odd |= is_cut(record)
            else:
                is_odd = True
        return named(Told, (table, comm, is_odd, tuple(links), b"".join(lines), signature))

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
    cdef size_t count = sizeof(Record) // 8
    if record.kind != PROCESS and 0 < record.length < NAME_BYTES:
        count -= NAME_BYTES // 8 - (record.length + 7) // 8
    for i in range(count):
        total = (total ^ words[i]) * PRIME
        total ^= total >> 29
    return total


cdef inline bint is_cut(const Record *record) noexcept:
    """Whether the name may go on."""
    return record.length >= NAME_BYTES


cdef inline bytes text(const char *start, size_t room):
    cdef const char *end = <const char *>memchr(start, 0, room)
    return PyBytes_FromStringAndSize(start, room if end == NULL else end - start)


def read(bytes data, size_t skipped=0):
    """What a look's records tell, by process. A process's records stand together, or in several places."""
    cdef Reader reader = Reader(data, skipped)
    cdef size_t count = len(data) // sizeof(Record), first = 0, i
    cdef dict found = {}
    for i in range(1, count + 1):
        if i == count or reader.records[i].process != reader.records[first].process:
            pid = reader.records[first].process
            found[pid] = reader.run(first, i, found.get(pid))
            first = i
    return found
