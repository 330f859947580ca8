#include "server/change.h"

#include "base/clock.h"
#include "base/str.h"
#include "server/core.h"
#include "server/route.h"

#include <errno.h>

struct change {
	struct request *rq;
	void (*done)(struct request *rq);
};

static void answer_failed(struct request *rq, const struct store_answer *answer)
{
	switch (answer->result) {
	case STORE_NO_SPACE:
		reply_problemf(rq, 507, "free space on the platform's data directory, then ask again",
			       "the change was not made: %s", answer->reason);
		break;
	case STORE_TOO_LARGE:
		reply_problemf(rq, 413, NULL, "the change was not made: %s", answer->reason);
		break;
	case STORE_UNKNOWN:
		reply_problemf(rq, 503, "look at the present state before asking again",
			       "it is not known whether the change was made: %s", answer->reason);
		break;
	default:
		if (rq->x)
			http_exchange_set_header(rq->x, "Retry-After", "1");
		reply_problemf(rq, 503, "ask again", "the change was not made: %s", answer->reason);
	}
}

static void conflict(struct request *rq)
{
	if (rq->if_match)
		reply_problemf(rq, 412, "read it again, and decide again", "it was changed by someone else meanwhile");
	else if (++rq->attempts >= CHANGE_ATTEMPTS)
		reply_problemf(rq, 503, "ask again", "too many changes at once to the same object");
	else
		rq->route->run(rq);
}

static void committed(void *arg, const struct store_answer *answer)
{
	AUTO_FREE struct change *change = arg;
	AUTO_REQUEST struct request *rq = change->rq;
	replica_catch_up(&rq->server->replica);
	if (answer->result == STORE_OK)
		change->done(rq);
	else if (answer->result == STORE_CONFLICT)
		conflict(rq);
	else
		answer_failed(rq, answer);
}

void change_commit(struct request *rq, struct store_txn *txn, const char *object, const char *detail,
		   void (*done)(struct request *rq))
{
	struct change *change = xcalloc(1, sizeof(*change));
	*change = (struct change){ .rq = request_ref(rq), .done = done };
	audit_add(rq, txn, object, detail);
	store_commit(rq->server->store, txn, committed, change);
}

bool if_match_holds(struct request *rq, const struct app_entry *app)
{
	uint64_t revision = app ? app->revision : 0;
	if (rq->if_match && rq->if_match != revision)
		reply_problemf(rq, 412, "read it again, and decide again",
			       "the app is at revision %llu, not %llu as If-Match says", (unsigned long long)revision,
			       (unsigned long long)rq->if_match);
	else if (rq->if_match_any && !app)
		reply_problemf(rq, 412, NULL, "there is no such app, and If-Match says that it must be there");
	else
		return true;
	return false;
}

struct app_entry *request_find_app(struct request *rq)
{
	replica_catch_up(&rq->server->replica);
	return replica_app(&rq->server->replica, request_param(rq, "tenant"), request_param(rq, "environment"),
			   request_param(rq, "app"));
}

struct app_entry *request_app(struct request *rq)
{
	struct app_entry *app = request_find_app(rq);
	if (!app)
		reply_problemf(rq, 404, "`dialtone apps` lists what there is", "no app '%.64s' in environment '%s'",
			       request_param(rq, "app"), request_param(rq, "environment"));
	return app && if_match_holds(rq, app) ? app : NULL;
}

// What could not be read back must not be written: the server refuses to start with such a record.
static int check_readable(struct request *rq, const char *text)
{
	struct app app = {};
	struct err err = {};
	int r = app_parse_text(text, strlen(text), &app, &err);
	if (r < 0)
		reply_problem(rq, 400, NULL, &err);
	app_clear(&app);
	return r;
}

int change_app(struct request *rq, struct store_txn *txn, const struct app_entry *entry, struct app *app)
{
	uint64_t revision = entry && entry->exists ? entry->revision : 0;
	AUTO_FREE char *key = xasprintf("v1/apps/%s/%s/%s", app->tenant, app->environment, app->name);
	app->updated_ms = realtime_ms();
	AUTO_FREE char *text = app_text(app);
	if (check_readable(rq, text) < 0)
		return -EINVAL;
	store_txn_if_revision(txn, key, revision);
	store_txn_put(txn, key, text, strlen(text));
	return 0;
}
