// One request to the API while it is being answered: the exchange, the route it matched, who asks, the body. A handler
// answers at once, or keeps a reference and answers later; once the client has gone every answer is dropped. Lives on
// the server's loop.
#pragma once

#include "base/err.h"
#include "http/server.h"
#include "model/json.h"

struct server;
struct route;

enum { REQUEST_PARAMS = 4, REQUEST_LARGE = 1 << 20 };

// What a route asks for, and what a token gives. Each includes those before it.
enum access { ACCESS_ANYONE, ACCESS_NODE, ACCESS_OPERATOR };

struct principal {
	char name[64]; // of the token: "operator", "node"; "-" without a valid one
	enum access access;
};

struct request {
	struct server *server;
	struct http_exchange *x; // NULL: the client has gone
	const struct route *route;
	unsigned refs;
	bool answered;
	bool large;                   // its body has REQUEST_LARGE bytes or more
	char *params[REQUEST_PARAMS]; // decoded, in the order of the route's pattern
	struct principal who;
	char from[ADDRESS_TEXT_SIZE];
	json_t *body;      // NULL: none
	void *object;      // the body as the struct of the route's field table; NULL: the route has none
	unsigned attempts; // of a change that met a concurrent one
	bool if_match_any; // "*": the resource must be there
	uint64_t if_match; // revision; 0: none given
	void (*on_gone)(struct request *rq); // the client has gone; may be NULL
	void *arg;                           // the handler's own
};

struct request *request_new(struct server *server, struct http_exchange *x);
struct request *request_ref(struct request *rq);
void request_unref(struct request *rq); // NULL is fine

static inline void request_unref_p(struct request **rq)
{
	request_unref(*rq);
}
#define AUTO_REQUEST CLEANUP(request_unref_p)

const char *request_param(const struct request *rq, const char *name); // of the path; asserts that the route has it
char *request_query(const struct request *rq, const char *name);       // on the heap; NULL when absent

// Whether the query has only parameters that the route's table has, each once. Otherwise answers 400, naming it.
bool request_check_query(struct request *rq);

// A number from the query: fallback when absent. Answers 400 naming the parameter, and returns a negative errno,
// for anything but digits, below min or above max.
int request_query_u64(struct request *rq, const char *name, uint64_t min, uint64_t max, uint64_t fallback,
		      uint64_t *ret);

// Answers. body is stolen. Only the first answer counts; etag 0: none.
void reply_json(struct request *rq, unsigned status, json_t *body);
void reply_json_etag(struct request *rq, unsigned status, uint64_t etag, json_t *body);
void reply_empty(struct request *rq, unsigned status);

// RFC 9457. The err's text becomes the detail, its hint the hint; field may be NULL. body is further members (stolen,
// may be NULL).
void reply_problem(struct request *rq, unsigned status, const char *field, const struct err *err);
void reply_problem_with(struct request *rq, unsigned status, const char *field, const struct err *err, json_t *body);
void reply_problemf(struct request *rq, unsigned status, const char *hint, const char *fmt, ...) PRINTF_LIKE(4, 5);

// The status that stands for a negative errno of a module below: -EINVAL 400, -ENOENT 404, -EEXIST 409 and so on.
unsigned status_of(int code);
