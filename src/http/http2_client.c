#include "http/http2_client.h"

#include "base/clock.h"
#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>

enum {
	TICK_MS = 50,
	OUT_ENOUGH = 256 << 10,
	OUT_MAX = 64 << 20,
	READ_SIZE = 64 << 10,
	READS = 16, // in one turn
};

struct http2_client {
	struct loop *loop;
	struct http2_client_config config;
	char *authority;
	int fd, events;
	struct poll poll;
	struct task task;
	struct timer tick;
	struct http2 *h;
	struct tls *tls;
	struct buf out; // for the socket
	uint64_t began_ms, heard_ms, pinged_ms;
	bool readable, connected, sent, up, down, running, dead;
	struct err err; // why it is down
};

static void go_down(struct http2_client *c)
{
	c->down = true;
	c->up = false;
	timer_stop(&c->tick);
	poll_stop(&c->poll);
	cleanup_close(&c->fd);
	c->fd = -1;
	http2_free(TAKE_PTR(c->h), !c->sent);
}

static int lost(struct http2_client *c, int code, const char *what)
{
	if (code == -ETIMEDOUT)
		return err_set(&c->err, code, "%s", what);
	return err_set_errno(&c->err, code, "%s", what);
}

static int finish_connect(struct http2_client *c)
{
	int error = 0;
	socklen_t len = sizeof(error);
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error)
		return lost(c, -error, "cannot connect");
	struct sockaddr_storage peer;
	len = sizeof(peer);
	c->connected = getpeername(c->fd, (struct sockaddr *)&peer, &len) == 0;
	return 0;
}

static int give(struct http2_client *c, const char *bytes, size_t n)
{
	if (!c->tls)
		return http2_feed(c->h, bytes, n) < 0 ? err_set(&c->err, -EPROTO, "the peer does not speak HTTP/2") : 0;
	AUTO_BUF struct buf plain = BUF_INIT(OUT_MAX);
	int r = tls_feed(c->tls, bytes, n, &plain, &c->err);
	if (r < 0 && r != -ECONNRESET)
		return r;
	if (buf_len(&plain) && http2_feed(c->h, buf_data(&plain), buf_len(&plain)) < 0)
		return err_set(&c->err, -EPROTO, "the peer does not speak HTTP/2");
	return r;
}

static int read_some(struct http2_client *c)
{
	char bytes[READ_SIZE];
	for (int i = 0; i < READS; i++) {
		ssize_t n = read(c->fd, bytes, sizeof(bytes));
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			c->readable = false;
			return 0;
		}
		if (n <= 0)
			return n ? lost(c, -errno, "the connection broke")
				 : err_set(&c->err, -ECONNRESET, "the peer closed the connection");
		c->heard_ms = monotonic_ms();
		c->pinged_ms = 0;
		int r = give(c, bytes, (size_t)n);
		if (r < 0 || c->dead)
			return r;
		if ((size_t)n < sizeof(bytes)) {
			c->readable = false; // level-triggered: more will be told
			return 0;
		}
	}
	task_wake(&c->task);
	return 0;
}

static int fill_out(struct http2_client *c)
{
	if (!c->tls) {
		int r = http2_take(c->h, &c->out, OUT_ENOUGH);
		return r < 0 ? err_set(&c->err, r, "the peer ended the connection") : 0;
	}
	AUTO_BUF struct buf plain = BUF_INIT(OUT_MAX);
	int r = http2_take(c->h, &plain, OUT_ENOUGH);
	if (r < 0)
		return err_set(&c->err, r, "the peer ended the connection");
	if (buf_len(&plain))
		r = tls_write(c->tls, buf_data(&plain), buf_len(&plain), &c->err);
	return r < 0 ? r : tls_take(c->tls, &c->out);
}

static int write_some(struct http2_client *c)
{
	for (;;) {
		int r = buf_len(&c->out) < OUT_ENOUGH ? fill_out(c) : 0;
		if (r < 0 || c->dead || !buf_len(&c->out))
			return r;
		ssize_t n = send(c->fd, buf_data(&c->out), buf_len(&c->out), MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n < 0)
			return lost(c, -errno, "the connection broke");
		c->sent = true;
		buf_consume(&c->out, (size_t)n);
	}
}

static void want(struct http2_client *c)
{
	int events = c->connected ? POLL_READ : POLL_WRITE;
	if (buf_len(&c->out))
		events |= POLL_WRITE;
	if (events != c->events && c->poll.handle)
		poll_set(&c->poll, events);
	c->events = events;
}

static int step(struct http2_client *c)
{
	int r = c->err.code;
	if (r == 0 && !c->connected)
		r = finish_connect(c);
	if (r < 0 || !c->connected)
		return r;
	if (c->readable)
		r = read_some(c);
	if (r == 0 && !c->dead)
		r = write_some(c);
	if (r == 0 && !c->dead && http2_leaving(c->h))
		r = err_set(&c->err, -ESHUTDOWN, "the peer is leaving");
	return r;
}

static void release(struct http2_client *c)
{
	task_clear(&c->task);
	timer_clear(&c->tick);
	poll_stop(&c->poll);
	cleanup_close(&c->fd);
	tls_free(c->tls);
	buf_clear(&c->out);
	free(c->authority);
	free(c);
}

// Calls back; c may be freed in it.
static void run(struct http2_client *c)
{
	if (c->down)
		return;
	c->running = true;
	int r = step(c);
	bool now_up = r == 0 && !c->dead && !c->up && http2_ready(c->h);
	if (now_up)
		c->up = true;
	if (now_up && c->config.on_up)
		c->config.on_up(c->config.arg);
	if (r == 0 && !c->dead)
		want(c);
	if (r < 0 && !c->dead) {
		go_down(c);
		if (!c->dead && c->config.on_down)
			c->config.on_down(c->config.arg, &c->err);
	}
	c->running = false;
	if (c->dead) {
		http2_free(TAKE_PTR(c->h), !c->sent);
		release(c);
	}
}

static void run_task(struct task *task)
{
	run(CONTAINER_OF(task, struct http2_client, task));
}

static void ready(struct poll *poll, int events)
{
	struct http2_client *c = CONTAINER_OF(poll, struct http2_client, poll);
	c->readable |= (events & POLL_READ) != 0;
	task_wake(&c->task);
}

static void wake(void *arg)
{
	struct http2_client *c = arg;
	if (!c->dead && !c->down)
		task_wake(&c->task);
}

static void look_at_time(struct http2_client *c, uint64_t now)
{
	if (!c->up && now - c->began_ms > c->config.connect_ms) {
		err_set(&c->err, -ETIMEDOUT,
			c->connected ? "connected, but got no word of HTTP/2 within %u ms"
				     : "no connection within %u ms",
			c->config.connect_ms);
	} else if (c->pinged_ms && now - c->pinged_ms > c->config.silence_ms) {
		err_set(&c->err, -ETIMEDOUT, "no sign of life for %u ms", c->config.ping_ms + c->config.silence_ms);
	} else if (c->up && !c->pinged_ms && http2_calls(c->h) && now - c->heard_ms > c->config.ping_ms) {
		c->pinged_ms = now;
		http2_ping(c->h);
	}
	if (c->err.code)
		task_wake(&c->task);
}

static void tick(struct timer *timer)
{
	struct http2_client *c = CONTAINER_OF(timer, struct http2_client, tick);
	uint64_t now = monotonic_ms();
	timer_set(timer, TICK_MS);
	look_at_time(c, now);
	c->running = true;
	http2_expire(c->h, now);
	c->running = false;
	if (c->dead) {
		http2_free(TAKE_PTR(c->h), !c->sent);
		release(c);
	}
}

struct http2_client *http2_client_new(struct loop *loop, const struct http2_client_config *config)
{
	struct http2_client *c = xcalloc(1, sizeof(*c));
	c->loop = loop;
	c->config = *config;
	c->config.connect_ms = config->connect_ms ? config->connect_ms : 1000;
	c->config.ping_ms = config->ping_ms ? config->ping_ms : 5500;
	c->config.silence_ms = config->silence_ms ? config->silence_ms : 2000;
	c->authority = xstrdup(config->authority);
	c->out = BUF_INIT(OUT_MAX);
	c->began_ms = c->heard_ms = monotonic_ms();
	c->h = http2_new(wake, c);
	if (config->tls) {
		AUTO_FREE char *name = xstrndup(config->authority, strcspn(config->authority, ":"));
		c->tls = tls_new(config->tls, name);
	}
	task_init(&c->task, loop, "http2 client", run_task);
	timer_init(&c->tick, loop, tick);
	timer_set(&c->tick, TICK_MS);
	int r = socket_connect(&config->address, &c->fd, &c->err);
	if (r < 0) {
		c->fd = -1;
		task_wake(&c->task);
		return c;
	}
	c->events = POLL_WRITE;
	r = poll_start(&c->poll, loop, c->fd, c->events, ready);
	if (r < 0) {
		lost(c, r, "cannot watch a socket");
		task_wake(&c->task);
	}
	return c;
}

void http2_client_free(struct http2_client *c)
{
	if (!c)
		return;
	c->up = false;
	c->dead = true;
	if (c->running)
		return; // whoever runs releases it
	http2_free(TAKE_PTR(c->h), !c->sent);
	release(c);
}

bool http2_client_up(const struct http2_client *c)
{
	return c->up && !c->down && !http2_leaving(c->h);
}

uint64_t http2_client_silent_ms(const struct http2_client *c)
{
	return monotonic_ms() - c->heard_ms;
}

struct http2_call *http2_client_call(struct http2_client *c, const struct http2_call_spec *spec)
{
	if (c->down || c->dead || http2_leaving(c->h))
		return NULL;
	struct http2_call_spec own = *spec;
	own.scheme = c->tls ? "https" : "http";
	own.authority = c->authority;
	if (spec->deadline_ms)
		own.deadline_ms = monotonic_ms() + spec->deadline_ms;
	return http2_call(c->h, &own);
}

void http2_client_pump(struct http2_client *c, int ms)
{
	if (c->down)
		return;
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	if (buf_len(&c->out) || !c->connected)
		p.events |= POLLOUT;
	if (poll(&p, 1, ms) > 0)
		c->readable |= (p.revents & (POLLIN | POLLERR | POLLHUP)) != 0;
	run(c);
}
