#include "cli/commands.h"
#include "cli/output.h"

#include "base/str.h"

int command_events(struct cli *cli)
{
	AUTO_FREE char *name = client_escape(cli->args[0]);
	const char *limit = cli_get(cli, "limit");
	AUTO_FREE char *path = client_environment_path(&cli->config, "apps/%s/events?limit=%s", name, limit ? limit : "50");
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_call(cli, "GET", path, NULL, &answer);
	if (status != CLI_OK || cli->json)
		return status != CLI_OK ? status : print_json(answer.json);

	static const char *const titles[] = { "time", "what", "instance", "message", NULL };
	struct listing *t = listing_new(cli, titles);
	size_t i;
	json_t *event;
	json_array_foreach(json_object_get(answer.json, "items"), i, event) {
		char when[SHORT_TEXT_SIZE];
		local_time_text(get_number(event, "at_ms"), when);
		listing_cell(t, "%s", when);
		listing_cell(t, "%s", get_text(event, "type"));
		if (*get_text(event, "process"))
			listing_cell(t, "%s %.8s", get_text(event, "process"), get_text(event, "instance"));
		else
			listing_cell(t, "-");
		listing_cell(t, "%s", get_text(event, "message"));
	}
	listing_end(t, "no events");
	return CLI_OK;
}
