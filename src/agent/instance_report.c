// What an instance says of itself: to the server, and to the next agent process.
#include "agent/life.h"
#include "agent/text.h"
#include "base/clock.h"
#include "base/str.h"
#include "agent/container/addresses.h"

#include <signal.h>
#include <sys/wait.h>

enum { LINE_MAX_BYTES = 1024 };

void life_exit_clear(struct instance *instance)
{
	if (!instance->exit)
		return;
	for (uint32_t i = 0; i < instance->exit->line_count; i++)
		free(instance->exit->lines[i]);
	free(instance->exit->lines);
	free(TAKE_PTR(instance->exit));
}

static void keep_line(struct exit_status *exit, const char *line, size_t n)
{
	exit->lines = xreallocarray(exit->lines, exit->line_count + 1, sizeof(*exit->lines));
	exit->lines[exit->line_count++] = text_clean(line, n < LINE_MAX_BYTES ? n : LINE_MAX_BYTES);
}

static void keep_lines(struct exit_status *exit, const char *text)
{
	for (const char *end; text && *text; text = *end ? end + 1 : end) {
		end = text + strcspn(text, "\n");
		keep_line(exit, text, (size_t)(end - text));
	}
}

bool life_account(struct instance *instance)
{
	bool ran = instance->running.pid && instance->started;
	bool clean = false;
	if (ran) {
		const struct keeper_exit *ended = &instance->ended;
		bool known = instance->exited && ended->known;
		clean = known && WIFEXITED(ended->status) && WEXITSTATUS(ended->status) == 0;
		life_exit_clear(instance);
		struct exit_status *exit = instance->exit = xcalloc(1, sizeof(*exit));
		exit->unknown = !known;
		if (known && WIFSIGNALED(ended->status))
			exit->signal = (uint32_t)WTERMSIG(ended->status);
		else if (known)
			exit->status = (uint32_t)WEXITSTATUS(ended->status);
		exit->oom = instance->remains.oom;
		exit->at_ms = instance->exited ? ended->time_ms : realtime_ms();
		keep_lines(exit, instance->remains.lines);
	}
	free(TAKE_PTR(instance->remains.lines));
	instance->remains = (struct remains){ 0 };
	instance->running = (struct running){ 0 };
	instance->exited = instance->started = false;
	return clean;
}

char *instance_note(const struct instance *instance)
{
	char ip[IPV4_TEXT_SIZE] = "";
	if (instance->address)
		ipv4_write(instance->address, ip);
	const struct assignment *a = life_wants(instance);
	return xasprintf("{\"address\":\"%s\",\"environment\":\"%s/%s\",\"over\":%s,\"pid\":%d,\"ready\":%s,\"restarts\":%u,"
			 "\"start_ticks\":%llu,\"started_ms\":%llu}\n",
			 ip, a->tenant, a->environment, instance->over ? "true" : "false", instance->running.pid,
			 instance->state == LIFE_READY ? "true" : "false", instance->restarts,
			 instance->running.start_ticks, instance->started ? (unsigned long long)instance->started_ms : 0ULL);
}

static struct exit_status *exit_copy(const struct exit_status *from)
{
	struct exit_status *exit = xcalloc(1, sizeof(*exit));
	*exit = *from;
	exit->lines = NULL;
	exit->line_count = 0;
	for (uint32_t i = 0; i < from->line_count; i++)
		keep_line(exit, from->lines[i], strlen(from->lines[i]));
	return exit;
}

static char *text_or_null(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

static void add_probes(const struct instance *instance, struct instance_report *ret)
{
	unsigned n = instance->n_probes < PROBE_HISTORY ? instance->n_probes : PROBE_HISTORY;
	if (n == 0)
		return;
	ret->probes = xcalloc(n, sizeof(*ret->probes));
	for (unsigned i = 0; i < n; i++)
		probe_result_copy(&instance->probes[(instance->n_probes - 1 - i) % PROBE_HISTORY], &ret->probes[i]);
	ret->probe_count = n;
	ret->probe = xcalloc(1, sizeof(*ret->probe));
	probe_result_copy(&ret->probes[0], ret->probe);
}

void instance_report_fill(const struct instance *instance, struct instance_report *ret)
{
	char ip[IPV4_TEXT_SIZE];
	*ret = (struct instance_report){
		.instance = xstrdup(instance->id),
		.generation = life_wants(instance)->generation,
		.state = instance_reported_state(instance),
		.port = life_wants(instance)->port,
		.restarts = instance->restarts,
		.started_ms = instance->started ? instance->started_ms : 0,
		.exit = instance->exit ? exit_copy(instance->exit) : NULL,
		.message = text_or_null(instance->message),
	};
	if (instance->address) {
		ipv4_write(instance->address, ip);
		ret->address = xstrdup(ip);
	}
	add_probes(instance, ret);
}
