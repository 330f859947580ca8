#include "cli/commands.h"
#include "cli/output.h"
#include "cli/wait.h"

#include "base/str.h"

static void print_env(const json_t *env)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)env, name, value) {
		printf("%s=", name);
		print_safe(stdout, json_string_value(value) ? json_string_value(value) : "");
		putchar('\n');
	}
}

static int collect_changes(struct cli *cli, json_t *changes)
{
	for (unsigned i = 1; i < cli->n_args; i++) {
		const char *equals = strchr(cli->args[i], '=');
		if (!equals || equals == cli->args[i])
			return cli_usage(cli, "'%s' is not NAME=VALUE", cli->args[i]);
		AUTO_FREE char *name = xstrndup(cli->args[i], (size_t)(equals - cli->args[i]));
		json_t *value = json_string(equals + 1);
		if (!value)
			return cli_usage(cli, "the value of '%s' is not UTF-8", name);
		json_object_set_new(changes, name, value);
	}
	const char *unset = cli_get(cli, "unset");
	AUTO_FREE char *names = xstrdup(unset ? unset : "");
	char *rest = NULL;
	for (char *name = strtok_r(names, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest))
		json_object_set_new(changes, name, json_null());
	return CLI_OK;
}

static int change_env(struct cli *cli, const char *path, const json_t *changes)
{
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_call(cli, "PATCH", path, changes, &answer);
	if (status == CLI_OK)
		status = wait_until_settled(cli, cli->args[0], 0);
	if (status != CLI_OK)
		return status;
	if (cli->json)
		return print_json(answer.json);
	printf("%s runs with the new environment\n", cli->args[0]);
	return CLI_OK;
}

int command_env(struct cli *cli)
{
	AUTO_FREE char *path = app_path(cli, cli->args[0], "env");
	if (cli->n_args > 1 || cli_get(cli, "unset")) {
		json_t *changes = json_object();
		int status = collect_changes(cli, changes);
		if (status == CLI_OK)
			status = change_env(cli, path, changes);
		json_decref(changes);
		return status;
	}
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_call(cli, "GET", path, NULL, &answer);
	if (status != CLI_OK || cli->json)
		return status != CLI_OK ? status : print_json(answer.json);
	print_env(answer.json);
	return CLI_OK;
}
