#include "main/stop.h"

#include "base/str.h"
#include "io/process.h"
#include "keeper/state.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>

#define STOP_MS 45000 // longer than the supervisor gives the keeper
#define PART_MS 12000

// SIGTERM, and after timeout_ms SIGKILL, to a process known by its pidfd; until it is gone.
static int end_process(int pidfd, const char *name, unsigned timeout_ms, struct err *err)
{
	struct pollfd gone = { .fd = pidfd, .events = POLLIN };
	pidfd_signal(pidfd, SIGTERM);
	if (poll(&gone, 1, (int)timeout_ms) > 0)
		return 0;
	fprintf(stderr, "the %s did not end within %u s and is killed\n", name, timeout_ms / 1000);
	pidfd_signal(pidfd, SIGKILL);
	return poll(&gone, 1, 5000) > 0 ? 0 : err_set(err, -ETIMEDOUT, "the %s does not die", name);
}

// Ends whoever holds the lock. *stopped: whether there was anybody.
static int end_holder(const char *data, const char *name, const char *lock_name, bool *stopped, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/run/%s.lock", data, lock_name);
	pid_t pid = lock_holder(path);
	AUTO_CLOSE int pidfd = pid > 0 ? pidfd_open_cloexec(pid) : -ESRCH;
	if (pidfd < 0 || lock_holder(path) != pid) // looked at again after opening: it is still that process
		return 0;
	*stopped = true;
	return end_process(pidfd, name, STOP_MS, err);
}

int stop_supervisor(const char *data, bool *stopped, struct err *err)
{
	return end_holder(data, "supervisor", "up", stopped, err);
}

// What a killed keeper left behind.
static int end_parts(const char *data, bool *stopped, struct err *err)
{
	struct keeper_state state;
	if (keeper_state_read(data, &state) < 0)
		return 0;
	int result = 0;
	for (unsigned n = 0; n < state.n_parts; n++) {
		AUTO_CLOSE int pidfd = identity_open(&state.parts[n].identity);
		if (pidfd < 0)
			continue;
		*stopped = true;
		int r = end_process(pidfd, state.parts[n].name, PART_MS, err);
		result = r < 0 ? r : result;
	}
	return result;
}

int stop_platform(const char *data, bool *stopped, struct err *err)
{
	int r = end_holder(data, "keeper", "keeper", stopped, err);
	return r < 0 ? r : end_parts(data, stopped, err);
}
