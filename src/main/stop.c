#include "main/stop.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/process.h"
#include "keeper/client.h"
#include "keeper/part_log.h"
#include "keeper/state.h"
#include "main/running.h"
#include "main/say.h"
#include "main/supervise.h"
#include "model/platform.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>

#define STOP_MS 45000 // longer than the supervisor gives the keeper
#define PART_MS 12000
#define ANSWER_MS 5000 // the keeper, to a request
#define START_MS 10000 // a keeper that only holds
#define END_MS 2000    // a keeper that has nothing left to hold
#define LOOK_MS 20

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

// Whoever holds the lock: a pidfd, or -ESRCH.
static int open_holder(const char *data, const char *lock_name)
{
	AUTO_FREE char *path = xasprintf("%s/run/%s.lock", data, lock_name);
	pid_t pid = lock_holder(path);
	AUTO_CLOSE int pidfd = pid > 0 ? pidfd_open_cloexec(pid) : -ESRCH;
	if (pidfd < 0 || lock_holder(path) != pid) // looked at again after opening: it is still that process
		return -ESRCH;
	return TAKE_FD(pidfd);
}

int stop_supervisor(const char *data, bool *stopped, struct err *err)
{
	AUTO_CLOSE int pidfd = open_holder(data, "up");
	if (pidfd < 0)
		return 0;
	*stopped = true;
	return end_process(pidfd, "supervisor", STOP_MS, err);
}

// Until the keeper is gone, or holds.
static bool wait_for_keeper(const char *data, int pidfd, unsigned timeout_ms)
{
	struct pollfd gone = { .fd = pidfd, .events = POLLIN };
	for (uint64_t deadline = monotonic_ms() + timeout_ms; monotonic_ms() < deadline;)
		if (poll(&gone, 1, LOOK_MS) > 0 || keeper_holding(data))
			return true;
	return false;
}

static int stop_keeper(const char *data, bool *stopped, struct err *err)
{
	AUTO_CLOSE int pidfd = open_holder(data, "keeper");
	if (pidfd < 0 || keeper_holding(data))
		return 0;
	*stopped = true;
	if (keeper_stop(data, ANSWER_MS, NULL) < 0)
		pidfd_signal(pidfd, SIGTERM); // it is at its start, or its end
	return wait_for_keeper(data, pidfd, STOP_MS) ? 0 : end_process(pidfd, "keeper", PART_MS, err);
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
	int r = stop_keeper(data, stopped, err);
	return r < 0 ? r : end_parts(data, stopped, err);
}

static int start_holder(const char *data, const char *http, struct err *err)
{
	AUTO_FREE char *exe = supervise_exe();
	const char *argv[] = { exe, "keeper", "--data", data, "--http", http, "--hold", NULL };
	AUTO_CLOSE int log = part_log_open(data, "keeper");
	AUTO_CLOSE int pidfd = -1;
	struct process_spec spec = PROCESS_SPEC_INIT;
	spec.argv = argv;
	spec.stdout_fd = spec.stderr_fd = log;
	spec.cwd = "/";
	spec.new_session = true;
	pid_t pid;
	int r = process_spawn(&spec, &pid, &pidfd, err);
	if (r < 0)
		return r;
	if (wait_for_keeper(data, pidfd, START_MS) && (keeper_holding(data) || running_count(data) == 0))
		return 0;
	say_log(data, "keeper", 3);
	return err_set(err, -EIO, "no keeper can be started to keep the instances' output");
}

int stop_hold(const char *data, struct err *err)
{
	AUTO_PLATFORM struct platform platform = { 0 };
	if (running_count(data) == 0 || keeper_holding(data))
		return 0;
	int r = platform_load(data, &platform, err);
	return r < 0 ? r : start_holder(data, platform.http, err);
}

int stop_holder(const char *data, struct err *err)
{
	AUTO_CLOSE int pidfd = keeper_holding(data) ? open_holder(data, "keeper") : -ESRCH;
	struct pollfd gone = { .fd = pidfd, .events = POLLIN };
	if (pidfd < 0 || (running_count(data) == 0 && poll(&gone, 1, END_MS) > 0))
		return 0;
	return end_process(pidfd, "keeper", PART_MS, err);
}
