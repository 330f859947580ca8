// `stacks` and `runtimes`: what an application can be put on.
#include "cli/commands.h"
#include "cli/output.h"

#include "base/str.h"

static int list_content(struct cli *cli, const char *path, const char *none)
{
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_list(cli, path, &answer);
	if (status != CLI_OK || cli->json)
		return status != CLI_OK ? status : print_json(answer.json);

	static const char *const titles[] = { "name", "version", "digest", "description", NULL };
	struct listing *t = listing_new(cli, titles);
	size_t i;
	json_t *item;
	json_array_foreach(json_object_get(answer.json, "items"), i, item) {
		const char *digest = json_string_value(json_array_get(json_object_get(item, "layers"), 0));
		listing_cell(t, "%s", get_text(item, "name"));
		listing_cell(t, "%s", get_text(item, "version"));
		listing_cell(t, "%.12s", digest && str_starts(digest, "sha256:") ? digest + 7 : "-");
		listing_cell(t, "%s", get_text(item, "about"));
	}
	listing_end(t, none);
	return CLI_OK;
}

int command_stacks(struct cli *cli)
{
	return list_content(cli, "/v1/stacks", "no stack yet; 'dialtone stack build RECIPE' makes one");
}

int command_runtimes(struct cli *cli)
{
	return list_content(cli, "/v1/runtimes", "no runtime yet; 'dialtone runtime build RECIPE' makes one");
}
