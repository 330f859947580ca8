// `store …`: the state of the platform as a whole. Of a platform that is up it asks the API; with --data or --store it
// works on files or etcd itself.
#include "main/store.h"

#include "base/str.h"
#include "main/commands.h"

bool store_is_direct(const struct cli *cli)
{
	return cli_get(cli, "data") || cli_get(cli, "store");
}

int store_connect(struct cli *cli)
{
	struct err err = { 0 };
	if (client_config_load(cli_get(cli, "api"), &cli->config, &err) < 0)
		return cli_fail(cli, &err);
	cli->client = client_new(cli->config.address, cli->config.token, &err);
	return cli->client ? CLI_OK : cli_fail(cli, &err);
}

int command_store(struct cli *cli)
{
	static const struct {
		const char *verb;
		unsigned words;
	} verbs[] = { { "status", 0 }, { "backup", 1 }, { "restore", 1 }, { "compact", 0 }, { "migrate", 2 } };
	const char *verb = cli->args[0];
	size_t i = 0;
	while (i < ARRAY_LEN(verbs) && !str_eq(verbs[i].verb, verb))
		i++;
	if (i == ARRAY_LEN(verbs))
		return cli_usage(cli, "'store' knows status, backup, restore, compact and migrate, not '%s'", verb);
	if (cli->n_args - 1 != verbs[i].words)
		return cli_usage(cli, "'store %s' takes %u %s, not %u", verb, verbs[i].words,
				 verbs[i].words == 1 ? "word" : "words", cli->n_args - 1);
	switch (i) {
	case 0:
		return store_status(cli);
	case 1:
		return store_backup(cli, cli->args[1]);
	case 2:
		return store_restore(cli, cli->args[1]);
	case 3:
		return store_compact_command(cli);
	default:
		return store_migrate(cli, cli->args[1], cli->args[2]);
	}
}
