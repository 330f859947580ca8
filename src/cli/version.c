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
