#include "cli/commands.h"
#include "cli/output.h"
#include "cli/wait.h"

#include "base/str.h"
#include "model/spec.h"

// "web=3" as the request's body; NULL after saying what is wrong.
static json_t *body_of(struct cli *cli, const char *word)
{
	const char *equals = strchr(word, '=');
	uint64_t count;
	if (!equals || equals == word || parse_u64(equals + 1, 1000, &count) < 0) {
		cli_usage(cli, "'%s' is not PROCESS=COUNT with a count from 0 to 1000, for example web=3", word);
		return NULL;
	}
	AUTO_FREE char *process = xstrndup(word, (size_t)(equals - word));
	json_t *body = json_pack("{s:s, s:I}", "process", process, "instances", (json_int_t)count);
	if (!body)
		cli_usage(cli, "'%s' is not the name of a process", word);
	return body;
}

// All words are read before the first is acted on. NULL: one is wrong, which was said.
static json_t *bodies_of(struct cli *cli)
{
	json_t *bodies = json_array();
	for (unsigned i = 1; i < cli->n_args; i++) {
		json_t *body = body_of(cli, cli->args[i]);
		if (!body) {
			json_decref(bodies);
			return NULL;
		}
		json_array_append_new(bodies, body);
	}
	return bodies;
}

static void print_scaled(const char *app, const json_t *bodies)
{
	bool any = false;
	size_t i;
	json_t *body;
	json_array_foreach((json_t *)bodies, i, body)
		any = any || get_number(body, "instances");
	if (any)
		printf("%s runs as wanted\n", app);
	else
		printf("%s: what was scaled to 0 does not run any more\n", app);
}

int command_scale(struct cli *cli)
{
	AUTO_FREE char *path = app_path(cli, cli->args[0], "scale");
	AUTO_ANSWER struct client_answer answer = { 0 };
	json_t *bodies = bodies_of(cli), *body;
	int status = bodies ? CLI_OK : CLI_USAGE;
	size_t i;
	json_array_foreach(bodies, i, body)
	{
		client_answer_clear(&answer);
		status = cli_call(cli, "POST", path, body, &answer);
		if (status != CLI_OK)
			break;
	}
	if (status == CLI_OK)
		status = wait_until_settled(cli, cli->args[0], 0);
	if (status == CLI_OK && cli->json)
		status = print_json(answer.json);
	else if (status == CLI_OK && !cli_get(cli, "no-wait"))
		print_scaled(cli->args[0], bodies);
	json_decref(bodies);
	return status;
}
