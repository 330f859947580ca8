// One request's way to an instance and back.
#include "router/downstream.h"

#include "base/str.h"
#include "router/answer.h"
#include "router/switched.h"

#include <errno.h>
#include <sys/socket.h>

static void attempt(struct downstream *c);
static void upstream_ready(struct poll *poll, int events);

static bool waits_for_client(const struct exchange *x)
{
	return !x->request_done && buf_len(&x->to_up) == x->sent;
}

// Something moved: the time allowed for the next thing begins anew. A connect is not hurried or slowed by anything.
static void moved(struct downstream *c)
{
	const struct exchange *x = &c->x;
	const struct limits *limits = &c->worker->limits;
	if (c->state == DOWN_EXCHANGE)
		downstream_allow(c, x->response_begun     ? limits->transfer_ms
				    : waits_for_client(x) ? limits->body_ms
							  : limits->answer_ms);
}

static bool is_idempotent(const char *method)
{
	static const char *const names[] = { "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE" }; // RFC 9110 9.2.2
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq(method, names[i]))
			return true;
	return false;
}

static void forget(struct downstream *c)
{
	struct exchange *x = &c->x;
	table_unref(x->table);
	while (x->n_tried)
		upstream_unref(x->tried[--x->n_tried]);
	struct buf keep = x->to_up;
	buf_reset(&keep);
	*x = (struct exchange){ .downstream = c, .to_up = keep };
	if (keep.size > 16 << 10)
		buf_clear(&x->to_up);
}

static void release(struct exchange *x, bool keep)
{
	if (!x->up)
		return;
	struct upstream_connection *up = x->up;
	x->up = NULL;
	if (keep && up->events != POLL_READ)
		poll_set(&up->poll, POLL_READ);
	upstream_release(up, keep);
}

void exchange_abort(struct downstream *c)
{
	if (c->x.active)
		release(&c->x, false);
	forget(c);
	if (c->closed)
		buf_clear(&c->x.to_up);
}

static void answer_own(struct downstream *c, const struct own_answer *answer)
{
	struct exchange *x = &c->x;
	if (answer->status >= 500)
		c->worker->counters.failures++;
	bool whole = x->request_done || c->parser.framing == HTTP1_NO_BODY;
	if (!whole || !c->parser.keep_alive)
		c->close_after = true; // what is left of the request is not waited for
	answer_write(&c->out, answer, x->html, x->is_head, c->close_after);
	release(x, false);
	forget(c);
	downstream_next(c);
}

static const struct route *find_route(const struct table *table, const struct http_request *request)
{
	return table_find(table, request->host, str_eq(request->path, "*") ? "/" : request->path); // OPTIONS *
}

// A further attempt goes by the newest table, if that has instances for it: all of an older one may be gone.
static void route_anew(struct downstream *c)
{
	struct exchange *x = &c->x;
	struct table *newest = c->worker->table;
	if (newest == x->table)
		return;
	const struct route *route = find_route(newest, &c->parser.request);
	if (!route || !route->n)
		return;
	table_unref(x->table);
	x->table = table_ref(newest);
	x->route = route;
}

void exchange_begin(struct downstream *c)
{
	struct exchange *x = &c->x;
	const struct http1_parser *p = &c->parser;
	const struct http_request *request = &p->request;
	const char *accept = http_header_get(&request->headers, "accept");
	c->worker->counters.requests++;
	*x = (struct exchange){
		.downstream = c,
		.active = true,
		.to_up = x->to_up,
		.is_head = str_eq(request->method, "HEAD"),
		.html = accept && strstr(accept, "text/html"),
		.minor = request->minor,
		.replayable = is_idempotent(request->method) && p->framing == HTTP1_NO_BODY && !p->upgrade,
	};
	if (!x->to_up.max)
		x->to_up = BUF_INIT(1 << 20);
	if (!p->keep_alive || c->worker->draining)
		c->close_after = true;
	c->state = DOWN_CONNECT;

	struct table *table = c->worker->table;
	const struct own_answer *fault = NULL;
	x->route = table ? find_route(table, request) : NULL;
	if (str_eq(request->method, "CONNECT"))
		fault = &answer_no_proxy;
	else if (!x->route)
		fault = table ? &answer_no_route : &answer_no_table;
	else if (!x->route->n)
		fault = answer_nothing_ready(x->route->state);
	else if (!forward_request(&x->to_up, p, c->peer_ip))
		fault = &answer_dishonest;
	if (fault) {
		answer_own(c, fault);
		return;
	}
	x->table = table_ref(table);
	attempt(c);
}

// The end of one attempt without an answer; `why` is what the client hears if it was the last one.
static void next_attempt(struct downstream *c, const struct own_answer *why)
{
	struct exchange *x = &c->x;
	release(x, false);
	x->sent = 0;
	x->sent_any = x->write_broken = false;
	route_anew(c);
	if (x->n_tried == TRIES_MAX || !upstream_choose(x->route->upstreams, x->route->n, x->tried, x->n_tried)) {
		answer_own(c, x->broke ? &answer_broke_off : why); // it was sent: that nobody took it is not true
		return;
	}
	c->worker->counters.retries++;
	attempt(c);
}

// The fault of this machine, not of an instance.
static bool out_of_resources(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM || error == EADDRNOTAVAIL;
}

static void attempt(struct downstream *c)
{
	struct exchange *x = &c->x;
	for (;;) {
		struct upstream *u = x->n_tried < TRIES_MAX
					     ? upstream_choose(x->route->upstreams, x->route->n, x->tried, x->n_tried)
					     : NULL;
		if (!u) {
			answer_own(c, x->broke ? &answer_broke_off : &answer_connect_failed);
			return;
		}
		x->tried[x->n_tried++] = upstream_ref(u);
		x->up = upstream_connect(u, x, upstream_ready);
		if (x->up)
			break;
		if (out_of_resources(errno)) {
			answer_own(c, &answer_overloaded);
			return;
		}
		upstream_note_failure(u);
	}
	http1_parser_answers(&x->up->parser, c->parser.request.method);
	c->state = x->up->connected ? DOWN_EXCHANGE : DOWN_CONNECT;
	downstream_allow(c, c->worker->limits.connect_ms);
	moved(c);
	if (x->up->connected)
		exchange_flush(c);
}

// Sends from to_up. What could be needed for a second attempt stays in it until the answer begins.
void exchange_flush(struct downstream *c)
{
	struct exchange *x = &c->x;
	if (!x->up || !x->up->connected || x->write_broken)
		return;
	while (x->sent < buf_len(&x->to_up)) {
		ssize_t n =
			send(x->up->poll.fd, buf_data(&x->to_up) + x->sent, buf_len(&x->to_up) - x->sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			x->write_broken = errno != EAGAIN; // the reason, or an answer, comes by reading
			break;
		}
		x->sent += (size_t)n;
		x->sent_any = true;
		moved(c);
	}
	if (!x->replayable) {
		buf_consume(&x->to_up, x->sent);
		x->sent = 0;
	}
	if (c->state == DOWN_TUNNEL)
		switched_sent_up(c);
	exchange_update(c);
}

void exchange_update(struct downstream *c)
{
	struct exchange *x = &c->x;
	if (c->closed || !x->up || !x->up->connected)
		return;
	bool read = buf_len(&c->out) < OUT_HIGH && !x->up_eof;
	bool write = x->sent < buf_len(&x->to_up) && !x->write_broken;
	int events = (read ? POLL_READ : 0) | (write ? POLL_WRITE : 0);
	if (events != x->up->events)
		poll_set(&x->up->poll, events);
	x->up->events = events;
}

void exchange_body(struct downstream *c, const char *bytes, size_t n)
{
	struct exchange *x = &c->x;
	int r = c->parser.framing == HTTP1_CHUNKED ? http1_write_chunk(&x->to_up, bytes, n)
						   : buf_add(&x->to_up, bytes, n);
	if (r < 0) { // cannot be: reading stops long before
		downstream_close(c);
		return;
	}
	moved(c);
	exchange_flush(c);
}

void exchange_request_end(struct downstream *c)
{
	struct exchange *x = &c->x;
	x->request_done = true;
	moved(c);
	if (c->parser.framing != HTTP1_CHUNKED)
		return;
	http1_write_last_chunk(&x->to_up);
	exchange_flush(c);
}

static bool finish_connect(struct upstream_connection *up)
{
	int error = 0;
	socklen_t len = sizeof(error);
	if (getsockopt(up->poll.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error)
		return false;
	up->connected = true;
	up->events = POLL_READ | POLL_WRITE;
	return true;
}

// Ends the connection so that the client sees that the answer is not whole.
static void cut_off(struct downstream *c)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	setsockopt(c->poll.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	downstream_close(c);
}

// The instance is gone before its answer was complete, or its answer is of no use.
static void broken(struct downstream *c, const struct own_answer *why)
{
	struct exchange *x = &c->x;
	if (c->state == DOWN_TUNNEL || x->response_begun) {
		cut_off(c);
		return;
	}
	struct upstream *u = x->up->upstream;
	bool stale = x->up->reused && !x->heard;
	if (stale) {
		upstream_close_idle(u); // its fellows are most likely closed as well
		// The instance may be well, or about to end: a dying one's port may outlive its connections. Others go
		// first.
		bool others = upstream_choose(x->route->upstreams, x->route->n, x->tried, x->n_tried);
		if (x->n_tried && !x->broke && !others)
			upstream_unref(x->tried[--x->n_tried]);
	} else {
		upstream_note_failure(u);
	}
	bool again = !x->heard && (!x->sent_any || (x->replayable && !x->broke));
	if (x->sent_any)
		x->broke = true;
	if (again) {
		next_attempt(c, why);
		return;
	}
	answer_own(c, why);
}

void exchange_bad_request(struct downstream *c)
{
	if (c->x.active && c->x.response_begun)
		cut_off(c);
	else
		exchange_abort(c);
}

static int write_body(struct downstream *c, const char *bytes, size_t n)
{
	switch (c->x.form) {
	case BODY_CHUNKED:
		return http1_write_chunk(&c->out, bytes, n);
	case BODY_AS_IS:
	case BODY_UNTIL_CLOSE:
		return buf_add(&c->out, bytes, n);
	case BODY_NONE:
		break;
	}
	return 0;
}

// RFC 9110, 7.8: only to what the client asked for, and only behind the whole request.
static bool may_switch(const struct downstream *c)
{
	return forward_upgrade(&c->parser) && c->x.request_done;
}

static void begin_answer(struct downstream *c)
{
	struct exchange *x = &c->x;
	struct http1_parser *p = &x->up->parser;
	if (p->interim) {
		if (x->minor)
			forward_interim(&c->out, p);
		return;
	}
	if (!x->request_done)
		c->close_after = true; // answered before the request was in: the rest of it is not waited for
	x->response_begun = true;
	x->replayable = false;
	forward_response(&c->out, p, x->minor, x->is_head, c->close_after, &x->form);
	if (x->form == BODY_UNTIL_CLOSE)
		c->close_after = true;
}

static void end_answer(struct downstream *c, const char *rest, size_t n)
{
	struct exchange *x = &c->x;
	struct http1_parser *p = &x->up->parser;
	if (p->upgrade) {
		switched_start(c, rest, n);
		return;
	}
	if (x->form == BODY_CHUNKED)
		http1_write_last_chunk(&c->out);
	bool whole = x->request_done && x->sent == buf_len(&x->to_up) && !x->write_broken;
	bool keep = p->keep_alive && n == 0 && whole;
	if (keep)
		http1_parser_rest(p);
	release(x, keep);
	forget(c);
	downstream_next(c);
}

// False when the exchange went elsewhere (ended, broke, became a tunnel).
static bool answer_event(struct downstream *c, enum http1_event event, const char *rest, size_t n)
{
	struct exchange *x = &c->x;
	switch (event) {
	case HTTP1_HEAD:
		if (x->up->parser.upgrade && !may_switch(c)) {
			broken(c, &answer_bad_answer);
			return false;
		}
		begin_answer(c);
		return true;
	case HTTP1_BODY:
		if (write_body(c, x->up->parser.body, x->up->parser.body_len) == 0)
			return true;
		downstream_close(c);
		return false;
	case HTTP1_END:
		end_answer(c, rest, n);
		return false;
	case HTTP1_ERROR:
		broken(c, &answer_bad_answer);
		return false;
	case HTTP1_NEED:
		break;
	}
	return true;
}

static void take_answer(struct downstream *c, const char *bytes, size_t n)
{
	struct exchange *x = &c->x;
	enum http1_event event;
	bool came = false; // bytes of an unfinished head buy no time
	x->heard = true;
	do {
		size_t used = 0;
		event = http1_parse(&x->up->parser, bytes, n, &used);
		bytes += used;
		n -= used;
		if (!answer_event(c, event, bytes, n))
			return;
		came = came || event != HTTP1_NEED;
	} while (event != HTTP1_NEED);
	if (came)
		moved(c);
	downstream_flush(c);
}

static void answer_closed(struct downstream *c, bool error)
{
	struct exchange *x = &c->x;
	if (c->state == DOWN_TUNNEL) {
		switched_up_closed(c, error);
		return;
	}
	if (!error && http1_parse_close(&x->up->parser) == HTTP1_END) {
		end_answer(c, "", 0);
		return;
	}
	broken(c, &answer_broke_off);
}

static void read_answer(struct downstream *c)
{
	char *bytes = c->worker->scratch;
	ssize_t n = recv(c->x.up->poll.fd, bytes, SCRATCH_SIZE, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		answer_closed(c, n < 0);
		return;
	}
	if (c->state == DOWN_TUNNEL)
		switched_from_up(c, bytes, (size_t)n);
	else
		take_answer(c, bytes, (size_t)n);
}

static void upstream_ready(struct poll *poll, int events)
{
	struct upstream_connection *up = CONTAINER_OF(poll, struct upstream_connection, poll);
	struct downstream *c = up->exchange->downstream;
	if (!up->connected) {
		if (!finish_connect(up)) {
			upstream_note_failure(up->upstream);
			next_attempt(c, &answer_connect_failed);
			return;
		}
		c->state = DOWN_EXCHANGE;
		moved(c);
	}
	if (events & POLL_WRITE) {
		exchange_flush(c);
		downstream_update(c); // there may be room for more of the request
	}
	if (!c->closed && c->x.up == up && (events & POLL_READ))
		read_answer(c);
}

void exchange_taken(struct downstream *c)
{
	if (c->x.response_begun)
		moved(c);
}

void exchange_timeout(struct downstream *c)
{
	struct exchange *x = &c->x;
	if (c->state == DOWN_CONNECT && x->up) {
		upstream_note_failure(x->up->upstream);
		next_attempt(c, &answer_connect_failed);
		return;
	}
	if (!x->active || c->state == DOWN_TUNNEL) {
		downstream_close(c);
		return;
	}
	if (x->response_begun) {
		cut_off(c);
		return;
	}
	answer_own(c, waits_for_client(x) ? &answer_client_late : &answer_too_slow);
}
