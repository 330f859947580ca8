#include "server/audit.h"

#include "base/clock.h"
#include "base/str.h"
#include "server/core.h"
#include "server/list.h"
#include "server/route.h"
#include "server/views.h"

enum { REFUSED_BURST = 50, KNOWN_EVERY_MS = 100, ANONYMOUS_EVERY_MS = 60000 };

static void audit_key(uint64_t seq, char key[64])
{
	snprintf(key, 64, "v1/audit/%016llu", (unsigned long long)seq);
}

void audit_open(struct server *server)
{
	uint64_t last = store_last_number(server->store, "v1/audit/");
	server->audit = (struct audit_trail){ .first = store_first_number(server->store, "v1/audit/"),
					      .next = last + 1,
					      .anonymous.left = REFUSED_BURST,
					      .known.left = REFUSED_BURST };
}

// What the caller asked for, without a query: it may hold what is nobody's business.
static char *action_of(const struct request *rq)
{
	if (!rq->x)
		return xasprintf("%s %s", rq->route->method, rq->route->path);
	const struct http_request *head = http_exchange_request(rq->x);
	return xasprintf("%s %.400s", head->method, head->path);
}

static void put(struct request *rq, struct store_txn *txn, struct audit *record)
{
	struct server *server = rq->server;
	static const char *const roles[] = { "-", "node", "operator" };
	AUTO_FREE char *action = action_of(rq);
	record->seq = server->audit.next++;
	record->at_ms = realtime_ms();
	record->who = rq->who.name;
	record->role = (char *)roles[rq->who.access];
	record->from = rq->from;
	record->action = action;
	char key[64];
	audit_key(record->seq, key);
	AUTO_FREE char *text = audit_text(record);
	store_txn_put(txn, key, text, strlen(text));
	// Two at most: what transactions that failed have left is caught up with after the next start.
	for (int n = 0; n < 2 && server->audit.first + AUDIT_MAX <= record->seq; n++) {
		audit_key(server->audit.first++, key);
		store_txn_delete(txn, key);
	}
}

void audit_add(struct request *rq, struct store_txn *txn, const char *object, const char *detail)
{
	struct audit record = { .object = (char *)object,
				.outcome = (char *)"done",
				.status = rq->route->status,
				.detail = (char *)detail };
	put(rq, txn, &record);
}

static void recorded(void *arg UNUSED, const struct store_answer *answer UNUSED)
{
}

void audit_failed(struct request *rq, const char *detail)
{
	struct audit record = { .outcome = (char *)"failed", .status = rq->route->status, .detail = (char *)detail };
	struct store_txn *txn = store_txn_new();
	put(rq, txn, &record);
	store_commit(rq->server->store, txn, recorded, NULL);
}

static bool may_record(struct allowance *allowance, unsigned every_ms, uint64_t now_ms)
{
	uint64_t earned = (now_ms - allowance->refilled_ms) / every_ms;
	if (earned) {
		allowance->left =
			earned + allowance->left > REFUSED_BURST ? REFUSED_BURST : allowance->left + (unsigned)earned;
		allowance->refilled_ms = now_ms;
	}
	if (!allowance->left) {
		allowance->dropped++;
		return false;
	}
	allowance->left--;
	return true;
}

static bool is_audited(const struct request *rq, unsigned status)
{
	return status == 401 || status == 403 || (rq->route && rq->route->flags & ROUTE_CHANGES);
}

void audit_refused(struct request *rq, unsigned status, const char *detail)
{
	struct audit_trail *trail = &rq->server->audit;
	bool known = rq->who.access != ACCESS_ANYONE;
	struct allowance *allowance = known ? &trail->known : &trail->anonymous;
	if (!is_audited(rq, status) ||
	    !may_record(allowance, known ? KNOWN_EVERY_MS : ANONYMOUS_EVERY_MS, loop_now_ms(rq->server->loop)))
		return;
	AUTO_FREE char *more = allowance->dropped ? xasprintf("%s (%llu earlier attempts were not recorded)", detail,
							      (unsigned long long)allowance->dropped)
						  : xstrdup(detail);
	allowance->dropped = 0;
	const char *outcome = status == 401 || status == 403 ? "denied" : status < 500 ? "refused" : "failed";
	struct audit record = { .outcome = (char *)outcome, .status = status, .detail = more };
	struct store_txn *txn = store_txn_new();
	put(rq, txn, &record);
	store_commit(rq->server->store, txn, recorded, NULL);
}

static json_t *item(const struct record *record, const void *arg UNUSED)
{
	AUTO_JSON json_t *json = NULL;
	if (json_from_bytes(record_value(record), record->value_len, &json, NULL) < 0)
		return NULL;
	AUTO_FREE char *target = xstrdup(json_get_text(json, "target", ""));
	if (str_starts(target, "v1/"))
		json_object_set_new(json, "target", json_string(target + 3));
	return TAKE_PTR(json);
}

void audit_list(struct request *rq)
{
	list_newest_first(rq, "v1/audit/", 0, item, NULL);
}
