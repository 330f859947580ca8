// A further process in a running container, its stdio on a dialtone-stream.
#include "agent/endpoint.h"
#include "agent/terminal.h"
#include "base/log.h"
#include "base/str.h"
#include "model/json.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

struct exec {
	struct list link; // agent->streams
	struct agent *agent;
	char *id;
	struct command_request request;
	struct launch launch;
	struct stdio stdio;
	struct terminal *terminal; // NULL: the other end has gone
	bool starting;		   // the job runs
	int result;
	struct err err;
	pid_t pid; // 0: none, or reaped
	int pidfd, tty_fd;
	struct poll ended;
	struct timer kill; // who was left alone and does not go by itself
};

enum { GRACE_MS = 2000 };

static void exec_free(struct exec *exec)
{
	list_remove(&exec->link);
	poll_stop(&exec->ended);
	timer_clear(&exec->kill);
	cleanup_close(&exec->pidfd);
	terminal_free(exec->terminal);
	stdio_close(&exec->stdio);
	command_request_clear(&exec->request);
	launch_clear(&exec->launch);
	free(exec->id);
	free(exec);
}

static void exec_work(void *arg)
{
	struct exec *exec = arg;
	struct container_exec spec = {
		.words = (const char *const *)exec->launch.words,
		.env = (const char *const *)exec->launch.env,
		.cwd = APP_DIR,
		.uid = APP_UID,
		.gid = APP_GID,
		.stdin_fd = exec->stdio.theirs[0],
		.stdout_fd = exec->stdio.theirs[1],
		.stderr_fd = exec->stdio.theirs[2],
		.tty = exec->request.tty,
		.cols = exec->request.cols,
		.rows = exec->request.rows,
	};
	exec->result = container_exec(exec->agent->host, exec->id, &spec, &exec->pid, &exec->pidfd,
				      spec.tty ? &exec->tty_fd : NULL, &exec->err);
}

static void signal_process(struct exec *exec, int signum)
{
	if (exec->pid)
		pidfd_signal(exec->pidfd, signum);
}

static void kill_now(struct timer *timer)
{
	signal_process(CONTAINER_OF(timer, struct exec, kill), SIGKILL);
}

static void leave_process(struct exec *exec)
{
	signal_process(exec, SIGHUP);
	timer_init(&exec->kill, exec->agent->loop, kill_now);
	timer_set(&exec->kill, GRACE_MS);
}

static void process_ended(struct poll *poll, int events UNUSED)
{
	struct exec *exec = CONTAINER_OF(poll, struct exec, ended);
	int status = 0;
	if (waitpid(exec->pid, &status, WNOHANG) != exec->pid)
		return;
	exec->pid = 0;
	poll_stop(&exec->ended);
	if (exec->terminal)
		terminal_exited(exec->terminal, exit_code(status));
	else
		exec_free(exec);
}

static void exec_started(void *arg)
{
	struct exec *exec = arg;
	exec->starting = false;
	stdio_close_theirs(&exec->stdio);
	if (exec->result < 0) {
		exec->pid = 0;
		exec->pidfd = -1;
		if (exec->terminal)
			terminal_fail(exec->terminal, &exec->err);
		else
			exec_free(exec);
		return;
	}
	poll_start(&exec->ended, exec->agent->loop, exec->pidfd, POLL_READ, process_ended);
	if (!exec->terminal) {
		cleanup_close(&exec->tty_fd);
		stdio_close(&exec->stdio);
		leave_process(exec);
		return;
	}
	if (exec->request.tty)
		stdio_close(&exec->stdio);
	terminal_attach(exec->terminal, exec->stdio.ours[0], exec->stdio.ours[1], exec->stdio.ours[2], exec->tty_fd);
	exec->stdio = STDIO_INIT;
}

static void on_signal(struct terminal *terminal, int signum)
{
	signal_process(terminal_arg(terminal), signum);
}

static void on_gone(struct terminal *terminal)
{
	struct exec *exec = terminal_arg(terminal);
	exec->terminal = NULL;
	terminal_free(terminal);
	if (exec->starting)
		return;
	if (exec->pid)
		leave_process(exec);
	else
		exec_free(exec);
}

static int exec_prepare(struct exec *exec, struct instance *instance, const json_t *json, struct err *err)
{
	char ip[IPV4_TEXT_SIZE];
	ipv4_write(instance->address, ip);
	int r = command_request_parse(json, &exec->request, err);
	if (r == 0)
		r = launch_prepare(&instance->order->assignment, ip, exec->request.env, exec->request.n_env,
				   (const char *const *)exec->request.words, &exec->launch, err);
	return r < 0 ? r : stdio_open(&exec->stdio, err);
}

static void exec_begin(struct exec *exec, struct http_exchange *x)
{
	struct buf early = BUF_INIT(1 << 20);
	int fd;
	struct agent *agent = exec->agent;
	if (http_exchange_upgrade(x, "dialtone-stream", &early, &fd) < 0) {
		buf_clear(&early);
		exec_free(exec);
		return;
	}
	struct terminal_spec spec = {
		.loop = agent->loop,
		.socket = fd,
		.early = &early,
		.on_signal = on_signal,
		.on_gone = on_gone,
		.arg = exec,
	};
	exec->terminal = terminal_new(&spec);
	exec->starting = true;
	log_info("instance=%s exec %s", exec->id, exec->request.words[0]);
	loop_work(agent->loop, exec_work, exec_started, exec);
}

struct exec_asked {
	struct agent *agent;
	char *id;
};

static void asked_gone(struct http_exchange *x, bool complete UNUSED)
{
	struct exec_asked *asked = http_exchange_arg(x);
	free(asked->id);
	free(asked);
}

static void body_came(struct http_exchange *x, const char *body, size_t n)
{
	struct exec_asked *asked = http_exchange_arg(x);
	AUTO_JSON json_t *json = answer_body(x, body, n);
	if (!json)
		return;
	struct instance *instance = map_get(&asked->agent->instances, asked->id);
	if (!instance || !instance_runs(instance)) {
		answer_problemf(x, 409, "instance %s does not run here at present", asked->id);
		return;
	}
	struct err err = { 0 };
	struct exec *exec = xcalloc(1, sizeof(*exec));
	*exec = (struct exec){ .agent = asked->agent, .id = xstrdup(asked->id), .stdio = STDIO_INIT, .pidfd = -1, .tty_fd = -1 };
	list_append(&asked->agent->streams, &exec->link);
	if (exec_prepare(exec, instance, json, &err) < 0) {
		exec_free(exec);
		answer_problem(x, 400, &err);
		return;
	}
	exec_begin(exec, x);
}

void endpoint_exec(struct agent *agent, struct http_exchange *x, const char *id)
{
	struct exec_asked *asked = xcalloc(1, sizeof(*asked));
	*asked = (struct exec_asked){ .agent = agent, .id = xstrdup(id) };
	http_exchange_set_arg(x, asked);
	http_exchange_on_gone(x, asked_gone);
	http_exchange_read_body(x, 4 << 20, body_came);
}
