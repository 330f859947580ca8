#include "server/audit.h"

#include "base/clock.h"
#include "base/str.h"
#include "server/core.h"
#include "server/list.h"
#include "server/route.h"
#include "server/views.h"

enum { REFUSED_BURST = 50, KNOWN_EVERY_MS = 100, ANONYMOUS_EVERY_MS = 60000 };

enum { KEY_SIZE = 128, REMOVED_MAX = 2 };

static void audit_key(const struct server *server, uint64_t seq, char key[KEY_SIZE])
{
	snprintf(key, KEY_SIZE, "v1/audit/%016llu%s", (unsigned long long)seq, server->suffix);
}

// Removes the record, or records of several servers, of that number.
static int remove_number(struct server *server, struct store_txn *txn, uint64_t seq)
{
	char prefix[KEY_SIZE];
	snprintf(prefix, sizeof(prefix), "v1/audit/%016llu", (unsigned long long)seq);
	const struct record *r = NULL;
	int n = 0;
	for (; n < REMOVED_MAX && (r = store_next(server->store, prefix, r ? record_key(r) : NULL)); n++)
		store_txn_delete(txn, record_key(r));
	return n;
}

// After all that this server gave, and all that it has seen of others.
static uint64_t next_number(struct server *server)
{
	struct audit_trail *trail = &server->audit;
	if (store_is_shared(server->store)) {
		char key[KEY_SIZE];
		audit_key(server, trail->next - 1, key);
		const struct record *r = NULL;
		while ((r = store_next(server->store, "v1/audit/", r ? record_key(r) : key)))
			trail->next = strtoull(record_key(r) + strlen("v1/audit/"), NULL, 10) + 1;
	}
	return trail->next++;
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
	record->seq = next_number(server);
	record->at_ms = realtime_ms();
	record->who = rq->who.name;
	record->role = (char *)roles[rq->who.access];
	record->from = rq->from;
	record->action = action;
	char key[KEY_SIZE];
	audit_key(server, record->seq, key);
	AUTO_FREE char *text = audit_text(record);
	store_txn_put(txn, key, text, strlen(text));
	// Two at most: what transactions that failed have left is caught up with after the next start.
	for (int n = 0, looked = 0; n < REMOVED_MAX && looked < 2 && server->audit.first + AUDIT_MAX <= record->seq;
	     looked++)
		n += remove_number(server, txn, server->audit.first++);
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
