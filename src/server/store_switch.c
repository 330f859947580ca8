#include "server/store_switch.h"

#include "base/log.h"
#include "base/str.h"
#include "io/file.h"
#include "server/change.h"
#include "server/core.h"

#include <errno.h>
#include <signal.h>

enum { FREEZE_MAX_S = 600 };

static const struct field freeze_items[] = {
	FIELD(store_freeze, seconds, FIELD_U32, REQUIRED, 1, FREEZE_MAX_S, .about = "then changes are taken again"),
};
const struct fields store_freeze_fields = FIELDS(store_freeze, freeze_items, "StoreFreeze");

static const struct field choice_items[] = {
	FIELD(store_choice, store, FIELD_TEXT, OPTIONAL, 0, 4096, .about = "etcd://ADDR:PORT,…; none: SQLite"),
	FIELD(store_choice, store_ca, FIELD_TEXT, OPTIONAL, 0, 4096, .about = "PEM file"),
	FIELD(store_choice, store_cert, FIELD_TEXT, OPTIONAL, 0, 4096, .about = "PEM file"),
	FIELD(store_choice, store_key, FIELD_TEXT, OPTIONAL, 0, 4096, .about = "PEM file"),
	FIELD(store_choice, revision, FIELD_U64, REQUIRED, 0, INT64_MAX, .about = "at which it was copied"),
};
const struct fields store_choice_fields = FIELDS(store_choice, choice_items, "StoreChoice");

// ---- freezing

static void thaw(struct server *server)
{
	if (store_is_frozen(server->store))
		log_info("changes are taken again");
	store_set_frozen(server->store, false);
	timer_stop(&server->thaw);
}

static void time_is_over(struct timer *timer)
{
	thaw(CONTAINER_OF(timer, struct server, thaw));
}

// Whatever came before has been applied now.
static void settled(void *arg, const struct store_answer *answer)
{
	AUTO_REQUEST struct request *rq = arg;
	struct server *server = rq->server;
	if (answer->result == STORE_OK)
		reply_json(rq, 200,
			   json_pack("{s:s, s:I}", "epoch", store_epoch(server->store), "revision",
				     (json_int_t)store_revision(server->store)));
	else
		reply_problemf(rq, 503, "ask again", "the store does not settle: %s", answer->reason);
}

static void freeze(struct request *rq)
{
	struct server *server = rq->server;
	const struct store_freeze *body = rq->object;
	if (!server->thaw.loop)
		timer_init(&server->thaw, server->loop, time_is_over);
	timer_set(&server->thaw, (uint64_t)body->seconds * 1000);
	if (!store_is_frozen(server->store))
		log_info("no changes are taken for seconds=%u: the store is being moved", body->seconds);
	store_set_frozen(server->store, true);
	store_commit(server->store, store_txn_new(), settled, request_ref(rq));
}

static bool is_alone(struct request *rq)
{
	struct servers_told told = {};
	lead_list(rq->server, &told);
	uint32_t n = told.server_count;
	fields_clear(&servers_told_fields, &told);
	if (n > 1)
		reply_problemf(rq, 409, "stop the others first, or stop all and migrate then",
			       "%u servers use this store; only a platform with one can be moved while it is up", n);
	return n <= 1;
}

void store_freeze(struct request *rq)
{
	if (!is_alone(rq))
		return;
	if (store_is_frozen(rq->server->store))
		freeze(rq);
	else
		change_commit(rq, store_txn_new(), NULL, "no changes are taken", freeze);
}

static void thawed(struct request *rq)
{
	reply_empty(rq, 204);
}

void store_thaw(struct request *rq)
{
	thaw(rq->server);
	change_commit(rq, store_txn_new(), NULL, "changes are taken again", thawed);
}

// ---- switching

static int write_choice(struct server *server, const struct store_choice *choice, struct err *err)
{
	struct platform platform = *server->platform; // its texts are borrowed
	bool shared = !str_empty(choice->store);
	platform.store = shared ? choice->store : NULL;
	platform.store_ca = shared && !str_empty(choice->store_ca) ? choice->store_ca : NULL;
	platform.store_cert = shared && !str_empty(choice->store_cert) ? choice->store_cert : NULL;
	platform.store_key = shared && !str_empty(choice->store_key) ? choice->store_key : NULL;
	AUTO_FREE char *path = xasprintf("%s/platform.json", platform.data);
	AUTO_FREE char *text = platform_to_text(&platform);
	return file_write_durable(path, text, strlen(text), 0600, err);
}

// The keeper starts it again, which reads platform.json. Until then it stays frozen.
void store_switch(struct request *rq)
{
	struct server *server = rq->server;
	const struct store_choice *choice = rq->object;
	struct err err = {};
	if (!store_is_frozen(server->store) || store_revision(server->store) != choice->revision) {
		reply_problemf(rq, 409, "begin again", "the store is at revision %llu%s, and was copied at %llu",
			       (unsigned long long)store_revision(server->store),
			       store_is_frozen(server->store) ? "" : " and takes changes",
			       (unsigned long long)choice->revision);
		return;
	}
	if (write_choice(server, choice, &err) < 0) {
		reply_problem(rq, 500, NULL, &err);
		return;
	}
	timer_stop(&server->thaw);
	log_info("the store is now store=%s; starting again", str_empty(choice->store) ? "sqlite" : choice->store);
	reply_empty(rq, 204);
	raise(SIGTERM);
}
