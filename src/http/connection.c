#include "http/connection.h"

#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define READ_SIZE (32 << 10)
#define LINGER_MS 2000

static void serve(struct task *task);
static void timed_out(struct timer *timer);

static void ready(struct poll *poll, int events)
{
	struct connection *c = CONTAINER_OF(poll, struct connection, poll);
	if (events & POLL_READ)
		c->readable = true;
	if (events & POLL_WRITE)
		c->blocked = false;
	task_wake(&c->task);
}

void connection_new(struct http_server *server, int fd, const struct address *peer)
{
	struct connection *c = xcalloc(1, sizeof(*c));
	*c = (struct connection){
		.server = server,
		.events = POLL_READ,
		.peer = *peer,
		.in = BUF_INIT(CONNECTION_IN_MAX),
		.out = BUF_INIT(CONNECTION_OUT_MAX),
	};
	int r = poll_start(&c->poll, server->loop, fd, POLL_READ, ready);
	if (r < 0) {
		close(fd);
		free(c);
		return;
	}
	struct tls_config *tls = server->config.tls;
	channel_init(&c->channel, fd, tls ? tls_new(tls, NULL) : NULL);
	c->channel.may_plain = true;
	c->met = !tls;
	http1_parser_init(&c->parser, false);
	task_init(&c->task, server->loop, "http connection", serve);
	timer_init(&c->timer, server->loop, timed_out);
	list_append(&server->connections, &c->link);
	server->n_connections++;
	c->wait = tls ? WAIT_HANDSHAKE : WAIT_IDLE;
	timer_set(&c->timer, tls ? server->config.handshake_timeout_ms : server->config.idle_timeout_ms);
}

static void release(struct connection *c)
{
	http1_parser_clear(&c->parser);
	buf_clear(&c->in);
	buf_clear(&c->out);
	free(c);
}

void connection_close(struct connection *c)
{
	if (c->dead)
		return;
	c->dead = true;
	poll_stop(&c->poll);
	task_clear(&c->task);
	timer_clear(&c->timer);
	if (c->channel.tls && !c->broken && !c->lingering)
		channel_end(&c->channel);
	channel_clear(&c->channel);
	list_remove(&c->link);
	c->server->n_connections--;
	bool running = c->running;
	c->running = true; // so that nothing inside on_gone releases it
	if (c->x)
		exchange_finish(c, c->switched);
	if (running)
		return;
	release(c);
}

bool connection_is_idle(const struct connection *c)
{
	return !c->x && !http1_parser_in_message(&c->parser) && buf_len(&c->in) == 0 && connection_is_sent(c);
}

bool connection_is_sent(const struct connection *c)
{
	return buf_len(&c->out) == 0 && !channel_unsent(&c->channel);
}

static bool is_loopback(const struct address *a)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->sa;
	if (a->sa.ss_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return a->sa.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

// The first bytes have told whether the peer speaks TLS.
static void meet(struct connection *c)
{
	c->met = c->channel.heard || !c->channel.tls;
	if (!c->met || c->channel.tls || (c->server->config.plain_on_loopback && is_loopback(&c->peer)))
		return;
	buf_reset(&c->in);
	connection_refuse(c, 400, "this port speaks TLS, and the request came in plain: use https:// in the address");
}

static void read_in(struct connection *c)
{
	size_t room = CONNECTION_IN_MAX - buf_len(&c->in);
	if (!c->readable || c->eof || room == 0)
		return;
	char *to;
	size_t want = room < READ_SIZE ? room : READ_SIZE;
	int r = buf_reserve(&c->in, want, &to);
	assert(r == 0);
	ssize_t n = channel_recv(&c->channel, to, want);
	c->readable = channel_unread(&c->channel);
	if (n > 0) {
		buf_commit(&c->in, (size_t)n);
		c->renew |= c->wait == WAIT_BODY;
	} else if (n == 0) {
		c->eof = true;
	} else if (c->channel.err.code && !c->x && !buf_len(&c->out)) {
		c->closing = true; // once the peer had the time to read why
	} else if (n != -EAGAIN) {
		c->broken = true;
	}
	if (!c->met)
		meet(c);
}

static void read_and_drop(struct connection *c)
{
	if (!c->readable || c->eof)
		return;
	ssize_t n = channel_drop(&c->channel);
	c->readable = false;
	c->eof = n == 0;
	c->broken |= n < 0 && n != -EAGAIN;
}

static bool may_parse(const struct connection *c)
{
	const struct http_exchange *x = c->x;
	if (c->dead || c->broken)
		return false;
	if (!x)
		return !c->closing;
	if (x->request_done)
		return false;
	return c->parser.framing == HTTP1_NO_BODY || x->ended || (x->mode != BODY_NOT_ASKED && !x->paused);
}

static void begin_exchange(struct connection *c)
{
	c->x = exchange_new(c);
	c->server->config.on_request(c->x, c->server->config.arg);
}

static void end_request(struct connection *c)
{
	c->discarding = false;
	if (c->x) {
		c->x->request_done = true;
		exchange_tell_end(c->x);
	}
}

static void refuse(struct connection *c)
{
	if (c->x)
		exchange_refuse(c->x, c->parser.status, c->parser.reason);
	else if (c->discarding)
		c->broken = true;
	else
		connection_refuse(c, c->parser.status, c->parser.reason);
}

// All is parsed, and nothing more will come: only an answer that is on its way is still worth the connection.
static void meet_close(struct connection *c)
{
	if (!c->eof)
		return;
	if (c->x && c->x->ended)
		c->closing = true;
	else
		c->broken = true;
}

static void advance(struct connection *c)
{
	if (c->x && c->x->request_done)
		exchange_tell_end(c->x); // asked for only after it had come
	while (may_parse(c)) {
		size_t used = 0;
		enum http1_event event = http1_parse(&c->parser, buf_data(&c->in), buf_len(&c->in), &used);
		buf_consume(&c->in, used); // the bytes stay where they are until the next read
		switch (event) {
		case HTTP1_NEED:
			meet_close(c);
			return;
		case HTTP1_HEAD:
			begin_exchange(c);
			break;
		case HTTP1_BODY:
			if (c->x)
				exchange_give_body(c->x, c->parser.body, c->parser.body_len);
			break;
		case HTTP1_END:
			end_request(c);
			break;
		case HTTP1_ERROR:
			refuse(c);
			return;
		}
	}
}

// The peer may still be sending: closing now would reset the connection and could destroy the answer on its way.
static void begin_linger(struct connection *c)
{
	if (c->eof || channel_end(&c->channel) < 0) {
		c->broken = true;
		return;
	}
	c->lingering = true;
}

static void send_out(struct connection *c)
{
	while (!connection_is_sent(c) && !c->blocked) {
		ssize_t n = buf_len(&c->out) ? channel_send(&c->channel, buf_data(&c->out), buf_len(&c->out))
					     : channel_flush(&c->channel);
		if (n >= 0) {
			buf_consume(&c->out, (size_t)n);
			c->renew |= c->wait == WAIT_WRITE;
		} else if (n == -EAGAIN) {
			c->blocked = true;
		} else if (n != -EINTR) {
			c->broken = true;
			return;
		}
	}
}

static void write_out(struct connection *c)
{
	if (c->dead || c->broken)
		return;
	send_out(c);
	struct http_exchange *x = c->x;
	if (c->broken)
		return;
	if (x && x->above_high && buf_len(&c->out) <= CONNECTION_LOW_WATER) {
		x->above_high = false;
		if (x->drain && !x->ended)
			x->drain(x);
		if (c->dead)
			return;
	}
	if (!connection_is_sent(c))
		return;
	if (x && x->ended) {
		c->renew = true;
		exchange_finish(c, true);
		if (c->dead)
			return;
		task_wake(&c->task); // for what was pipelined
	}
	if (c->closing && !c->x && !c->lingering)
		begin_linger(c);
}

static enum wait what_for(const struct connection *c)
{
	if (c->lingering)
		return WAIT_LINGER;
	if (!channel_through(&c->channel))
		return WAIT_HANDSHAKE;
	if (!connection_is_sent(c))
		return WAIT_WRITE;
	if (c->x)
		return !c->x->request_done && c->x->mode != BODY_NOT_ASKED && !c->x->paused ? WAIT_BODY : WAIT_NOTHING;
	if (c->discarding)
		return WAIT_BODY;
	return http1_parser_in_message(&c->parser) ? WAIT_HEAD : WAIT_IDLE;
}

static void arm_timer(struct connection *c)
{
	const struct http_server_config *config = &c->server->config;
	const unsigned delays[] = {
		[WAIT_HANDSHAKE] = config->handshake_timeout_ms, [WAIT_IDLE] = config->idle_timeout_ms,
		[WAIT_HEAD] = config->head_timeout_ms,           [WAIT_BODY] = config->body_timeout_ms,
		[WAIT_WRITE] = config->body_timeout_ms,          [WAIT_LINGER] = LINGER_MS,
	};
	enum wait wait = what_for(c);
	if (wait == c->wait && !c->renew)
		return;
	c->wait = wait;
	c->renew = false;
	if (wait == WAIT_NOTHING)
		timer_stop(&c->timer);
	else
		timer_set(&c->timer, delays[wait]);
}

static void timed_out(struct timer *timer)
{
	struct connection *c = CONTAINER_OF(timer, struct connection, timer);
	if (c->wait == WAIT_HEAD)
		connection_refuse(c, 408, "the request's head did not come in time");
	else if (c->wait == WAIT_BODY && c->x)
		exchange_refuse(c->x, 408, "the request's body did not come in time");
	else
		c->broken = true;
	task_wake(&c->task);
}

static void set_interest(struct connection *c)
{
	bool room = c->lingering || buf_len(&c->in) < CONNECTION_IN_MAX;
	int events = (!c->eof && room ? POLL_READ : 0) | (!connection_is_sent(c) && c->blocked ? POLL_WRITE : 0);
	if (events != c->events)
		poll_set(&c->poll, events);
	c->events = events;
}

// With its answer not yet ended, a peer that closed is taken to be gone: nobody would read what a watch streams.
static bool is_over(const struct connection *c)
{
	if (c->broken || (c->lingering && c->eof))
		return true;
	if (c->eof && c->x && c->x->request_done && !c->x->ended)
		return true;
	return c->server->draining && connection_is_idle(c);
}

static void serve(struct task *task)
{
	struct connection *c = CONTAINER_OF(task, struct connection, task);
	c->running = true;
	if (c->lingering) {
		read_and_drop(c);
	} else {
		read_in(c);
		advance(c);
	}
	write_out(c);
	if (!c->dead && is_over(c))
		connection_close(c);
	if (c->dead) {
		release(c);
		return;
	}
	c->running = false;
	if (connection_is_idle(c)) {
		http1_parser_rest(&c->parser);
		buf_clear(&c->in);
		buf_clear(&c->out);
	}
	set_interest(c);
	arm_timer(c);
	bool more_to_send = !connection_is_sent(c) && !c->blocked; // on_drain or on_gone of this turn wrote
	if (more_to_send || (c->readable && (c->events & POLL_READ)))
		task_wake(&c->task);
}
