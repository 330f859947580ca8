#include "cli/commands.h"
#include "cli/output.h"

#include "base/str.h"

int command_status(struct cli *cli)
{
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_call(cli, "GET", "/v1/status", NULL, &answer);
	if (status != CLI_OK || cli->json)
		return status != CLI_OK ? status : print_json(answer.json);

	const json_t *platform = json_object_get(answer.json, "platform");
	const json_t *instances = json_object_get(answer.json, "instances");
	const json_t *store = json_object_get(answer.json, "store");
	printf("platform   %s, version %s\n", get_text(platform, "id"), get_text(platform, "version"));
	printf("api        %s\n", cli->config.address);
	printf("http       %s, domain %s\n", get_text(platform, "http"), get_text(platform, "domain"));
	printf("nodes      %u, routers %u\n", (unsigned)get_number(answer.json, "nodes"),
	       (unsigned)get_number(answer.json, "routers"));
	printf("apps       %u\n", (unsigned)get_number(answer.json, "apps"));
	printf("instances  %u of %u ready\n", (unsigned)get_number(instances, "ready"),
	       (unsigned)get_number(instances, "wanted"));
	printf("store      %s, revision %llu\n", get_text(store, "driver"),
	       (unsigned long long)get_number(store, "revision"));
	return CLI_OK;
}
