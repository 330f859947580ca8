#include "cli/commands.h"
#include "cli/output.h"

int command_version(struct cli *cli)
{
	if (!cli->json) {
		puts("dialtone " DIALTONE_VERSION);
		return CLI_OK;
	}
	json_t *version = json_pack("{s:s}", "version", DIALTONE_VERSION);
	print_json(version);
	json_decref(version);
	return CLI_OK;
}

int command_help(struct cli *cli)
{
	(void)cli; // `help COMMAND` was answered by the dispatcher
	cli_help(NULL);
	return CLI_OK;
}
