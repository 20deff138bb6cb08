// Many processes: crowd COUNT SHARED BUFFERS [EVERY_US]. SHARED has an f where they share their fd table with their parent, an m for
// its memory. Who gets SIGUSR1 opens and maps one buffer more. With EVERY_US short-lived ones come and go for ever.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { STACK = 16 << 10 };

static void add(int signal) {
	(void)signal;
	int fd = memfd_create("dmabuf-crowd", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 4096) || mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
		_exit(1);
}

static int stay(void *parent) {
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == *(pid_t *)parent)
		pause();
	return 0;
}

static int go(void *parent) {
	(void)parent;
	add(0);
	return 0;
}

int main(int count_words, char **words) {
	if (count_words < 4)
		return 2;
	int count = atoi(words[1]), buffers = atoi(words[3]), flags = SIGCHLD;
	flags |= strchr(words[2], 'f') ? CLONE_FILES : 0;
	flags |= strchr(words[2], 'm') ? CLONE_VM : 0;
	pid_t self = getpid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGUSR1, add);
	signal(SIGCHLD, SIG_IGN);
	for (int i = 0; i < buffers; i++)
		add(0);
	char *stacks = mmap(NULL, (size_t)(count + 1) * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 1; i <= count; i++) {
		char *stack = stacks + (size_t)(flags & CLONE_VM ? i : 1) * STACK; // a copy of the memory has a stack of its own
		if (clone(stay, stack, flags, &self) < 0) {
			perror("clone");
			return 1;
		}
	}
	printf("%d\n", self);
	fflush(stdout);
	while (count_words > 4) {
		clone(go, stacks + (size_t)(count + 1) * STACK, SIGCHLD, &self);
		usleep(atoi(words[4]));
	}
	while (1)
		pause();
}
