#include "base/log.h"
#include "base/str.h"
#include "keeper/part_log.h"
#include "keeper/state.h"
#include "main/checks.h"
#include "main/commands.h"
#include "main/ready.h"
#include "main/running.h"
#include "main/say.h"
#include "main/setup.h"
#include "main/stop.h"
#include "main/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define READY_MS 60000
#define ROUTER_MS 5000

// One run of the command.
struct up {
	const struct cli *cli;
	struct setup_options options;
	bool detach;
	struct platform platform;
	struct err no_api; // code 0: none; why the control plane is not even waited for
	const char *found; // what lived already, a sentence or ""
	int lock_fd;
};

enum outcome {
	READY,
	DEGRADED, // what ran before is served; the control plane is not there, and is tried again
	FAILED,
};

static bool differs(const char *option, const char *given, const char *present, struct err *err)
{
	if (!given || str_eq(given, present))
		return false;
	err_set(err, -EBUSY, "the platform is up with %s %s, not %s", option, present, given);
	return true;
}

// The control plane does not start, but instances run, and the router serves them as it last knew them.
static bool is_served(const struct platform *p, pid_t supervisor)
{
	return running_count(p->data) && ready_wait_router(p, supervisor, ROUTER_MS, NULL) == 0;
}

static void print_served(void *arg)
{
	const struct platform *p = arg;
	unsigned n = running_count(p->data);
	AUTO_FREE char *http = setup_local_url(p->http);
	fprintf(stderr,
		"  still there: %u %s, served by the router at %s as it last knew them. Nothing can be changed and a "
		"lost\n"
		"  route does not come back until the rest is there; it is tried again every few seconds.\n",
		n, n == 1 ? "instance runs" : "instances run", http);
}

static void say_degraded(const struct platform *p, const struct err *err)
{
	struct err all = { 0 };
	AUTO_FREE char *option = running_data_option(p->data);
	err_set(&all, err->code, "%s", err->text);
	err_hint(&all,
		 "%s; once that is mended the platform is complete by itself. 'dialtone down%s' stops the router too",
		 err->hint[0] ? err->hint : "see the log", option);
	cli_report(CLI_FAILED, &all, json_pack("{s:i, s:b}", "running", (int)running_count(p->data), "served", 1),
		   print_served, (void *)p);
}

static int already_up(const char *data, const struct up *up)
{
	const struct setup_options *o = &up->options;
	AUTO_PLATFORM struct platform p = { 0 };
	struct err err = { 0 };
	if (platform_load(data, &p, &err) < 0)
		return say_error(&err);
	if (differs("--http", o->http, p.http, &err) || differs("--api", o->api, p.api, &err) ||
	    differs("--domain", o->domain, p.domain, &err) || differs("--cache", o->cache, p.cache, &err) ||
	    differs("--store", o->store, p.store ? p.store : "", &err) ||
	    differs("--name", o->name, p.name ? p.name : "", &err) ||
	    differs("--servers", o->servers, p.servers ? p.servers : "", &err)) {
		err_hint(&err, "'dialtone down --data %s' first (applications run on), then up with the new value",
			 data);
		return say_error(&err);
	}
	if (setup_operator(&p, &err) < 0) // this HOME may not be the one that the platform was started with
		return say_error(&err);
	if (ready_wait(&p, 0, READY_MS, &err) < 0) {
		if (!is_served(&p, 0))
			return say_error(&err);
		say_degraded(&p, &err);
		return CLI_FAILED;
	}
	if (up->cli->json) {
		ready_print_json(&p, true);
		return CLI_OK;
	}
	printf("The platform is already up.\n\n");
	ready_print(&p);
	return CLI_OK;
}

// Whether processes of an earlier up live that will be taken over, ports and all.
static bool is_part_alive(const char *data)
{
	struct keeper_state state;
	if (keeper_state_read(data, &state) < 0)
		return false;
	for (unsigned n = 0; n < state.n_parts; n++) {
		AUTO_CLOSE int fd = identity_open(&state.parts[n].identity);
		if (fd >= 0)
			return true;
	}
	return false;
}

// Processes of an earlier up that were started with other values are no use.
static int stop_outdated(const struct platform *p, struct err *err)
{
	AUTO_PLATFORM struct platform before = { 0 };
	bool stopped;
	if (platform_load(p->data, &before, NULL) < 0)
		return 0;
	bool same = str_eq(before.http, p->http) && str_eq(before.api, p->api) && str_eq(before.domain, p->domain) &&
		    str_eq(before.cache, p->cache) && str_eq(before.subnet, p->subnet) &&
		    str_eq(before.store, p->store) && str_eq(before.store_ca, p->store_ca) &&
		    str_eq(before.store_cert, p->store_cert) && str_eq(before.store_key, p->store_key) &&
		    str_eq(before.name, p->name) && str_eq(before.servers, p->servers);
	return same ? 0 : stop_platform(p->data, &stopped, err);
}

// A taken port of the API leaves no control plane, but what runs can be served all the same.
static int check_ports(const struct platform *p, struct err *no_api, struct err *err)
{
	int r = check_port(p->http, "--http", err);
	if (r < 0)
		return r;
	r = check_port(p->api, "--api", err);
	if (r != -EADDRINUSE || !running_count(p->data))
		return r;
	*no_api = *err;
	return 0;
}

static int prepare(const char *data, struct up *up, struct err *err)
{
	struct platform *p = &up->platform;
	int r = check_machine(err);
	if (r == 0)
		r = setup_platform(data, &up->options, p, err);
	if (r == 0)
		r = check_folder(p->data, "--data", err);
	if (r == 0)
		r = check_folder(p->cache, "--cache", err);
	if (r == 0)
		r = stop_outdated(p, err);
	if (r == 0 && !is_part_alive(data))
		r = check_ports(p, &up->no_api, err);
	return r == 0 ? setup_write(p, err) : r;
}

// What lives already when a platform is started: a sentence for the person, or "". Heap.
static char *describe_found(const char *data)
{
	AUTO_FREE char *lock = xasprintf("%s/run/keeper.lock", data);
	pid_t keeper = lock_holder(lock);
	unsigned running = running_count(data);
	if (keeper && !keeper_holding(data))
		return xasprintf(" Its keeper (process %d) was running without 'dialtone up', and has it again.",
				 (int)keeper);
	if (!keeper && is_part_alive(data))
		return xstrdup(" Some of its processes were running without a keeper, and are taken over.");
	if (running)
		return xasprintf(" %u %s running and %s taken over.", running,
				 running == 1 ? "instance was" : "instances were", running == 1 ? "is" : "are");
	return xstrdup("");
}

static enum outcome wait_and_print(const struct up *up, pid_t supervisor, const char *last)
{
	const struct platform *p = &up->platform;
	struct err err = up->no_api;
	if (err.code || ready_wait(p, supervisor, READY_MS, &err) < 0) {
		if (!is_served(p, supervisor)) {
			say_error(&err);
			return FAILED;
		}
		say_degraded(p, &err);
		return DEGRADED;
	}
	if (up->cli->json) {
		ready_print_json(p, false);
		return READY;
	}
	printf("The platform is up.%s\n\n", up->found);
	ready_print(p);
	printf("%s", last);
	fflush(stdout);
	return READY;
}

// In the foreground this process supervises, and a child waits for readiness.
static int run_foreground(const struct up *up)
{
	const struct platform *p = &up->platform;
	struct supervisor supervisor = { .platform = p, .lock_fd = up->lock_fd };
	supervise_prepare();
	pid_t self = getpid();
	pid_t child = fork();
	if (child < 0)
		return say_error(&(struct err){ .text = "cannot start a process: out of processes or memory" });
	if (child == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGINT, SIG_IGN); // Ctrl-C: the supervisor ends this process when its turn comes
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(up->lock_fd);
		exit(wait_and_print(up, self, "Ctrl-C stops the platform; applications run on.\n") == FAILED);
	}
	supervisor.waiter = child;
	int status = supervise(&supervisor);
	AUTO_FREE char *running = running_text(p->data);
	if (status != 0)
		say_log(p->data, "keeper", 5);
	else if (!up->cli->json)
		printf("\nThe platform is stopped.%s\n", running);
	return status;
}

static void go_to_background(const struct platform *p, int lock_fd)
{
	AUTO_CLOSE int log = part_log_open(p->data, "up");
	AUTO_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	setsid();
	if (chdir("/") < 0)
		log_warn("cannot leave the current folder");
	dup2(null, STDIN_FILENO);
	dup2(log >= 0 ? log : null, STDOUT_FILENO);
	dup2(log >= 0 ? log : null, STDERR_FILENO);
	lock_note(lock_fd);
}

// With --detach a child supervises, and this process waits for readiness.
static int run_detached(const struct up *up)
{
	const struct platform *p = &up->platform;
	pid_t child = fork();
	if (child < 0)
		return say_error(&(struct err){ .text = "cannot start a process: out of processes or memory" });
	if (child == 0) {
		struct supervisor supervisor = { .platform = p, .lock_fd = up->lock_fd };
		supervise_prepare();
		go_to_background(p, up->lock_fd);
		_exit(supervise(&supervisor));
	}
	close(up->lock_fd);
	AUTO_FREE char *option = running_data_option(p->data);
	AUTO_FREE char *last = xasprintf("'dialtone down%s' stops the platform.\n", option);
	enum outcome outcome = wait_and_print(up, child, last);
	if (outcome == FAILED && kill(child, SIGTERM) == 0)
		waitpid(child, NULL, 0);
	return outcome == READY ? CLI_OK : CLI_FAILED;
}

// One who was killed a moment ago may still hold the lock: only who holds it for longer is up.
static int take_lock(const char *data, int *ret_fd, struct err *err)
{
	enum { LOOKS = 20, BETWEEN_US = 15000 };
	AUTO_FREE char *lock = xasprintf("%s/run/up.lock", data);
	int r = lock_take(lock, ret_fd, err);
	for (int i = 0; i < LOOKS && r == -EWOULDBLOCK; i++) {
		usleep(BETWEEN_US);
		r = lock_take(lock, ret_fd, err);
	}
	return r;
}

static int start(struct up *up, const char *given_data, struct err *err)
{
	AUTO_FREE char *data = NULL;
	int r = check_root("up", err);
	if (r == 0)
		r = setup_data(given_data, true, &data, err);
	if (r < 0)
		return say_error(err);
	r = take_lock(data, &up->lock_fd, err);
	if (r == -EWOULDBLOCK)
		return already_up(data, up);
	if (r == 0)
		r = prepare(data, up, err);
	if (r < 0)
		return say_error(err);
	AUTO_FREE char *found = describe_found(data);
	up->found = found;
	return up->detach ? run_detached(up) : run_foreground(up);
}

int command_up(struct cli *cli)
{
	const char *data = cli_get(cli, "data");
	struct err err = { 0 };
	struct up up = {
		.cli = cli,
		.options = {
			.cache = cli_get(cli, "cache"),
			.http = cli_get(cli, "http"),
			.api = cli_get(cli, "api"),
			.domain = cli_get(cli, "domain"),
			.store = cli_get(cli, "store"),
			.store_ca = cli_get(cli, "store-ca"),
			.store_cert = cli_get(cli, "store-cert"),
			.store_key = cli_get(cli, "store-key"),
			.name = cli_get(cli, "name"),
			.servers = cli_get(cli, "servers"),
		},
		.detach = cli_get(cli, "detach") != NULL,
		.lock_fd = -1,
	};
	if (setup_check(&up.options, &err) < 0)
		return cli_report(CLI_USAGE, &err, NULL, NULL, NULL);
	log_init("up");
	int status = start(&up, data ? data : PLATFORM_DATA_DEFAULT, &err);
	platform_clear(&up.platform);
	return status;
}
