/*
 * PID 1 of the guest. It makes the host's root filesystem the guest's own (9p, read-only, under a tmpfs overlay: what is
 * written is gone afterwards), mounts what a kernel offers to look at, runs the command that the initrd names, hands its
 * exit status to the host, and powers off. Static, so that the initrd needs nothing but this program.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 256
#define PORT_WAIT_MS 5000

static void say(const char *what, const char *detail)
{
	dprintf(2, "heaptop-vm: %s%s%s\n", what, *detail ? ": " : "", detail);
}

static void power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void fail(const char *what)
{
	say(what, strerror(errno));
	power_off();
}

static void insert_modules(void)
{
	char name[128], path[160];
	FILE *list = fopen("/mods/list", "re");

	while (list && fscanf(list, "%127s", name) == 1) {
		snprintf(path, sizeof path, "/mods/%s", name);
		int module = open(path, O_RDONLY | O_CLOEXEC);
		if (module < 0 || (syscall(SYS_finit_module, module, "", 0) && errno != EEXIST))
			say(name, strerror(errno));
		close(module);
	}
	if (list)
		fclose(list);
}

static void mount_root(void)
{
	mkdir("/lower", 0755);
	mkdir("/upper", 0755);
	mkdir("/root", 0755);
	if (mount("tmpfs", "/upper", "tmpfs", 0, "") || mkdir("/upper/files", 0755) || mkdir("/upper/work", 0755))
		fail("tmpfs");
	if (mount("host", "/lower", "9p", MS_RDONLY, "trans=virtio,version=9p2000.L,msize=512000,cache=loose"))
		fail("9p");
	if (mount("overlay", "/root", "overlay", 0, "lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work"))
		fail("overlay");
}

static const struct {
	const char *type, *target, *options;
	int required;
} MOUNTS[] = {
	{ "proc", "/proc", "", 1 },
	{ "sysfs", "/sys", "", 1 },
	{ "devtmpfs", "/dev", "", 1 },
	{ "tmpfs", "/run", "mode=755", 1 },
	{ "devpts", "/dev/pts", "ptmxmode=666", 0 },
	{ "tmpfs", "/dev/shm", "", 0 },
	{ "debugfs", "/sys/kernel/debug", "", 0 },
	{ "tracefs", "/sys/kernel/tracing", "", 0 },
	{ "bpf", "/sys/fs/bpf", "", 0 },
	{ "cgroup2", "/sys/fs/cgroup", "", 0 },
};

static void mount_all(void)
{
	char target[64];

	for (size_t i = 0; i < sizeof MOUNTS / sizeof *MOUNTS; i++) {
		snprintf(target, sizeof target, "/root%s", MOUNTS[i].target);
		mkdir(target, 0755);
		if (mount(MOUNTS[i].type, target, MOUNTS[i].type, 0, MOUNTS[i].options)) {
			if (MOUNTS[i].required)
				fail(MOUNTS[i].target);
			say(MOUNTS[i].target, strerror(errno));
		}
	}
}

/* As switch_root(8) does it: a mere chroot would forbid the tests to make user namespaces. */
static void enter_root(void)
{
	if (chdir("/root") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		fail("root");
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
	int console = open("/dev/console", O_RDWR | O_NOCTTY);
	if (console >= 0)
		dup2(console, 2);
	sethostname("heaptop-vm", strlen("heaptop-vm"));
}

/* The virtio-serial port of that name, or -1. */
static int find_port(const char *wanted)
{
	char path[512], name[64];
	int found = -1;
	struct dirent *entry;
	DIR *ports = opendir("/sys/class/virtio-ports");

	while (ports && found < 0 && (entry = readdir(ports))) {
		snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
		FILE *file = fopen(path, "re");
		if (file && fscanf(file, "%63s", name) == 1 && !strcmp(name, wanted)) {
			snprintf(path, sizeof path, "/dev/%s", entry->d_name);
			found = open(path, O_WRONLY | O_CLOEXEC);
		}
		if (file)
			fclose(file);
	}
	if (ports)
		closedir(ports);
	return found;
}

/* A port's name comes in a message of the device, some time after the driver is there. */
static int open_port(const char *name)
{
	for (int waited_ms = 0; waited_ms < PORT_WAIT_MS; waited_ms += 10) {
		int port = find_port(name);
		if (port >= 0)
			return port;
		usleep(10000);
	}
	fail(name);
	return -1;
}

/* /command has the arguments, each ended by a NUL. */
static char **read_command(void)
{
	static char text[65536], *arguments[ARGUMENTS_MAX + 1];
	int file = open("/command", O_RDONLY | O_CLOEXEC), count = 0;
	ssize_t length = read(file, text, sizeof text - 1);

	if (length <= 0)
		fail("/command");
	for (char *at = text; at < text + length && count < ARGUMENTS_MAX; at += strlen(at) + 1)
		arguments[count++] = at;
	close(file);
	return arguments;
}

static int run(char **arguments)
{
	int status, output = open_port("heaptop.output");
	pid_t child = fork();

	if (!child) {
		setsid();
		dup2(open("/dev/null", O_RDONLY), 0);
		dup2(output, 1);
		dup2(output, 2);
		execv(arguments[0], arguments);
		dprintf(2, "heaptop-vm: %s: %s\n", arguments[0], strerror(errno));
		_exit(127);
	}
	for (pid_t ended = 0; ended != child;) /* the orphans as well */
		if ((ended = wait(&status)) < 0 && errno != EINTR)
			fail("wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(void)
{
	char **arguments = read_command();

	insert_modules();
	mount_root();
	mount_all();
	enter_root();
	int status = run(arguments), port = open_port("heaptop.status");
	dprintf(port, "%d\n", status);
	close(port);
	power_off();
}
