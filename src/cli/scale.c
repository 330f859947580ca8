#include "cli/commands.h"
#include "cli/output.h"
#include "cli/wait.h"

#include "base/str.h"
#include "model/spec.h"

static int scale_one(struct cli *cli, const char *word, json_t **ret_body)
{
	const char *equals = strchr(word, '=');
	uint64_t count;
	if (!equals || equals == word || parse_u64(equals + 1, PROCESS_INSTANCES_MAX, &count) < 0)
		return cli_usage(cli, "'%s' is not PROCESS=COUNT with a count from 0 to %d, for example web=3", word,
				 PROCESS_INSTANCES_MAX);
	AUTO_FREE char *process = xstrndup(word, (size_t)(equals - word));
	*ret_body = json_pack("{s:s, s:I}", "process", process, "instances", (json_int_t)count);
	return *ret_body ? CLI_OK : cli_usage(cli, "'%s' is not the name of a process", process);
}

int command_scale(struct cli *cli)
{
	AUTO_FREE char *path = app_path(cli, cli->args[0], "scale");
	AUTO_ANSWER struct client_answer answer = { 0 };
	for (unsigned i = 1; i < cli->n_args; i++) {
		json_t *body = NULL;
		int status = scale_one(cli, cli->args[i], &body);
		if (status == CLI_OK) {
			client_answer_clear(&answer);
			status = cli_call(cli, "POST", path, body, &answer);
		}
		json_decref(body);
		if (status != CLI_OK)
			return status;
	}
	int status = wait_until_settled(cli, cli->args[0], 0);
	if (status == CLI_OK && cli->json)
		return print_json(answer.json);
	return status;
}
