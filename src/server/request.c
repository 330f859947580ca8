#include "server/request.h"

#include "base/str.h"
#include "server/audit.h"
#include "server/core.h"
#include "server/route.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>

struct request *request_new(struct server *server, struct http_exchange *x)
{
	struct request *rq = xcalloc(1, sizeof(*rq));
	rq->server = server;
	rq->x = x;
	rq->refs = 1;
	http_exchange_peer(x, rq->from);
	return rq;
}

struct request *request_ref(struct request *rq)
{
	rq->refs++;
	return rq;
}

void request_unref(struct request *rq)
{
	if (!rq || --rq->refs)
		return;
	for (size_t i = 0; i < REQUEST_PARAMS; i++)
		free(rq->params[i]);
	json_decref(rq->body);
	if (rq->object)
		fields_clear(rq->route->body, rq->object);
	free(rq->object);
	rq->server->untidy |= rq->large;
	free(rq);
}

const char *request_param(const struct request *rq, const char *name)
{
	int at = route_param_index(rq->route, name);
	assert(at >= 0 && rq->params[at]);
	return rq->params[at];
}

char *request_query(const struct request *rq, const char *name)
{
	return rq->x ? http_query_get(http_exchange_request(rq->x)->query, name) : NULL;
}

enum { QUERIES_MAX = 32 };

static void unknown_query(struct request *rq, const char *name)
{
	const char *known[QUERIES_MAX] = {};
	size_t n = 0;
	char list[256] = "";
	for (const struct route_query *query = rq->route->queries; query && query->name; query++) {
		size_t used = strlen(list);
		snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "", query->name);
		assert(n < QUERIES_MAX);
		known[n++] = query->name;
	}
	struct err err = {};
	const char *nearest = str_nearest(name, known, n);
	err_set(&err, -EINVAL, "unknown query parameter '%.64s'", name);
	if (nearest)
		err_hint(&err, "did you mean '%s'? possible here: %s", nearest, list);
	else
		err_hint(&err, "%s%s", n ? "possible here: " : "none is possible here", list);
	reply_problem(rq, 400, name, &err);
}

// seen: a bit for each of the route's parameters.
static bool check_parameter(struct request *rq, const char *name, uint32_t *seen)
{
	uint32_t bit = 1;
	const struct route_query *query = rq->route->queries;
	for (; query && query->name && !str_eq(query->name, name); query++)
		bit <<= 1;
	if (!query || !query->name) {
		unknown_query(rq, name);
		return false;
	}
	if (*seen & bit) {
		reply_problemf(rq, 400, "give it once", "query parameter '%s' is given twice", name);
		return false;
	}
	*seen |= bit;
	return true;
}

bool request_check_query(struct request *rq)
{
	const char *query = http_exchange_request(rq->x)->query;
	uint32_t seen = 0;
	for (;;) {
		AUTO_FREE char *name = NULL;
		if (!http_query_next(&query, &name))
			return true;
		if (!name) {
			reply_problemf(rq, 400, "write a percent sign as %25", "the query has a malformed escape");
			return false;
		}
		if (!check_parameter(rq, name, &seen))
			return false;
	}
}

int request_query_u64(struct request *rq, const char *name, uint64_t min, uint64_t max, uint64_t fallback,
		      uint64_t *ret)
{
	AUTO_FREE char *text = request_query(rq, name);
	if (!text) {
		*ret = fallback;
		return 0;
	}
	int r = parse_u64(text, max, ret);
	if (r == 0 && *ret < min)
		r = -ERANGE;
	if (r < 0) {
		struct err err = {};
		err_set(&err, r, "query parameter '%s' is '%.40s', not a number from %llu to %llu", name, text,
			(unsigned long long)min, (unsigned long long)max);
		reply_problem(rq, 400, name, &err);
	}
	return r;
}

static bool may_answer(struct request *rq)
{
	if (!rq->x || rq->answered)
		return false;
	rq->answered = true;
	return true;
}

// What the one who asked for a change sends along with what he asks next, of any server: he sees what he wrote.
static void say_revision(struct request *rq)
{
	if (!rq->route || !(rq->route->flags & ROUTE_CHANGES))
		return;
	AUTO_FREE char *text = xasprintf("%s:%llu", store_epoch(rq->server->store),
					 (unsigned long long)store_revision(rq->server->store));
	http_exchange_set_header(rq->x, "Dialtone-Revision", text);
}

static void respond(struct request *rq, unsigned status, const char *type, json_t *body)
{
	say_revision(rq);
	AUTO_FREE char *text = json_to_text(body);
	json_decref(body);
	http_respond(rq->x, status, type, text, strlen(text));
}

void reply_json(struct request *rq, unsigned status, json_t *body)
{
	reply_json_etag(rq, status, 0, body);
}

void reply_json_etag(struct request *rq, unsigned status, uint64_t etag, json_t *body)
{
	if (!may_answer(rq)) {
		json_decref(body);
		return;
	}
	if (etag) {
		char text[32];
		snprintf(text, sizeof(text), "\"%llu\"", (unsigned long long)etag);
		http_exchange_set_header(rq->x, "ETag", text);
	}
	respond(rq, status, "application/json", body);
}

void reply_empty(struct request *rq, unsigned status)
{
	if (!may_answer(rq))
		return;
	say_revision(rq);
	http_respond(rq->x, status, NULL, NULL, 0);
}

void reply_problem_with(struct request *rq, unsigned status, const char *field, const struct err *err, json_t *body)
{
	if (!may_answer(rq)) {
		json_decref(body);
		return;
	}
	audit_refused(rq, status, err->text);
	if (!body)
		body = json_object();
	json_object_set_new(body, "title", json_string(http_status_text(status)));
	json_object_set_new(body, "status", json_integer(status));
	json_object_set_new(body, "detail", json_string(err->text));
	if (err->hint[0])
		json_object_set_new(body, "hint", json_string(err->hint));
	if (!str_empty(field))
		json_object_set_new(body, "field", json_string(field));
	respond(rq, status, "application/problem+json", body);
}

void reply_problem(struct request *rq, unsigned status, const char *field, const struct err *err)
{
	reply_problem_with(rq, status, field, err, NULL);
}

void reply_problemf(struct request *rq, unsigned status, const char *hint, const char *fmt, ...)
{
	struct err err = {};
	va_list args;
	va_start(args, fmt);
	vsnprintf(err.text, sizeof(err.text), fmt, args);
	va_end(args);
	if (hint)
		snprintf(err.hint, sizeof(err.hint), "%s", hint);
	reply_problem(rq, status, NULL, &err);
}

unsigned status_of(int code)
{
	static const struct {
		int code;
		unsigned status;
	} table[] = {
		{ -EINVAL, 400 }, { -ERANGE, 400 }, { -EBADMSG, 400 }, { -EACCES, 403 },
		{ -EPERM, 403 },  { -ENOENT, 404 }, { -EEXIST, 409 },  { -EBUSY, 409 },
		{ -ESTALE, 412 }, { -EFBIG, 413 },  { -E2BIG, 413 },   { -ENOBUFS, 413 },
		{ -EAGAIN, 503 }, { -ENOSPC, 507 }, { -EDQUOT, 507 },  { -ETIMEDOUT, 504 },
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].code == code)
			return table[i].status;
	return 500;
}
