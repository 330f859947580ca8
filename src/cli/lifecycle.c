// `stop`, `start`, `restart`, `rollback`, `delete`: what changes an application as a whole.
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/wait.h"

#include "base/str.h"

// done: what has happened to the app; NULL: it has a new release.
static int change(struct cli *cli, const char *verb, const json_t *body, const char *done)
{
	AUTO_FREE char *path = app_path(cli, cli->args[0], verb);
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_call(cli, "POST", path, body, &answer);
	if (status == CLI_OK)
		status = wait_until_settled(cli, cli->args[0], get_number(answer.json, "release"));
	if (status != CLI_OK)
		return status;
	if (cli->json)
		return print_json(answer.json);
	if (done)
		printf("%s %s\n", cli->args[0], cli_get(cli, "no-wait") ? "will be changed; the platform is at it" : done);
	else
		printf("%s %s release %u, a copy of the earlier one\n", cli->args[0],
		       cli_get(cli, "no-wait") ? "will run" : "serves", (unsigned)get_number(answer.json, "release"));
	return CLI_OK;
}

int command_stop(struct cli *cli)
{
	return change(cli, "stop", NULL, "is stopped; 'dialtone start' starts it again");
}

int command_start(struct cli *cli)
{
	return change(cli, "start", NULL, "runs");
}

int command_restart(struct cli *cli)
{
	return change(cli, "restart", NULL, "was restarted, new instances before old");
}

int command_rollback(struct cli *cli)
{
	uint64_t release = 0;
	if (cli->n_args > 1 && (parse_u64(cli->args[1], UINT32_MAX, &release) < 0 || !release))
		return cli_usage(cli, "'%s' is not the number of a release; see 'dialtone releases %s'", cli->args[1],
				 cli->args[0]);
	json_t *body = release ? json_pack("{s:I}", "release", (json_int_t)release) : json_object();
	int status = change(cli, "rollback", body, NULL);
	json_decref(body);
	return status;
}

static bool confirmed(struct cli *cli)
{
	if (cli_get(cli, "yes") || !isatty(STDIN_FILENO))
		return cli_get(cli, "yes") != NULL;
	fprintf(stderr, "delete '%s' of environment '%s' with its releases? type its name: ", cli->args[0],
		cli->config.environment);
	char line[128];
	if (!fgets(line, sizeof(line), stdin))
		return false;
	line[strcspn(line, "\n")] = '\0';
	return str_eq(line, cli->args[0]);
}

int command_delete(struct cli *cli)
{
	AUTO_FREE char *path = app_path(cli, cli->args[0], NULL);
	AUTO_ANSWER struct client_answer answer = { 0 };
	if (!confirmed(cli))
		return cli_usage(cli, "not deleted: type the name, or give --yes");
	int status = cli_call(cli, "DELETE", path, NULL, &answer);
	if (status != CLI_OK)
		return status;
	if (cli->json) {
		json_t *done = json_pack("{s:s, s:b}", "name", cli->args[0], "deleted", 1);
		print_json(done);
		json_decref(done);
		return CLI_OK;
	}
	printf("%s is deleted\n", cli->args[0]);
	return CLI_OK;
}
