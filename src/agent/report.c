#include "agent/report.h"

#include "agent/core.h"
#include "agent/unreadable.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "model/json.h"

#include <linux/magic.h>
#include <sched.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>

enum { COALESCE_MS = 2, EVERY_MS = 1000, PAST_EVERY_MS = 3000, ORDERS_MS = 2000 };

struct report_sender {
	struct agent *agent;
	struct list of_agent; // on agent->reports
	struct client_link *link;
	char *address;
	char *path;
	uint64_t seq;
	struct map changed; // ids
	bool full, urgent, sending;
	uint64_t began_ms;
	uint64_t past_ms; // when the apps with old logs were last named
	struct timer timer;
	struct node_report machine;
	char said[256]; // the last failure logged
};

// What the scratch of instances has of the disk already: what is promised to instances includes it.
static uint64_t scratch_taken(const struct agent *agent)
{
	uint64_t sum = 0;
	void *entry;
	for (size_t at = 0; map_next(&agent->instances, &at, NULL, &entry);) {
		const struct instance *instance = entry;
		char path[64];
		struct statfs fs;
		snprintf(path, sizeof(path), "/proc/%d/root/tmp", (int)instance->running.pid);
		if (instance->running.pid && statfs(path, &fs) == 0 && fs.f_type == EXT4_SUPER_MAGIC)
			sum += (uint64_t)(fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_frsize;
	}
	return sum;
}

// Room for scratch on the data directory's file system. Never 0, which would mean that nobody knows.
static uint64_t disk_room(const struct agent *agent)
{
	struct statvfs disk;
	if (statvfs(agent->platform.data, &disk) < 0)
		return 0;
	return (uint64_t)disk.f_bavail * disk.f_frsize + scratch_taken(agent) + 1;
}

static void measure(struct report_sender *sender)
{
	struct agent *agent = sender->agent;
	struct sysinfo info;
	cpu_set_t cpus;
	sender->machine = (struct node_report){ .name = agent->name, .address = (char *)"127.0.0.1" };
	if (sysinfo(&info) == 0)
		sender->machine.memory_bytes = (uint64_t)info.totalram * info.mem_unit;
	sender->machine.disk_bytes = disk_room(agent);
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		sender->machine.cpu_millis = (uint32_t)CPU_COUNT(&cpus) * 1000;
}

static struct resources used(const struct agent *agent)
{
	struct resources sum = { 0 };
	void *entry;
	for (size_t at = 0; map_next(&agent->instances, &at, NULL, &entry);) {
		const struct instance *instance = entry;
		const struct assignment *a = &instance->order->assignment;
		if (instance->state == LIFE_STOPPED || instance->state == LIFE_RETIRE)
			continue;
		sum.memory_bytes += a->memory_bytes;
		sum.disk_bytes += a->disk_bytes;
		sum.cpu_millis += a->cpu_millis;
		sum.instances++;
	}
	return sum;
}

static struct instance_report *add_room(struct report *report)
{
	report->instances = xreallocarray(report->instances, report->instance_count + 1, sizeof(*report->instances));
	return &report->instances[report->instance_count++];
}

static void fill(struct report_sender *sender, struct report *report)
{
	struct agent *agent = sender->agent;
	const char *id;
	void *entry;
	for (size_t at = 0; map_next(&agent->instances, &at, &id, &entry);) {
		if (report->full || map_get(&sender->changed, id))
			instance_report_fill(entry, add_room(report));
	}
}

// As it was when this agent started: that is what its instances get. On the heap; NULL: none.
static char *scratch_problem(const struct agent *agent)
{
	const struct err *why = container_host_scratch_err(agent->host);
	if (!why)
		return NULL;
	return xasprintf(NODE_PROBLEM_SCRATCH " is in memory and counts as theirs, since the agent found at its start: %s; "
			 "%s%sthen restart the platform: dialtone down && dialtone up",
			 why->text, why->hint, why->hint[0] ? ", unless that is done already, " : "mend that, ");
}

static void add_problems(struct agent *agent, struct node_report *node)
{
	size_t n;
	node->problems = unreadable_problems(agent, &n);
	char *scratch = scratch_problem(agent);
	if (scratch) {
		node->problems = xreallocarray(node->problems, n + 1, sizeof(*node->problems));
		node->problems[n++] = scratch;
	}
	node->problem_count = (uint32_t)n;
}

// Apps may have been deleted while this agent, or the server, was away: so the agent asks, again and again.
static void name_past(struct report_sender *sender, struct report *report)
{
	uint64_t now_ms = monotonic_ms();
	if (now_ms - sender->past_ms < PAST_EVERY_MS)
		return;
	size_t n;
	report->past = history_apps(&sender->agent->history, &n);
	report->past_count = (uint32_t)n;
	sender->past_ms = now_ms;
}

static void drop_gone(struct agent *agent, const json_t *gone)
{
	size_t i;
	json_t *uid;
	json_array_foreach((json_t *)gone, i, uid)
	{
		if (!json_is_string(uid))
			continue;
		log_info("logs of a deleted app are removed app_uid=%s", json_string_value(uid));
		history_drop_app(&agent->history, json_string_value(uid));
	}
}

static void send_report(struct report_sender *sender);

static void sent(const struct client_answer *answer, const struct err *err, void *arg)
{
	struct report_sender *sender = arg;
	sender->sending = false;
	if (err) {
		sender->full = true;
		if (strncmp(sender->said, err->text, sizeof(sender->said) - 1) != 0)
			log_warn("server=%s report not delivered: %s", sender->address, err->text);
		snprintf(sender->said, sizeof(sender->said), "%.255s", err->text);
	} else {
		sender->said[0] = '\0';
		drop_gone(sender->agent, json_object_get(answer->json, "gone"));
		if (json_get_bool(answer->json, "full", false))
			sender->full = sender->urgent = true;
		if (sender->urgent)
			timer_set(&sender->timer, COALESCE_MS);
	}
}

static void send_report(struct report_sender *sender)
{
	struct report report = {
		.boot = sender->agent->boot,
		.seq = ++sender->seq,
		.full = sender->full,
		.node = sender->machine,
	};
	report.node.used = used(sender->agent);
	fill(sender, &report);
	add_problems(sender->agent, &report.node);
	name_past(sender, &report);
	map_clear(&sender->changed);
	sender->full = sender->urgent = false;
	sender->sending = true;
	AUTO_JSON json_t *json = report_write(&report);
	client_link_call(sender->link, "POST", sender->path, json, sent, sender);
	for (uint32_t i = 0; i < report.instance_count; i++)
		fields_clear(&instance_report_fields, &report.instances[i]);
	free(report.instances);
	free(report.past);
	texts_free(report.node.problems, report.node.problem_count);
}

// What cannot be read may run and serve. A report without it would take it out of the routes, just before the server's
// orders say what it is.
static bool waits_for_orders(const struct report_sender *sender)
{
	const struct agent *agent = sender->agent;
	return !agent->ordered && !list_empty(&agent->unreadable) && monotonic_ms() - sender->began_ms < ORDERS_MS;
}

static void fire(struct timer *timer)
{
	struct report_sender *sender = CONTAINER_OF(timer, struct report_sender, timer);
	bool waits = waits_for_orders(sender);
	if (!sender->sending && !waits)
		send_report(sender);
	timer_set(&sender->timer, waits ? ORDERS_MS / 20 : EVERY_MS);
}

static void soon(struct report_sender *sender)
{
	if (sender->urgent)
		return;
	sender->urgent = true;
	if (!sender->sending)
		timer_set(&sender->timer, COALESCE_MS);
}

struct report_sender *report_sender_new(struct agent *agent, struct client_link *link, const char *address)
{
	struct report_sender *sender = xcalloc(1, sizeof(*sender));
	sender->agent = agent;
	sender->link = link;
	sender->address = xstrdup(address);
	sender->full = true;
	sender->began_ms = monotonic_ms();
	sender->path = xasprintf("/v1/nodes/%s/report", agent->name);
	measure(sender);
	timer_init(&sender->timer, agent->loop, fire);
	timer_set(&sender->timer, 0);
	list_append(&agent->reports, &sender->of_agent);
	return sender;
}

void report_sender_free(struct report_sender *sender)
{
	if (!sender)
		return;
	list_remove(&sender->of_agent);
	timer_clear(&sender->timer);
	map_clear(&sender->changed);
	free(sender->path);
	free(sender->address);
	free(sender);
}

void report_instance(struct agent *agent, const char *id)
{
	struct report_sender *sender;
	LIST_EACH(sender, &agent->reports, of_agent) {
		map_set(&sender->changed, id, sender);
		soon(sender);
	}
}

void report_later(struct agent *agent, const char *id)
{
	struct report_sender *sender;
	LIST_EACH(sender, &agent->reports, of_agent)
		map_set(&sender->changed, id, sender);
}

void report_forget(struct agent *agent, const char *id)
{
	struct report_sender *sender;
	LIST_EACH(sender, &agent->reports, of_agent)
		map_remove(&sender->changed, id);
}

void report_everything(struct agent *agent)
{
	struct report_sender *sender;
	LIST_EACH(sender, &agent->reports, of_agent) {
		sender->full = true;
		soon(sender);
	}
}
