#include "agent/container/identity.h"

#include "base/cleanup.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { SYSTEM_IDS = 1022, NOBODY = 65534 };

uint32_t identity_base(uint32_t address)
{
	return (address & 0x3fffff) * IDENTITY_RANGE;
}

unsigned identity_map(uint32_t base, uint32_t id, struct identity_extent extents[IDENTITY_EXTENTS])
{
	unsigned n = 0;
	extents[n++] = (struct identity_extent){ 0, base, SYSTEM_IDS };
	if (id >= SYSTEM_IDS && id != NOBODY)
		extents[n++] = (struct identity_extent){ id, base + SYSTEM_IDS, 1 };
	extents[n++] = (struct identity_extent){ NOBODY, base + IDENTITY_RANGE - 1, 1 };
	return n;
}

uint32_t identity_outside(uint32_t base, uint32_t id, uint32_t inside)
{
	struct identity_extent extents[IDENTITY_EXTENTS];
	unsigned n = identity_map(base, id, extents);
	for (unsigned i = 0; i < n; i++) {
		if (inside - extents[i].inside < extents[i].count)
			return extents[i].outside + (inside - extents[i].inside);
	}
	return UINT32_MAX;
}

static int write_map(pid_t pid, const char *name, uint32_t base, uint32_t id)
{
	char path[64], text[256];
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);

	struct identity_extent extents[IDENTITY_EXTENTS];
	unsigned n = identity_map(base, id, extents);
	int length = 0;
	for (unsigned i = 0; i < n; i++)
		length += snprintf(text + length, sizeof(text) - (size_t)length, "%u %u %u\n", extents[i].inside,
				   extents[i].outside, extents[i].count);

	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, text, (size_t)length) == length ? 0 : -errno; // one write: the kernel takes no second
}

// Shares the caller's memory, so it may do nothing but wait to be killed. It has the caller's descriptors, locks and
// sockets among them: it must not outlive a caller that is killed itself.
__attribute__((no_sanitize("address", "undefined", "thread"))) static int wait_for_end(void *arg)
{
	syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (syscall(SYS_getppid) != (pid_t)(intptr_t)arg)
		syscall(SYS_exit, 0);
	for (;;)
		syscall(SYS_pause);
	return 0;
}

static int open_namespace(pid_t pid, uint32_t base, uint32_t uid, uint32_t gid)
{
	int r = write_map(pid, "uid_map", base, uid);
	if (r < 0)
		return r;
	r = write_map(pid, "gid_map", base, gid);
	if (r < 0)
		return r;

	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int identity_userns_open(uint32_t base, uint32_t uid, uint32_t gid)
{
	// A process is the only way to a new user namespace. Sharing memory makes it cheap; without an exit signal no
	// other part of this program takes notice of it.
	_Alignas(16) char stack[16384];
	pid_t pid = clone(wait_for_end, stack + sizeof(stack), CLONE_NEWUSER | CLONE_VM, (void *)(intptr_t)getpid());
	if (pid < 0)
		return -errno;

	int fd = open_namespace(pid, base, uid, gid);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	return fd;
}

static int find_outside(pid_t pid, const char *name, uint32_t inside, uint32_t *ret)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	if (!file)
		return -errno;
	struct identity_extent extent;
	while (fscanf(file, "%u %u %u", &extent.inside, &extent.outside, &extent.count) == 3) {
		if (inside - extent.inside >= extent.count)
			continue;
		*ret = extent.outside + (inside - extent.inside);
		return 0;
	}
	return -ERANGE;
}

int identity_of_process(pid_t pid, uint32_t uid, uint32_t gid, uint32_t *ret_uid, uint32_t *ret_gid)
{
	int r = find_outside(pid, "uid_map", uid, ret_uid);
	return r < 0 ? r : find_outside(pid, "gid_map", gid, ret_gid);
}
