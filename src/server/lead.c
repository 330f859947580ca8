#include "server/lead.h"

#include "base/log.h"
#include "base/str.h"
#include "server/core.h"
#include "server/events.h"
#include "server/nodes.h"
#include "server/route.h"

#include <assert.h>
#include <errno.h>

#define SERVERS "v1/servers/"
#define LEADER "v1/leader"

struct servers_watch {
	struct stream stream;
	struct list link;
	bool dirty;
};

// ---- leading

static bool holds(const struct lead *lead)
{
	return lead->leader && store_holds(lead->leader);
}

bool server_leads(const struct server *server)
{
	const struct lead *lead = &server->lead;
	return lead->term && holds(lead) && store_hold_revision(lead->leader) == lead->term;
}

void server_commit_leading(struct server *server, struct store_txn *txn,
			   void (*done)(void *arg, const struct store_answer *answer), void *arg)
{
	assert(server->lead.leader); // who calls has asked server_leads in the same turn
	store_txn_fence(txn, server->lead.leader);
	store_commit(server->store, txn, done, arg);
}

static void gained(struct server *server)
{
	struct lead *lead = &server->lead;
	lead->term = store_hold_revision(lead->leader);
	log_info("leads term=%llu", (unsigned long long)lead->term);
	store_compact_by(server->store, lead->leader);
	routers_begin(server, lead->term);
	control_take_over(server);
	if (lead->waited) {
		lead->waited = false;
		server_begun(server);
	}
}

static void lost(struct server *server)
{
	log_warn("leads no longer term=%llu", (unsigned long long)server->lead.term);
	server->lead.term = 0;
	store_compact_by(server->store, NULL);
	events_drop(server);
	routers_end(server);
	nodes_end(server);
	control_wake(server, 0);
}

// ---- telling who is there

static void flush(struct server *server, struct servers_watch *watch)
{
	if (!watch->dirty || !stream_writable(&watch->stream))
		return;
	watch->dirty = false;
	struct servers_told told;
	lead_list(server, &told);
	stream_event(&watch->stream, "servers", told.revision, servers_told_write(&told));
	servers_told_clear(&told);
}

static void look(struct task *task)
{
	struct lead *lead = CONTAINER_OF(task, struct lead, task);
	struct server *server = lead->server;
	uint64_t term = holds(lead) ? store_hold_revision(lead->leader) : 0;
	replica_catch_up(&server->replica);
	if (lead->term && lead->term != term)
		lost(server);
	if (term && lead->term != term)
		gained(server);
	struct servers_watch *watch;
	LIST_EACH(watch, &lead->watches, link)
		flush(server, watch);
}

void lead_wake(struct server *server)
{
	struct lead *lead = &server->lead;
	if (!lead->server)
		return;
	struct servers_watch *watch;
	LIST_EACH(watch, &lead->watches, link)
		watch->dirty = true;
	task_wake(&lead->task);
}

static void room(struct stream *s)
{
	flush(s->rq->server, CONTAINER_OF(s, struct servers_watch, stream));
}

static void closed(struct stream *s, struct server *server UNUSED)
{
	struct servers_watch *watch = CONTAINER_OF(s, struct servers_watch, stream);
	list_remove(&watch->link);
	free(watch);
}

void servers_stream(struct request *rq)
{
	struct servers_watch *watch = xcalloc(1, sizeof(*watch));
	if (!stream_open(&watch->stream, rq, room, closed)) {
		free(watch);
		return;
	}
	watch->dirty = true;
	list_append(&rq->server->lead.watches, &watch->link);
	flush(rq->server, watch);
}

static void add(struct servers_told *told, const struct server_info *info)
{
	told->servers = xreallocarray(told->servers, told->server_count + 1, sizeof(*told->servers));
	fields_copy(&server_info_fields, info, &told->servers[told->server_count++]);
}

static struct server_info *find(struct servers_told *told, const char *name)
{
	for (uint32_t i = 0; i < told->server_count; i++)
		if (str_eq(told->servers[i].name, name))
			return &told->servers[i];
	return NULL;
}

static bool read_info(const struct record *r, struct server_info *ret)
{
	return r && server_info_parse_text(record_value(r), r->value_len, ret, NULL) == 0;
}

void lead_list(struct server *server, struct servers_told *ret)
{
	*ret = (struct servers_told){ .revision = store_revision(server->store) };
	struct server_info info = {};
	const struct record *r = NULL;
	while ((r = store_next(server->store, SERVERS, r ? record_key(r) : NULL))) {
		if (!read_info(r, &info))
			continue;
		add(ret, &info);
		server_info_clear(&info);
	}
	r = store_get(server->store, LEADER);
	if (!read_info(r, &info))
		return;
	if (!find(ret, info.name))
		add(ret, &info);
	find(ret, info.name)->term = r->create_revision;
	server_info_clear(&info);
}

char *lead_address(struct server *server, const char *name)
{
	AUTO_FREE char *key = xasprintf(SERVERS "%s", name);
	struct server_info info = {};
	if (!read_info(store_get(server->store, key), &info))
		return NULL;
	char *api = TAKE_PTR(info.api);
	server_info_clear(&info);
	return api;
}

bool lead_required(struct request *rq)
{
	struct server *server = rq->server;
	if (server_leads(server))
		return true;
	struct server_info info = {};
	struct err err = {};
	json_t *more = NULL;
	// Who has just lost it is still in the replica.
	if (read_info(store_get(server->store, LEADER), &info) && !str_eq(info.name, server->name)) {
		err_set(&err, -EAGAIN, "the server '%s' at %s decides, not this one", info.name, info.api);
		err_hint(&err, "ask there");
		more = json_pack("{s:o}", "leader", server_info_write(&info));
	} else {
		err_set(&err, -EAGAIN, "this server does not decide, and at present none does");
		err_hint(&err, "ask again");
	}
	server_info_clear(&info);
	reply_problem_with(rq, 421, NULL, &err, more);
	return false;
}

// ---- the whole

void lead_open(struct server *server)
{
	struct lead *lead = &server->lead;
	*lead = (struct lead){ .server = server };
	list_init(&lead->watches);
	task_init(&lead->task, server->loop, "lead", look);
	const struct server_info info = { .name = server->name,
					  .api = server->api,
					  .version = (char *)DIALTONE_VERSION };
	AUTO_FREE char *key = xasprintf(SERVERS "%s", server->name);
	AUTO_FREE char *text = server_info_text(&info);
	if (!store_is_shared(server->store)) {
		lead->waited = true;
		server->beginning++;
	}
	lead->member = store_hold_start(server->store, key, text, strlen(text), MEMBER_TTL_MS, &lead->task);
	lead->leader = store_hold_start(server->store, LEADER, text, strlen(text), LEAD_TTL_MS, &lead->task);
}

void lead_resign(struct server *server)
{
	struct lead *lead = &server->lead;
	if (lead->term)
		lost(server);
	store_hold_stop(TAKE_PTR(lead->leader));
	store_hold_stop(TAKE_PTR(lead->member));
}

void lead_close(struct server *server)
{
	struct lead *lead = &server->lead;
	if (!lead->server)
		return;
	lead_resign(server);
	task_clear(&lead->task);
	lead->server = NULL;
	struct servers_watch *watch;
	LIST_EACH(watch, &lead->watches, link) {
		stream_close(&watch->stream);
		list_remove(&watch->link);
		free(watch);
	}
}
