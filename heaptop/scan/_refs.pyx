# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What `refs.plain_refs` does for a process with one table; tests/scan/test_refs.py holds both equal."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.string cimport memchr

from heaptop._named cimport named

from heaptop.scan._linux cimport find

cdef enum:
    WORDS = 4              # before the inode's


def refs(pid, tuple links, list texts, kind):
    """One descriptor of each buffer, as a `kind` of `pid`, 0 and its number; None where there is a mapping alone."""
    cdef dict found = {}
    for text in texts:
        note_mapped(text, found)
    for link in links:
        stat = <object>PyTuple_GET_ITEM(link, 2)
        if stat is not None:
            found[<object>PyTuple_GET_ITEM(stat, 1)] = named(kind, (pid, 0, <object>PyTuple_GET_ITEM(link, 0)))
    return found


cdef void note_mapped(bytes text, dict found):
    cdef const char *at = PyBytes_AS_STRING(text)
    cdef const char *end = at + PyBytes_GET_SIZE(text)
    cdef const char *line_end
    while at < end:
        line_end = <const char *>memchr(at, c"\n", end - at)
        line_end = end if line_end == NULL else line_end
        if find(at, line_end - at, "dmabuf", 6) != NULL:
            inode = inode_in(at, line_end)
            if inode is not None:
                found[inode] = None
        at = line_end + 1


cdef object inode_in(const char *at, const char *end):
    """The fifth word of a line, where that is a number and not the last one."""
    cdef const char *word
    for _ in range(WORDS):
        at = <const char *>memchr(at, c" ", end - at)
        if at == NULL:
            return None
        at += 1
    word = at
    while at < end and c"0" <= at[0] <= c"9":
        at += 1
    return int(word[:at - word]) if word < at < end and at[0] == c" " else None
