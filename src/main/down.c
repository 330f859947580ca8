#include "agent/agent.h"
#include "base/log.h"
#include "base/str.h"
#include "keeper/namespace.h"
#include "keeper/state.h"
#include "main/checks.h"
#include "main/commands.h"
#include "main/say.h"
#include "main/setup.h"
#include "main/stop.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>

static const char usage[] =
	"usage: dialtone down [--data DIR] [--apps]\n"
	"\n"
	"Stops the platform on this machine. Applications run on, and the next 'dialtone up' takes them over.\n"
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

static unsigned count_instances(const char *data)
{
	AUTO_FREE char *path = xasprintf("%s/node/instances", data);
	DIR *dir = opendir(path);
	unsigned count = 0;
	if (!dir)
		return 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		AUTO_FREE char *file = xasprintf("%s/%s/keeper", path, entry->d_name);
		struct process_identity identity;
		AUTO_CLOSE int pidfd = -1;
		if (identity_read(file, &identity) == 0)
			pidfd = identity_open(&identity);
		count += pidfd >= 0;
	}
	closedir(dir);
	return count;
}

static int stop_applications(const char *data, struct err *err)
{
	// As the keeper makes it: crun needs the view of control groups that it has there.
	int r = namespace_make(err);
	return r < 0 ? r : agent_stop_all(data, err);
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
	if (r < 0)
		return say_error(err);
	bool stopped = false;
	r = stop_supervisor(data, &stopped, err);
	if (r == 0)
		r = stop_platform(data, &stopped, err);
	if (r == 0 && o->apps)
		r = stop_applications(data, err);
	if (r < 0)
		return say_error(err);
	remove_run_files(data);
	unsigned running = count_instances(data);
	printf("%s\n", stopped ? "The platform is stopped." : "The platform was not up.");
	if (running)
		printf("%u %s on; 'dialtone up' takes over again, 'dialtone down --apps' stops them. Until then each "
		       "may "
		       "write 1 MiB of output, then it waits.\n",
		       running, running == 1 ? "instance runs" : "instances run");
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
