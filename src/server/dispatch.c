#include "server/dispatch.h"

#include "base/str.h"
#include "server/access.h"
#include "server/core.h"
#include "server/route.h"

#include <errno.h>

#define BODY_MAX ((size_t)4 << 20)

static void gone(struct http_exchange *x, bool complete UNUSED)
{
	AUTO_REQUEST struct request *rq = http_exchange_arg(x);
	rq->x = NULL;
	if (rq->on_gone)
		rq->on_gone(rq);
}

static bool find_route(struct request *rq)
{
	const struct http_request *head = http_exchange_request(rq->x);
	char allow[128];
	int r = route_find(head->method, head->path, &rq->route, rq->params, allow, sizeof(allow));
	if (r == -ENOTSUP) {
		http_exchange_set_header(rq->x, "Allow", allow);
		reply_problemf(rq, 405, NULL, "%.16s is not possible here, only %s", head->method, allow);
	} else if (r == -EINVAL) {
		reply_problemf(rq, 400, NULL, "the path has a malformed escape");
	} else if (r < 0) {
		reply_problemf(rq, 404, "/v1/openapi.json lists what there is", "no resource '%.200s'", head->path);
	}
	return r == 0;
}

// If-Match: "123". Anything else that is said cannot match.
static bool read_if_match(struct request *rq)
{
	const char *value = http_header_get(&http_exchange_request(rq->x)->headers, "if-match");
	if (!value || !(rq->route->flags & ROUTE_IF_MATCH))
		return true;
	rq->if_match_any = str_eq(value, "*");
	if (rq->if_match_any)
		return true;
	AUTO_FREE char *text = xstrdup(value);
	size_t n = strlen(text);
	if (n > 2 && text[0] == '"' && text[n - 1] == '"') {
		text[n - 1] = '\0';
		if (parse_u64(text + 1, INT64_MAX, &rq->if_match) == 0 && rq->if_match)
			return true;
	}
	reply_problemf(rq, 412, "send the ETag of an earlier answer",
		       "If-Match %.64s is none of this resource's revisions", value);
	return false;
}

static bool parse_object(struct request *rq)
{
	const struct route *route = rq->route;
	if (!route->body)
		return true;
	void *object = xcalloc(1, route->body->size);
	struct field_path path = {};
	struct err err = {};
	enum fields_mode mode = route->flags & ROUTE_LENIENT ? FIELDS_LENIENT : FIELDS_STRICT;
	if (fields_parse(route->body, rq->body, mode, object, &path, &err) < 0) {
		free(object);
		reply_problem(rq, 400, path.text, &err);
		return false;
	}
	rq->object = object;
	return true;
}

static void with_body(struct http_exchange *x, const char *body, size_t n)
{
	struct request *rq = http_exchange_arg(x);
	struct err err = {};
	rq->large = n >= REQUEST_LARGE;
	if (n == 0) // an empty body stands for {}, so that POST …/stop needs none
		rq->body = json_object();
	else if (json_from_bytes(body, n, &rq->body, &err) < 0) {
		err_wrap(&err, "the body is not JSON");
		reply_problem(rq, 400, NULL, &err);
		return;
	}
	if (!json_is_object(rq->body)) {
		reply_problemf(rq, 400, NULL, "the body must be a JSON object");
		return;
	}
	if (parse_object(rq))
		rq->route->run(rq);
}

static void run_route(struct request *rq)
{
	if (!access_place(rq) || !request_check_query(rq) || !read_if_match(rq))
		return;
	if (rq->route->body_kind == BODY_JSON)
		http_exchange_read_body(rq->x, rq->route->body_max ? rq->route->body_max : BODY_MAX, with_body);
	else
		rq->route->run(rq);
}

// ---- what the client has seen already, of another server perhaps

static void await_gone(struct request *rq)
{
	store_forget(rq->arg);
	request_unref(rq);
}

static void awaited(void *arg, const struct store_answer *answer)
{
	AUTO_REQUEST struct request *rq = arg;
	rq->on_gone = NULL;
	rq->arg = NULL;
	replica_catch_up(&rq->server->replica);
	// A store that is not shared and has no such revision was put back to an earlier state: its present one is all
	// there is.
	if (answer->result == STORE_OK || answer->result == STORE_INVALID)
		run_route(rq);
	else
		reply_problemf(rq, 503, "ask another server, or again",
			       "this server has not yet seen what you have: its store is behind");
}

// The revision that "EPOCH:REVISION" names; 0 when there is none, or it is of before a restore.
static uint64_t seen_revision(const struct request *rq)
{
	const char *value = http_header_get(&http_exchange_request(rq->x)->headers, "dialtone-revision");
	const char *colon = value ? strrchr(value, ':') : NULL, *epoch = store_epoch(rq->server->store);
	uint64_t revision = 0;
	bool known = colon && strlen(epoch) == (size_t)(colon - value) && str_starts(value, epoch);
	return known && parse_u64(colon + 1, INT64_MAX, &revision) == 0 ? revision : 0;
}

// True: what the client has seen is not here yet, and is waited for.
static bool await_revision(struct request *rq)
{
	uint64_t revision = seen_revision(rq);
	if (revision <= store_revision(rq->server->store))
		return false;
	struct store_txn *txn = store_txn_new();
	rq->arg = txn;
	rq->on_gone = await_gone;
	store_await(rq->server->store, txn, revision, awaited, request_ref(rq));
	return true;
}

void dispatch(struct http_exchange *x, void *server)
{
	struct request *rq = request_new(server, x);
	http_exchange_set_arg(x, rq);
	http_exchange_on_gone(x, gone);
	if (find_route(rq) && access_check(rq) && !await_revision(rq))
		run_route(rq);
}
