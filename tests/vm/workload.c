/*
 * Holds dma-bufs in every way that a kernel knows, and says so.
 *
 * One process per way of holding. When all hold what they shall, stdout gets one JSON document, the ground truth: each
 * reference to each buffer as its holder knows it. Ways that this kernel does not offer are named in "left_out". It all
 * ends when stdin does.
 *
 *   "holds": way, kind ("fd", "map", "hidden"), pid, tid, uid, comm, inode, size_bytes, exporter, name, attached;
 *            fd of an "fd"; start, length_bytes, offset_bytes, perms of a "map". A "hidden" reference is one that no fd
 *            table of /proc and no maps file shows. Text is bytes as U+0000 to U+00FF; null is a name never set.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/io_uring.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* uapi/linux/dma-heap.h, dma-buf.h, udmabuf.h, drm/drm.h, drm/drm_mode.h: not all on every machine that builds this */
struct dma_heap_allocation_data { uint64_t len; uint32_t fd, fd_flags; uint64_t heap_flags; };
struct udmabuf_create { uint32_t memfd, flags; uint64_t offset, size; };
struct drm_version { int major, minor, patch; size_t name_len; char *name; size_t date_len; char *date; size_t desc_len; char *desc; };
struct drm_prime_handle { uint32_t handle, flags; int32_t fd; };
struct drm_mode_create_dumb { uint32_t height, width, bpp, flags, handle, pitch; uint64_t size; };
#define DMA_HEAP_IOCTL_ALLOC _IOWR('H', 0x0, struct dma_heap_allocation_data)
#define DMA_BUF_SET_NAME_B _IOW('b', 1, uint64_t)
#define UDMABUF_CREATE _IOW('u', 0x42, struct udmabuf_create)
#define DRM_IOCTL_VERSION _IOWR('d', 0x00, struct drm_version)
#define DRM_IOCTL_PRIME_HANDLE_TO_FD _IOWR('d', 0x2d, struct drm_prime_handle)
#define DRM_IOCTL_PRIME_FD_TO_HANDLE _IOWR('d', 0x2e, struct drm_prime_handle)
#define DRM_IOCTL_MODE_CREATE_DUMB _IOWR('d', 0xb2, struct drm_mode_create_dumb)

#define KIB 1024UL
#define MIB (1024 * KIB)
#define SYSTEM "system"
#define OTHER_USER 1000
#define READY_WAIT_MS 60000

struct buffer {
	int fd; /* -1: closed */
	unsigned long inode, size;
	char exporter[64], name[32];
	int named, attached;
};

/* What goes through the pipe to the parent: one reference, a way left out, or "this way is ready". */
struct report {
	enum kind { FD, MAP, HIDDEN, LEFT_OUT, READY } kind;
	int pid, tid, uid, fd;
	char way[32], comm[16], why[128], perms[5];
	unsigned long start, length, offset;
	struct buffer buffer;
};

static int report_pipe[2];
static const char *way; /* of this process */
static char comm[16]; /* of this process: its main thread's */
static char cma_heap[64]; /* empty: none */
static struct report told[64]; /* by this process, for those who have it as well */
static int told_count;

/* ---- saying */

static void die(const char *what)
{
	fprintf(stderr, "workload: %s: %s: %s\n", way ? way : "main", what, strerror(errno));
	exit(1);
}

static void send_report(struct report report)
{
	char self[64] = "";

	/* as the tests see them, whatever namespace this one is in */
	if (readlink("/proc/thread-self", self, sizeof self - 1) < 0 || sscanf(self, "%d/task/%d", &report.pid, &report.tid) != 2)
		die("/proc/thread-self");
	report.uid = getuid();
	snprintf(report.way, sizeof report.way, "%s", way);
	if (gettid() == getpid())
		prctl(PR_GET_NAME, comm);
	memcpy(report.comm, comm, sizeof comm);
	if (write(report_pipe[1], &report, sizeof report) != sizeof report)
		die("report");
}

static void note(struct report report)
{
	if (told_count == sizeof told / sizeof *told)
		die("too much to tell");
	told[told_count++] = report;
}

static void tell(struct report report)
{
	note(report);
	send_report(report);
}

static void tell_fd(const struct buffer *buffer, int fd)
{
	tell((struct report){ .kind = FD, .fd = fd, .buffer = *buffer });
}

static struct report mapping(const struct buffer *buffer, char *start, size_t length, size_t offset, const char *perms)
{
	struct report report = { .kind = MAP, .start = (unsigned long)start, .length = length, .offset = offset, .buffer = *buffer };

	snprintf(report.perms, sizeof report.perms, "%s", perms);
	return report;
}

static void tell_map(const struct buffer *buffer, char *start, size_t length, size_t offset, const char *perms)
{
	tell(mapping(buffer, start, length, offset, perms));
}

static void tell_hidden(const struct buffer *buffer)
{
	tell((struct report){ .kind = HIDDEN, .buffer = *buffer });
}

/* A forked child, or a thread that has a table of its own, holds what it was born with; a survivor all that is noted. */
static void tell_inherited(int maps)
{
	for (int i = 0; i < told_count; i++)
		if (told[i].kind == FD || (maps && told[i].kind == MAP))
			send_report(told[i]);
}

static void ready(void)
{
	send_report((struct report){ .kind = READY });
}

static void leave_out(const char *what)
{
	struct report report = { .kind = LEFT_OUT };
	snprintf(report.why, sizeof report.why, "%.80s: %.40s", what, strerror(errno));
	send_report(report);
}

static void stay(void)
{
	for (;;)
		pause();
}

/* ---- buffers */

static struct buffer buffer_of(int fd, const char *exporter)
{
	struct buffer buffer = { .fd = fd };
	struct stat status;

	if (fstat(fd, &status))
		die("fstat");
	buffer.inode = status.st_ino;
	buffer.size = status.st_size;
	snprintf(buffer.exporter, sizeof buffer.exporter, "%s", exporter);
	return buffer;
}

static void set_name(struct buffer *buffer, const char *name)
{
	if (ioctl(buffer->fd, DMA_BUF_SET_NAME_B, name))
		die("DMA_BUF_SET_NAME");
	buffer->named = 1;
	snprintf(buffer->name, sizeof buffer->name, "%s", name);
}

/* fd -1 and errno where the heap refuses */
static struct buffer try_allocate(const char *heap, size_t size, int flags)
{
	char path[128];
	struct dma_heap_allocation_data data = { .len = size, .fd_flags = flags };

	snprintf(path, sizeof path, "/dev/dma_heap/%s", heap);
	int device = open(path, O_RDONLY | O_CLOEXEC);
	if (device < 0)
		die(path);
	int failed = ioctl(device, DMA_HEAP_IOCTL_ALLOC, &data), reason = errno;
	close(device);
	errno = reason;
	return failed ? (struct buffer){ .fd = -1 } : buffer_of(data.fd, heap);
}

static struct buffer allocate(const char *heap, size_t size, const char *name)
{
	struct buffer buffer = try_allocate(heap, size, O_RDWR | O_CLOEXEC);

	if (buffer.fd < 0)
		die("DMA_HEAP_IOCTL_ALLOC");
	if (name)
		set_name(&buffer, name);
	return buffer;
}

static struct buffer hold(const char *heap, size_t size, const char *name)
{
	struct buffer buffer = allocate(heap, size, name);

	tell_fd(&buffer, buffer.fd);
	return buffer;
}

static char *map(const struct buffer *buffer, size_t length, size_t offset, int protection)
{
	char *start = mmap(NULL, length, protection, MAP_SHARED, buffer->fd, offset);

	if (start == MAP_FAILED)
		die("mmap");
	return start;
}

static void drop(struct buffer *buffer)
{
	close(buffer->fd);
	buffer->fd = -1;
}

static void send_fd(int socket, int fd)
{
	char byte = 'x', control[CMSG_SPACE(sizeof fd)] = { 0 };
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	if (sendmsg(socket, &message, 0) != 1)
		die("sendmsg");
}

static int receive_fd(int socket)
{
	int fd;
	char byte, control[CMSG_SPACE(sizeof fd)];
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };

	if (recvmsg(socket, &message, 0) != 1 || !CMSG_FIRSTHDR(&message))
		die("recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	return fd;
}

static void socket_pair(int *pair)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
}

/* 0 in the child, which ends with its parent. `flags` as for clone(2); 0 is fork(). */
static int child(const char *name, int flags)
{
	pid_t pid = syscall(SYS_clone, SIGCHLD | flags, NULL, NULL, NULL, NULL);

	if (pid < 0)
		die("clone");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, name);
	}
	return pid;
}

/* ---- the ways */

static void one_fd(void)
{
	hold(SYSTEM, 64 * KIB, "one fd");
}

static void two_fds(void)
{
	struct buffer buffer = hold(SYSTEM, 128 * KIB, "two fds");

	tell_fd(&buffer, fcntl(buffer.fd, F_DUPFD_CLOEXEC, 900));
}

static void fd_and_map(void)
{
	struct buffer buffer = hold(SYSTEM, 1 * MIB, "fd and map");
	char *start = map(&buffer, 1 * MIB, 0, PROT_READ | PROT_WRITE);

	memset(start, 7, 1 * MIB);
	tell_map(&buffer, start, 1 * MIB, 0, "rw-s");
}

static void map_only(void)
{
	struct buffer buffer = allocate(SYSTEM, 2 * MIB, "map only"), unnamed = allocate(SYSTEM, 8 * KIB, NULL);

	tell_map(&buffer, map(&buffer, 2 * MIB, 0, PROT_READ | PROT_WRITE), 2 * MIB, 0, "rw-s");
	tell_map(&unnamed, map(&unnamed, 8 * KIB, 0, PROT_READ), 8 * KIB, 0, "r--s");
	drop(&buffer);
	drop(&unnamed);
}

static void map_part(void)
{
	struct buffer buffer = allocate(SYSTEM, 1 * MIB, "map part");
	char *start = map(&buffer, 256 * KIB, 128 * KIB, PROT_READ | PROT_WRITE);

	if (mprotect(start + 64 * KIB, 64 * KIB, PROT_READ))
		die("mprotect");
	tell_map(&buffer, start, 64 * KIB, 128 * KIB, "rw-s");
	tell_map(&buffer, start + 64 * KIB, 64 * KIB, 192 * KIB, "r--s");
	tell_map(&buffer, start + 128 * KIB, 128 * KIB, 256 * KIB, "rw-s");
	drop(&buffer);
}

static void fork_inherits(void)
{
	struct buffer buffer = hold(SYSTEM, 12 * KIB, "inherited"), mapped = allocate(SYSTEM, 16 * KIB, "inherited map");

	tell_map(&mapped, map(&mapped, 16 * KIB, 0, PROT_READ | PROT_WRITE), 16 * KIB, 0, "rw-s");
	drop(&mapped);
	tell_fd(&buffer, dup(buffer.fd));
	if (child("fork-child", 0))
		stay();
	tell_inherited(1);
}

static void shared_table(void)
{
	hold(SYSTEM, 20 * KIB, "table of two");
	if (child("shares-table", CLONE_FILES))
		stay();
	tell_inherited(0);
}

static void passed_on(void)
{
	int pair[2];
	struct buffer buffer;

	socket_pair(pair);
	if (child("receiver", 0)) {
		buffer = hold(SYSTEM, 24 * KIB, "passed on");
		send_fd(pair[0], buffer.fd);
		stay();
	}
	buffer = buffer_of(receive_fd(pair[1]), SYSTEM);
	buffer.named = 1;
	strcpy(buffer.name, "passed on");
	tell_fd(&buffer, buffer.fd);
}

static void in_flight(void)
{
	int pair[2];
	struct buffer buffer = allocate(SYSTEM, 512 * KIB, "in flight");

	socket_pair(pair);
	send_fd(pair[0], buffer.fd);
	drop(&buffer);
	tell_hidden(&buffer);
}

static void *own_table(void *unused)
{
	prctl(PR_SET_NAME, "own-table");
	if (unshare(CLONE_FILES))
		die("unshare");
	tell_inherited(0);
	hold(SYSTEM, 32 * KIB, "thread's own");
	ready();
	stay();
	return unused;
}

/* The thread is ready, not the process: see ACTORS. */
static void thread_table(void)
{
	pthread_t thread;

	hold(SYSTEM, 16 * KIB, "main thread's");
	if (pthread_create(&thread, NULL, own_table, NULL))
		die("pthread_create");
	stay();
}

static void *survive(void *unused)
{
	tell_inherited(1);
	ready();
	stay();
	return unused;
}

/* The main thread ends and the process lives on: a zombie in /proc that has neither fds nor maps, but for its threads'. */
static void dead_leader(void)
{
	pthread_t thread;
	struct buffer buffer = allocate(SYSTEM, 28 * KIB, "dead leader's");

	note((struct report){ .kind = FD, .fd = buffer.fd, .buffer = buffer });
	note(mapping(&buffer, map(&buffer, 28 * KIB, 0, PROT_READ), 28 * KIB, 0, "r--s"));
	prctl(PR_GET_NAME, comm);
	if (pthread_create(&thread, NULL, survive, NULL))
		die("pthread_create");
	syscall(SYS_exit, 0);
}

static void namespaces(void)
{
	if (child("in-namespaces", CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC))
		stay();
	struct buffer buffer = hold(SYSTEM, 48 * KIB, "in namespaces");
	tell_map(&buffer, map(&buffer, 48 * KIB, 0, PROT_READ), 48 * KIB, 0, "r--s");
	ready(); /* who is in a chroot without /proc knows nothing of itself */
	if (chroot("/sys") || chdir("/"))
		die("chroot");
}

static void io_uring(void)
{
	struct io_uring_params parameters = { 0 };
	int ring = syscall(SYS_io_uring_setup, 4, &parameters);

	if (ring < 0) {
		leave_out("io_uring_setup");
		return;
	}
	struct buffer buffer = allocate(SYSTEM, 256 * KIB, "io_uring table");
	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &buffer.fd, 1))
		die("io_uring_register");
	drop(&buffer);
	tell_hidden(&buffer);
}

/* The card of vgem, a driver without a device that imports and exports; -1 and errno where there is none. */
static int open_vgem(void)
{
	for (int i = 0; i < 16; i++) {
		char path[32], name[16] = "";
		struct drm_version version = { .name_len = sizeof name - 1, .name = name };

		snprintf(path, sizeof path, "/dev/dri/card%d", i);
		int card = open(path, O_RDWR | O_CLOEXEC);
		if (card >= 0 && !ioctl(card, DRM_IOCTL_VERSION, &version) && !strcmp(name, "vgem"))
			return card;
		if (card >= 0)
			close(card);
	}
	errno = ENODEV;
	return -1;
}

/* A GEM handle on vgem attaches it to the buffer. */
static int import_to_vgem(struct buffer *buffer)
{
	int card = open_vgem();
	struct drm_prime_handle prime = { .fd = buffer->fd };

	if (card >= 0 && ioctl(card, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime))
		die("DRM_IOCTL_PRIME_FD_TO_HANDLE");
	buffer->attached = 1;
	return card;
}

static void attached(void)
{
	struct buffer buffer = allocate(SYSTEM, 1 * MIB, "attached");

	if (import_to_vgem(&buffer) < 0) {
		drop(&buffer);
		leave_out("vgem");
		return;
	}
	tell_fd(&buffer, buffer.fd);
	tell_hidden(&buffer);
}

static void gem_handle(void)
{
	struct buffer buffer = allocate(SYSTEM, 3 * MIB, "GEM handle");
	int card = import_to_vgem(&buffer);

	drop(&buffer);
	if (card < 0)
		leave_out("vgem");
	else
		tell_hidden(&buffer);
}

static void gem_export(void)
{
	int card = open_vgem();
	struct drm_mode_create_dumb dumb = { .width = 512, .height = 256, .bpp = 32 };

	if (card < 0 || ioctl(card, DRM_IOCTL_MODE_CREATE_DUMB, &dumb)) {
		leave_out("vgem");
		return;
	}
	struct drm_prime_handle prime = { .handle = dumb.handle, .flags = O_RDWR | O_CLOEXEC };
	if (ioctl(card, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime))
		die("DRM_IOCTL_PRIME_HANDLE_TO_FD");
	struct buffer buffer = buffer_of(prime.fd, "drm");
	tell_fd(&buffer, buffer.fd);
	tell_hidden(&buffer); /* the handle's */
}

static void udmabuf(void)
{
	int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), memory = memfd_create("guest-ram", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	struct udmabuf_create create = { .memfd = memory, .flags = 1, .offset = 1 * MIB, .size = 2 * MIB };

	if (device < 0) {
		leave_out("/dev/udmabuf");
		return;
	}
	if (ftruncate(memory, 4 * MIB) || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK))
		die("memfd");
	int fd = ioctl(device, UDMABUF_CREATE, &create);
	if (fd < 0)
		die("UDMABUF_CREATE");
	struct buffer buffer = buffer_of(fd, "udmabuf");
	tell_fd(&buffer, fd);
}

/* The kernel takes any bytes but NUL, up to 31 of them. */
static void names(void)
{
	static const char *const NAMES[] = {
		"",
		"0123456789012345678901234567890",
		"a\nsize:\t999\ncount:\t77\nino:\t1",
		"b\n00000512\t02\t08\t00000001\tx\t7\ty",
		"c\nTotal 0 objects, 0 bytes\n",
		"d\n\tAttached Devices:\n\tevil",
		"e\n\twrite fence:drm x seq 1",
		"tab\there\r\v\f",
		"\033[31mred\033[0m\033]0;title\007\b",
		"[/x][bold red]$name {0}",
		"\xff\xfe\xc3( \xed\xa0\x80",
		"caf\xc3\xa9 \\012 \"q\" (deleted)",
		"<none>",
		" blanks ",
	};

	prctl(PR_SET_NAME, "a) R 1 (b\tc");
	for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
		hold(SYSTEM, 4 * KIB, NAMES[i]);
	struct buffer renamed = allocate(SYSTEM, 4 * KIB, "first name");
	set_name(&renamed, "second name");
	tell_fd(&renamed, renamed.fd);
}

/* Only maps and bufinfo tell these. */
static void names_in_maps(void)
{
	static const char *const NAMES[] = { "m\nsize:\t9", "7f0-7f1 rw-s 0 00:09 1 /dmabuf:", "\033[2J\xff[/x] (deleted)" };

	prctl(PR_SET_NAME, "x\nState:\tZ");
	for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
		char name[32];
		snprintf(name, sizeof name, "%s", NAMES[i]);
		struct buffer buffer = allocate(SYSTEM, 4 * KIB, name);
		tell_map(&buffer, map(&buffer, 4 * KIB, 0, PROT_READ), 4 * KIB, 0, "r--s");
		drop(&buffer);
	}
}

static void unnamed(void)
{
	hold(SYSTEM, 40 * KIB, NULL);
}

static void odd_size(void)
{
	hold(SYSTEM, 5000, "odd size"); /* the heap rounds up to a page */
}

static void read_only(void)
{
	struct buffer buffer = try_allocate(SYSTEM, 4 * KIB, O_RDONLY);

	tell_fd(&buffer, buffer.fd);
}

static void other_user(void)
{
	struct buffer mapped = allocate(SYSTEM, 44 * KIB, "another's map");

	if (setgid(OTHER_USER) || setuid(OTHER_USER))
		die("setuid");
	prctl(PR_SET_DUMPABLE, 1); /* else root owns its files in /proc, and nobody else may look */
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* setuid() clears it */
	tell_fd(&mapped, mapped.fd);
	tell_map(&mapped, map(&mapped, 44 * KIB, 0, PROT_READ), 44 * KIB, 0, "r--s");
}

static int no_cma(void)
{
	errno = ENOENT;
	if (!*cma_heap)
		leave_out("a CMA heap");
	return !*cma_heap;
}

static void cma(void)
{
	if (no_cma())
		return;
	hold(cma_heap, 4 * MIB, "contiguous");
	hold(cma_heap, 4 * KIB, NULL);
	struct buffer mapped = allocate(cma_heap, 1 * MIB, NULL);
	tell_map(&mapped, map(&mapped, 1 * MIB, 0, PROT_READ | PROT_WRITE), 1 * MIB, 0, "rw-s");
	drop(&mapped);
}

static size_t cma_total(void)
{
	char line[128];
	size_t total_kib = 0;
	FILE *file = fopen("/proc/meminfo", "re");

	while (file && fgets(line, sizeof line, file))
		sscanf(line, "CmaTotal: %zu kB", &total_kib);
	if (file)
		fclose(file);
	return total_kib * KIB;
}

/* Every other buffer goes again, so holes are left; and one request fails: the whole area's size. */
static void cma_fragments(void)
{
	static const size_t SIZES[] = { 64 * KIB, 128 * KIB, 512 * KIB };
	struct buffer kept[48];

	if (no_cma())
		return;
	for (int i = 0; i < 48; i++)
		kept[i] = allocate(cma_heap, SIZES[i % 3], NULL);
	for (int i = 0; i < 48; i += 2)
		drop(&kept[i]);
	for (int i = 1; i < 48; i += 2)
		tell_fd(&kept[i], kept[i].fd);
	if (try_allocate(cma_heap, cma_total(), O_RDWR).fd >= 0)
		die("the CMA area was not fragmented");
}

static const struct actor {
	const char *way;
	void (*start)(void);
	int says_ready; /* itself */
} ACTORS[] = {
	{ "one_fd", one_fd, 0 },
	{ "two_fds", two_fds, 0 },
	{ "fd_and_map", fd_and_map, 0 },
	{ "map_only", map_only, 0 },
	{ "map_part", map_part, 0 },
	{ "fork", fork_inherits, 0 },
	{ "shared_table", shared_table, 0 },
	{ "passed_on", passed_on, 0 },
	{ "in_flight", in_flight, 0 },
	{ "thread_table", thread_table, 1 },
	{ "dead_leader", dead_leader, 1 },
	{ "namespaces", namespaces, 1 },
	{ "io_uring", io_uring, 0 },
	{ "attached", attached, 0 },
	{ "gem_handle", gem_handle, 0 },
	{ "gem_export", gem_export, 0 },
	{ "udmabuf", udmabuf, 0 },
	{ "names", names, 0 },
	{ "names_in_maps", names_in_maps, 0 },
	{ "unnamed", unnamed, 0 },
	{ "odd_size", odd_size, 0 },
	{ "read_only", read_only, 0 },
	{ "other_user", other_user, 0 },
	{ "cma", cma, 0 },
	{ "cma_fragments", cma_fragments, 0 },
};
#define ACTOR_COUNT (sizeof ACTORS / sizeof *ACTORS)

static void act(const struct actor *actor)
{
	way = actor->way;
	prctl(PR_SET_NAME, way);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO); /* the parent's alone, so that its reader sees the end */
	actor->start();
	if (!actor->says_ready)
		ready();
	stay();
}

/* ---- the parent */

/* The default area's heap: `default_cma_region` since 6.17, before that the area's own name. */
static void find_cma_heap(void)
{
	struct dirent *entry;
	DIR *folder = opendir("/dev/dma_heap");

	while (folder && (entry = readdir(folder)))
		if (*entry->d_name != '.' && strncmp(entry->d_name, SYSTEM, strlen(SYSTEM)) && strcmp(cma_heap, "default_cma_region"))
			snprintf(cma_heap, sizeof cma_heap, "%.63s", entry->d_name);
	if (folder)
		closedir(folder);
}

static void print_text(const char *key, const char *text)
{
	printf(", \"%s\": \"", key);
	for (; *text; text++)
		printf(*text >= ' ' && *text <= '~' && *text != '"' && *text != '\\' ? "%c" : "\\u%04x", (unsigned char)*text);
	printf("\"");
}

static void print_hold(const struct report *report)
{
	static const char *const KINDS[] = { "fd", "map", "hidden" };
	const struct buffer *buffer = &report->buffer;

	printf("{\"kind\": \"%s\", \"pid\": %d, \"tid\": %d, \"uid\": %d, \"inode\": %lu, \"size_bytes\": %lu, \"attached\": %s",
	       KINDS[report->kind], report->pid, report->tid, report->uid, buffer->inode, buffer->size, buffer->attached ? "true" : "false");
	print_text("way", report->way);
	print_text("comm", report->comm);
	print_text("exporter", buffer->exporter);
	if (buffer->named)
		print_text("name", buffer->name);
	else
		printf(", \"name\": null");
	if (report->kind == FD)
		printf(", \"fd\": %d", report->fd);
	if (report->kind == MAP) {
		printf(", \"start\": %lu, \"length_bytes\": %lu, \"offset_bytes\": %lu", report->start, report->length, report->offset);
		print_text("perms", report->perms);
	}
	printf("}");
}

/* All that one actor has to say, until it is ready. */
static int collect(struct report *reports, int count, int most)
{
	struct pollfd readable = { .fd = report_pipe[0], .events = POLLIN };

	do {
		if (count == most)
			die("too many reports");
		if (poll(&readable, 1, READY_WAIT_MS) != 1 || read(report_pipe[0], &reports[count], sizeof *reports) != sizeof *reports)
			die("an actor does not get ready");
	} while (reports[count++].kind != READY);
	return count;
}

int main(void)
{
	static struct report reports[512];
	pid_t actors[ACTOR_COUNT];
	const char *separator = "";
	char byte;
	int count = 0;

	find_cma_heap();
	if (pipe2(report_pipe, O_CLOEXEC))
		die("pipe");
	for (size_t i = 0; i < ACTOR_COUNT; i++) {
		if (!(actors[i] = fork()))
			act(&ACTORS[i]);
		count = collect(reports, count, sizeof reports / sizeof *reports);
	}

	printf("{\"pid\": %d", getpid());
	print_text("cma_heap", cma_heap);
	printf(",\n\"holds\": [");
	for (int i = 0; i < count; i++)
		if (reports[i].kind <= HIDDEN) {
			printf("%s\n", separator);
			print_hold(&reports[i]);
			separator = ",";
		}
	printf("\n],\n\"left_out\": {");
	separator = "";
	for (int i = 0; i < count; i++)
		if (reports[i].kind == LEFT_OUT) {
			printf("%s\n\"%s\": \"%s\"", separator, reports[i].way, reports[i].why);
			separator = ",";
		}
	printf("\n}}\n");
	fclose(stdout);

	while (read(0, &byte, 1) > 0)
		;
	for (size_t i = 0; i < ACTOR_COUNT; i++) {
		kill(actors[i], SIGKILL);
		waitpid(actors[i], NULL, 0);
	}
	return 0;
}
