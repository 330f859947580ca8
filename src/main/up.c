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
#include <getopt.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define READY_MS 60000

static const char usage[] =
	"usage: dialtone up [--data DIR] [--cache DIR] [--http ADDR:PORT] [--api ADDR:PORT] [--domain NAME] "
	"[--detach]\n"
	"\n"
	"Starts the platform on this machine and keeps it running until Ctrl-C; applications outlive it.\n"
	"\n"
	"  --data DIR        where everything is kept (" PLATFORM_DATA_DEFAULT ")\n"
	"  --cache DIR       packages, built stacks and runtimes; may be shared (" PLATFORM_CACHE_DEFAULT ")\n"
	"  --http ADDR:PORT  where applications are served (" PLATFORM_HTTP_DEFAULT ")\n"
	"  --api ADDR:PORT   where the platform API is (" PLATFORM_API_DEFAULT ")\n"
	"  --domain NAME     applications are at APP.NAME (" PLATFORM_DOMAIN_DEFAULT ")\n"
	"  --detach          return when everything is ready and run in the background\n";

struct up_options {
	struct setup_options setup;
	bool detach, help;
};

static int parse(int argc, char **argv, struct up_options *o)
{
	static const struct option options[] = {
		{ "data", required_argument, NULL, 'd' },   { "cache", required_argument, NULL, 'c' },
		{ "http", required_argument, NULL, 'h' },   { "api", required_argument, NULL, 'a' },
		{ "domain", required_argument, NULL, 'n' }, { "detach", no_argument, NULL, 'b' },
		{ "help", no_argument, NULL, '?' },         { 0 },
	};
	*o = (struct up_options){ .setup.data = PLATFORM_DATA_DEFAULT };
	optind = 2; // behind the program and "up"
	for (int at = 0, c; (c = getopt_long(argc, argv, "", options, &at)) != -1;) {
		switch (c) {
		case 'd':
			o->setup.data = optarg;
			break;
		case 'c':
			o->setup.cache = optarg;
			break;
		case 'h':
			o->setup.http = optarg;
			break;
		case 'a':
			o->setup.api = optarg;
			break;
		case 'n':
			o->setup.domain = optarg;
			break;
		case 'b':
			o->detach = true;
			break;
		default:
			o->help = optind <= argc && str_eq(argv[optind - 1], "--help");
			return o->help ? 0 : -EINVAL;
		}
	}
	if (optind == argc)
		return 0;
	fprintf(stderr, "error: 'dialtone up' takes no '%s'\n", argv[optind]);
	return -EINVAL;
}

static bool differs(const char *option, const char *given, const char *present)
{
	if (!given || str_eq(given, present))
		return false;
	fprintf(stderr, "error: the platform is up with %s %s, not %s\n", option, present, given);
	return true;
}

static int already_up(const char *data, const struct setup_options *options)
{
	AUTO_PLATFORM struct platform p = { 0 };
	struct err err = { 0 };
	if (platform_load(data, &p, &err) < 0)
		return say_error(&err);
	if (differs("--http", options->http, p.http) || differs("--api", options->api, p.api) ||
	    differs("--domain", options->domain, p.domain) || differs("--cache", options->cache, p.cache)) {
		fprintf(stderr,
			"hint: 'dialtone down --data %s' first (applications run on), then up with the new value\n",
			data);
		return 1;
	}
	if (ready_wait(&p, 0, READY_MS, &err) < 0)
		return say_error(&err);
	printf("The platform is already up.\n\n");
	ready_print(&p);
	return 0;
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
		    str_eq(before.cache, p->cache) && str_eq(before.subnet, p->subnet);
	return same ? 0 : stop_platform(p->data, &stopped, err);
}

static int prepare(const char *data, const struct setup_options *options, struct platform *p, struct err *err)
{
	int r = check_machine(err);
	if (r == 0)
		r = setup_platform(data, options, p, err);
	if (r == 0)
		r = check_folder(p->data, "--data", err);
	if (r == 0)
		r = check_folder(p->cache, "--cache", err);
	if (r == 0)
		r = stop_outdated(p, err);
	if (r == 0 && !is_part_alive(data)) {
		r = check_port(p->http, "--http", err);
		if (r == 0)
			r = check_port(p->api, "--api", err);
	}
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

static int wait_and_print(const struct platform *p, pid_t supervisor, const char *found, const char *last)
{
	struct err err = { 0 };
	if (ready_wait(p, supervisor, READY_MS, &err) < 0)
		return say_error(&err);
	printf("The platform is up.%s\n\n", found);
	ready_print(p);
	printf("%s", last);
	fflush(stdout);
	return 0;
}

// In the foreground this process supervises, and a child waits for readiness.
static int run_foreground(const struct platform *p, int lock_fd, const char *found)
{
	struct supervisor supervisor = { .platform = p, .lock_fd = lock_fd };
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
		close(lock_fd);
		exit(wait_and_print(p, self, found, "Ctrl-C stops the platform; applications run on.\n"));
	}
	supervisor.waiter = child;
	int status = supervise(&supervisor);
	AUTO_FREE char *running = running_text(p->data);
	if (status == 0)
		printf("\nThe platform is stopped.%s\n", running);
	else
		say_log(p->data, "keeper", 5);
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
static int run_detached(const struct platform *p, int lock_fd, const char *found)
{
	pid_t child = fork();
	if (child < 0)
		return say_error(&(struct err){ .text = "cannot start a process: out of processes or memory" });
	if (child == 0) {
		struct supervisor supervisor = { .platform = p, .lock_fd = lock_fd };
		supervise_prepare();
		go_to_background(p, lock_fd);
		_exit(supervise(&supervisor));
	}
	close(lock_fd);
	AUTO_FREE char *option = running_data_option(p->data);
	AUTO_FREE char *last = xasprintf("'dialtone down%s' stops the platform.\n", option);
	int status = wait_and_print(p, child, found, last);
	if (status != 0 && kill(child, SIGTERM) == 0)
		waitpid(child, NULL, 0);
	return status;
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

static int up(const struct up_options *o, struct err *err)
{
	AUTO_FREE char *data = NULL;
	int r = check_root("up", err);
	if (r == 0)
		r = setup_data(o->setup.data, true, &data, err);
	if (r < 0)
		return say_error(err);
	int lock_fd = -1;
	r = take_lock(data, &lock_fd, err);
	if (r == -EWOULDBLOCK)
		return already_up(data, &o->setup);
	AUTO_PLATFORM struct platform platform = { 0 };
	if (r == 0)
		r = prepare(data, &o->setup, &platform, err);
	if (r < 0)
		return say_error(err);
	AUTO_FREE char *found = describe_found(data);
	return o->detach ? run_detached(&platform, lock_fd, found) : run_foreground(&platform, lock_fd, found);
}

int up_main(int argc, char **argv)
{
	struct up_options options;
	if (parse(argc, argv, &options) < 0) {
		fputs(usage, stderr);
		return 2;
	}
	if (options.help) {
		fputs(usage, stdout);
		return 0;
	}
	log_init("up");
	struct err err = { 0 };
	return up(&options, &err);
}
