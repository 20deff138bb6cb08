/* The reference of the benchmarks: every reference to a buffer, as a careful C program finds it by readlink, fdinfo and
 * maps. tight PREFIX prints how many descriptors, mappings and buffers there are; links of buffers begin with PREFIX.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TABLE (1 << 17)
#define LIST_BYTES (256 << 10)
#define PATH_COLUMN 73 /* of a line of maps */

struct entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

static const char *prefix;
static size_t prefix_bytes;
static uint64_t seen[TABLE];
static unsigned long fd_count, map_count, buffer_count;
static char list[LIST_BYTES], *maps_text;
static size_t maps_room = 1 << 20;

static void note(uint64_t inode)
{
    size_t at = (size_t)(inode * 0x9E3779B97F4A7C15u >> 40) % TABLE;
    while (seen[at] != 0 && seen[at] != inode)
        at = (at + 1) % TABLE;
    buffer_count += seen[at] == 0;
    seen[at] = inode;
}

static int is_buffer(const char *path, size_t length)
{
    return length > prefix_bytes && memcmp(path, prefix, prefix_bytes) == 0;
}

/* Calls `each` with the name of every entry of a folder. */
static void walk(int folder, char *room, void (*each)(int, const char *))
{
    long count;
    while ((count = syscall(SYS_getdents64, folder, room, LIST_BYTES)) > 0)
        for (char *at = room; at < room + count; at += ((struct entry *)at)->length)
            if (isdigit(((struct entry *)at)->name[0]))
                each(folder, ((struct entry *)at)->name);
}

static void look_at_descriptor(int folder, const char *name)
{
    char text[1024], path[32];
    ssize_t length = readlinkat(folder, name, text, sizeof text);
    if (length <= 0 || !is_buffer(text, (size_t)length))
        return;
    snprintf(path, sizeof path, "../fdinfo/%s", name);
    int file = openat(folder, path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = 0;
    const char *inode = strstr(text, "\nino:");
    if (inode == NULL)
        return;
    note(strtoull(inode + 5, NULL, 10));
    fd_count++;
}

static void look_at_line(const char *line, size_t length)
{
    if (length <= PATH_COLUMN || !is_buffer(line + PATH_COLUMN, length - PATH_COLUMN))
        return;
    const char *word = line;
    for (int skipped = 0; skipped < 4; skipped++)
        word = strchr(word, ' ') + 1;
    note(strtoull(word, NULL, 10));
    map_count++;
}

static void look_at_maps(int process)
{
    int file = openat(process, "maps", O_RDONLY | O_CLOEXEC);
    size_t have = 0;
    ssize_t count;
    if (file < 0)
        return;
    while ((count = read(file, maps_text + have, maps_room - have)) > 0) {
        have += (size_t)count;
        if (maps_room - have < (64 << 10) && (maps_text = realloc(maps_text, maps_room *= 2)) == NULL)
            err(1, "maps");
    }
    close(file);
    for (char *line = maps_text, *end; line < maps_text + have; line = end + 1) {
        if ((end = memchr(line, '\n', (size_t)(maps_text + have - line))) == NULL)
            break;
        look_at_line(line, (size_t)(end - line));
    }
}

static void look_at_process(int proc, const char *pid)
{
    int process = openat(proc, pid, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (process < 0)
        return;
    int folder = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
        walk(folder, list, look_at_descriptor);
        close(folder);
    }
    look_at_maps(process);
    close(process);
}

int main(int count, char **arguments)
{
    static char pids[LIST_BYTES];
    if (count != 2)
        errx(2, "usage: tight PREFIX");
    prefix = arguments[1];
    prefix_bytes = strlen(prefix);
    int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    maps_text = malloc(maps_room);
    if (proc < 0 || maps_text == NULL)
        err(1, "/proc");
    walk(proc, pids, look_at_process);
    printf("%lu descriptors, %lu mappings, %lu buffers\n", fd_count, map_count, buffer_count);
}
