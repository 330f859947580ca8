#include "cli/main.h"

#include "base/log.h"
#include "base/str.h"
#include "cli/commands.h"
#include "client/trust.h"

#include <assert.h>
#include <errno.h>

// A platform that is being restarted is back within this time.
enum { PATIENCE_MS = 2500 };

static const struct cli_command *all_commands[64];

static void gather(const struct cli_command *more)
{
	size_t n = 0;
	for (const struct cli_command *c = cli_commands; c->name; c++)
		all_commands[n++] = c;
	for (const struct cli_command *c = more; c->name; c++)
		all_commands[n++] = c;
	assert(n < ARRAY_LEN(all_commands));
}

const struct cli_command *const *cli_all(void)
{
	return all_commands;
}

const char *cli_get(const struct cli *cli, const char *option)
{
	for (unsigned i = 0; i < cli->n_given; i++)
		if (str_eq(cli->given[i].option->name, option))
			return cli->given[i].value;
	return NULL;
}

int cli_call(struct cli *cli, const char *method, const char *path, const json_t *body, struct client_answer *answer)
{
	struct err err = { 0 };
	if (client_call(cli->client, method, path, body, answer, &err) < 0)
		return cli_fail(cli, &err);
	return CLI_OK;
}

int cli_list(struct cli *cli, const char *path, struct client_answer *answer)
{
	json_t *items = json_array();
	AUTO_FREE char *cursor = NULL;
	for (;;) {
		char join = strchr(path, '?') ? '&' : '?';
		AUTO_FREE char *page = cursor ? xasprintf("%s%ccursor=%s", path, join, cursor) : xstrdup(path);
		client_answer_clear(answer);
		int status = cli_call(cli, "GET", page, NULL, answer);
		if (status != CLI_OK) {
			json_decref(items);
			return status;
		}
		json_array_extend(items, json_object_get(answer->json, "items"));
		const char *next = json_string_value(json_object_get(answer->json, "next"));
		if (str_empty(next))
			break;
		free(cursor);
		cursor = client_escape(next);
	}
	json_object_set_new(answer->json, "items", items);
	return CLI_OK;
}

static void replace(char **to, const char *value)
{
	if (!value)
		return;
	free(*to);
	*to = xstrdup(value);
}

static int connect_platform(struct cli *cli)
{
	struct err err = { 0 };
	int status = cli_check_environment(cli);
	if (status != CLI_OK)
		return status;
	int r = client_config_load(cli_get(cli, "api"), &cli->config, &err);
	if (r < 0) // -ENOENT: there is no token
		return cli_report(r == -ENOENT ? CLI_DENIED : CLI_FAILED, &err, NULL, NULL, NULL);
	replace(&cli->config.tenant, cli_get(cli, "tenant"));
	replace(&cli->config.environment, cli_get(cli, "environment"));
	if (!str_is_label(cli->config.tenant) || !str_is_label(cli->config.environment))
		return cli_usage(cli, "names of tenants and environments have 1 to 63 of a-z, 0-9 and '-'");
	if (cli->config.authority && client_trust(cli->config.authority, NULL, NULL, &err) < 0)
		return cli_fail(cli, &err);
	cli->client = client_new(cli->config.address, cli->config.token, &err);
	if (!cli->client)
		return cli_fail(cli, &err);
	client_patience(cli->client, PATIENCE_MS);
	return CLI_OK;
}

const struct cli_command *cli_find(const char *name)
{
	for (const struct cli_command *const *c = cli_all(); *c; c++)
		if (str_eq((*c)->name, name))
			return *c;
	return NULL;
}

static int run_command(struct cli *cli, int argc, char **argv)
{
	int status = cli_words(cli, argc, argv);
	if (status != CLI_OK)
		return status;
	if (cli_get(cli, "help")) {
		cli_help(cli, cli->command);
		return CLI_OK;
	}
	if (!cli->command->offline)
		status = connect_platform(cli);
	if (status == CLI_OK)
		status = cli->command->run(cli);
	client_free(cli->client);
	client_config_clear(&cli->config);
	return status;
}

int cli_main(int argc, char **argv, const struct cli_command *more)
{
	struct cli cli = { 0 };
	log_quiet();
	gather(more);
	if (argc < 2) {
		cli_overview(stderr);
		return CLI_USAGE;
	}
	cli_set_errors_as_json(cli_wants_json(argc - 1, argv + 1));
	const char *word = argv[1];
	if (str_eq(word, "--help") || str_eq(word, "-h"))
		word = "help";
	else if (str_eq(word, "--version"))
		word = "version";
	cli.command = cli_find(word);
	if (!cli.command)
		return cli_unknown_command(&cli, word);
	return run_command(&cli, argc - 2, argv + 2);
}
