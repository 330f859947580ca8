#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

static void fork_until_refused(int limit)
{
	int n = 0;
	pid_t children[4096];
	while (n < 4096 && (children[n] = fork()) > 0)
		n++;
	if (children[n] == 0 && n < 4096) {
		pause();
		_exit(0);
	}
	int code = errno;
	for (int i = 0; i < n; i++)
		kill(children[i], SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	works("some_processes", n >= limit / 2, "far fewer than the limit");
	errno = code;
	refused("fork_bomb", n < limit ? -1 : n);
}

static void fill(const char *name, const char *path, uint64_t limit)
{
	static char block[1 << 16];
	uint64_t written = 0;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	long n = fd < 0 ? -1 : 0;
	while (n >= 0 && written <= limit && (n = write(fd, block, sizeof(block))) > 0)
		written += (uint64_t)n;
	int code = errno;
	unlink(path);
	close(fd);
	errno = code;
	refused(name, written <= limit ? -1 : 0);
}

static void make_files(const char *name, const char *folder, int limit)
{
	char path[64];
	int n = 0;
	for (; n <= limit; n++) {
		snprintf(path, sizeof(path), "%s/f%d", folder, n);
		int fd = open(path, O_WRONLY | O_CREAT, 0600);
		if (fd < 0)
			break;
		close(fd);
	}
	int code = errno;
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/f%d", folder, i);
		unlink(path);
	}
	errno = code;
	refused(name, n <= limit ? -1 : n);
}

int limits(int pids, uint64_t scratch)
{
	fork_until_refused(pids);
	fill("fill_scratch", "/tmp/fill", scratch);
	make_files("many_files", "/tmp", (int)(scratch / 4096 + 4096));
	fill("fill_run", getuid() ? "/run/fill" : "/tmp/fill", scratch < 4 << 20 ? 4 << 20 : scratch); // in memory /run has 4 MiB
	return failures != 0;
}

int eat(uint64_t bytes)
{
	for (uint64_t done = 0; done < bytes; done += 1 << 20) {
		char *block = malloc(1 << 20);
		if (!block)
			break;
		memset(block, 1, 1 << 20);
		__asm__ volatile("" : : "r"(block) : "memory"); // it is used: no compiler may leave it out
	}
	puts("eat ALLOWED");
	return 1;
}

int spill(uint64_t bytes)
{
	static char block[1 << 16];
	struct statvfs vfs;
	uint64_t written = 0;
	int fd = open("/tmp/spill", O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || fstatvfs(fd, &vfs) < 0)
		return printf("spill BROKEN %s\n", strerror(errno)), 1;
	printf("room %llu\n", (unsigned long long)vfs.f_bavail * vfs.f_frsize);
	memset(block, 'x', sizeof(block));
	for (long n; written < bytes && (n = write(fd, block, sizeof(block))) > 0;)
		written += (uint64_t)n;
	printf("spilled %llu\n", (unsigned long long)written);
	return fsync(fd) < 0 ? 1 : 0;
}
