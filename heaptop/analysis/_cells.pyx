# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The cells of a map, counted by the processor: `occupancy.cells` in plain Python says what they are."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <stdint.h>
    #include <stdlib.h>
    /* An x86 of today counts bits in one instruction, but a compiler may not take that for granted. */
    #if defined(__x86_64__) && defined(__GLIBC__)
    #define COUNTING __attribute__((target_clones("popcnt", "default")))
    #else
    #define COUNTING
    #endif
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define in_order(word) __builtin_bswap64(word)
    #else
    #define in_order(word) (word)
    #endif
    COUNTING static void count_cells(
        const uint64_t *words, uint64_t start, uint64_t bits, uint64_t count, uint32_t *used)
    {
        uint64_t first = start, end, index;
        for (uint64_t cell = 0; cell < count; cell++, first = end) {
            uint32_t sum = 0;
            end = start + (uint64_t)((unsigned __int128)(cell + 1) * bits / count);
            for (index = first >> 6; index << 6 < end; index++) {
                uint64_t word = in_order(words[index]);
                if (index << 6 < first)
                    word &= ~(uint64_t)0 << (first & 63);
                if ((index + 1) << 6 > end)
                    word &= ~(uint64_t)0 >> (-end & 63);
                sum += __builtin_popcountll(word);
            }
            used[cell] = sum;
        }
    }
    """
    void count_cells(
        const uint64_t *words, uint64_t start, uint64_t bits, uint64_t count, uint32_t *used
    ) noexcept nogil


def cells(bytes bitmap not None, uint64_t start_bit, uint64_t count_bits, uint64_t cell_count):
    """As `occupancy.cells`. OverflowError where a number is negative or no address."""
    cdef uint64_t words_count = (start_bit + count_bits + 63) >> 6, index
    cdef size_t size = min(<uint64_t>len(bitmap), words_count * 8)
    cdef uint64_t *words
    cdef uint32_t *used
    if start_bit >> 40 or count_bits >> 40 or cell_count >> 32:
        raise OverflowError("no such map")
    words = <uint64_t *>calloc(words_count + 1, 8)
    used = <uint32_t *>malloc((cell_count + 1) * sizeof(uint32_t))
    try:
        if words == NULL or used == NULL:
            raise MemoryError
        memcpy(words, <const char *>bitmap, size)
        with nogil:
            count_cells(words, start_bit, count_bits, cell_count, used)
        return tuple([used[index] for index in range(cell_count)])
    finally:
        free(words)
        free(used)
