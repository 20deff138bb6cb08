/* What the compiled pass over /proc asks of Linux and of newer headers than there may be. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* struct procmap_query of include/uapi/linux/fs.h (6.11 on), here for older headers. */
struct heaptop_vma {
    uint64_t size, query_flags, query_addr, start, end, flags, page_size, offset, inode;
    uint32_t dev_major, dev_minor, name_size, build_id_size;
    uint64_t name_addr, build_id_addr;
};
#define HEAPTOP_QUERY _IOWR('f', 17, struct heaptop_vma)

/* The next file mapping from an address on; flags as PROCMAP_QUERY_*: COVERING_OR_NEXT, FILE_BACKED and more. */
static int next_vma(int maps, uint64_t address, uint64_t flags, struct heaptop_vma *vma, char *name, uint32_t size)
{
    memset(vma, 0, sizeof *vma);
    vma->size = sizeof *vma;
    vma->query_flags = 0x30 | flags;
    vma->query_addr = address;
    vma->name_addr = (uint64_t)(uintptr_t)name;
    vma->name_size = size;
    return ioctl(maps, HEAPTOP_QUERY, vma);
}

static long list_entries(int folder, char *entries, size_t size)
{
    return syscall(SYS_getdents64, folder, entries, size);
}

static int stat_quietly(int folder, const char *name, struct statx *found)
{
    return statx(folder, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | AT_EMPTY_PATH, STATX_BASIC_STATS, found);
}

/* Whether two tasks have one fd table, by kcmp(2), or one of them has ended; 0 also where it does not tell. */
static int share_table(int one, int other)
{
#ifdef SYS_kcmp
    long answer = syscall(SYS_kcmp, one, other, 2, 0, 0);
    return answer == 0 || (answer < 0 && errno == ESRCH);
#else
    return 0;
#endif
}

/* Run time of a process, in nanoseconds; 0 where it has ended. CPUCLOCK_SCHED of kernel/time/posix-cpu-timers.c. */
static uint64_t run_time_ns(int pid)
{
    struct timespec time;
    if (clock_gettime(((~(clockid_t)pid) << 3) | 2, &time))
        return 0;
    return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* struct linux_dirent64's name, type and length. */
#define entry_name(entry) ((entry) + 19)
#define is_folder(entry) (((unsigned char *)(entry))[18] == 4) /* DT_DIR */
#define entry_bytes(entry) (*(unsigned short *)((entry) + 16))

#define find(bytes, length, wanted, wanted_length) memmem(bytes, length, wanted, wanted_length)
