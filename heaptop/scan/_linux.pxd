# cython: language_level=3
"""linux.h, and the calls that are relative to an open folder."""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from "linux.h":
    struct heaptop_vma:
        uint64_t start, end, flags, offset, inode
        uint32_t dev_major, dev_minor
    struct statx:
        uint32_t stx_nlink, stx_dev_major, stx_dev_minor
        unsigned short stx_mode
        uint64_t stx_ino, stx_size, stx_blocks
    int next_vma(int, uint64_t, uint64_t, heaptop_vma *, char *, uint32_t) noexcept nogil
    long list_entries(int, char *, size_t) noexcept nogil
    int stat_quietly(int, const char *, statx *) noexcept nogil
    bint share_table(int, int) noexcept nogil
    uint64_t run_time_ns(int) noexcept nogil
    const char *entry_name(char *) noexcept nogil
    bint is_folder(char *) noexcept nogil
    unsigned short entry_bytes(char *) noexcept nogil
    int openat(int, const char *, int) noexcept nogil
    int open(const char *, int) noexcept nogil
    int close(int) noexcept nogil
    long read(int, void *, size_t) noexcept nogil
    long readlinkat(int, const char *, char *, size_t) noexcept nogil
    void *find(const void *, size_t, const void *, size_t) noexcept nogil
    int AT_FDCWD, O_RDONLY, O_DIRECTORY, O_CLOEXEC, O_NONBLOCK
