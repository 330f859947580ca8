// One-off commands: a fresh container of an app's release, its stdio on a dialtone-stream.
#include "agent/endpoint.h"
#include "agent/terminal.h"
#include "agent/visitor.h"
#include "base/log.h"
#include "base/str.h"
#include "model/json.h"

#include <errno.h>
#include <signal.h>

struct run {
	struct list link; // agent->streams
	struct agent *agent;
	struct command_request request;
	struct assignment assignment;
	struct stdio stdio;
	struct terminal *terminal; // NULL: the other end has gone
	struct visitor *visitor;   // NULL: not yet, or over
	struct timer again;	   // while the artifact is fetched
	unsigned waited_ms;
};

enum { PULL_EVERY_MS = 20, PULL_AT_MOST_MS = 120 * 1000 };

static void run_free(struct run *run)
{
	list_remove(&run->link);
	timer_clear(&run->again);
	terminal_free(run->terminal);
	stdio_close(&run->stdio);
	command_request_clear(&run->request);
	assignment_clear(&run->assignment);
	free(run);
}

static void run_fail(struct run *run, const struct err *err)
{
	if (run->terminal)
		terminal_fail(run->terminal, err);
	else
		run_free(run);
}

static void on_started(struct visitor *visitor, int tty_fd)
{
	struct run *run = visitor_arg(visitor);
	if (!run->terminal) {
		cleanup_close(&tty_fd);
		visitor_kill(visitor);
		return;
	}
	terminal_attach(run->terminal, run->stdio.ours[0], run->stdio.ours[1], run->stdio.ours[2], tty_fd);
	run->stdio = STDIO_INIT;
}

static void on_ended(struct visitor *visitor, int status, bool oom, const struct err *err)
{
	struct run *run = visitor_arg(visitor);
	struct err why = { 0 };
	run->visitor = NULL;
	if (oom)
		err_set(&why, -ENOMEM, "the command was killed for using more than its memory limit");
	if (err)
		why = *err;
	if (!run->terminal)
		run_free(run);
	else if (why.code)
		terminal_fail(run->terminal, &why);
	else
		terminal_exited(run->terminal, status);
}

static int prepare(struct run *run, struct visitor_spec *spec, uint32_t address, struct err *err)
{
	const struct assignment *a = &run->assignment;
	char ip[IPV4_TEXT_SIZE];
	ipv4_write(address, ip);
	int r = launch_prepare(a, ip, run->request.env, run->request.n_env, (const char *const *)run->request.words,
			       &spec->launch, err);
	if (r == 0 && !run->request.tty)
		r = stdio_open(&run->stdio, err);
	if (r < 0)
		return r;
	spec->environment = xasprintf("%s/%s", a->tenant, a->environment);
	spec->layers = artifacts_layers(&run->agent->artifacts, a, &spec->n_layers);
	if (!run->request.tty) {
		spec->stdin_fd = TAKE_FD(run->stdio.theirs[0]);
		spec->stdout_fd = TAKE_FD(run->stdio.theirs[1]);
		spec->stderr_fd = TAKE_FD(run->stdio.theirs[2]);
	}
	return 0;
}

static int begin(struct run *run, struct err *err)
{
	const struct assignment *a = &run->assignment;
	struct visitor_spec spec = {
		.kind = "run",
		.cwd = APP_DIR,
		.uid = APP_UID,
		.gid = APP_GID,
		.memory_bytes = a->memory_bytes,
		.disk_bytes = a->disk_bytes,
		.cpu_millis = a->cpu_millis,
		.pids = a->pids,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = -1,
		.tty = run->request.tty,
		.cols = run->request.cols,
		.rows = run->request.rows,
		.on_started = on_started,
		.on_ended = on_ended,
		.arg = run,
	};
	uint32_t address;
	int r = visitor_address(run->agent, &address, err);
	if (r < 0)
		return r;
	r = prepare(run, &spec, address, err);
	if (r < 0) {
		addresses_release(&run->agent->addresses, address);
		visitor_spec_clear(&spec);
		return r;
	}
	log_info("app=%s run %s", a->app, run->request.words[0]);
	run->visitor = visitor_new(run->agent, address, &spec);
	return 0;
}

static void try_begin(struct timer *timer)
{
	struct run *run = CONTAINER_OF(timer, struct run, again);
	struct err err = { 0 };
	int r = artifacts_pull(&run->agent->artifacts, &run->assignment, &err);
	bool waits = (r == -EINPROGRESS || r == -EAGAIN) && run->waited_ms < PULL_AT_MOST_MS;
	if (waits && run->terminal) {
		run->waited_ms += PULL_EVERY_MS;
		timer_set(&run->again, PULL_EVERY_MS);
		return;
	}
	if (r == -EINPROGRESS)
		err_set(&err, -ETIMEDOUT, "the app's files did not come within %d s", PULL_AT_MOST_MS / 1000);
	if (r == 0)
		r = begin(run, &err);
	if (r < 0)
		run_fail(run, &err);
}

static void on_signal(struct terminal *terminal, int signum)
{
	struct run *run = terminal_arg(terminal);
	if (run->visitor)
		visitor_signal(run->visitor, signum);
}

static void on_gone(struct terminal *terminal)
{
	struct run *run = terminal_arg(terminal);
	run->terminal = NULL;
	terminal_free(terminal);
	if (run->visitor)
		visitor_kill(run->visitor);
	else
		run_free(run);
}

static int parse(struct run *run, const json_t *json, struct err *err)
{
	int r = command_request_parse(json, &run->request, err);
	if (r < 0)
		return r;
	r = fields_parse(&assignment_fields, json_object_get(json, "assignment"), FIELDS_LENIENT, &run->assignment, NULL, err);
	return r < 0 ? err_wrap(err, "assignment") : 0;
}

static void body_came(struct http_exchange *x, const char *body, size_t n)
{
	struct agent *agent = http_exchange_arg(x);
	AUTO_JSON json_t *json = answer_body(x, body, n);
	if (!json)
		return;
	struct err err = { 0 };
	struct buf early = BUF_INIT(1 << 20);
	struct run *run = xcalloc(1, sizeof(*run));
	*run = (struct run){ .agent = agent, .stdio = STDIO_INIT };
	list_append(&agent->streams, &run->link);
	timer_init(&run->again, agent->loop, try_begin);
	if (parse(run, json, &err) < 0) {
		run_free(run);
		answer_problem(x, 400, &err);
		return;
	}
	struct terminal_spec spec = {
		.loop = agent->loop, .early = &early, .on_signal = on_signal, .on_gone = on_gone, .arg = run
	};
	if (http_exchange_upgrade(x, "dialtone-stream", &early, &spec.socket) < 0) {
		buf_clear(&early);
		run_free(run);
		return;
	}
	run->terminal = terminal_new(&spec);
	timer_set(&run->again, 0);
}

void endpoint_run(struct agent *agent, struct http_exchange *x)
{
	http_exchange_set_arg(x, agent);
	http_exchange_read_body(x, 8 << 20, body_came);
}
