#include "keeper/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/vfs.h>

static int detach_unified(struct err *err)
{
	struct statfs top, unified;
	if (statfs("/sys/fs/cgroup", &top) < 0 || top.f_type != TMPFS_MAGIC ||
	    statfs("/sys/fs/cgroup/unified", &unified) < 0 || unified.f_type != CGROUP2_SUPER_MAGIC)
		return 0;
	if (umount2("/sys/fs/cgroup/unified", MNT_DETACH) < 0)
		return err_set_errno(err, -errno, "cannot detach '/sys/fs/cgroup/unified'");
	return 0;
}

int namespace_make(struct err *err)
{
	if (unshare(CLONE_NEWNS) < 0) {
		err_set_errno(err, -errno, "cannot make a mount namespace");
		return err_hint(err, "run as root; in a container, CAP_SYS_ADMIN is needed");
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_set_errno(err, -errno, "cannot keep mounts to this namespace");
	return detach_unified(err);
}

int namespace_join(pid_t pid, struct err *err)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNS) < 0)
		return err_set_errno(err, -errno, "cannot join the mount namespace of process %d", (int)pid);
	return 0;
}
