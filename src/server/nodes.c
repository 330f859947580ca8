#include "server/nodes.h"

#include "base/log.h"
#include "base/str.h"
#include "server/assignment.h"
#include "server/core.h"
#include "server/gate.h"
#include "server/list.h"
#include "server/route.h"
#include "server/views.h"

enum { REPORTS_MS = 5000 }; // without one: not connected

static void forget_removed(struct node_link *link)
{
	for (uint32_t i = 0; i < link->removed_count; i++)
		free(link->removed[i]);
	free(link->removed);
	link->removed = NULL;
	link->removed_count = 0;
}

void node_link_problems(struct node_link *link, struct node_report *report)
{
	for (uint32_t i = 0; i < link->problem_count; i++)
		free(link->problems[i]);
	free(link->problems);
	link->problems = report ? TAKE_PTR(report->problems) : NULL;
	link->problem_count = report ? report->problem_count : 0;
	if (report)
		report->problem_count = 0;
}

void node_link_clear(struct node_link *link)
{
	node_link_problems(link, NULL);
	stream_close(&link->stream);
	forget_removed(link);
	free(link->boot);
}

void node_link_removed(struct node_link *link, const struct placement_entry *p)
{
	if (!link->full_sent || !p->sent.known)
		return; // the stream starts whole, or never heard of it
	link->removed = xreallocarray(link->removed, link->removed_count + 1, sizeof(*link->removed));
	link->removed[link->removed_count++] = xstrdup(p->record.instance);
	link->dirty = true;
}

bool node_is_connected(struct server *server, const struct node_entry *node)
{
	const struct node_link *link = &node->link;
	if (server_leads(server))
		return link->stream.rq;
	return link->heard_ms && loop_now_ms(server->loop) < link->heard_ms + REPORTS_MS;
}

void nodes_end(struct server *server)
{
	size_t at = 0;
	void *value;
	while (map_next(&server->replica.nodes, &at, NULL, &value))
		stream_close(&((struct node_entry *)value)->link.stream);
}

// ---- assignments

static bool needs_sending(const struct placement_entry *p)
{
	return !p->sent.known || p->sent.generation != p->record.generation || p->sent.want != gate_want(p);
}

static json_t *collect_set(struct server *server, struct node_entry *node)
{
	json_t *set = json_array();
	struct placement_entry *p;
	LIST_EACH(p, &node->placements, of_node) {
		if (!needs_sending(p))
			continue;
		json_t *assignment = assignment_json(&server->replica, p);
		if (!assignment) {
			log_error("placement without a readable release instance=%s app=%s release=%u",
				  p->record.instance, p->app->key, p->record.release);
			continue;
		}
		json_array_append_new(set, assignment);
		p->sent = (struct sent){ true, p->record.generation, gate_want(p) };
	}
	return set;
}

static json_t *collect_removed(struct node_link *link)
{
	json_t *removed = json_array();
	for (uint32_t i = 0; i < link->removed_count; i++)
		json_array_append_new(removed, json_string(link->removed[i]));
	forget_removed(link);
	return removed;
}

void node_flush(struct server *server, struct node_entry *node)
{
	struct node_link *link = &node->link;
	if (!link->dirty || !stream_writable(&link->stream))
		return;
	link->dirty = false;
	json_t *set = collect_set(server, node), *removed = collect_removed(link);
	bool full = !link->full_sent;
	if (!full && !json_array_size(set) && !json_array_size(removed)) {
		json_decref(set);
		json_decref(removed);
		return;
	}
	link->full_sent = true;
	uint64_t revision = store_revision(server->store);
	stream_event(&link->stream, "assignments", revision,
		     json_pack("{s:I, s:b, s:o, s:o}", "revision", (json_int_t)revision, "full", full, "set", set,
			       "remove", removed));
}

static void room(struct stream *s)
{
	control_wake(s->rq->server, 0);
}

static void closed(struct stream *s, struct server *server)
{
	struct node_entry *node = CONTAINER_OF(s, struct node_entry, link.stream);
	log_info("agent gone node=%s", node->name);
	control_wake(server, 0);
}

// Checks the node's name and answers for a bad one.
static struct node_entry *named_node(struct request *rq)
{
	const char *name = request_param(rq, "node");
	if (str_is_label(name))
		return replica_node(&rq->server->replica, name);
	reply_problemf(rq, 400, NULL, "'%.64s' is not a node's name: lower-case letters, digits and '-'", name);
	return NULL;
}

void nodes_stream(struct request *rq)
{
	struct node_entry *node = named_node(rq);
	if (!node || !lead_required(rq))
		return;
	struct node_link *link = &node->link;
	stream_close(&link->stream);
	if (!stream_open(&link->stream, rq, room, closed))
		return;
	link->full_sent = false;
	link->dirty = true;
	forget_removed(link);
	struct placement_entry *p;
	LIST_EACH(p, &node->placements, of_node)
		p->sent.known = false;
	log_info("agent connected node=%s from=%s", node->name, rq->from);
	control_wake(rq->server, 0);
}

// ---- listing

static json_t *node_json(struct server *server, struct node_entry *node)
{
	const struct node_link *link = &node->link;
	struct node_view view = {
		.name = node->name,
		.address = node->node.address,
		.zone = node->node.zone,
		.state = node->node.state,
		.since_ms = node->node.since_ms,
		.memory_bytes = node->node.memory_bytes,
		.disk_bytes = node->node.disk_bytes,
		.cpu_millis = node->node.cpu_millis,
		.used = link->used,
		.problems = link->problems,
		.problem_count = link->problem_count,
		.connected = node_is_connected(server, node),
	};
	struct placement_entry *p;
	LIST_EACH(p, &node->placements, of_node)
		view.instances++;
	return node_view_write(&view);
}

static int by_name(const void *a, const void *b)
{
	const struct node_entry *const *x = a, *const *y = b;
	return strcmp((*x)->name, (*y)->name);
}

void nodes_list(struct request *rq)
{
	AUTO_LIST_PAGE struct list_page page = {};
	if (list_page_read_names(rq, &page) < 0)
		return;
	struct map *nodes = &rq->server->replica.nodes;
	AUTO_FREE struct node_entry **sorted = xcalloc(nodes->count + 1, sizeof(*sorted));
	size_t at = 0, n = 0;
	void *value;
	while (map_next(nodes, &at, NULL, &value)) {
		struct node_entry *node = value;
		if (node->exists && (!page.cursor || strcmp(node->name, page.cursor) > 0))
			sorted[n++] = node;
	}
	qsort(sorted, n, sizeof(*sorted), by_name);
	json_t *items = json_array();
	size_t i = 0;
	for (; i < n && i < page.limit; i++)
		json_array_append_new(items, node_json(rq->server, sorted[i]));
	list_answer_names(rq, items, i < n ? sorted[i - 1]->name : NULL);
}
