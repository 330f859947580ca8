#include "agent/agent.h"
#include "base/log.h"
#include "base/str.h"
#include "cli/output.h"
#include "keeper/namespace.h"
#include "keeper/state.h"
#include "main/checks.h"
#include "main/commands.h"
#include "main/running.h"
#include "main/say.h"
#include "main/setup.h"
#include "main/stop.h"
#include "model/platform.h"

#include <errno.h>

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

static void say_down(const struct cli *cli, const char *data, bool stopped, unsigned ended)
{
	AUTO_FREE char *running = running_text(data);
	if (cli->json) {
		json_t *out = json_pack("{s:b, s:i, s:i}", "stopped", (int)stopped, "running", (int)running_count(data),
					"ended", (int)ended);
		print_json(out);
		json_decref(out);
		return;
	}
	const char *what = stopped               ? "The platform is stopped."
			   : running[0] || ended ? "The platform is down already."
						 : "The platform was not up.";
	printf("%s%s", what, running);
	if (ended)
		printf(" %u %s ended.", ended, ended == 1 ? "instance is" : "instances are");
	printf("\n");
}

static int say_nothing_there(const struct cli *cli, const struct err *err)
{
	if (!cli->json)
		printf("There is nothing to stop: %s.\n", err->text);
	else
		puts("{\n  \"stopped\": false,\n  \"running\": 0,\n  \"ended\": 0\n}");
	return CLI_OK;
}

int command_down(struct cli *cli)
{
	AUTO_FREE char *data = NULL;
	struct err err = { 0 };
	const char *given = cli_get(cli, "data");
	bool apps = cli_get(cli, "apps");
	log_init("down");
	int r = check_root("down", &err);
	if (r == 0)
		r = setup_data(given ? given : PLATFORM_DATA_DEFAULT, false, &data, &err);
	if (r == -ENOENT)
		return say_nothing_there(cli, &err);
	bool stopped = false;
	if (r == 0)
		r = stop_supervisor(data, &stopped, &err);
	if (r == 0)
		r = stop_platform(data, &stopped, &err);
	if (r == 0 && !apps)
		r = stop_hold(data, &err);
	unsigned before = r == 0 ? running_count(data) : 0;
	if (r == 0 && apps)
		r = stop_applications(data, &err);
	if (r < 0)
		return say_error(&err);
	if (!keeper_holding(data))
		remove_run_files(data);
	say_down(cli, data, stopped, apps ? before : 0);
	return CLI_OK;
}
