// POST /v1/nodes/{node}/report: what an agent says of its node. Kept in memory; only the node's own record and events
// are written.
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "server/app_state.h"
#include "server/core.h"
#include "server/events.h"
#include "server/nodes.h"
#include "server/route.h"

#include <errno.h>
#include <signal.h>

enum { BEHIND_MS = 1000 };

// ---- the node's record

// Free space comes and goes with what others write, and is measured anew by each agent: a sixteenth is no other disk.
static bool is_same_disk(uint64_t recorded, uint64_t said)
{
	uint64_t more = recorded > said ? recorded : said, less = recorded > said ? said : recorded;
	return more - less <= more / 16;
}

static bool record_is_current(const struct node_entry *node, const struct report *report)
{
	const struct node *record = &node->node;
	const struct node_report *said = &report->node;
	return node->exists && str_eq(record->boot, report->boot) && str_eq(record->address, said->address) &&
	       str_eq(record->zone, said->zone) && record->memory_bytes == said->memory_bytes &&
	       is_same_disk(record->disk_bytes, said->disk_bytes) && record->cpu_millis == said->cpu_millis;
}

static void record_written(void *arg, const struct store_answer *answer)
{
	AUTO_REQUEST struct request *rq = arg;
	struct server *server = rq->server;
	replica_catch_up(&server->replica);
	replica_node(&server->replica, request_param(rq, "node"))->link.writing = false;
	if (answer->result != STORE_OK)
		log_warn("node record not written node=%s reason=\"%s\"", request_param(rq, "node"), answer->reason);
	control_wake(server, 0);
}

// Writes what is new about the machine. The state stays the comparator's.
static void write_record(struct request *rq, struct node_entry *node, const struct report *report)
{
	if (node->link.writing || record_is_current(node, report) || !server_leads(rq->server))
		return;
	const struct node_report *said = &report->node;
	struct node record = {
		.name = node->name,
		.address = said->address,
		.zone = said->zone,
		.boot = report->boot,
		.state = node->exists ? node->node.state : NODE_READY,
		.since_ms = node->exists ? node->node.since_ms : realtime_ms(),
		.memory_bytes = said->memory_bytes,
		.disk_bytes = said->disk_bytes,
		.cpu_millis = said->cpu_millis,
	};
	AUTO_FREE char *key = xasprintf("v1/nodes/%s", node->name);
	AUTO_FREE char *text = node_text(&record);
	struct store_txn *txn = store_txn_new();
	store_txn_if_revision(txn, key, node->revision);
	store_txn_put(txn, key, text, strlen(text));
	audit_add(rq, txn, key, node->exists ? "the node reports another boot or capacity" : "the node is new");
	node->link.writing = true;
	server_commit_leading(rq->server, txn, record_written, request_ref(rq));
}

// ---- instances

// at_ms 0: now.
static void tell(struct server *server, struct placement_entry *p, const char *type, char *message, uint64_t at_ms)
{
	struct event event = { .type = (char *)type,
			       .message = message,
			       .process = p->record.process,
			       .instance = p->record.instance,
			       .index = p->record.index,
			       .node = p->record.node,
			       .release = p->record.release,
			       .at_ms = at_ms };
	event_add(server, p->app, &event);
}

// The report before had another; after a start of this process, no event tells of it.
static bool is_new_exit(struct server *server, const struct placement_entry *p, const char *type,
			const struct exit_status *exit)
{
	return p->heard ? !p->actual.exit || p->actual.exit->at_ms != exit->at_ms
			: !event_is_known(server, p->app, type, p->record.instance, exit->at_ms);
}

static void crashed(struct server *server, struct placement_entry *p, const struct instance_report *now)
{
	const struct exit_status *exit = now->exit;
	if (!exit || !server_leads(server) || p->record.want == WANT_STOP || now->state == INSTANCE_STOPPING ||
	    now->state == INSTANCE_STOPPED)
		return;
	if (!is_new_exit(server, p, "crashed", exit) || !placement_is_of(p, p->app))
		return;
	struct placement_entry view = { .record = p->record, .heard = true, .actual = *now };
	view.actual.state = INSTANCE_BACKOFF;
	AUTO_FREE char *message = instance_cause(&view);
	tell(server, p, "crashed", message, exit->at_ms);
}

// An end that was asked for is news when it is that of the whole app, or not what SIGTERM is to lead to.
static bool is_news(const struct app_entry *app, const struct exit_status *exit)
{
	bool termed = exit->signal == SIGTERM || (!exit->signal && exit->status == 128 + SIGTERM);
	bool clean = !exit->unknown && !exit->oom && !exit->signal && !exit->status;
	return app->app.stopped || !(clean || termed);
}

static void stopped(struct server *server, struct placement_entry *p, const struct instance_report *now)
{
	const struct exit_status *exit = now->exit;
	if (!exit || !server_leads(server) || p->record.want != WANT_STOP || !placement_is_of(p, p->app))
		return;
	if (!is_new_exit(server, p, "stopped", exit) || !is_news(p->app, exit))
		return;
	struct placement_entry view = { .record = p->record, .heard = true, .actual = *now };
	view.actual.state = INSTANCE_STOPPED;
	view.actual.message = NULL;
	AUTO_FREE char *cause = instance_cause(&view);
	bool killed = exit->signal == SIGKILL && !str_empty(now->message);
	AUTO_FREE char *message = xasprintf("%s%s%.200s", cause, killed ? "; " : "", killed ? now->message : "");
	tell(server, p, "stopped", message, exit->at_ms);
}

static void cannot_start(struct server *server, struct placement_entry *p, const struct instance_report *now)
{
	if (now->state != INSTANCE_FAILED || !server_leads(server) ||
	    (p->heard && p->actual.state == INSTANCE_FAILED) || !placement_is_of(p, p->app) ||
	    event_is_known(server, p->app, "failed", p->record.instance, 0))
		return;
	struct placement_entry view = { .record = p->record, .heard = true, .actual = *now };
	AUTO_FREE char *message = instance_cause(&view);
	tell(server, p, "failed", message, 0);
}

// What was reported while no server decided: as heard for the first time, so that no event is written twice.
void reports_catch_up(struct server *server)
{
	size_t at = 0;
	void *value;
	while (map_next(&server->replica.placements, &at, NULL, &value)) {
		struct placement_entry *p = value;
		if (!p->heard)
			continue;
		p->heard = false;
		crashed(server, p, &p->actual);
		cannot_start(server, p, &p->actual);
		p->heard = true;
	}
}

static void take_instance(struct server *server, struct node_entry *node, struct instance_report *now)
{
	struct placement_entry *p = map_get(&server->replica.placements, now->instance);
	if (!p || p->node != node)
		return; // placed elsewhere or over: the assignments say so
	crashed(server, p, now);
	cannot_start(server, p, now);
	stopped(server, p, now);
	bool routing = !p->heard || p->actual.state != now->state || !str_eq(p->actual.address, now->address) ||
		       p->actual.port != now->port;
	instance_report_clear(&p->actual);
	p->actual = *now;
	*now = (struct instance_report){};
	p->heard = true;
	p->unknown = false;
	app_mark(&server->replica, p->app);
	if (routing)
		control_wake(server, CONTROL_ROUTES);
}

// What a whole report does not name, the agent does not have (any more, or yet).
static void note_absent(struct server *server, struct node_entry *node, const struct report *report)
{
	struct map named = {};
	for (uint32_t i = 0; i < report->instance_count; i++)
		map_set(&named, report->instances[i].instance, (void *)report);
	struct placement_entry *p;
	LIST_EACH(p, &node->placements, of_node) {
		if (map_get(&named, p->record.instance))
			continue;
		if (!p->heard || p->actual.state != INSTANCE_PENDING)
			control_wake(server, CONTROL_ROUTES);
		instance_report_clear(&p->actual);
		p->heard = true;
		p->unknown = false;
		app_mark(&server->replica, p->app);
	}
	map_clear(&named);
}

// ---- the request

// An older report that was overtaken on its way.
static bool is_stale(const struct node_link *link, const struct report *report)
{
	return !report->full && str_eq(link->boot, report->boot) && report->seq <= link->seq;
}

static void note_node(struct request *rq, struct node_entry *node, struct report *report)
{
	struct node_link *link = &node->link;
	link->heard_ms = loop_now_ms(rq->server->loop);
	link->seq = report->seq;
	link->used = report->node.used;
	node_link_problems(link, &report->node);
	free(link->boot);
	link->boot = xstrdup(report->boot);
	write_record(rq, node, report);
	if (node->node.state == NODE_LOST || (report->full && !link->heard_full))
		control_wake(rq->server, CONTROL_ROUTES);
	link->heard_full |= report->full;
	link->behind &= !report->full;
}

// Those of the apps with old logs there that exist no longer: their logs may go.
static json_t *gone_apps(const struct server *server, const struct report *report)
{
	json_t *gone = json_array();
	for (uint32_t i = 0; i < report->past_count; i++) {
		const struct past_app *past = &report->past[i];
		const struct app_entry *app = replica_app(&server->replica, past->tenant, past->environment, past->app);
		if (!app || !str_eq(app->app.uid, past->app_uid))
			json_array_append_new(gone, json_string(past->app_uid));
	}
	return gone;
}

// Whether the agent is to say everything; what only this server is behind with, once a second.
static bool wants_full(struct server *server, struct node_link *link)
{
	uint64_t now = loop_now_ms(server->loop);
	if (!link->heard_full)
		return true;
	if (!link->behind || now < link->asked_ms + BEHIND_MS)
		return false;
	link->asked_ms = now;
	return true;
}

void nodes_report(struct request *rq)
{
	struct report *report = rq->object;
	const char *name = request_param(rq, "node");
	struct err err = {};
	if (!str_is_label(name) || !str_eq(name, report->node.name)) {
		err_set(&err, -EINVAL, "the report of node '%.64s' came as that of '%.64s'", report->node.name, name);
		reply_problem(rq, 400, "node.name", &err);
		return;
	}
	replica_catch_up(&rq->server->replica);
	struct node_entry *node = replica_node(&rq->server->replica, name);
	if (!is_stale(&node->link, report)) {
		if (report->full)
			note_absent(rq->server, node, report);
		for (uint32_t i = 0; i < report->instance_count; i++)
			take_instance(rq->server, node, &report->instances[i]);
		note_node(rq, node, report);
	}
	// What a server that may be behind does not know may be new.
	json_t *gone = server_leads(rq->server) ? gone_apps(rq->server, report) : json_array();
	reply_json(rq, 200, json_pack("{s:b, s:o}", "full", wants_full(rq->server, &node->link), "gone", gone));
}
