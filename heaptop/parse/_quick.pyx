# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The texts that there are thousands of, read without a pattern where they are just as the kernel prints them.

Each function gives the values of its parser's record, in order, or None: then the parser's pattern looks, which alone
says what is an error. What is read here the pattern reads the same (tests/parse/test_quick.py).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcmp

from heaptop._named cimport named

cdef extern from *:
    """
    #define _GNU_SOURCE
    #include <string.h>
    #define find(text, length, wanted, wanted_length) memmem(text, length, wanted, wanted_length)
    #define find_last(text, byte, length) memrchr(text, byte, length)
    """
    const void *find(const void *text, size_t length, const char *wanted, size_t wanted_length)
    const void *find_last(const void *text, int byte, size_t length)

cdef enum:
    DIGITS_MAX = 18        # that fit a number of 64 bits, whatever they are
    NUMBER_MAX = 20
    HEX_DIGITS_MAX = 16
    STAT_NUMBERS = 21      # from ppid to rss

cdef struct Text:
    const char *at
    const char *end


cdef inline Text text_from(bytes data, Py_ssize_t offset) noexcept:
    cdef Text text
    text.at = PyBytes_AS_STRING(data) + offset
    text.end = PyBytes_AS_STRING(data) + PyBytes_GET_SIZE(data)
    return text


cdef inline bint skip(Text *text, const char *wanted, size_t length) noexcept:
    if <size_t>(text.end - text.at) < length or memcmp(text.at, wanted, length) != 0:
        return False
    text.at += length
    return True


cdef inline bint number(Text *text, int64_t *value, int digits_max, int base, bint is_signed) noexcept:
    """Digits of base 8 or 10, not too many."""
    cdef int64_t found = 0
    cdef bint is_negative = is_signed and text.at < text.end and text.at[0] == c"-"
    cdef const char *begin
    text.at += is_negative
    begin = text.at
    while text.at < text.end and c"0" <= text.at[0] < c"0" + base:
        if text.at - begin == digits_max:
            return False
        found = found * base + (text.at[0] - c"0")
        text.at += 1
    value[0] = -found if is_negative else found
    return text.at > begin


cdef inline bint skip_number(Text *text) noexcept:
    """One that may not fit; longer than the kernel's are, and the pattern says what it is."""
    skip(text, "-", 1)
    return digits(text, 1, NUMBER_MAX, False)


cdef inline bint hexadecimal(Text *text, uint64_t *value, int digits_max) noexcept:
    cdef uint64_t found = 0
    cdef const char *begin = text.at
    while text.at < text.end and text.at - begin < digits_max:
        if c"0" <= text.at[0] <= c"9":
            found = found << 4 | <uint64_t>(text.at[0] - c"0")
        elif c"a" <= text.at[0] <= c"f":
            found = found << 4 | <uint64_t>(text.at[0] - c"a" + 10)
        else:
            break
        text.at += 1
    value[0] = found
    return text.at > begin


def fdinfo(bytes data):
    """Of `fdinfo.DmabufFdinfo`, where no lock is on the file."""
    cdef Text text = text_from(data, 0)
    cdef int64_t position, flags, mount, inode = 0, size, count
    cdef const char *exporter
    cdef const char *after
    cdef bint has_inode
    cdef bytes name = None
    if not (skip(&text, "pos:\t", 5) and number(&text, &position, DIGITS_MAX, 10, True)
            and skip(&text, "\nflags:\t0", 9) and number(&text, &flags, DIGITS_MAX, 8, False)
            and skip(&text, "\nmnt_id:\t", 9) and number(&text, &mount, 10, 10, True)):
        return None
    has_inode = skip(&text, "\nino:\t", 6)
    if has_inode and not number(&text, &inode, DIGITS_MAX, 10, False):
        return None
    if not (skip(&text, "\nsize:\t", 7) and number(&text, &size, DIGITS_MAX, 10, False)
            and skip(&text, "\ncount:\t", 8) and number(&text, &count, DIGITS_MAX, 10, True)
            and skip(&text, "\nexp_name:\t", 11)):
        return None
    exporter = text.at
    after = <const char *>memchr(exporter, c"\n", text.end - exporter)
    if after == NULL:
        return None
    text.at = after + 1
    if text.at < text.end:
        if not skip(&text, "name:\t", 6) or text.at == text.end or (text.end - 1)[0] != c"\n":
            return None
        name = PyBytes_FromStringAndSize(text.at, text.end - text.at - 1)
    return (position, flags, mount, inode if has_inode else None, size, count,
            PyBytes_FromStringAndSize(exporter, after - exporter), name)


def mapping(bytes data, Py_ssize_t offset):
    """Of `maps.Vma` for the line at this offset, and where the next one begins."""
    cdef Text text = text_from(data, offset)
    cdef tuple values = mapping_at(&text)
    return None if values is None else (values, text.at - PyBytes_AS_STRING(data))


def dmabufs(bytes data, kind):
    """What `maps.dmabufs` finds, each made a `kind`."""
    cdef Text text = text_from(data, 0)
    cdef const char *begin
    cdef const char *word
    cdef tuple values
    cdef bytes path
    cdef list found = []
    while True:
        word = <const char *>find(text.at, text.end - text.at, "dmabuf", 6)
        if word == NULL:
            return tuple(found)
        begin = <const char *>find_last(text.at, c"\n", word - text.at)
        text.at = text.at if begin == NULL else begin + 1
        values = mapping_at(&text)
        if values is None:
            return None
        path = values[6]
        if path.startswith(b"/dmabuf:") or path == b"anon_inode:dmabuf":
            found.append(named(kind, values))


cdef tuple mapping_at(Text *text):
    """The values of the line that begins there; the text goes on with the next one."""
    cdef uint64_t start, end, in_file, major, minor
    cdef int64_t inode
    cdef const char *perms
    cdef bytes path
    if not (hexadecimal(text, &start, HEX_DIGITS_MAX) and skip(text, "-", 1)
            and hexadecimal(text, &end, HEX_DIGITS_MAX) and skip(text, " ", 1)):
        return None
    perms = text.at
    text.at += 4
    if (text.at >= text.end or (perms[0] != c"r" and perms[0] != c"-") or (perms[1] != c"w" and perms[1] != c"-")
            or (perms[2] != c"x" and perms[2] != c"-") or (perms[3] != c"s" and perms[3] != c"p")):
        return None
    if not (skip(text, " ", 1) and hexadecimal(text, &in_file, HEX_DIGITS_MAX)
            and skip(text, " ", 1) and hexadecimal(text, &major, 8)
            and skip(text, ":", 1) and hexadecimal(text, &minor, 8)
            and skip(text, " ", 1) and number(text, &inode, DIGITS_MAX, 10, False)):
        return None
    path = path_at(text)
    if path is None:
        return None
    return (start, end, PyUnicode_DecodeASCII(perms, 4, NULL), in_file, (major, minor), inode, path)


cdef bytes path_at(Text *text):
    """What is left of a line, which ends with a newline; nothing where that comes at once."""
    cdef const char *begin = text.at
    cdef bytes path
    if text.at < text.end and text.at[0] == c"\n":
        text.at += 1
        return b""
    while text.at < text.end and text.at[0] == c" ":
        text.at += 1
    if text.at == begin:
        return None
    begin = text.at
    text.at = <const char *>memchr(begin, c"\n", text.end - begin)
    if text.at == NULL:
        return None
    path = PyBytes_FromStringAndSize(begin, text.at - begin)
    if memchr(begin, c"\\", text.at - begin) != NULL:
        path = path.replace(b"\\012", b"\n")
    text.at += 1
    return path


def stat(bytes data):
    """Of `stat.Stat`."""
    cdef Text text = text_from(data, 0)
    cdef const char *comm
    cdef const char *last
    cdef int64_t pid
    cdef int64_t[STAT_NUMBERS] numbers
    cdef int count = 0
    if not (number(&text, &pid, 10, 10, False) and skip(&text, " (", 2)):
        return None
    comm = text.at
    last = text.end - 1
    while last >= comm and last[0] != c")":
        last -= 1
    if last < comm:
        return None
    text.at = last + 1
    if text.end - text.at < 3 or text.at[0] != c" " or not (c"A" <= text.at[1] <= c"Z" or c"a" <= text.at[1] <= c"z"):
        return None
    state = PyUnicode_DecodeASCII(text.at + 1, 1, NULL)
    text.at += 2
    while skip(&text, " ", 1):
        if not (number(&text, &numbers[count], DIGITS_MAX, 10, True) if count < STAT_NUMBERS
                else skip_number(&text)):
            return None
        count += 1
    skip(&text, "\n", 1)
    if count < STAT_NUMBERS or text.at < text.end:
        return None
    return (pid, PyBytes_FromStringAndSize(comm, last - comm), state, numbers[0], numbers[16], numbers[18], numbers[19],
            numbers[20])


def bufinfo_rows(bytes data, Py_ssize_t offset):
    """Where rows begin, as `bufinfo._ROW` finds them from the line at `offset` on."""
    cdef Text text = text_from(data, offset)
    cdef const char *start = text.at - offset
    cdef const char *line = text.at
    cdef list found = []
    while line < text.end:
        text.at = line
        if is_row(&text):
            found.append(line - start)
        line = <const char *>memchr(line, c"\n", text.end - line)
        if line == NULL:
            break
        line += 1
    return found


cdef inline bint is_row(Text *text) noexcept:
    """A row of its cells: size, flags, mode and count, with a tab before them, or two and the exporter."""
    cdef bint is_negative
    if skip(text, "\t\t", 2):
        while text.at < text.end and text.at[0] != c"\t" and text.at[0] != c"\n":
            text.at += 1
        if not skip(text, "\t", 1):
            return False
    else:
        skip(text, "\t", 1)
    if not (digits(text, 8, 20, False) and skip(text, "\t", 1) and digits(text, 8, 8, True) and skip(text, "\t", 1)
            and digits(text, 8, 8, True) and skip(text, "\t", 1)):
        return False
    is_negative = skip(text, "-", 1)
    if not digits(text, 8 - is_negative, 20 - is_negative, False):
        return False
    return text.at < text.end and text.at[0] in (c"\t", c"\n")


cdef inline bint digits(Text *text, int least, int most, bint is_hex) noexcept:
    """So many of them, and no more after them."""
    cdef const char *begin = text.at
    while text.at < text.end and (c"0" <= text.at[0] <= c"9" or is_hex and c"a" <= text.at[0] <= c"f"):
        text.at += 1
    return least <= text.at - begin <= most
