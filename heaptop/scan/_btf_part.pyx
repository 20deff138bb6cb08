# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled twin of btf_part.py: one pass numbers the types and takes a hash of each name that can be asked for."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp, memcpy

from heaptop.scan.btf_part import BtfError, Member, Type

cdef enum:
    MAGIC = 0xEB9F
    HEADER_BYTES = 24
    RECORD_BYTES = 12
    KINDS = 20
    STRUCT = 4
    UNION = 5
    FUNC = 12
    FNV_START = 0x811C9DC5
    FNV_PRIME = 0x01000193

cdef unsigned char[KINDS] TAIL_BYTES
TAIL_BYTES[:] = [0, 4, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 4, 0, 0]
cdef unsigned char[KINDS] ITEM_BYTES
ITEM_BYTES[:] = [0, 0, 0, 0, 12, 12, 8, 0, 0, 0, 0, 0, 0, 8, 0, 12, 0, 0, 0, 12]

cdef struct Record:
    uint32_t name, info, size

cdef struct Entry:
    uint32_t place     # of its record
    uint32_t hash      # of its name; 0 for a kind that is not asked for by name


cdef class Part:
    """See btf_part.py. `data` is anything that has bytes: it is kept, not copied."""

    cdef Py_buffer buffer
    cdef bint is_held
    cdef Part base
    cdef const char *data
    cdef const char *strings
    cdef uint32_t string_bytes
    cdef Entry *entries
    cdef uint32_t count, room
    cdef readonly uint32_t before, string_start

    def __cinit__(self, data, Part base=None):
        cdef uint32_t[6] header
        cdef uint64_t first, strings
        PyObject_GetBuffer(data, &self.buffer, PyBUF_SIMPLE)
        self.is_held = True
        self.data = <const char *>self.buffer.buf
        if self.buffer.len < HEADER_BYTES or (<const unsigned short *>self.buffer.buf)[0] != MAGIC:
            raise BtfError("not BTF")
        memcpy(header, self.data, HEADER_BYTES)  # magic, header_bytes, type_start, type_bytes, string_at, string_bytes
        first, strings = <uint64_t>header[1] + header[2], <uint64_t>header[1] + header[4]
        if max(first + header[3], strings + header[5]) > <uint64_t>self.buffer.len:
            raise BtfError("damaged BTF")
        self.strings, self.string_bytes = self.data + strings, header[5]
        if self.string_bytes and self.strings[self.string_bytes - 1]:
            raise BtfError("damaged BTF")
        self.base = base
        if base is not None:
            self.before, self.string_start = base.last, base.string_end
        if not self.number(first, first + header[3]):
            raise BtfError("damaged BTF")

    def __dealloc__(self):
        free(self.entries)
        if self.is_held:
            PyBuffer_Release(&self.buffer)

    cdef bint number(self, uint64_t place, uint64_t end) except -1:
        cdef Record record
        cdef uint32_t kind
        while place + RECORD_BYTES <= end:
            memcpy(&record, self.data + place, RECORD_BYTES)
            kind = record.info >> 24 & 31
            if self.count == self.room:
                self.grow()
            self.entries[self.count].place = <uint32_t>place
            self.entries[self.count].hash = self.hash_at(record.name) if kind in (STRUCT, UNION, FUNC) else 0
            self.count += 1
            if kind >= KINDS:
                return False
            place += RECORD_BYTES + TAIL_BYTES[kind] + <uint64_t>ITEM_BYTES[kind] * (record.info & 0xFFFF)
        return place == end

    cdef int grow(self) except -1:
        cdef uint32_t room = max(2 * self.room, 1 << 12)
        cdef Entry *larger = <Entry *>realloc(self.entries, room * sizeof(Entry))
        if larger == NULL:
            raise MemoryError
        self.entries, self.room = larger, room

    cdef const char *text(self, uint32_t offset, size_t *length) noexcept:
        """The string at an offset; it ends where the strings do, at the latest."""
        cdef const char *end
        cdef uint32_t at
        if offset < self.string_start:
            return self.base.text(offset, length)
        at = offset - self.string_start
        length[0] = 0
        if at >= self.string_bytes:
            return self.strings
        end = <const char *>memchr(self.strings + at, 0, self.string_bytes - at)
        length[0] = self.string_bytes - at if end == NULL else end - (self.strings + at)
        return self.strings + at

    cdef uint32_t hash_at(self, uint32_t offset) noexcept:
        cdef size_t length
        cdef const char *text = self.text(offset, &length)
        return hash_of(text, length)

    cdef bint is_at(self, uint32_t offset, const char *name, size_t name_length) noexcept:
        cdef size_t length
        cdef const char *text = self.text(offset, &length)
        return length == name_length and memcmp(text, name, length) == 0

    cdef Record record(self, uint32_t number) except *:
        cdef Record found
        if not self.before < number <= self.before + self.count:
            raise IndexError(number)
        memcpy(&found, self.data + self.entries[number - self.before - 1].place, RECORD_BYTES)
        return found

    @property
    def last(self):
        """Its last type's number."""
        return self.before + self.count

    @property
    def string_end(self):
        """The first offset after its strings."""
        return self.string_start + self.string_bytes

    def type(self, uint32_t number):
        """The type of a number that is its own."""
        cdef Record found = self.record(number)
        return Type(found.info >> 24 & 31, found.size)

    def find(self, bytes name, uint32_t kind):
        """The number of its first type of that name (not an empty one) and kind (struct, union or function)."""
        cdef const char *text = name
        cdef size_t length = len(name)
        cdef uint32_t wanted = hash_of(text, length), i
        cdef Record found
        if length == 0:
            return None
        for i in range(self.count):
            if self.entries[i].hash == wanted:
                found = self.record(self.before + i + 1)
                if found.info >> 24 & 31 == kind and self.is_at(found.name, text, length):
                    return self.before + i + 1
        return None

    def members(self, uint32_t number, bytes name):
        """Of a struct or union that is its own: the members of that name, and those without one."""
        cdef const char *text = name
        cdef size_t length = len(name)
        cdef Record outer = self.record(number), member
        cdef const char *at = self.data + self.entries[number - self.before - 1].place + RECORD_BYTES
        cdef bint is_named, has_bit_fields = outer.info >> 31
        found = []
        for _ in range(outer.info & 0xFFFF):
            memcpy(&member, at, RECORD_BYTES)
            at += RECORD_BYTES
            is_named = member.name != 0 and self.is_at(member.name, text, length)
            if is_named or member.name == 0:
                if has_bit_fields:
                    found.append(Member(is_named, member.info, member.size & 0xFFFFFF, member.size >> 24))
                else:
                    found.append(Member(is_named, member.info, member.size, 0))
        return found

    def string(self, uint32_t offset):
        """The string at an offset, its own or that of what it is based on."""
        cdef size_t length
        cdef const char *text = self.text(offset, &length)
        return PyBytes_FromStringAndSize(text, length)


cdef inline uint32_t hash_of(const char *text, size_t length) noexcept:
    """FNV-1a, never 0."""
    cdef uint32_t total = FNV_START
    cdef size_t i
    for i in range(length):
        total = (total ^ <unsigned char>text[i]) * FNV_PRIME
    return total or 1
