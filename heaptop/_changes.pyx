# cython: language_level=3, boundscheck=False, wraparound=False
"""The compiled part of changes.py: what is another object than before, at the price of comparing addresses."""

from cpython.dict cimport PyDict_GetItem, PyDict_Next
from cpython.list cimport PyList_GET_ITEM
from cpython.ref cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE


def changed_keys(dict before, dict now):
    """See changes.py."""
    cdef list found = []
    cdef Py_ssize_t at = 0, known = 0
    cdef PyObject *key
    cdef PyObject *value
    cdef PyObject *old
    while PyDict_Next(now, &at, &key, &value):
        old = PyDict_GetItem(before, <object>key)
        known += old != NULL
        if old != value:
            found.append(<object>key)
    if known < len(before):
        at = 0
        while PyDict_Next(before, &at, &key, NULL):
            if PyDict_GetItem(now, <object>key) == NULL:
                found.append(<object>key)
    return found


def changed_items(tuple before, tuple now, key):
    """See changes.py."""
    cdef list found = []
    cdef Py_ssize_t i = 0, j = 0
    cdef Py_ssize_t before_count = PyTuple_GET_SIZE(before), now_count = PyTuple_GET_SIZE(now)
    while i < before_count and j < now_count:
        if PyTuple_GET_ITEM(before, i) == PyTuple_GET_ITEM(now, j):
            i += 1
            j += 1
            continue
        old, new = before[i], now[j]
        old_key, new_key = key(old), key(new)
        if old_key == new_key:
            found.append((old_key, old, new))
            i += 1
            j += 1
        elif old_key < new_key:
            found.append((old_key, old, None))
            i += 1
        else:
            found.append((new_key, None, new))
            j += 1
    for i in range(i, before_count):
        found.append((key(before[i]), before[i], None))
    for j in range(j, now_count):
        found.append((key(now[j]), None, now[j]))
    return found


def without(list items, list out):
    """See changes.py."""
    cdef list left = []
    cdef Py_ssize_t i, at = 0, start = 0, out_count = len(out)
    for i in range(len(items)):
        if at < out_count and PyList_GET_ITEM(items, i) == PyList_GET_ITEM(out, at):
            left += items[start:i]
            start = i + 1
            at += 1
    left += items[start:]
    return left
