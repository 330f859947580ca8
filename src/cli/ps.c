#include "cli/commands.h"
#include "cli/output.h"

#include "base/str.h"

static void detail_of(const json_t *instance, char *text, size_t size)
{
	const json_t *exit = json_object_get(instance, "exit");
	const json_t *probe = json_object_get(instance, "probe");
	text[0] = '\0';
	if (str_eq(get_text(instance, "state"), "ready"))
		return;
	if (*get_text(instance, "message"))
		snprintf(text, size, "%s", get_text(instance, "message"));
	else if (json_is_object(probe) && !get_flag(probe, "ok") && *get_text(probe, "detail"))
		snprintf(text, size, "%s", get_text(probe, "detail"));
	else if (json_is_object(exit))
		exit_words(exit, text, size);
}

int command_ps(struct cli *cli)
{
	AUTO_FREE char *name = client_escape(cli->args[0]);
	AUTO_FREE char *path = client_environment_path(&cli->config, "apps/%s/instances", name);
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_list(cli, path, &answer);
	if (status != CLI_OK || cli->json)
		return status != CLI_OK ? status : print_json(answer.json);

	static const char *const titles[] = { "process", "index", "state",   "release",	 "started", "restarts",
					      "address", "node",  "instance", "detail", NULL };
	struct listing *t = listing_new(cli, titles);
	size_t i;
	json_t *instance;
	json_array_foreach(json_object_get(answer.json, "items"), i, instance) {
		char age[SHORT_TEXT_SIZE], detail[256];
		age_text(get_number(instance, "started_ms"), age);
		detail_of(instance, detail, sizeof(detail));
		listing_cell(t, "%s", get_text(instance, "process"));
		listing_cell(t, "%u", (unsigned)get_number(instance, "index"));
		listing_state(t, get_text(instance, "state"));
		listing_cell(t, "%u", (unsigned)get_number(instance, "release"));
		listing_cell(t, "%s", age);
		listing_cell(t, "%u", (unsigned)get_number(instance, "restarts"));
		listing_cell(t, "%s", *get_text(instance, "address") ? get_text(instance, "address") : "-");
		listing_cell(t, "%s", get_text(instance, "node"));
		listing_cell(t, "%.12s", get_text(instance, "instance"));
		listing_cell(t, "%s", detail);
	}
	listing_end(t, "no instances");
	return CLI_OK;
}
