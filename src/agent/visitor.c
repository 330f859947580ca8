#include "agent/visitor.h"

#include "agent/endpoint.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "io/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

enum visitor_state {
	VISITOR_CREATE,
	VISITOR_WATCH,
	VISITOR_START,
	VISITOR_RUNS,
	VISITOR_DELETE,
	VISITOR_HELD, // over, the directory is still needed
	VISITOR_REMOVE,
};

enum { AGAIN_MS = 1000 };

struct visitor {
	struct agent *agent;
	struct visitor_spec spec;
	char *id, *dir;
	uint32_t address;
	enum visitor_state state;
	struct task task;
	struct timer timeout, again;
	struct running running;
	int pidfd, tty_fd;
	bool busy;	// a job runs, or the keeper was asked
	int result;	// of that
	struct err err; // the first that went wrong
	bool killed, exited, oom, held;
	struct keeper_exit ended;
};

static void step(struct task *task);

void *visitor_arg(const struct visitor *visitor)
{
	return visitor->spec.arg;
}

const char *visitor_dir(const struct visitor *visitor)
{
	return visitor->dir;
}

void visitor_spec_clear(struct visitor_spec *spec)
{
	texts_free(spec->layers, spec->n_layers);
	for (size_t i = 0; i < spec->n_binds; i++) {
		free((char *)spec->binds[i].source);
		free((char *)spec->binds[i].target);
	}
	free(spec->binds);
	free(spec->environment);
	launch_clear(&spec->launch);
	cleanup_close(&spec->stdin_fd);
	cleanup_close(&spec->stdout_fd);
	cleanup_close(&spec->stderr_fd);
	*spec = (struct visitor_spec){ .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 };
}

static void visitor_free(struct visitor *visitor)
{
	keeper_cancel(visitor->agent->keeper, visitor);
	map_remove(&visitor->agent->visitors, visitor->id);
	addresses_release(&visitor->agent->addresses, visitor->address);
	task_clear(&visitor->task);
	timer_clear(&visitor->timeout);
	timer_clear(&visitor->again);
	cleanup_close(&visitor->pidfd);
	cleanup_close(&visitor->tty_fd);
	visitor_spec_clear(&visitor->spec);
	free(visitor->id);
	free(visitor->dir);
	free(visitor);
}

static void answered(void *arg, int result)
{
	struct visitor *visitor = arg;
	visitor->busy = false;
	visitor->result = result;
	task_wake(&visitor->task);
}

static void worked(void *arg)
{
	struct visitor *visitor = arg;
	visitor->busy = false;
	task_wake(&visitor->task);
}

static void work(struct visitor *visitor, void (*job)(void *arg))
{
	visitor->busy = true;
	loop_work(visitor->agent->loop, job, worked, visitor);
}

static int make_dir(struct visitor *visitor, struct err *err)
{
	AUTO_FREE char *marker = xasprintf("%s/visitor", visitor->dir);
	char address[IPV4_TEXT_SIZE];
	ipv4_write(visitor->address, address);
	int r = dir_make(visitor->dir, 0700, err);
	return r < 0 ? r : file_write_atomic(marker, address, strlen(address), 0600, err);
}

static int create(struct visitor *visitor, struct err *err)
{
	const struct visitor_spec *from = &visitor->spec;
	struct container_spec spec = CONTAINER_SPEC_INIT;
	spec.id = visitor->id;
	spec.dir = visitor->dir;
	spec.environment = from->environment;
	spec.address = visitor->address;
	spec.layers = (const char *const *)from->layers;
	spec.n_layers = from->n_layers;
	spec.words = (const char *const *)from->launch.words;
	spec.env = (const char *const *)from->launch.env;
	spec.cwd = from->cwd;
	spec.uid = from->uid;
	spec.gid = from->gid;
	spec.memory_bytes = from->memory_bytes;
	spec.disk_bytes = from->disk_bytes;
	spec.cpu_millis = from->cpu_millis;
	spec.pids = from->pids;
	spec.dns = (const char *const *)from->launch.dns;
	spec.stdin_fd = from->stdin_fd;
	spec.stdout_fd = from->stdout_fd;
	spec.stderr_fd = from->stderr_fd;
	spec.tty = from->tty;
	spec.cols = from->cols;
	spec.rows = from->rows;
	spec.host_network = from->host_network;
	spec.writable = from->writable ? visitor->dir : NULL;
	spec.binds = from->binds;
	spec.n_binds = from->n_binds;
	int r = make_dir(visitor, err);
	if (r < 0)
		return r;
	r = container_create(visitor->agent->host, &spec, &visitor->running.pid, from->tty ? &visitor->tty_fd : NULL, err);
	if (r < 0)
		return r;
	r = process_start_time(visitor->running.pid, &visitor->running.start_ticks);
	visitor->pidfd = pidfd_open_cloexec(visitor->running.pid);
	if (r < 0 || visitor->pidfd < 0)
		return err_set(err, -ESRCH, "the container's init ended before it was started");
	return 0;
}

static void create_work(void *arg)
{
	struct visitor *visitor = arg;
	visitor->result = create(visitor, &visitor->err);
}

static void start_work(void *arg)
{
	struct visitor *visitor = arg;
	visitor->result = container_start(visitor->agent->host, visitor->id, &visitor->err);
}

static void delete_work(void *arg)
{
	struct visitor *visitor = arg;
	struct err err = { 0 };
	visitor->oom |= container_oom(visitor->agent->host, visitor->id) == 1;
	visitor->result = container_delete(visitor->agent->host, visitor->id, visitor->dir, visitor->address, &err);
	if (visitor->result < 0)
		log_warn("container=%s cannot be removed: %s", visitor->id, err.text);
}

static void remove_work(void *arg)
{
	struct visitor *visitor = arg;
	struct err err = { 0 };
	visitor->result = tree_remove(visitor->dir, &err);
	if (visitor->result < 0)
		log_warn("%s cannot be removed: %s", visitor->dir, err.text);
}

static void close_theirs(struct visitor_spec *spec)
{
	int *fds[] = { &spec->stdin_fd, &spec->stdout_fd, &spec->stderr_fd };
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		cleanup_close(fds[i]);
		*fds[i] = -1;
	}
}

static void to_delete(struct visitor *visitor)
{
	visitor->state = VISITOR_DELETE;
	work(visitor, delete_work);
}

static void created(struct visitor *visitor)
{
	close_theirs(&visitor->spec);
	if (visitor->result < 0 || visitor->killed) {
		to_delete(visitor);
		return;
	}
	visitor->state = VISITOR_WATCH;
	visitor->busy = true;
	keeper_watch(visitor->agent->keeper, visitor->id, visitor->running.pid, visitor->running.start_ticks, answered,
		     visitor);
}

static void watched(struct visitor *visitor)
{
	if (visitor->result < 0)
		err_set_errno(&visitor->err, visitor->result, "the keeper cannot watch the container");
	if (visitor->result < 0 || visitor->killed) {
		to_delete(visitor);
		return;
	}
	visitor->state = VISITOR_START;
	work(visitor, start_work);
}

static void started(struct visitor *visitor)
{
	if (visitor->result < 0 || visitor->killed) {
		to_delete(visitor);
		return;
	}
	visitor->state = VISITOR_RUNS;
	visitor->spec.on_started(visitor, TAKE_FD(visitor->tty_fd));
	task_wake(&visitor->task);
}

static void runs(struct visitor *visitor)
{
	if (visitor->exited)
		to_delete(visitor);
	else if (visitor->killed)
		pidfd_signal(visitor->pidfd, SIGKILL);
}

static void to_remove(struct visitor *visitor)
{
	visitor->state = VISITOR_REMOVE;
	keeper_forget(visitor->agent->keeper, visitor->id, NULL, NULL);
	work(visitor, remove_work);
}

static void deleted(struct visitor *visitor)
{
	if (visitor->result < 0) {
		timer_set(&visitor->again, AGAIN_MS);
		return;
	}
	if (visitor->killed && !visitor->err.code)
		err_set(&visitor->err, -ECANCELED, "it was ended");
	if (!visitor->err.code && !(visitor->exited && visitor->ended.known))
		err_set(&visitor->err, -EIO, "nobody saw how it ended");
	visitor->state = VISITOR_HELD;
	visitor->spec.on_ended(visitor, exit_code(visitor->ended.status), visitor->oom,
			       visitor->err.code ? &visitor->err : NULL);
	if (!visitor->held)
		to_remove(visitor);
}

static void step(struct task *task)
{
	struct visitor *visitor = CONTAINER_OF(task, struct visitor, task);
	if (visitor->busy)
		return;
	static void (*const steps[])(struct visitor *) = {
		[VISITOR_CREATE] = created, [VISITOR_WATCH] = watched,	[VISITOR_START] = started,
		[VISITOR_RUNS] = runs,	    [VISITOR_DELETE] = deleted, [VISITOR_REMOVE] = visitor_free,
	};
	if (visitor->state != VISITOR_HELD)
		steps[visitor->state](visitor);
}

static void timed_out(struct timer *timer)
{
	struct visitor *visitor = CONTAINER_OF(timer, struct visitor, timeout);
	if (!visitor->err.code)
		err_set(&visitor->err, -ETIMEDOUT, "not finished after %u s", visitor->spec.timeout_ms / 1000);
	visitor_kill(visitor);
}

static void delete_again(struct timer *timer)
{
	to_delete(CONTAINER_OF(timer, struct visitor, again));
}

int visitor_address(struct agent *agent, uint32_t *ret_address, struct err *err)
{
	return addresses_take(&agent->addresses, ret_address, err);
}

struct visitor *visitor_new(struct agent *agent, uint32_t address, struct visitor_spec *spec)
{
	char uid[UID_SIZE];
	uid_new(uid);
	struct visitor *visitor = xcalloc(1, sizeof(*visitor));
	*visitor = (struct visitor){
		.agent = agent,
		.spec = *spec,
		.id = xasprintf("%s-%.12s", spec->kind, uid),
		.address = address,
		.pidfd = -1,
		.tty_fd = -1,
	};
	*spec = (struct visitor_spec){ .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 };
	visitor->dir = agent_instance_dir(agent, visitor->id);
	task_init(&visitor->task, agent->loop, "visitor", step);
	timer_init(&visitor->timeout, agent->loop, timed_out);
	timer_init(&visitor->again, agent->loop, delete_again);
	if (visitor->spec.timeout_ms)
		timer_set(&visitor->timeout, visitor->spec.timeout_ms);
	map_set(&agent->visitors, visitor->id, visitor);
	work(visitor, create_work);
	return visitor;
}

void visitor_signal(struct visitor *visitor, int signum)
{
	if (visitor->state == VISITOR_RUNS && !visitor->exited)
		pidfd_signal(visitor->pidfd, signum);
}

void visitor_kill(struct visitor *visitor)
{
	visitor->killed = true;
	if (visitor->state <= VISITOR_RUNS)
		task_wake(&visitor->task);
}

void visitor_hold(struct visitor *visitor)
{
	visitor->held = true;
}

void visitor_release(struct visitor *visitor)
{
	assert(visitor->held && visitor->state == VISITOR_HELD);
	to_remove(visitor);
}

void agent_visitor_exited(struct agent *agent, const struct keeper_exit *record)
{
	struct visitor *visitor = map_get(&agent->visitors, record->id);
	if (!visitor || visitor->running.pid != record->pid || visitor->running.start_ticks != record->start_ticks)
		return;
	visitor->exited = true;
	visitor->ended = *record;
	task_wake(&visitor->task);
}

bool visitor_is(const char *dir)
{
	AUTO_FREE char *marker = xasprintf("%s/visitor", dir);
	return file_exists(marker) == 1;
}

void visitor_clear_away(struct agent *agent, const char *id)
{
	AUTO_FREE char *dir = agent_instance_dir(agent, id);
	AUTO_FREE char *marker = xasprintf("%s/visitor", dir);
	AUTO_BUF struct buf text = BUF_INIT(64);
	struct err err = { 0 };
	uint32_t address = 0;
	if (file_read(marker, &text, NULL) == 0)
		ipv4_parse(buf_str(&text), &address);
	int r = container_delete(agent->host, id, dir, address, &err);
	if (r == 0)
		r = tree_remove(dir, &err);
	if (r < 0)
		log_warn("container=%s of an earlier run cannot be removed: %s", id, err.text);
	keeper_forget(agent->keeper, id, NULL, NULL);
}
