// A program that uses dma-heaps as programs do, and as they should not. It knows nothing of heaptop.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>

static int heap(void) { return open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC); }

static int allocate(int heap_fd, uint64_t len, uint32_t fd, uint32_t fd_flags, uint64_t heap_flags) {
	struct dma_heap_allocation_data data = {.len = len, .fd = fd, .fd_flags = fd_flags, .heap_flags = heap_flags};
	return ioctl(heap_fd, DMA_HEAP_IOCTL_ALLOC, &data) ? -errno : (int)data.fd;
}

static int buffer(int heap_fd, size_t len) { return allocate(heap_fd, len, 0, O_RDWR | O_CLOEXEC, 0); }

static int count_fds(void) {
	int count = 0;
	DIR *dir = opendir("/proc/self/fd");
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void *work(void *rounds) {
	int heap_fd = heap();
	for (long i = 0; i < (long)rounds; i++) {
		size_t len = 4096 * (i % 7 + 1);
		int fd = buffer(heap_fd, len);
		if (fd < 0)
			return (void *)1;
		unsigned char *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (at == MAP_FAILED || at[len - 1] != 0 || lseek(fd, 0, SEEK_END) != (off_t)len)
			return (void *)1;
		at[len - 1] = 1;
		munmap(at, len);
		close(fd);
	}
	close(heap_fd);
	return NULL;
}

static int threads(void) {
	pthread_t thread[16];
	int bad = 0;
	for (int i = 0; i < 16; i++)
		pthread_create(&thread[i], NULL, work, (void *)50L);
	for (int i = 0; i < 16; i++) {
		void *result;
		pthread_join(thread[i], &result);
		bad += result != NULL;
	}
	return bad;
}

static int forks(char *self) {
	int bad = 0, status;
	for (int i = 0; i < 8; i++)
		if (fork() == 0)
			_exit(work((void *)25L) != NULL);
	if (vfork() == 0) {
		execl(self, self, "once", NULL);
		_exit(1);
	}
	while (wait(&status) > 0)
		bad += status != 0;
	return bad;
}

static void say(const char *what, int result) { printf("%s %d\n", what, result < 0 ? -result : 0); }
static int result_of(int returned) { return returned < 0 ? -errno : 0; }

static void wrong(void) {
	int heap_fd = heap(), fd = buffer(heap_fd, 8192), before;
	struct dma_buf_sync sync = {.flags = DMA_BUF_SYNC_RW};
	struct dma_heap_allocation_data *locked = mmap(NULL, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	say("good", buffer(heap_fd, 1));
	say("len-0", buffer(heap_fd, 0));
	say("len-wraps", allocate(heap_fd, ~0ULL, 0, O_RDWR, 0));
	say("len-huge", allocate(heap_fd, 1ULL << 50, 0, O_RDWR, 0));
	say("fd", allocate(heap_fd, 4096, 1, O_RDWR, 0));
	say("fd-flags", allocate(heap_fd, 4096, 0, O_RDWR | O_NONBLOCK, 0));
	say("heap-flags", allocate(heap_fd, 4096, 0, O_RDWR, 1));
	say("pointer", result_of(ioctl(heap_fd, DMA_HEAP_IOCTL_ALLOC, (void *)8)));
	locked->len = 4096;
	locked->fd_flags = O_RDWR;
	mprotect(locked, 4096, PROT_READ);
	before = count_fds();
	say("read-only-page", result_of(ioctl(heap_fd, DMA_HEAP_IOCTL_ALLOC, locked)));
	say("fds-left", before - count_fds());
	say("number-1", result_of(ioctl(heap_fd, _IO('H', 1), NULL)));
	say("no-size", result_of(ioctl(heap_fd, _IO('H', 0), NULL)));
	say("closed", buffer(99, 4096));
	say("no-heap", buffer(fd, 4096));
	say("stdin", buffer(0, 4096));
	say("sync", result_of(ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync)));
	sync.flags = 0;
	say("sync-no-direction", result_of(ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync)));
	sync.flags = 99;
	say("sync-flags", result_of(ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync)));
	say("sync-pointer", result_of(ioctl(fd, DMA_BUF_IOCTL_SYNC, (void *)16)));
	say("name", result_of(ioctl(fd, DMA_BUF_SET_NAME_B, "camera")));
	say("name-too-long", result_of(ioctl(fd, DMA_BUF_SET_NAME_B, "0123456789012345678901234567890123")));
	say("name-pointer", result_of(ioctl(fd, DMA_BUF_SET_NAME_B, (void *)16)));
	say("read-only", allocate(heap_fd, 4096, 0, O_RDONLY, 0));
	fd = allocate(heap_fd, 4096, 0, O_RDONLY, 0);
	say("read-only-fd-writable", (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY ? -1 : 0);
	say("kept-on-exec", fcntl(fd, F_GETFD) & FD_CLOEXEC ? -1 : 0);
	say("map-for-writing", mmap(NULL, 4096, 3, MAP_SHARED, fd, 0) == MAP_FAILED ? -errno : 0);
}

static void full(void) {
	int heap_fd = heap(), fd, count = 0;
	struct rlimit limit = {.rlim_cur = heap_fd + 4, .rlim_max = heap_fd + 4};
	setrlimit(RLIMIT_NOFILE, &limit);
	while ((fd = buffer(heap_fd, 4096)) >= 0)
		count++;
	printf("%d %d\n", count, -fd);
}

static void nothing(int number) { (void)number; }

static void signals(void) {
	struct sigaction action = {.sa_handler = nothing};
	struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
	int heap_fd = heap(), good = 0, interrupted = 0, other = 0, before = count_fds(), fd;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 300; i++) {
		fd = buffer(heap_fd, 4096);
		good += fd >= 0;
		interrupted += fd == -EINTR;
		other += fd < 0 && fd != -EINTR;
		if (fd >= 0)
			close(fd);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	printf("%d %d %d\n", good + interrupted, other, count_fds() - before);
}

static void pass(void) {
	int pair[2], heap_fd = heap(), fd = buffer(heap_fd, 8192), received, status;
	char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct dma_buf_sync sync = {.flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ};
	struct stat ours, theirs;
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	fstat(fd, &ours);
	*(int *)mmap(NULL, 8192, 3, MAP_SHARED, fd, 0) = 0xabcd;
	if (fork() == 0) {
		close(fd);
		recvmsg(pair[1], &message, 0);
		memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof received);
		fstat(received, &theirs);
		int *at = mmap(NULL, 8192, PROT_READ, MAP_SHARED, received, 0);
		_exit(!(ours.st_ino == theirs.st_ino && *at == 0xabcd && ioctl(received, DMA_BUF_IOCTL_SYNC, &sync) == 0));
	}
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &fd, sizeof fd);
	sendmsg(pair[0], &message, 0);
	wait(&status);
	printf("%d\n", status);
}

static void orphan(void) {
	char byte;
	if (fork() == 0) {
		setsid();
		if (fork() == 0) {
			if (read(0, &byte, 1) != 0)  // until the test says so by closing
				_exit(1);
			dprintf(1, "%d\n", buffer(heap(), 4096) >= 0);
			_exit(0);
		}
		_exit(0);
	}
	wait(NULL);
}

static int loop(void) {
	int heap_fd = heap(), fd;
	dprintf(1, "%d\n", getpid());
	while ((fd = buffer(heap_fd, 4096)) >= 0)
		close(fd);
	dprintf(1, "%d\n", -fd);
	return 9;
}

static void hold(void) {
	char byte;
	int heap_fd = heap(), fd = buffer(heap_fd, 1 << 20);
	dprintf(1, "%d %d\n", getpid(), fd);
	if (read(0, &byte, 1) < 0)
		return;
	dprintf(1, "%d\n", buffer(heap_fd, 4096) >= 0);
}

int main(int count, char **words) {
	const char *what = count > 1 ? words[1] : "once";
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(what, "threads"))
		return threads();
	if (!strcmp(what, "forks"))
		return forks(words[0]);
	if (!strcmp(what, "wrong"))
		wrong();
	else if (!strcmp(what, "full"))
		full();
	else if (!strcmp(what, "signals"))
		signals();
	else if (!strcmp(what, "pass"))
		pass();
	else if (!strcmp(what, "orphan"))
		orphan();
	else if (!strcmp(what, "loop"))
		return loop();
	else if (!strcmp(what, "hold"))
		hold();
	else
		return buffer(heap(), 4096) < 0;
	return 0;
}
