#include "base/str.h"
#include "cli/output.h"
#include "main/store.h"
#include "main/store_target.h"
#include "model/json.h"
#include "server/store_api.h"

struct gathered {
	json_t *info;
	bool done;
};

static void came(void *arg, json_t *info)
{
	struct gathered *g = arg;
	g->info = info;
	g->done = true;
}

static int ask_directly(struct cli *cli, bool compact, json_t **ret, struct err *err)
{
	AUTO_TARGET struct target target = { 0 };
	struct gathered g = { 0 };
	int r = target_find(cli, NULL, &target, err);
	if (r == 0)
		r = target_open(&target, err);
	if (r < 0)
		return r;
	if (compact)
		store_compact(target.store);
	store_info_gather(target.store, came, &g);
	target_run(&target, &g.done);
	*ret = g.info;
	return 0;
}

static int ask_platform(struct cli *cli, bool compact, json_t **ret, struct err *err)
{
	AUTO_ANSWER struct client_answer answer = { 0 };
	AUTO_JSON json_t *nothing = json_object();
	int r = compact ? client_call(cli->client, "POST", "/v1/store/compact", nothing, &answer, err)
			: client_call(cli->client, "GET", "/v1/store", NULL, &answer, err);
	if (r == 0)
		*ret = json_incref(answer.json);
	return r;
}

static void print_members(const json_t *members)
{
	size_t i;
	json_t *m;
	json_array_foreach(members, i, m)
	{
		char size[SHORT_TEXT_SIZE], used[SHORT_TEXT_SIZE];
		size_text(get_number(m, "bytes"), size);
		size_text(get_number(m, "used_bytes"), used);
		if (!get_flag(m, "answers"))
			printf("member     %s  does not answer: %s\n", get_text(m, "address"), get_text(m, "alarms"));
		else
			printf("member     %s  etcd %s, %s, %s used%s%s\n", get_text(m, "address"),
			       get_text(m, "version"), size, used, get_flag(m, "leads") ? ", leader" : "",
			       get_flag(m, "in_use") ? ", in use" : "");
	}
}

void store_print(const json_t *info)
{
	char size[SHORT_TEXT_SIZE], past[SHORT_TEXT_SIZE], disk[SHORT_TEXT_SIZE], ballast[SHORT_TEXT_SIZE];
	size_text(get_number(info, "bytes"), size);
	size_text(get_number(info, "history_bytes"), past);
	size_text(get_number(info, "disk_bytes"), disk);
	size_text(get_number(info, "ballast_bytes"), ballast);
	printf("driver     %s\n", get_text(info, "driver"));
	printf("revision   %llu, compacted up to %llu\n", (unsigned long long)get_number(info, "revision"),
	       (unsigned long long)get_number(info, "compacted"));
	printf("epoch      %s\n", get_text(info, "epoch"));
	printf("records    %llu, %s\n", (unsigned long long)get_number(info, "records"), size);
	if (get_number(info, "disk_bytes")) {
		printf("history    %llu superseded, %s\n", (unsigned long long)get_number(info, "history_rows"), past);
		printf("disk       %s, of which %s are held back for a full disk%s\n", disk, ballast,
		       get_flag(info, "full") ? "; FULL: only deletes are possible" : "");
	} else if (get_flag(info, "full")) {
		printf("quota      used up: only deletes are possible\n");
	}
	print_members(json_object_get(info, "members"));
	size_t i;
	json_t *w;
	json_array_foreach(json_object_get(info, "warnings"), i, w)
		printf("warning    %s\n           → %s\n", get_text(w, "text"), get_text(w, "mend"));
}

static int show(struct cli *cli, bool compact)
{
	struct err err = { 0 };
	AUTO_JSON json_t *info = NULL;
	int status = store_is_direct(cli) ? CLI_OK : store_connect(cli);
	if (status != CLI_OK)
		return status;
	int r = store_is_direct(cli) ? ask_directly(cli, compact, &info, &err)
				     : ask_platform(cli, compact, &info, &err);
	if (r < 0)
		return cli_fail(cli, &err);
	if (cli->json)
		return print_json(info);
	store_print(info);
	return CLI_OK;
}

int store_status(struct cli *cli)
{
	return show(cli, false);
}

int store_compact_command(struct cli *cli)
{
	return show(cli, true);
}
