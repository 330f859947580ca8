#include "cli/commands.h"
#include "cli/output.h"

#include "base/str.h"

int command_audit(struct cli *cli)
{
	const char *limit = cli_get(cli, "limit");
	AUTO_FREE char *path = xasprintf("/v1/audit?limit=%s", limit ? limit : "50");
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_call(cli, "GET", path, NULL, &answer);
	if (status != CLI_OK || cli->json)
		return status != CLI_OK ? status : print_json(answer.json);

	static const char *const titles[] = { "time", "who", "from", "action", "changed", "outcome", "detail", NULL };
	struct listing *t = listing_new(cli, titles);
	size_t i;
	json_t *record;
	json_array_foreach(json_object_get(answer.json, "items"), i, record) {
		char when[SHORT_TEXT_SIZE];
		local_time_text(get_number(record, "at_ms"), when);
		listing_cell(t, "%s", when);
		listing_cell(t, "%s", get_text(record, "who"));
		listing_cell(t, "%s", get_text(record, "from"));
		listing_cell(t, "%s", get_text(record, "action"));
		listing_cell(t, "%s", get_text(record, "target"));
		listing_state(t, get_text(record, "outcome"));
		listing_cell(t, "%s", get_text(record, "detail"));
	}
	listing_end(t, "nothing was changed yet");
	return CLI_OK;
}
