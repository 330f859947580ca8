#include "cli/commands.h"
#include "cli/output.h"

#include "base/clock.h"
#include "base/str.h"

static void print_exits(const json_t *exits)
{
	size_t i, k;
	json_t *record, *line;
	json_array_foreach((json_t *)exits, i, record) {
		char words[128], when[SHORT_TEXT_SIZE];
		const json_t *exit = json_object_get(record, "exit");
		exit_words(exit, words, sizeof(words));
		age_text(get_number(exit, "at_ms"), when);
		printf("%s  %s.%u %s, %s ago\n", i ? "          " : "exits     ", get_text(record, "process"),
		       (unsigned)get_number(record, "index"), words, when);
		json_array_foreach(json_object_get(exit, "lines"), k, line) {
			fputs("              | ", stdout);
			print_safe(stdout, json_string_value(line) ? json_string_value(line) : "");
			putchar('\n');
		}
	}
}

// "failed 14 times since 20s ago, the last 1s ago, 3 ms: "
static void print_times(const json_t *probe)
{
	char since[SHORT_TEXT_SIZE], last[SHORT_TEXT_SIZE];
	unsigned count = (unsigned)get_number(probe, "count");
	age_text(get_number(probe, "since_ms"), since);
	age_text(get_number(probe, "at_ms"), last);
	fputs(get_flag(probe, "ok") ? "ok" : "failed", stdout);
	if (count > 1)
		printf(" %u times since %s ago, the last", count, since);
	printf(" %s ago, %u ms: ", last, (unsigned)get_number(probe, "took_ms"));
}

static void print_probes(const json_t *probes)
{
	size_t i;
	json_t *record;
	json_array_foreach((json_t *)probes, i, record) {
		const json_t *probe = json_object_get(record, "probe");
		printf("%s  %s.%u ", i ? "          " : "probes    ", get_text(record, "process"),
		       (unsigned)get_number(record, "index"));
		print_times(probe);
		print_safe(stdout, get_text(probe, "detail"));
		putchar('\n');
	}
}

static void print_why(struct cli *cli, const json_t *why)
{
	const char *state = get_text(why, "state");
	printf("%s is %s%s%s: %s\n\n", get_text(why, "app"), colour_of_state(cli, state), state, colour_end(cli),
	       get_text(why, "summary"));
	size_t i;
	json_t *item;
	json_array_foreach(json_object_get(why, "missing"), i, item)
		printf("%s  %s: %u wanted, %u ready: %s\n", i ? "          " : "missing   ", get_text(item, "process"),
		       (unsigned)get_number(item, "wanted"), (unsigned)get_number(item, "ready"), get_text(item, "detail"));
	json_array_foreach(json_object_get(why, "nodes"), i, item)
		printf("%s  %s: %s\n", i ? "          " : "refused by", get_text(item, "node"), get_text(item, "refused"));
	print_exits(json_object_get(why, "exits"));
	print_probes(json_object_get(why, "probes"));
	json_array_foreach(json_object_get(why, "hints"), i, item)
		printf("%s  %s\n", i ? "          " : "hints     ", json_string_value(item));
}

int command_why(struct cli *cli)
{
	AUTO_FREE char *name = client_escape(cli->args[0]);
	AUTO_FREE char *path = client_environment_path(&cli->config, "apps/%s/why", name);
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_call(cli, "GET", path, NULL, &answer);
	if (status != CLI_OK || cli->json)
		return status != CLI_OK ? status : print_json(answer.json);
	print_why(cli, answer.json);
	return CLI_OK;
}
