#include "agent/sole.h"

#include "base/log.h"
#include "base/str.h"
#include "io/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>

enum { TRIES = 5, END_MS = 1000 };

static void end_holder(pid_t pid)
{
	AUTO_CLOSE int pidfd = pidfd_open_cloexec(pid);
	if (pidfd < 0)
		return;
	log_warn("another agent pid=%d is ended: this one was started in its place", pid);
	pidfd_signal(pidfd, SIGKILL);
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	poll(&ended, 1, END_MS);
}

int sole_agent(const char *data, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/run/agent.lock", data);
	// Never closed: closing any descriptor of the file would give the lock back (fcntl(2)).
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot open %s", path);
	for (int i = 0; i < TRIES; i++) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		if (fcntl(fd, F_SETLK, &lock) == 0)
			return 0;
		// Asked of the kernel, so the pid is that of a process which holds the lock now.
		if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
			end_holder(lock.l_pid);
	}
	return err_set(err, -EBUSY, "another agent holds %s and does not end", path);
}
