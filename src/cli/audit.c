#include "cli/commands.h"
#include "cli/output.h"

#include "base/str.h"

// "PUT /v1/tenants/default/environments/dev/apps/shop" as "PUT apps/shop"; of another tenant or environment with its
// whole path. Long names made by machines are cut.
static char *action_text(const struct client_config *config, const char *action)
{
	AUTO_FREE char *environment = client_environment_path(config, "%s", "");
	AUTO_FREE char *tenant = client_tenant_path(config, "%s", "");
	const char *const prefixes[] = { environment, tenant, "/v1/" };
	size_t verb = strcspn(action, " ") + (strchr(action, ' ') != NULL);
	const char *path = action + verb;
	for (size_t i = 0; i < ARRAY_LEN(prefixes) && path == action + verb; i++)
		path += str_starts(path, prefixes[i]) ? strlen(prefixes[i]) : 0;
	AUTO_BUF struct buf text = BUF_INIT(8192);
	buf_add(&text, action, verb);
	while (*path) {
		size_t n = strcspn(path, "/"), skip = str_starts(path, "sha256:") ? strlen("sha256:") : 0;
		buf_add(&text, path + skip, n - skip > 20 ? 12 : n - skip);
		path += n;
		if (*path)
			buf_add(&text, path++, 1);
	}
	return buf_take(&text);
}

int command_audit(struct cli *cli)
{
	const char *limit = cli_get(cli, "limit");
	AUTO_FREE char *path = xasprintf("/v1/audit?limit=%s", limit ? limit : "50");
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_call(cli, "GET", path, NULL, &answer);
	if (status != CLI_OK || cli->json)
		return status != CLI_OK ? status : print_json(answer.json);

	static const char *const titles[] = { "time", "who", "from", "action", "outcome", "detail", NULL };
	struct listing *t = listing_new(cli, titles);
	size_t i;
	json_t *record;
	json_array_foreach(json_object_get(answer.json, "items"), i, record)
	{
		char when[SHORT_TEXT_SIZE];
		AUTO_FREE char *action = action_text(&cli->config, get_text(record, "action"));
		local_time_text(get_number(record, "at_ms"), when);
		listing_cell(t, "%s", when);
		listing_cell(t, "%s", get_text(record, "who"));
		listing_cell(t, "%s", get_text(record, "from"));
		listing_cell(t, "%s", action);
		listing_state(t, get_text(record, "outcome"));
		listing_cell(t, "%s", get_text(record, "detail"));
	}
	listing_end(t, "nothing was changed yet");
	return CLI_OK;
}
