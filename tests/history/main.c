// history-check LOG…: judges the logs of one run. Prints the violations and, last, the figures as one line of JSON; its
// status is 1 when there was any violation.
#include "check.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct verdict v;
	struct err err = { 0 };
	size_t n = (size_t)argc - 1;
	AUTO_FREE struct log *logs = xcalloc(n + 1, sizeof(*logs));
	for (size_t i = 0; i < n; i++) {
		if (log_open(&logs[i], argv[i + 1], &err) < 0) {
			fprintf(stderr, "error: %s\n", err.text);
			return 2;
		}
	}
	check_histories(logs, n, &v);
	printf("%s", buf_str(&v.text));
	const struct {
		const char *name;
		uint64_t n;
	} figures[] = {
		{ "violations", v.violations },
		{ "lives", v.lives },
		{ "operations", v.operations },
		{ "reads", v.reads },
		{ "events", v.events },
		{ "revisions", v.revisions },
		{ "checked", v.checked },
		{ "not_checked", v.not_checked },
		{ "ok", v.ok },
		{ "conflicts", v.conflicts },
		{ "refused", v.refused },
		{ "unknown", v.unknown },
		{ "unanswered", v.unanswered },
		{ "fenced", v.fenced },
	};
	for (size_t i = 0; i < ARRAY_LEN(figures); i++)
		printf("%s\"%s\": %" PRIu64, i ? ", " : "{", figures[i].name, figures[i].n);
	printf("}\n");
	for (size_t i = 0; i < n; i++)
		log_close(&logs[i]);
	verdict_clear(&v);
	return v.violations > 0;
}
