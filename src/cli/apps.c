#include "cli/commands.h"
#include "cli/output.h"

#include "base/str.h"

// "web 2/2, worker 1/1"
static char *processes_text(const json_t *processes)
{
	struct buf text = BUF_INIT(1 << 16);
	const char *name;
	json_t *process;
	json_object_foreach((json_t *)processes, name, process)
		buf_addf(&text, "%s%s %u/%u", buf_len(&text) ? ", " : "", name, (unsigned)get_number(process, "ready"),
			 (unsigned)get_number(process, "wanted"));
	return buf_take(&text);
}

int command_apps(struct cli *cli)
{
	AUTO_FREE char *path = client_environment_path(&cli->config, "apps");
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_list(cli, path, &answer);
	if (status != CLI_OK || cli->json)
		return status != CLI_OK ? status : print_json(answer.json);

	static const char *const titles[] = { "name", "state", "ready", "release", "url", "changed", NULL };
	struct listing *t = listing_new(cli, titles);
	size_t i;
	json_t *app;
	json_array_foreach(json_object_get(answer.json, "items"), i, app) {
		AUTO_FREE char *processes = processes_text(json_object_get(app, "processes"));
		const char *url = json_string_value(json_array_get(json_object_get(app, "urls"), 0));
		char age[SHORT_TEXT_SIZE];
		age_text(get_number(app, "updated_ms"), age);
		listing_cell(t, "%s", get_text(app, "name"));
		listing_state(t, get_text(app, "state"));
		listing_cell(t, "%s", processes);
		listing_cell(t, "%u", (unsigned)get_number(app, "release"));
		listing_cell(t, "%s", url ? url : "-");
		listing_cell(t, "%s ago", age);
	}
	listing_end(t, "no applications yet; 'dialtone push' in an application's directory makes one");
	return CLI_OK;
}
