#include "cli/commands.h"
#include "cli/output.h"

#include "base/str.h"

static void print_problems(const json_t *nodes)
{
	size_t i, k;
	json_t *node, *problem;
	json_array_foreach((json_t *)nodes, i, node) {
		json_array_foreach(json_object_get(node, "problems"), k, problem) {
			printf("\n%s: ", get_text(node, "name"));
			print_safe(stdout, json_string_value(problem) ? json_string_value(problem) : "");
			putchar('\n');
		}
	}
}

int command_nodes(struct cli *cli)
{
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_list(cli, "/v1/nodes", &answer);
	if (status != CLI_OK || cli->json)
		return status != CLI_OK ? status : print_json(answer.json);

	static const char *const titles[] = { "name", "state", "cpu", "memory", "disk", "instances", "since", NULL };
	struct listing *t = listing_new(cli, titles);
	size_t i;
	json_t *node;
	json_array_foreach(json_object_get(answer.json, "items"), i, node) {
		const json_t *used = json_object_get(node, "used");
		char age[SHORT_TEXT_SIZE], memory[SHORT_TEXT_SIZE], all[SHORT_TEXT_SIZE], disk[SHORT_TEXT_SIZE];
		char room[SHORT_TEXT_SIZE];
		age_text(get_number(node, "since_ms"), age);
		size_text(get_number(used, "memory_bytes"), memory);
		size_text(get_number(node, "memory_bytes"), all);
		size_text(get_number(used, "disk_bytes"), disk);
		size_text(get_number(node, "disk_bytes"), room);
		listing_cell(t, "%s", get_text(node, "name"));
		listing_state(t, get_text(node, "state"));
		listing_cell(t, "%.1f", (double)get_number(node, "cpu_millis") / 1000);
		listing_cell(t, "%s of %s", memory, all);
		listing_cell(t, "%s of %s", disk, room);
		listing_cell(t, "%u", (unsigned)get_number(used, "instances"));
		listing_cell(t, "%s", age);
	}
	listing_end(t, "no node has reported yet");
	print_problems(json_object_get(answer.json, "items"));
	return CLI_OK;
}
