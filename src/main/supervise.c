#include "main/supervise.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "io/process.h"
#include "keeper/client.h"
#include "keeper/part_log.h"
#include "keeper/state.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#define STOP_MS 40000     // the keeper gives its children 10 s twice
#define REAP_AFTER_MS 200 // orphans of a dead keeper: its successor reads their status while they are zombies
#define FAILURES 3        // starts in a row that ended within SOUND_MS, before the first sound one
#define SOUND_MS 2000
#define BACKOFF_CAP_MS 5000
#define RESUME_MS 5000 // a keeper that holds, to go on or to end

// What is going on; one a process.
struct watch {
	struct supervisor *supervisor;
	int signals;
	pid_t keeper;
	int pidfd;
	bool stopping, failed, sound;
	uint64_t started_ms, stop_by_ms, reap_at_ms; // 0: not set
	unsigned failures;
};

static const int caught[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };

static sigset_t caught_set(void)
{
	sigset_t set;
	sigemptyset(&set);
	for (size_t n = 0; n < ARRAY_LEN(caught); n++)
		sigaddset(&set, caught[n]);
	return set;
}

void supervise_prepare(void)
{
	sigset_t set = caught_set();
	sigprocmask(SIG_BLOCK, &set, NULL);
}

char *supervise_exe(void)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	if (str_ends(exe, " (deleted)"))
		exe[n - 10] = '\0';
	return xstrdup(exe);
}

static int spawn_keeper(struct watch *w, struct err *err)
{
	const struct platform *p = w->supervisor->platform;
	AUTO_FREE char *exe = supervise_exe();
	const char *argv[] = { exe, "keeper", "--data", p->data, "--http", p->http, NULL };
	AUTO_CLOSE int log = part_log_open(p->data, "keeper");
	struct process_spec spec = PROCESS_SPEC_INIT;
	spec.argv = argv;
	spec.stdout_fd = spec.stderr_fd = log;
	spec.cwd = "/";
	spec.new_session = true;
	return process_spawn(&spec, &w->keeper, &w->pidfd, err);
}

static void start_keeper(struct watch *w)
{
	struct err err = { 0 };
	w->started_ms = monotonic_ms();
	if (spawn_keeper(w, &err) == 0)
		return;
	log_error("%s", err.text);
	w->keeper = 0;
	w->pidfd = -1;
	w->failed = true;
}

// What `down` left to keep the output of containers goes on as the platform's keeper, their parent still.
static int resume(const struct platform *p, struct err *err)
{
	AUTO_FREE char *exe = supervise_exe();
	const char *argv[] = { exe, "keeper", "--data", p->data, "--http", p->http, "--resume", NULL };
	return keeper_resume(p->data, argv, RESUME_MS, err);
}

// It gives way to a new one, which adopts its containers.
static void replace(int pidfd, const struct err *reason)
{
	struct pollfd gone = { .fd = pidfd, .events = POLLIN };
	log_warn("keeper replaced reason=\"%s\"", reason->text);
	pidfd_signal(pidfd, SIGTERM);
	if (poll(&gone, 1, RESUME_MS) > 0)
		return;
	pidfd_signal(pidfd, SIGKILL);
	poll(&gone, 1, RESUME_MS);
}

// A keeper whose supervisor was killed runs on, and one may hold; it is not this process's child.
static bool take_over(struct watch *w)
{
	const struct platform *p = w->supervisor->platform;
	AUTO_FREE char *lock = xasprintf("%s/run/keeper.lock", p->data);
	pid_t pid = lock_holder(lock);
	AUTO_CLOSE int pidfd = pid > 0 ? pidfd_open_cloexec(pid) : -ESRCH;
	if (pidfd < 0)
		return false;
	struct err err = { 0 };
	if (keeper_holding(p->data) && resume(p, &err) < 0) {
		replace(pidfd, &err);
		return false;
	}
	log_info("keeper taken over pid=%d", (int)pid);
	w->keeper = pid;
	w->pidfd = TAKE_FD(pidfd);
	w->started_ms = monotonic_ms();
	return true;
}

static void stop(struct watch *w)
{
	if (w->stopping)
		return;
	w->stopping = true;
	w->stop_by_ms = monotonic_ms() + STOP_MS;
	if (w->pidfd >= 0)
		pidfd_signal(w->pidfd, SIGTERM);
}

static void keeper_gone(struct watch *w)
{
	int status = 0;
	bool known = waitpid(w->keeper, &status, 0) == w->keeper;
	close(w->pidfd);
	w->pidfd = -1;
	w->keeper = 0;
	if (w->stopping)
		return;
	if (known && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		w->stopping = true; // it was asked to stop, by `down` for example
		return;
	}
	bool lived = monotonic_ms() - w->started_ms > SOUND_MS;
	w->sound = w->sound || lived;
	w->failures = lived ? 0 : w->failures + 1;
	log_warn("keeper ended status=%d signal=%d", known && WIFEXITED(status) ? WEXITSTATUS(status) : -1,
		 known && WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	if (!w->sound && w->failures >= FAILURES && known && WIFEXITED(status)) {
		w->failed = true; // it has never run and says why in its log
		return;
	}
	uint64_t wait_ms = w->failures < 2 ? 0 : 100ull << (w->failures < 8 ? w->failures - 2 : 6);
	usleep((useconds_t)(wait_ms < BACKOFF_CAP_MS ? wait_ms : BACKOFF_CAP_MS) * 1000);
	// The one that could not start may have met another: the last deed of a supervisor that was killed.
	if (!take_over(w))
		start_keeper(w);
}

static void reap_waiter(struct watch *w)
{
	int status = 0;
	pid_t waiter = w->supervisor->waiter;
	if (waiter <= 0 || waitpid(waiter, &status, WNOHANG) != waiter)
		return;
	w->supervisor->waiter = 0;
	w->sound = true;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	w->failed = true;
	stop(w);
}

static void reap_orphans(struct watch *w)
{
	w->reap_at_ms = 0;
	for (;;) {
		siginfo_t info = { 0 };
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
			return;
		if (info.si_pid == w->keeper || info.si_pid == w->supervisor->waiter) {
			w->reap_at_ms = monotonic_ms() + REAP_AFTER_MS; // first these, through pidfd and SIGCHLD
			return;
		}
		waitpid(info.si_pid, NULL, WNOHANG);
	}
}

static void take_signals(struct watch *w)
{
	struct signalfd_siginfo info;
	while (read(w->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo != SIGCHLD) {
			stop(w);
			continue;
		}
		reap_waiter(w);
		if (!w->reap_at_ms)
			w->reap_at_ms = monotonic_ms() + REAP_AFTER_MS;
	}
}

// The platform is down, and the keeper stays for the containers.
static void leave_holding(struct watch *w)
{
	if (w->pidfd < 0 || !keeper_holding(w->supervisor->platform->data))
		return;
	close(w->pidfd);
	w->pidfd = -1;
	w->stopping = true;
}

static int wait_ms(const struct watch *w)
{
	uint64_t now = monotonic_ms(), next = UINT64_MAX;
	if (w->reap_at_ms)
		next = w->reap_at_ms;
	if (w->stopping && w->stop_by_ms < next)
		next = w->stop_by_ms;
	if (next == UINT64_MAX)
		return -1;
	return next > now ? (int)(next - now) : 0;
}

static void turn(struct watch *w)
{
	struct pollfd fds[] = { { .fd = w->signals, .events = POLLIN }, { .fd = w->pidfd, .events = POLLIN } };
	poll(fds, ARRAY_LEN(fds), wait_ms(w));
	if (fds[0].revents)
		take_signals(w);
	if (w->pidfd >= 0 && fds[1].revents)
		keeper_gone(w);
	if (w->reap_at_ms && monotonic_ms() >= w->reap_at_ms)
		reap_orphans(w);
	leave_holding(w);
	if (w->stopping && w->pidfd >= 0 && monotonic_ms() >= w->stop_by_ms) {
		log_warn("keeper killed reason=\"did not end in %d ms\"", STOP_MS);
		pidfd_signal(w->pidfd, SIGKILL);
		w->stop_by_ms = monotonic_ms() + 1000;
	}
}

int supervise(struct supervisor *supervisor)
{
	sigset_t set = caught_set();
	struct watch w = { .supervisor = supervisor, .pidfd = -1 };
	w.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	prctl(PR_SET_CHILD_SUBREAPER, 1); // what a dead keeper leaves comes here and is reaped
	if (!take_over(&w))
		start_keeper(&w);
	while (w.pidfd >= 0)
		turn(&w);
	close(w.signals);
	if (supervisor->waiter > 0) {
		kill(supervisor->waiter, SIGTERM);
		waitpid(supervisor->waiter, NULL, 0);
	}
	return w.failed ? 1 : 0;
}
