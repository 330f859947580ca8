#include "cli/commands.h"
#include "cli/output.h"

#include "base/buf.h"
#include "base/str.h"

// Where to go when the server at the address does not answer.
static void keep_servers(struct cli *cli, const json_t *servers)
{
	AUTO_BUF struct buf list = BUF_INIT(1 << 20);
	size_t i;
	json_t *server;
	json_array_foreach((json_t *)servers, i, server) buf_addf(&list, "%s%s", i ? "," : "", get_text(server, "api"));
	struct err err = { 0 };
	if (json_array_size(servers) && client_config_store_servers(&cli->config, buf_str(&list), &err) < 0)
		fprintf(stderr, "warning: the list of servers is not kept: %s\n", err.text);
}

static void print_servers(const json_t *answer)
{
	const json_t *servers = json_object_get(answer, "servers");
	size_t i;
	json_t *server;
	json_array_foreach((json_t *)servers, i, server)
	{
		const char *name = get_text(server, "name");
		printf("%-10s %s at %s%s%s\n", i ? "" : "servers", name, get_text(server, "api"),
		       get_number(server, "term") ? ", decides" : "",
		       str_eq(name, get_text(answer, "server")) ? ", answers" : "");
	}
}

static void print_store(const json_t *store)
{
	const char *member = get_text(store, "member");
	unsigned long long waiting = (unsigned long long)get_number(store, "waiting");
	printf("store      %s, revision %llu\n", get_text(store, "driver"),
	       (unsigned long long)get_number(store, "revision"));
	if (json_array_size(json_object_get(store, "members")))
		printf("           %zu members, %s in use, version %s, %llu changes wait\n",
		       json_array_size(json_object_get(store, "members")), *member ? member : "none",
		       get_text(store, "version"), waiting);
}

int command_status(struct cli *cli)
{
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_call(cli, "GET", "/v1/status", NULL, &answer);
	if (status == CLI_OK)
		keep_servers(cli, json_object_get(answer.json, "servers"));
	if (status != CLI_OK || cli->json)
		return status != CLI_OK ? status : print_json(answer.json);

	const json_t *platform = json_object_get(answer.json, "platform");
	const json_t *instances = json_object_get(answer.json, "instances");
	const json_t *store = json_object_get(answer.json, "store");
	printf("platform   %s, version %s\n", get_text(platform, "id"), get_text(platform, "version"));
	printf("api        %s\n", client_address(cli->client));
	printf("http       %s, domain %s\n", get_text(platform, "http"), get_text(platform, "domain"));
	printf("nodes      %u, routers %u\n", (unsigned)get_number(answer.json, "nodes"),
	       (unsigned)get_number(answer.json, "routers"));
	printf("apps       %u\n", (unsigned)get_number(answer.json, "apps"));
	printf("instances  %u of %u ready\n", (unsigned)get_number(instances, "ready"),
	       (unsigned)get_number(instances, "wanted"));
	if (json_array_size(json_object_get(answer.json, "servers")) > 1)
		print_servers(answer.json);
	print_store(store);
	return CLI_OK;
}
