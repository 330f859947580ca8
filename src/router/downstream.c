#include "router/downstream.h"

#include "base/str.h"
#include "router/answer.h"

#include <errno.h>
#include <sys/socket.h>

#define IN_MAX (128 << 10)
#define OUT_MAX (4 << 20)
#define TO_UP_HIGH (128 << 10)

#define HEAD_MS 10000	// for a request's head, from its first byte
#define IDLE_MS 75000	// between requests
#define LINGER_MS 2000

static void downstream_ready(struct poll *poll, int events);
static void process(struct downstream *c, const char *bytes, size_t n);

void downstream_new(struct worker *worker, int fd, const struct address *peer)
{
	struct downstream *c = xcalloc(1, sizeof(*c));
	c->worker = worker;
	c->in = BUF_INIT(IN_MAX);
	c->out = BUF_INIT(OUT_MAX);
	c->x.downstream = c;
	address_write(peer, c->peer_ip);
	char *colon = strrchr(c->peer_ip, ':');
	if (colon)
		*colon = '\0';
	if (c->peer_ip[0] == '[') {
		memmove(c->peer_ip, c->peer_ip + 1, strlen(c->peer_ip));
		c->peer_ip[strcspn(c->peer_ip, "]")] = '\0';
	}
	http1_parser_init(&c->parser, false);
	if (poll_start(&c->poll, worker->loop, fd, POLL_READ, downstream_ready) < 0) {
		close(fd);
		free(c);
		return;
	}
	c->events = POLL_READ;
	c->deadline_ms = loop_now_ms(worker->loop) + HEAD_MS;
	list_append(&worker->clients, &c->link);
	worker->n_clients++;
	worker->counters.connections++;
}

void downstream_close(struct downstream *c)
{
	if (c->closed)
		return;
	c->closed = true;
	exchange_abort(c);
	int fd = c->poll.fd;
	poll_stop(&c->poll);
	close(fd);
	list_remove(&c->link);
	list_append(&c->worker->closed, &c->link);
	c->worker->n_clients--;
	task_wake(&c->worker->reaper);
}

static bool may_read(const struct downstream *c)
{
	switch (c->state) {
	case DOWN_TUNNEL:
		return !c->x.client_eof && buf_len(&c->x.to_up) < TO_UP_HIGH;
	case DOWN_LINGER:
		return true;
	default:
		return buf_len(&c->in) == 0 && buf_len(&c->x.to_up) - c->x.sent < TO_UP_HIGH;
	}
}

void downstream_update(struct downstream *c)
{
	if (c->closed)
		return;
	int events = (may_read(c) ? POLL_READ : 0) | (buf_len(&c->out) ? POLL_WRITE : 0);
	if (events != c->events)
		poll_set(&c->poll, events);
	c->events = events;
}

// The answer is sent and the connection ends. What the client still sends is read for a while, for a close with unread
// bytes would reset the connection and could take the answer with it.
static void linger(struct downstream *c)
{
	c->state = DOWN_LINGER;
	c->deadline_ms = loop_now_ms(c->worker->loop) + LINGER_MS;
	buf_clear(&c->in);
	shutdown(c->poll.fd, SHUT_WR);
}

static void tunnel_flushed(struct downstream *c)
{
	if (c->x.up_eof)
		shutdown(c->poll.fd, SHUT_WR);
	if (c->x.up_eof && c->x.client_eof)
		downstream_close(c);
}

void downstream_flush(struct downstream *c)
{
	while (!c->closed && buf_len(&c->out)) {
		ssize_t n = send(c->poll.fd, buf_data(&c->out), buf_len(&c->out), MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			downstream_close(c);
			return;
		}
		buf_consume(&c->out, (size_t)n);
	}
	if (c->closed)
		return;
	if (!buf_len(&c->out)) {
		if (c->state == DOWN_TUNNEL)
			tunnel_flushed(c);
		else if (c->close_after && !c->x.active && c->state != DOWN_LINGER)
			linger(c);
	}
	if (c->closed)
		return;
	exchange_update(c);
	downstream_update(c);
}

void downstream_next(struct downstream *c)
{
	if (c->closed)
		return;
	c->state = DOWN_HEAD;
	c->deadline_ms = loop_now_ms(c->worker->loop) + IDLE_MS;
	if (c->worker->draining)
		c->close_after = true;
	if (!buf_len(&c->in) && !http1_parser_in_message(&c->parser))
		http1_parser_rest(&c->parser);
	downstream_flush(c);
	if (c->closed || c->close_after || !buf_len(&c->in))
		return;
	struct buf rest = c->in;
	c->in = BUF_INIT(IN_MAX);
	process(c, buf_data(&rest), buf_len(&rest));
	buf_clear(&rest);
	downstream_update(c);
}

static void refuse(struct downstream *c)
{
	struct own_answer answer = {
		.status = c->parser.status,
		.code = "bad-request",
		.reason = c->parser.reason,
		.advice = "The request does not follow RFC 9112; it was not passed on.",
	};
	answer_write(&c->out, &answer, false, false, true);
	c->close_after = true;
	if (c->x.active)
		exchange_abort(c);
	downstream_flush(c);
}

// True while the connection can take another event of the parser.
static bool parses_on(const struct downstream *c)
{
	return !c->closed && !c->close_after && c->state != DOWN_TUNNEL && c->state != DOWN_LINGER &&
	       !(c->x.active && c->x.request_done);
}

static void handle(struct downstream *c, enum http1_event event)
{
	switch (event) {
	case HTTP1_HEAD:
		exchange_begin(c);
		break;
	case HTTP1_BODY:
		if (c->x.active)
			exchange_body(c, c->parser.body, c->parser.body_len);
		break;
	case HTTP1_END:
		if (c->x.active)
			exchange_request_end(c);
		break;
	case HTTP1_ERROR:
		refuse(c);
		break;
	case HTTP1_NEED:
		break;
	}
}

static void process(struct downstream *c, const char *bytes, size_t n)
{
	while (parses_on(c) || (c->close_after && c->x.active && !c->x.request_done && !c->closed)) {
		size_t used = 0;
		enum http1_event event = http1_parse(&c->parser, bytes, n, &used);
		bytes += used;
		n -= used;
		handle(c, event);
		if (event == HTTP1_NEED || event == HTTP1_ERROR)
			break;
	}
	bool closing = c->closed || c->state == DOWN_LINGER || (c->close_after && !c->x.active);
	if (n && !closing && buf_add(&c->in, bytes, n) < 0)
		downstream_close(c);
}

static void read_tunnel(struct downstream *c, const char *bytes, size_t n)
{
	if (buf_add(&c->x.to_up, bytes, n) < 0) {
		downstream_close(c);
		return;
	}
	exchange_flush(c);
}

static void end_of_input(struct downstream *c)
{
	if (c->state == DOWN_TUNNEL) {
		c->x.client_eof = true;
		exchange_flush(c);
		downstream_update(c);
		return;
	}
	downstream_close(c); // between requests, or the client no longer wants the answer
}

static void take_input(struct downstream *c, const char *bytes, size_t n)
{
	switch (c->state) {
	case DOWN_LINGER:
		return;
	case DOWN_TUNNEL:
		read_tunnel(c, bytes, n);
		break;
	case DOWN_HEAD:
		if (!http1_parser_in_message(&c->parser))
			c->deadline_ms = loop_now_ms(c->worker->loop) + HEAD_MS;
		process(c, bytes, n);
		break;
	case DOWN_CONNECT:
	case DOWN_EXCHANGE:
		process(c, bytes, n);
		break;
	}
	downstream_update(c);
}

static void read_input(struct downstream *c)
{
	ssize_t n = recv(c->poll.fd, c->worker->scratch, SCRATCH_SIZE, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0)
		downstream_close(c);
	else if (n == 0)
		end_of_input(c);
	else
		take_input(c, c->worker->scratch, (size_t)n);
}

static void downstream_ready(struct poll *poll, int events)
{
	struct downstream *c = CONTAINER_OF(poll, struct downstream, poll);
	if (events & POLL_WRITE)
		downstream_flush(c);
	if (!c->closed && (events & POLL_READ))
		read_input(c);
}

static void past_deadline(struct downstream *c)
{
	switch (c->state) {
	case DOWN_HEAD:
		if (http1_parser_in_message(&c->parser)) {
			c->parser.status = 408;
			c->parser.reason = "the request's head did not come in time";
			refuse(c);
			return;
		}
		downstream_close(c);
		return;
	case DOWN_CONNECT:
	case DOWN_EXCHANGE:
	case DOWN_TUNNEL:
		exchange_timeout(c);
		return;
	case DOWN_LINGER:
		downstream_close(c);
		return;
	}
}

void downstreams_check_deadlines(struct worker *worker)
{
	uint64_t now_ms = loop_now_ms(worker->loop);
	struct downstream *c;
	LIST_EACH (c, &worker->clients, link)
		if (c->deadline_ms && now_ms >= c->deadline_ms)
			past_deadline(c);
}

void downstreams_drain(struct worker *worker)
{
	struct downstream *c;
	worker->draining = true;
	LIST_EACH (c, &worker->clients, link) {
		if (c->state == DOWN_HEAD && !http1_parser_in_message(&c->parser) && !buf_len(&c->out))
			downstream_close(c);
		else
			c->close_after = c->close_after || c->state != DOWN_TUNNEL;
	}
}
