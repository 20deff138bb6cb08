# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The loops of reference.c over the emulator's own allocators, with the same random numbers: both do the same."""

import time

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy

from heaptop_emulator._buddy cimport ORDERS, Buddy
from heaptop_emulator._cma cimport CmaBitmap

cdef enum:
    BUFFERS_MAX = 1 << 17
    AGEING = 60000
    MISSES_MAX = 64

cdef uint64_t NO_BIT = ~<uint64_t>0

cdef struct Buffer:
    Py_ssize_t blocks
    Py_ssize_t room
    uint32_t *pages


cdef uint64_t drawn(uint64_t *state) noexcept nogil:
    state[0] ^= state[0] << 13
    state[0] ^= state[0] >> 7
    state[0] ^= state[0] << 17
    return state[0]


cdef uint32_t drawn_pages(uint64_t *state) noexcept nogil:
    cdef uint64_t number = drawn(state)
    cdef uint32_t low = 1u << (number % 14)
    return low + <uint32_t>(number >> 32) % low


cdef void step(Buddy buddy, Buffer *buffers, uint32_t *live, uint32_t most_used, uint64_t *state) noexcept nogil:
    cdef uint32_t pages = drawn_pages(state)
    cdef int *orders = [8, 4, 0]
    cdef Py_ssize_t taken
    cdef Buffer gone
    if buddy.count_pages - buddy.free_pages + pages <= most_used and live[0] < BUFFERS_MAX:
        taken = buddy.take_chunks(pages, orders, 3, 0)
        if taken >= 0:
            keep(buddy, &buffers[live[0]], taken)
            live[0] += 1
        return
    pages = drawn(state) % live[0]
    gone = buffers[pages]
    buddy.give_back_chunks(gone.pages, gone.blocks)
    live[0] -= 1
    buffers[pages] = buffers[live[0]]
    buffers[live[0]] = gone


cdef inline void keep(Buddy buddy, Buffer *buffer, Py_ssize_t blocks) noexcept nogil:
    buffer.blocks = blocks
    if blocks > buffer.room:
        buffer.room = 2 * blocks
        buffer.pages = <uint32_t *>realloc(buffer.pages, buffer.room * sizeof(uint32_t))
    memcpy(buffer.pages, buddy.scratch, blocks * sizeof(uint32_t))


def drive_buddy(Buddy buddy not None, double percent, uint32_t count):
    """CPU seconds of so many steps, and the checksum of reference.c."""
    cdef Buffer *buffers = <Buffer *>calloc(BUFFERS_MAX, sizeof(Buffer))
    cdef uint64_t state = 88172645463325252, checksum = 0
    cdef uint32_t live = 0, most = <uint32_t>(buddy.count_pages * (percent / 100)), turn, _turn
    cdef Py_ssize_t block
    cdef int order
    if buffers == NULL:
        raise MemoryError
    with nogil:
        for _turn in range(AGEING):
            step(buddy, buffers, &live, most, &state)
    began = time.process_time()
    with nogil:
        for _turn in range(count):
            step(buddy, buffers, &live, most, &state)
    took = time.process_time() - began
    for order in range(ORDERS):
        checksum = checksum * 31 + buddy.counts[0][order] + buddy.counts[1][order]
    for turn in range(live):
        for block in range(buffers[turn].blocks):
            checksum = checksum * 31 + buffers[turn].pages[block]
    for turn in range(BUFFERS_MAX):
        free(buffers[turn].pages)
    free(buffers)
    return took, checksum


cdef uint64_t take_run(CmaBitmap area, uint32_t pages) noexcept nogil:
    cdef int order = 0
    while 1u << order < pages and order < 8:
        order += 1
    return area.take(pages, order, 0)


def drive_cma(CmaBitmap area not None, double percent, double seconds):
    """Operations and their CPU seconds, as reference.c counts them."""
    cdef uint64_t *starts = <uint64_t *>calloc(BUFFERS_MAX, sizeof(uint64_t))
    cdef uint32_t *sizes = <uint32_t *>calloc(BUFFERS_MAX, sizeof(uint32_t))
    cdef uint64_t state = 88172645463325252, pages_used = 0, wanted, most, count = 0
    cdef uint32_t live = 0, misses = 0, pages, index, _turn
    if starts == NULL or sizes == NULL:
        raise MemoryError
    wanted = <uint64_t>(area.count_pages * (percent / 100))
    most = <uint64_t>(area.count_pages * ((percent + 1) / 100))
    while pages_used < wanted and live < BUFFERS_MAX and misses < MISSES_MAX:
        sizes[live] = drawn_pages(&state)
        starts[live] = take_run(area, sizes[live])
        if starts[live] == NO_BIT:
            misses += 1
        else:
            pages_used += sizes[live]
            live += 1
    began = time.process_time()
    while True:
        with nogil:
            for _turn in range(1024):
                index, pages = drawn(&state) % live, 0
                pages = drawn_pages(&state)
                if sizes[index]:
                    area.give_back(starts[index], sizes[index])
                    pages_used -= sizes[index]
                    sizes[index] = 0
                if pages_used + pages <= most:
                    starts[index] = take_run(area, pages)
                    sizes[index] = 0 if starts[index] == NO_BIT else pages
                    pages_used += sizes[index]
        count += 1024
        took = time.process_time() - began
        if took >= seconds:
            break
    free(starts)
    free(sizes)
    return count, took
