#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "keeper/end.h"
#include "keeper/hold.h"
#include "keeper/keeper.h"
#include "keeper/part_log.h"
#include "keeper/private.h"
#include "keeper/state.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#define BACKOFF_MS 100
#define BACKOFF_CAP_MS 5000
#define SOUND_RUN_MS 10000 // a run this long clears the failures
#define LOG_CHECK_MS 30000
#define STOP_MS 10000 // for server and agent together, then again for the router

static const char *const part_names[PARTS] = {
	[PART_SERVER] = "server", [PART_AGENT] = "agent", [PART_ROUTER] = "router"
};

static bool runs(const struct part *p)
{
	return p->identity.pid > 0;
}

void state_save(const struct keeper *k)
{
	struct keeper_state state = { .n_parts = PARTS, .holding = k->holding ? getpid() : 0 };
	memcpy(state.boot, k->boot, sizeof(state.boot));
	snprintf(state.http, sizeof(state.http), "%s", k->http);
	for (size_t n = 0; n < PARTS; n++) {
		snprintf(state.parts[n].name, sizeof(state.parts[n].name), "%s", part_names[n]);
		state.parts[n].identity = k->parts[n].identity;
		state.parts[n].restarts = k->parts[n].restarts;
	}
	struct err err = { 0 };
	if (keeper_state_write(k->data, &state, &err) < 0)
		log_error("a successor will not find the platform's processes error=\"%s\"", err.text);
}

static int spawn(struct part *p)
{
	struct keeper *k = p->keeper;
	AUTO_CLOSE int log = part_log_open(k->data, p->name);
	const char *argv[] = { k->exe, p->name, "--data", k->data, NULL };
	int listen_fd = KEEPER_LISTEN_FD;
	struct process_spec spec = PROCESS_SPEC_INIT;
	spec.argv = argv;
	spec.stdout_fd = spec.stderr_fd = log;
	spec.new_session = true; // the terminal's Ctrl-C is for `up` alone
	spec.pass_fds = &listen_fd;
	bool is_router = p == &k->parts[PART_ROUTER];
	spec.n_pass_fds = is_router ? 1 : 0;
	if (is_router)
		setenv("DIALTONE_LISTEN_FD", "3", 1);
	struct err err = { 0 };
	pid_t pid;
	int r = process_spawn(&spec, &pid, NULL, &err);
	unsetenv("DIALTONE_LISTEN_FD");
	if (r < 0) {
		log_error("cannot start part=%s error=\"%s\"", p->name, err.text);
		return r;
	}
	identity_of(pid, &p->identity); // a child stays there until it is reaped
	return 0;
}

static void restart_later(struct part *p)
{
	if (monotonic_ms() - p->started_ms > SOUND_RUN_MS)
		p->failures = 0;
	uint64_t delay_ms = p->failures == 0 ? 0 : (uint64_t)BACKOFF_MS << (p->failures < 10 ? p->failures - 1 : 9);
	p->failures++;
	p->restarts++;
	timer_set(&p->restart, delay_ms < BACKOFF_CAP_MS ? delay_ms : BACKOFF_CAP_MS);
}

static void stop_next(struct keeper *k);

static void gone(struct part *p, bool known, int status)
{
	log_warn("ended part=%s pid=%d status=%d signal=%d%s", p->name, (int)p->identity.pid,
		 known && WIFEXITED(status) ? WEXITSTATUS(status) : -1,
		 known && WIFSIGNALED(status) ? WTERMSIG(status) : 0, known ? "" : " unseen=yes");
	poll_stop(&p->ended);
	cleanup_close(&p->pidfd);
	p->pidfd = -1;
	p->identity = (struct process_identity){ 0 };
	if (p->keeper->stopping)
		stop_next(p->keeper);
	else
		restart_later(p);
	state_save(p->keeper);
}

static void pidfd_ready(struct poll *poll, UNUSED int events)
{
	struct part *p = CONTAINER_OF(poll, struct part, ended);
	int status = 0;
	int r = process_end(&p->identity, p->pidfd, &status);
	if (r != 0)
		gone(p, r == 1, status);
}

static int watch(struct part *p, int pidfd)
{
	p->pidfd = pidfd;
	p->started_ms = monotonic_ms();
	return poll_start(&p->ended, p->keeper->loop, pidfd, POLL_READ, pidfd_ready);
}

static void start(struct part *p)
{
	p->started_ms = monotonic_ms();
	int r = spawn(p);
	int pidfd = r < 0 ? r : pidfd_open_cloexec(p->identity.pid);
	if (r == 0 && (pidfd < 0 || watch(p, pidfd) < 0)) {
		log_error("cannot watch part=%s", p->name);
		kill(p->identity.pid, SIGKILL); // our child, not reaped yet
		r = -EIO;
	}
	if (r < 0) {
		p->identity = (struct process_identity){ 0 };
		p->failures++; // no immediate second try for this one
		restart_later(p);
		return;
	}
	log_info("started part=%s pid=%d", p->name, (int)p->identity.pid);
	state_save(p->keeper);
}

static void restart_fired(struct timer *timer)
{
	start(CONTAINER_OF(timer, struct part, restart));
}

static void check_logs(struct timer *timer)
{
	struct keeper *k = CONTAINER_OF(timer, struct keeper, check_logs);
	for (size_t n = 0; n < PARTS; n++)
		part_log_limit(k->data, part_names[n]);
	part_log_limit(k->data, "keeper");
	part_log_limit(k->data, "up");
	timer_set(timer, LOG_CHECK_MS);
}

void parts_init(struct keeper *k)
{
	timer_init(&k->check_logs, k->loop, check_logs);
	timer_set(&k->check_logs, LOG_CHECK_MS);
	for (size_t n = 0; n < PARTS; n++) {
		k->parts[n] = (struct part){ .name = part_names[n], .keeper = k, .pidfd = -1 };
		timer_init(&k->parts[n].restart, k->loop, restart_fired);
	}
}

static bool adopt(struct part *p)
{
	int pidfd = runs(p) ? identity_open(&p->identity) : -ESRCH;
	if (pidfd < 0 || watch(p, pidfd) < 0) {
		p->identity = (struct process_identity){ 0 };
		return false;
	}
	log_info("adopted part=%s pid=%d", p->name, (int)p->identity.pid);
	return true;
}

void parts_start(struct keeper *k)
{
	for (size_t n = 0; n < PARTS; n++)
		if (!adopt(&k->parts[n]))
			start(&k->parts[n]);
	state_save(k);
}

void parts_free(struct keeper *k)
{
	timer_clear(&k->check_logs);
	for (size_t n = 0; n < PARTS; n++) {
		poll_stop(&k->parts[n].ended);
		timer_clear(&k->parts[n].restart);
		cleanup_close(&k->parts[n].pidfd);
	}
}

bool part_ended(struct keeper *k, pid_t pid)
{
	for (size_t n = 0; n < PARTS; n++) {
		struct part *p = &k->parts[n];
		if (!runs(p) || p->identity.pid != pid)
			continue;
		int status = 0;
		if (waitpid(pid, &status, WNOHANG) == pid)
			gone(p, true, status);
		return true;
	}
	return false;
}

static void signal_part(struct part *p, int signum)
{
	if (runs(p))
		pidfd_signal(p->pidfd, signum);
}

static void stop_deadline(struct timer *timer)
{
	struct keeper *k = CONTAINER_OF(timer, struct keeper, stop_deadline);
	for (size_t n = 0; n < PARTS; n++) {
		struct part *p = &k->parts[n];
		if (!runs(p) || (n == PART_ROUTER && !k->stopping_router))
			continue;
		log_warn("killed part=%s reason=\"did not end in %d ms\"", p->name, STOP_MS);
		signal_part(p, SIGKILL);
	}
}

// The router is last, so that requests in flight are served as long as anything is there to serve them.
static void stop_next(struct keeper *k)
{
	if (runs(&k->parts[PART_SERVER]) || runs(&k->parts[PART_AGENT]))
		return;
	if (!runs(&k->parts[PART_ROUTER])) {
		hold(k);
		return;
	}
	if (k->stopping_router)
		return;
	k->stopping_router = true;
	signal_part(&k->parts[PART_ROUTER], SIGTERM);
	timer_set(&k->stop_deadline, STOP_MS);
}

void parts_stop(struct keeper *k)
{
	if (k->stopping || k->holding)
		return;
	k->stopping = true;
	for (size_t n = 0; n < PARTS; n++)
		timer_stop(&k->parts[n].restart);
	timer_init(&k->stop_deadline, k->loop, stop_deadline);
	timer_set(&k->stop_deadline, STOP_MS);
	signal_part(&k->parts[PART_AGENT], SIGTERM);
	signal_part(&k->parts[PART_SERVER], SIGTERM);
	stop_next(k);
}
