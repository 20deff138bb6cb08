/* Processes that hold files, buffers and mappings, for the benchmarks: workload P F B R M V [A I]
 *
 * P processes with F descriptors each; B memfds that stand for dma-bufs (named PREFIX...), held by R descriptors, every
 * second one mapped too, and by M mappings whose descriptor is closed; V ordinary mappings a process. Of every hundred
 * processes A open and close a file each I milliseconds. Prints "ready" when all stand, and ends with its stdin.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PREFIX "dmabuf-"
#define LIBRARIES 64
#define MAPPED_BYTES (64 << 10)
#define LIBRARY_PART (16 << 10)

static int processes, descriptors, buffers, references, mapped_only, mappings, active_percent, active_ms;
static int first_library;

/* Where each buffer's first descriptor is, for those who want another: for all processes. */
static struct place {
    pid_t pid;
    int fd;
} *places;

static int checked(int result, const char *what)
{
    if (result < 0)
        err(1, "%s", what);
    return result;
}

static void map(int file, size_t offset, size_t length, int protection, int flags)
{
    if (mmap(NULL, length, protection, flags, file, (off_t)offset) == MAP_FAILED)
        err(1, "mmap");
}

/* The part of a total that is this process's: numbers from `first` up to `last`. */
static void share(long total, int index, long *first, long *last)
{
    *first = total * index / processes;
    *last = total * (index + 1) / processes;
}

static int make_buffers(int index)
{
    char name[64];
    long first, last;
    share(buffers, index, &first, &last);
    for (long n = first; n < last; n++) {
        snprintf(name, sizeof name, PREFIX "%s-%ld", n & 1 ? "camera" : "display", n);
        int file = checked(memfd_create(name, 0), "memfd_create");
        checked(ftruncate(file, (off_t)(1 + n % 16) << 18), "ftruncate");
        places[n] = (struct place){getpid(), file};
    }
    return (int)(last - first);
}

/* One more descriptor of a buffer that another process made. */
static int open_buffer(long number)
{
    struct place *place = &places[number % buffers];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", place->pid, place->fd);
    return checked(open(path, O_RDWR), path);
}

static int share_buffers(int index)
{
    long first, last, opened;
    share(references - buffers, index, &first, &last);
    opened = last - first;
    for (long n = first; n < last; n++) {
        int file = open_buffer(n * 13 + 5);
        if (n & 1)
            map(file, 0, MAPPED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED);
    }
    share(mapped_only, index, &first, &last);
    for (long n = first; n < last; n++) {
        int file = open_buffer(n * 7 + 3);
        map(file, 0, MAPPED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED);
        close(file);
    }
    return (int)opened;
}

/* What descriptors of ordinary programs refer to: sockets, pipes, events, devices and files. */
static void open_others(int index, int count)
{
    int ends[2];
    for (int n = 0; n < count; n++) {
        int kind = n % 20;
        if (kind < 5)
            checked(socket(AF_UNIX, SOCK_STREAM, 0), "socket");
        else if (kind < 9 && n + 1 < count && n++ >= 0)
            checked(pipe(ends), "pipe");
        else if (kind < 12)
            checked(eventfd(0, 0), "eventfd");
        else if (kind < 14)
            checked(open("/dev/null", O_RDWR), "/dev/null");
        else
            checked(dup(first_library + (index + n) % LIBRARIES), "dup");
    }
}

/* Half of them anonymous, half of files; neighbours differ in their rights, so that none merge. */
static void map_others(int index)
{
    for (int n = 0; n < mappings / 2; n++)
        map(-1, 0, 8192, n & 1 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    for (int n = 0; n < mappings / 2; n++)
        map(first_library + (index + n / 4) % LIBRARIES, (size_t)(n % 4) * LIBRARY_PART, 8192,
            n & 1 ? PROT_READ : PROT_READ | PROT_EXEC, MAP_PRIVATE);
}

static void live(int index, int ready, int go)
{
    struct timespec pause_time = {active_ms / 1000, active_ms % 1000 * 1000000L};
    char name[16], byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(name, sizeof name, "load-%d", index);
    prctl(PR_SET_NAME, name);
    int held = make_buffers(index);
    checked((int)write(ready, "", 1), "write");
    checked((int)read(go, &byte, 1), "read"); /* the end of the pipe, when all have made theirs */
    held += share_buffers(index);
    open_others(index, descriptors - 3 - held);
    map_others(index);
    checked((int)write(ready, "", 1), "write");
    close_range((unsigned)first_library, ~0u, 0);
    for (;;) {
        if (index % 100 >= active_percent) {
            pause();
            continue;
        }
        nanosleep(&pause_time, NULL);
        close(eventfd(0, 0));
    }
}

/* A file at a number above all that the processes use themselves. */
static int placed_high(int file, int number)
{
    checked(dup2(file, number), "dup2");
    close(file);
    return number;
}

static void make_libraries(void)
{
    first_library = descriptors + 64;
    for (int n = 0; n < LIBRARIES; n++) {
        int file = placed_high(checked(open("/tmp", O_TMPFILE | O_RDWR, 0600), "/tmp"), first_library + n);
        checked(ftruncate(file, 4 * LIBRARY_PART), "ftruncate");
    }
}

static void await_all(int ready)
{
    char byte;
    for (int index = 0; index < processes; index++)
        if (read(ready, &byte, 1) != 1)
            errx(1, "a process has ended");
}

int main(int count, char **arguments)
{
    int *numbers[] = {&processes, &descriptors, &buffers, &references, &mapped_only, &mappings, &active_percent,
                      &active_ms};
    int ready[2], go[2];
    char byte;
    if (count != 7 && count != 9)
        errx(2, "usage: workload P F B R M V [A I]");
    for (int n = 1; n < count; n++)
        *numbers[n - 1] = atoi(arguments[n]);
    places = mmap(NULL, sizeof *places * (size_t)buffers, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (places == MAP_FAILED)
        err(1, "mmap");
    make_libraries();
    checked(pipe(ready), "pipe");
    checked(pipe(go), "pipe");
    int ready_end = placed_high(ready[1], first_library + LIBRARIES);
    int go_end = placed_high(go[0], first_library + LIBRARIES + 1);
    signal(SIGCHLD, SIG_IGN);
    for (int index = 0; index < processes; index++)
        if (checked(fork(), "fork") == 0) {
            close(ready[0]);
            close(go[1]);
            close(0);
            checked(open("/dev/null", O_RDWR), "/dev/null");
            live(index, ready_end, go_end);
        }
    close(ready_end);
    await_all(ready[0]);
    close(go[1]);
    await_all(ready[0]);
    close_range((unsigned)first_library, ~0u, 0);
    printf("ready\n");
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
}
