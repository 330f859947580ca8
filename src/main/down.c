#include "agent/agent.h"
#include "base/log.h"
#include "base/str.h"
#include "keeper/namespace.h"
#include "keeper/state.h"
#include "main/checks.h"
#include "main/commands.h"
#include "main/running.h"
#include "main/say.h"
#include "main/setup.h"
#include "main/stop.h"

#include <errno.h>
#include <getopt.h>

static const char usage[] =
	"usage: dialtone down [--data DIR] [--apps]\n"
	"\n"
	"Stops the platform on this machine. Applications run on, with one process that keeps their output; the next\n"
	"'dialtone up' takes them over.\n"
	"\n"
	"  --data DIR  the platform's data directory (" PLATFORM_DATA_DEFAULT ")\n"
	"  --apps      stops the applications too; nothing is left but data and cache\n";

struct down_options {
	const char *data;
	bool apps, help;
};

static int parse(int argc, char **argv, struct down_options *o)
{
	static const struct option options[] = {
		{ "data", required_argument, NULL, 'd' },
		{ "apps", no_argument, NULL, 'a' },
		{ "help", no_argument, NULL, '?' },
		{ 0 },
	};
	*o = (struct down_options){ .data = PLATFORM_DATA_DEFAULT };
	optind = 2; // behind the program and "down"
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'd') {
			o->data = optarg;
		} else if (c == 'a') {
			o->apps = true;
		} else {
			o->help = optind <= argc && str_eq(argv[optind - 1], "--help");
			return o->help ? 0 : -EINVAL;
		}
	}
	if (optind == argc)
		return 0;
	fprintf(stderr, "error: 'dialtone down' takes no '%s'\n", argv[optind]);
	return -EINVAL;
}

static void remove_run_files(const char *data)
{
	static const char *const names[] = { "keeper.sock", "keeper.state", "keeper.lock",
					     "agent.sock",  "agent.lock",   "up.lock" };
	for (size_t n = 0; n < ARRAY_LEN(names); n++) {
		AUTO_FREE char *path = xasprintf("%s/run/%s", data, names[n]);
		unlink(path);
	}
}

// Where the keeper is, or as it makes it: crun needs the view of control groups and mounts that it has there.
static int enter_namespace(const char *data, struct err *err)
{
	pid_t keeper = keeper_holding(data);
	return keeper && namespace_join(keeper, NULL) == 0 ? 0 : namespace_make(err);
}

// The keeper is there until the last container has ended: it reaps them, and has their last words.
static int stop_applications(const char *data, struct err *err)
{
	int r = enter_namespace(data, err);
	if (r == 0)
		r = agent_stop_all(data, err);
	return r < 0 ? r : stop_holder(data, err);
}

static void say_down(const char *data, bool stopped, unsigned ended)
{
	AUTO_FREE char *running = running_text(data);
	const char *what = stopped               ? "The platform is stopped."
			   : running[0] || ended ? "The platform is down already."
						 : "The platform was not up.";
	printf("%s%s", what, running);
	if (ended)
		printf(" %u %s ended.", ended, ended == 1 ? "instance is" : "instances are");
	printf("\n");
}

static int down(const struct down_options *o, struct err *err)
{
	AUTO_FREE char *data = NULL;
	int r = check_root("down", err);
	if (r == 0)
		r = setup_data(o->data, false, &data, err);
	if (r == -ENOENT) {
		printf("There is nothing to stop: %s.\n", err->text);
		return 0;
	}
	bool stopped = false;
	if (r == 0)
		r = stop_supervisor(data, &stopped, err);
	if (r == 0)
		r = stop_platform(data, &stopped, err);
	if (r == 0 && !o->apps)
		r = stop_hold(data, err);
	unsigned before = r == 0 ? running_count(data) : 0;
	if (r == 0 && o->apps)
		r = stop_applications(data, err);
	if (r < 0)
		return say_error(err);
	if (!keeper_holding(data))
		remove_run_files(data);
	say_down(data, stopped, o->apps ? before : 0);
	return 0;
}

int down_main(int argc, char **argv)
{
	struct down_options options;
	if (parse(argc, argv, &options) < 0) {
		fputs(usage, stderr);
		return 2;
	}
	if (options.help) {
		fputs(usage, stdout);
		return 0;
	}
	log_init("down");
	struct err err = { 0 };
	return down(&options, &err);
}
