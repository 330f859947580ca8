#include "router/downstream.h"

#include "base/str.h"
#include "router/answer.h"
#include "router/switched.h"

#include <errno.h>
#include <sys/socket.h>

#define IN_MAX (128 << 10)
#define OUT_MAX (4 << 20)
#define TO_UP_HIGH (128 << 10)

#define KEEP_SIZE (64 << 10) // of an emptied buffer; what is idle keeps none

static void downstream_ready(struct poll *poll, int events);
static void process(struct downstream *c, const char *bytes, size_t n);

// "1.2.3.4:5" -> "1.2.3.4", "[2001::1]:5" -> "2001::1", "[::ffff:1.2.3.4]:5" -> "1.2.3.4"
static void write_peer_ip(const struct address *peer, char ip[ADDRESS_TEXT_SIZE])
{
	char text[ADDRESS_TEXT_SIZE];
	address_write(peer, text);
	char *from = text, *end = strrchr(text, ':');
	if (end)
		*end = '\0';
	if (*from == '[') {
		from++;
		from[strcspn(from, "]")] = '\0';
		if (str_starts(from, "::ffff:") && strchr(from, '.'))
			from += strlen("::ffff:");
	}
	memcpy(ip, from, strlen(from) + 1);
}

void downstream_new(struct worker *worker, int fd, const struct address *peer)
{
	struct downstream *c = xcalloc(1, sizeof(*c));
	c->worker = worker;
	c->in = BUF_INIT(IN_MAX);
	c->out = BUF_INIT(OUT_MAX);
	c->x.downstream = c;
	write_peer_ip(peer, c->peer_ip);
	http1_parser_init(&c->parser, false);
	if (poll_start(&c->poll, worker->loop, fd, POLL_READ, downstream_ready) < 0) {
		close(fd);
		free(c);
		return;
	}
	c->events = POLL_READ;
	downstream_allow(c, c->worker->limits.head_ms);
	list_append(&worker->clients, &c->link);
	worker->n_clients++;
	worker->counters.connections++;
}

void downstream_allow(struct downstream *c, uint64_t ms)
{
	c->deadline_ms = loop_now_ms(c->worker->loop) + ms;
}

// Between requests: for the client to take what is left of an answer, or to ask again.
static void allow_next(struct downstream *c)
{
	const struct limits *limits = &c->worker->limits;
	downstream_allow(c, buf_len(&c->out) ? limits->transfer_ms : limits->idle_ms);
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
	case DOWN_HEAD:
		return buf_len(&c->in) == 0 && buf_len(&c->out) < OUT_HIGH; // pipelined requests make answers
	default:
		return buf_len(&c->in) == 0 && buf_len(&c->x.to_up) - c->x.sent < TO_UP_HIGH;
	}
}

void downstream_update(struct downstream *c)
{
	if (c->closed)
		return;
	bool at_work = c->state == DOWN_CONNECT || c->state == DOWN_EXCHANGE;
	int events = may_read(c) ? POLL_READ : at_work ? POLL_HANGUP : 0;
	if (buf_len(&c->out))
		events |= POLL_WRITE;
	if (events != c->events)
		poll_set(&c->poll, events);
	c->events = events;
}

// The answer is sent and the connection ends. What the client still sends is read for a while, for a close with unread
// bytes would reset the connection and could take the answer with it.
static void linger(struct downstream *c)
{
	c->state = DOWN_LINGER;
	downstream_allow(c, c->worker->limits.linger_ms);
	buf_clear(&c->in);
	shutdown(c->poll.fd, SHUT_WR);
}

static bool is_idle(const struct downstream *c)
{
	return c->state == DOWN_HEAD && !http1_parser_in_message(&c->parser);
}

// The client took some of what waits for it.
static void taken(struct downstream *c)
{
	if (c->state == DOWN_EXCHANGE)
		exchange_taken(c);
	else if (is_idle(c) || (c->state == DOWN_HEAD && c->close_after))
		allow_next(c);
}

static void all_taken(struct downstream *c)
{
	if (c->out.size > KEEP_SIZE)
		buf_clear(&c->out);
	if (c->state == DOWN_TUNNEL)
		switched_sent_down(c);
	else if (c->close_after && !c->x.active && c->state != DOWN_LINGER)
		linger(c);
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
		taken(c);
	}
	if (!c->closed && !buf_len(&c->out))
		all_taken(c);
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
	allow_next(c);
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

static void answer_last(struct downstream *c, const struct own_answer *answer)
{
	answer_write(&c->out, answer, false, false, true);
	c->close_after = true;
	downstream_flush(c);
}

// Answers what is no request. Behind an answer that has begun no other can stand.
static void refuse(struct downstream *c)
{
	exchange_bad_request(c);
	if (c->closed)
		return;
	struct own_answer answer = {
		.status = c->parser.status,
		.code = "bad-request",
		.reason = c->parser.reason,
		.advice = "The request does not follow RFC 9112; it was not passed on.",
	};
	answer_last(c, &answer);
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
		if (n && is_idle(c))
			downstream_allow(c, c->worker->limits.head_ms);
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

static void end_of_input(struct downstream *c)
{
	if (c->state == DOWN_TUNNEL) {
		switched_client_closed(c);
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
		switched_from_client(c, bytes, n);
		break;
	case DOWN_HEAD:
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
	bool only_hangup = c->events & POLL_HANGUP;
	if (events & POLL_WRITE)
		downstream_flush(c);
	if (c->closed || !(events & POLL_READ))
		return;
	if (only_hangup)
		downstream_close(c); // as at the end of its input
	else
		read_input(c);
}

static void past_deadline(struct downstream *c)
{
	switch (c->state) {
	case DOWN_HEAD:
		if (http1_parser_in_message(&c->parser) && !c->close_after)
			answer_last(c, &answer_head_late);
		else
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

// Between requests a connection needs no buffers.
static void give_back(struct downstream *c)
{
	if (buf_len(&c->out) || buf_len(&c->in))
		return;
	buf_clear(&c->in);
	buf_clear(&c->out);
	buf_clear(&c->x.to_up);
	http1_parser_rest(&c->parser);
}

void downstreams_check(struct worker *worker)
{
	uint64_t now_ms = loop_now_ms(worker->loop);
	struct downstream *c;
	LIST_EACH(c, &worker->clients, link) {
		if (now_ms >= c->deadline_ms)
			past_deadline(c);
		else if (is_idle(c))
			give_back(c);
	}
}

void downstreams_drain(struct worker *worker)
{
	struct downstream *c;
	worker->draining = true;
	LIST_EACH(c, &worker->clients, link) {
		if (is_idle(c) && !buf_len(&c->out))
			downstream_close(c);
		else if (is_idle(c) || (c->x.active && c->state != DOWN_TUNNEL))
			c->close_after = true; // one whose request's head is still coming gets its answer first
	}
}
