#include "http/call.h"

#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

#define READ_SIZE (32 << 10)
#define IDLE_EXPIRY_MS 30000
#define HANDSHAKE_MS 10000

static void carry(struct task *task);

static void ready(struct poll *poll, int events)
{
	struct call_connection *k = CONTAINER_OF(poll, struct call_connection, poll);
	if (events & POLL_READ)
		k->readable = true;
	if (events & POLL_WRITE)
		k->blocked = false;
	task_wake(&k->task);
}

static void expired(struct timer *timer)
{
	struct call_connection *k = CONTAINER_OF(timer, struct call_connection, expiry);
	if (!k->call) {
		call_connection_close(k);
		return;
	}
	err_set(&k->call->failure, -ETIMEDOUT, "%s %s: %s accepts connections, but began no TLS within %u ms",
		k->call->method, k->call->target, k->client->text, HANDSHAKE_MS);
	task_wake(&k->task);
}

static void attach(struct call_connection *k, struct http_call *call)
{
	k->call = call;
	k->answered = k->send_broken = false;
	call->connection = k;
	list_remove(&call->link);
	list_append(&call->client->active, &call->link);
	http1_parser_answers(&k->parser, call->method);
	task_wake(&k->task);
}

int call_connection_open(struct http_client *client, struct http_call *call, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = socket_connect(&client->address, &fd, err);
	if (r < 0)
		return r;
	struct call_connection *k = xcalloc(1, sizeof(*k));
	*k = (struct call_connection){
		.client = client,
		.events = POLL_WRITE,
		.in = BUF_INIT(CALL_IN_MAX),
		.connecting = true,
		.blocked = true,
	};
	r = poll_start(&k->poll, client->loop, fd, POLL_WRITE, ready);
	if (r < 0) {
		free(k);
		return err_set_errno(err, r, "cannot watch the connection to %s", client->text);
	}
	channel_init(&k->channel, TAKE_FD(fd), client->tls ? tls_new(client->tls, client->name) : NULL);
	if (client->tls)
		tls_take(k->channel.tls, &k->channel.out);
	http1_parser_init(&k->parser, true);
	task_init(&k->task, client->loop, "http call", carry);
	timer_init(&k->expiry, client->loop, expired);
	list_init(&k->idle);
	list_append(&client->connections, &k->link);
	client->n_connections++;
	attach(k, call);
	return 0;
}

void call_connection_assign(struct call_connection *k, struct http_call *call)
{
	list_remove(&k->idle);
	timer_stop(&k->expiry);
	k->reused = true;
	attach(k, call);
}

// A server that has closed, or talks unasked, shows as readable.
bool call_connection_is_alive(struct call_connection *k)
{
	return channel_is_quiet(&k->channel);
}

static void release(struct call_connection *k)
{
	http1_parser_clear(&k->parser);
	buf_clear(&k->in);
	free(k);
}

void call_connection_close(struct call_connection *k)
{
	if (k->dead)
		return;
	assert(!k->call);
	k->dead = true;
	poll_stop(&k->poll);
	task_clear(&k->task);
	timer_clear(&k->expiry);
	if (k->channel.tls && !k->connecting && !k->error && !k->send_broken)
		channel_end(&k->channel);
	channel_clear(&k->channel);
	list_remove(&k->link);
	list_remove(&k->idle);
	k->client->n_connections--;
	if (!k->running)
		release(k);
}

static struct http_call *detach(struct call_connection *k)
{
	struct http_call *call = TAKE_PTR(k->call);
	call->connection = NULL;
	return call;
}

// Ends the call with an error, or repeats it; the connection is closed in any case.
static void fail(struct call_connection *k, struct err *err)
{
	bool stale = k->reused && !k->answered && err->code != -ETIMEDOUT;
	struct http_call *call = detach(k);
	call_connection_close(k);
	if (!stale || !call_repeat(call))
		call_end(call, err);
}

static void fail_with(struct call_connection *k, int code, const char *reason)
{
	struct err err = { 0 };
	err_set(&err, code, "%s %s: %s %s", k->call->method, k->call->target, k->client->text, reason);
	fail(k, &err);
}

static void fail_errno(struct call_connection *k, int code, const char *what)
{
	struct err err = { 0 };
	err_set_errno(&err, code, "%s %s: %s %s", k->call->method, k->call->target, what, k->client->text);
	fail(k, &err);
}

static void fail_tls(struct call_connection *k)
{
	struct err err = k->channel.err;
	channel_flush(&k->channel); // the peer is told, too
	err_wrap(&err, "%s %s: %s", k->call->method, k->call->target, k->client->text);
	fail(k, &err);
}

static bool finish_connecting(struct call_connection *k)
{
	if (k->blocked)
		return false;
	int error = 0;
	socklen_t len = sizeof(error);
	if (getsockopt(k->channel.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error) {
		fail_errno(k, -error, "cannot connect to");
		return false;
	}
	k->connecting = false;
	if (k->channel.tls)
		timer_set(&k->expiry, HANDSHAKE_MS);
	return true;
}

// Until it is done, nothing of the call is sent. False: not yet, or it has failed.
static bool shake_hands(struct call_connection *k)
{
	if (channel_through(&k->channel))
		return true;
	int r = channel_flush(&k->channel);
	char none[1];
	ssize_t n = r < 0 && r != -EAGAIN ? r : channel_recv(&k->channel, none, 0);
	k->blocked = channel_unsent(&k->channel);
	k->readable = channel_unread(&k->channel);
	if (k->channel.err.code)
		fail_tls(k);
	else if (k->channel.cut || k->channel.ended)
		fail_with(k, -ECONNRESET, "closed the connection during the TLS handshake");
	else if (n < 0 && n != -EAGAIN)
		fail_errno(k, (int)n, "the connection broke to");
	else if (channel_through(&k->channel))
		timer_stop(&k->expiry);
	return !k->dead && k->call && channel_through(&k->channel);
}

static bool has_unsent(const struct call_connection *k)
{
	return call_unsent(k->call) || channel_unsent(&k->channel);
}

static void send_out(struct call_connection *k)
{
	struct http_call *call = k->call;
	bool progress = false;
	while (has_unsent(k) && !k->blocked && !k->send_broken) {
		const char *bytes = buf_data(&call->request) + call->sent;
		ssize_t n = call_unsent(call) ? channel_send(&k->channel, bytes, call_unsent(call))
					      : channel_flush(&k->channel);
		if (n >= 0 && call->may_repeat)
			call->sent += (size_t)n;
		else if (n >= 0)
			buf_consume(&call->request, (size_t)n);
		else if (n == -EAGAIN)
			k->blocked = true;
		else if (n != -EINTR)
			k->send_broken = true;
		progress |= n >= 0;
	}
	call_arm_timer(call, progress && !call->head_seen);
	if (!call->above_high || call_unsent(call) > CALL_LOW_WATER)
		return;
	call->above_high = false;
	if (call->spec.on_drain)
		call->spec.on_drain(call);
}

static void read_in(struct call_connection *k)
{
	size_t room = CALL_IN_MAX - buf_len(&k->in);
	if (!k->readable || k->eof || room == 0 || k->call->paused)
		return;
	char *to;
	size_t want = room < READ_SIZE ? room : READ_SIZE;
	int r = buf_reserve(&k->in, want, &to);
	assert(r == 0);
	ssize_t n = channel_recv(&k->channel, to, want);
	k->readable = channel_unread(&k->channel);
	if (n > 0) {
		buf_commit(&k->in, (size_t)n);
		k->answered = true;
		if (k->call->head_seen)
			call_arm_timer(k->call, true);
	} else if (n == 0) {
		k->eof = true;
	} else if (n != -EAGAIN && n != -EINTR) {
		k->error = (int)n;
		k->eof = true;
	}
}

static void keep_or_close(struct call_connection *k, bool keep)
{
	if (!keep) {
		call_connection_close(k);
		return;
	}
	http1_parser_rest(&k->parser);
	buf_clear(&k->in);
	list_prepend(&k->client->idle, &k->idle);
	timer_set(&k->expiry, IDLE_EXPIRY_MS);
}

static void finish(struct call_connection *k)
{
	struct http_call *call = k->call;
	bool sent = call->all_written && !has_unsent(k);
	bool clean = k->channel.fd >= 0 && buf_len(&k->in) == 0 && !channel_unread(&k->channel);
	bool keep = k->parser.keep_alive && sent && !k->eof && clean;
	bool left_alone = k->parser.upgrade && k->channel.fd >= 0;
	if (left_alone) {
		fail_with(k, -EPROTO, "switched to another protocol, which was not taken up");
		return;
	}
	detach(k);
	keep_or_close(k, keep);
	call_end(call, NULL);
}

static void take_head(struct call_connection *k)
{
	struct http_call *call = k->call;
	if (k->parser.interim)
		return;
	if (k->parser.upgrade && !call->asked_upgrade && !k->parser.to_connect) {
		fail_with(k, -EPROTO, "switched protocols unasked");
		return;
	}
	call->head_seen = true;
	call_arm_timer(call, true);
	if (call->spec.on_head)
		call->spec.on_head(call, &k->parser.response);
}

static void meet_close(struct call_connection *k)
{
	if (k->channel.err.code) {
		fail_tls(k);
		return;
	}
	if (k->error) {
		fail_errno(k, k->error, "the connection broke to");
		return;
	}
	// Under TLS, what lasts until the close has come whole only with a proper end.
	bool whole = !k->channel.cut || k->parser.framing != HTTP1_UNTIL_CLOSE;
	enum http1_event event = http1_parse_close(&k->parser);
	if (event == HTTP1_END && whole)
		finish(k);
	else if (event == HTTP1_NEED)
		fail_with(k, -ECONNRESET, "closed the connection without an answer");
	else
		fail_with(k, -ECONNRESET, "closed the connection in the middle of its answer");
}

static void refuse(struct call_connection *k)
{
	struct err err = { 0 };
	err_set(&err, -EPROTO, "%s %s: the answer of %s is malformed: %s", k->call->method, k->call->target,
		k->client->text, k->parser.reason);
	fail(k, &err);
}

static void advance(struct call_connection *k)
{
	while (!k->dead && k->call && !k->call->paused) {
		struct http_call *call = k->call;
		size_t used = 0;
		enum http1_event event = http1_parse(&k->parser, buf_data(&k->in), buf_len(&k->in), &used);
		buf_consume(&k->in, used); // the bytes stay where they are until the next read
		switch (event) {
		case HTTP1_NEED:
			if (k->eof)
				meet_close(k);
			return;
		case HTTP1_HEAD:
			take_head(k);
			break;
		case HTTP1_BODY:
			if (call->spec.on_data)
				call->spec.on_data(call, k->parser.body, k->parser.body_len);
			break;
		case HTTP1_END:
			finish(k);
			return;
		case HTTP1_ERROR:
			refuse(k);
			return;
		}
	}
}

static void step(struct call_connection *k)
{
	if (!k->call) {
		if (!call_connection_is_alive(k))
			call_connection_close(k);
		return;
	}
	if (k->call->failure.code) {
		struct err err = k->call->failure;
		fail(k, &err);
		return;
	}
	if (k->connecting && !finish_connecting(k))
		return;
	if (!shake_hands(k))
		return;
	send_out(k);
	if (k->dead || !k->call)
		return;
	read_in(k);
	advance(k);
}

static void set_interest(struct call_connection *k)
{
	const struct http_call *call = k->call;
	int events = POLL_READ;
	if (k->connecting)
		events = POLL_WRITE;
	else if (call)
		events = (!(call->paused && channel_through(&k->channel)) && !k->eof ? POLL_READ : 0) |
			 (has_unsent(k) && k->blocked && !k->send_broken ? POLL_WRITE : 0);
	if (events != k->events)
		poll_set(&k->poll, events);
	k->events = events;
}

static void carry(struct task *task)
{
	struct call_connection *k = CONTAINER_OF(task, struct call_connection, task);
	k->running = true;
	step(k);
	if (k->dead) {
		release(k);
		return;
	}
	k->running = false;
	set_interest(k);
	if (k->call && k->readable && (k->events & POLL_READ))
		task_wake(&k->task);
}
