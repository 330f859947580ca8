// An answer of the agent, given on while it comes.
#include "base/str.h"
#include "server/core.h"
#include "server/passthrough.h"
#include "server/peers.h"

enum { EVENT_MAX = 4 << 20, PROBLEM_MAX = 64 << 10, HEAD_TIMEOUT_MS = 30000 };

struct relay {
	struct request *rq;
	struct http_call *call; // NULL: over
	struct relay_spec spec;
	struct sse_parser *events;
	unsigned status;    // of the agent's answer; 0: none yet
	struct buf problem; // body of a bad answer
};

static void relay_free(struct relay *relay)
{
	if (relay->spec.free_arg)
		relay->spec.free_arg(relay->spec.arg);
	sse_parser_free(relay->events);
	buf_clear(&relay->problem);
	relay->rq->on_gone = NULL;
	if (relay->rq->x)
		http_exchange_on_drain(relay->rq->x, NULL);
	request_unref(relay->rq);
	free(relay);
}

static void client_gone(struct request *rq)
{
	struct relay *relay = rq->arg;
	if (relay->call)
		http_call_cancel(relay->call);
	relay_free(relay);
}

static void drained(struct http_exchange *x)
{
	struct relay *relay = ((struct request *)http_exchange_arg(x))->arg;
	if (relay->call)
		http_call_resume(relay->call);
}

static void saw_event(const struct sse_event *event, void *arg)
{
	struct relay *relay = arg;
	relay->spec.on_event(relay->rq, event, relay->spec.arg);
}

static void on_head(struct http_call *call, const struct http_response *response)
{
	struct relay *relay = http_call_arg(call);
	struct request *rq = relay->rq;
	relay->status = response->status;
	if (response->status != 200 || rq->answered)
		return;
	const char *type = http_header_get(&response->headers, "content-type");
	rq->answered = true;
	http_exchange_set_header(rq->x, "Cache-Control", "no-store");
	http_respond_start(rq->x, 200, type ? type : "application/octet-stream");
	if (relay->spec.on_event)
		relay->events = sse_parser_new(EVENT_MAX, saw_event, relay);
}

static void on_data(struct http_call *call, const char *bytes, size_t n)
{
	struct relay *relay = http_call_arg(call);
	if (relay->status != 200) {
		buf_add(&relay->problem, bytes, n);
		return;
	}
	if (relay->events)
		sse_parse(relay->events, bytes, n);
	if (http_respond_write(relay->rq->x, bytes, n) > HTTP_HIGH_WATER)
		http_call_pause(call);
}

void reply_of_agent(struct request *rq, unsigned status, struct buf *problem, const struct err *err)
{
	AUTO_JSON json_t *json = NULL;
	if (err) {
		reply_problemf(rq, 503, "its node agent may be starting: see `dialtone status`",
			       "the node could not be asked: %s", err->text);
	} else if (json_from_bytes(buf_str(problem), buf_len(problem), &json, NULL) < 0 || !json_is_object(json)) {
		reply_problemf(rq, 502, NULL, "the node answered %u without a reason", status);
	} else {
		struct err told = {};
		err_set(&told, -1, "%s", json_get_text(json, "detail", "no reason given"));
		err_hint(&told, "%s", json_get_text(json, "hint", ""));
		reply_problem(rq, status, json_get_text(json, "field", NULL), &told);
	}
}

static void on_end(struct http_call *call, const struct err *err)
{
	struct relay *relay = http_call_arg(call);
	struct request *rq = relay->rq;
	relay->call = NULL;
	if (relay->spec.peer && err && relay->status != 200)
		reply_problemf(rq, 503, "ask again", "the server that has it could not be asked: %s", err->text);
	else if (relay->status != 200)
		reply_of_agent(rq, relay->status, &relay->problem, err);
	else if (err)
		http_respond_abort(rq->x);
	else
		http_respond_end(rq->x);
	relay_free(relay);
}

void relay_start(struct request *rq, const struct relay_spec *spec)
{
	struct relay *relay = xcalloc(1, sizeof(*relay));
	*relay = (struct relay){ .rq = request_ref(rq), .spec = *spec, .problem = BUF_INIT(PROBLEM_MAX) };
	rq->arg = relay;
	rq->on_gone = client_gone;
	http_exchange_on_drain(rq->x, drained);
	AUTO_FREE char *body = spec->body ? json_to_text(spec->body) : NULL;
	struct http_header headers[3];
	size_t n = 0;
	if (body)
		headers[n++] = (struct http_header){ "Content-Type", "application/json" };
	if (spec->peer) {
		const char *token = http_header_get(&http_exchange_request(rq->x)->headers, "authorization");
		headers[n++] = (struct http_header){ "Authorization", token };
		headers[n++] = (struct http_header){ RELAYED, rq->server->name };
	}
	struct http_call_spec call = {
		.method = spec->method,
		.target = spec->target,
		.host = spec->peer ? NULL : "agent",
		.headers = headers,
		.n_headers = n,
		.body = body,
		.body_len = body ? strlen(body) : 0,
		.head_timeout_ms = HEAD_TIMEOUT_MS,
		.on_head = on_head,
		.on_data = on_data,
		.on_end = on_end,
		.arg = relay,
	};
	relay->call = http_client_call(spec->peer ? spec->peer : rq->server->agent, &call);
}
