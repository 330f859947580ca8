#include "cli/commands.h"
#include "cli/output.h"
#include "cli/wait.h"

#include "base/clock.h"
#include "base/str.h"
#include "model/units.h"

#include <errno.h>

static void print_source(struct cli *cli, const json_t *record)
{
	static const char *const colours[] = { "\033[36m", "\033[35m", "\033[34m", "\033[33m", "\033[32m" };
	uint64_t index = get_number(record, "index");
	printf("%s%s.%u%s ", cli->colour ? colours[index % ARRAY_LEN(colours)] : "", get_text(record, "process"),
	       (unsigned)index, colour_end(cli));
}

static void print_record(struct cli *cli, const json_t *record, bool gap)
{
	char when[SHORT_TEXT_SIZE];
	local_time_text(get_number(record, "at_ms"), when);
	printf("%s%s%s ", colour_dim(cli), when, colour_end(cli));
	print_source(cli, record);
	if (gap)
		printf("%s[dialtone] %llu bytes (%llu lines) of output were dropped here: more than is kept%s",
		       colour_dim(cli), (unsigned long long)get_number(record, "bytes"),
		       (unsigned long long)get_number(record, "lines"), colour_end(cli));
	else {
		fputs(str_eq(get_text(record, "stream"), "err") ? "ERR " : "OUT ", stdout);
		print_safe(stdout, get_text(record, "text"));
	}
	putchar('\n');
}

struct reading {
	struct cli *cli;
	bool lost;
};

static int on_log(const struct sse_event *event, void *arg)
{
	struct reading *reading = arg;
	struct cli *cli = reading->cli;
	reading->lost = false;
	if (str_eq(event->event, "end"))
		return 1;
	bool gap = str_eq(event->event, "gap");
	if (!gap && !str_eq(event->event, "log"))
		return 0;
	json_t *record = json_loadb(event->data, event->data_len, JSON_ALLOW_NUL, NULL);
	if (!record)
		return -EBADMSG;
	if (cli->json) {
		json_object_set_new(record, "type", json_string(gap ? "gap" : "log"));
		json_dumpf(record, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		print_record(cli, record, gap);
	}
	json_decref(record);
	fflush(stdout);
	return ferror(stdout) ? 1 : 0;
}

// Followed for longer than a platform may live. Said once, not at each failed attempt.
static int on_lost(UNUSED const struct err *err, void *arg)
{
	struct reading *reading = arg;
	if (!reading->lost && !reading->cli->quiet)
		fputs("the connection to the platform was lost; going on as soon as it is back (Ctrl-C ends this)\n",
		      stderr);
	reading->lost = true;
	return 0;
}

// The query of the logs resource, from the options.
static void logs_query(struct cli *cli, struct buf *query)
{
	const char *since = cli_get(cli, "since"), *tail = cli_get(cli, "tail"), *process = cli_get(cli, "process");
	buf_addf(query, "logs?follow=%d", cli_get(cli, "follow") ? 1 : 0);
	if (since) {
		uint32_t ago_ms = 0;
		parse_duration(since, &ago_ms, NULL); // checked with the other words
		buf_addf(query, "&since_ms=%llu", (unsigned long long)(realtime_ms() - ago_ms));
	}
	uint64_t lines = 100;
	if (tail)
		parse_u64(tail, 1000000, &lines);
	if (tail || !since)
		buf_addf(query, "&tail=%u", (unsigned)lines);
	if (process) {
		AUTO_FREE char *name = client_escape(process);
		buf_addf(query, "&process=%s", name);
	}
}

int command_logs(struct cli *cli)
{
	AUTO_BUF struct buf query = BUF_INIT(4096);
	logs_query(cli, &query);
	AUTO_FREE char *path = app_path(cli, cli->args[0], buf_str(&query));
	struct reading reading = { .cli = cli };
	struct client_stream stream = {
		.request = { .method = "GET", .path = path },
		.reconnect = cli_get(cli, "follow") != NULL,
		.on_event = on_log,
		.on_lost = on_lost,
		.arg = &reading,
	};
	struct err err = { 0 };
	int r = client_stream(cli->client, &stream, &err);
	return r < 0 ? cli_fail(cli, &err) : CLI_OK;
}
