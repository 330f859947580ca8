#include "http/client.h"

#include "base/str.h"
#include "http/call.h"
#include "http/handover.h"

#include <assert.h>
#include <errno.h>
#include <strings.h>

#define HEAD_TIMEOUT_MS 30000

static void find_connections(struct task *task);

struct http_client *http_client_new(struct loop *loop, const struct address *address, size_t max_connections)
{
	struct http_client *client = xcalloc(1, sizeof(*client));
	client->loop = loop;
	client->address = *address;
	client->max_connections = max_connections ? max_connections : 16;
	address_write(address, client->text);
	list_init(&client->connections);
	list_init(&client->idle);
	list_init(&client->waiting);
	list_init(&client->active);
	list_init(&client->handovers);
	task_init(&client->task, loop, "http client", find_connections);
	return client;
}

void http_client_secure(struct http_client *client, struct tls_config *config, const char *name)
{
	assert(!client->tls && list_empty(&client->waiting) && list_empty(&client->connections));
	client->tls = config;
	client->name = xstrdup(name);
}

void http_client_on_over(struct http_client *client, void (*on_over)(void *arg), void *arg)
{
	client->on_over = on_over;
	client->on_over_arg = arg;
}

static void end_all(struct list *calls)
{
	struct err err = { 0 };
	while (!list_empty(calls)) {
		struct http_call *call = LIST_ENTRY(calls->next, struct http_call, link);
		err_set(&err, -ECANCELED, "the call to %s was given up", call->client->text);
		struct call_connection *k = call->connection;
		if (k) {
			k->call = NULL;
			call->connection = NULL;
			call_connection_close(k);
		}
		call_end(call, &err);
	}
}

void http_client_free(struct http_client *client)
{
	if (!client)
		return;
	client->freeing = true;
	end_all(&client->active);
	end_all(&client->waiting);
	while (!list_empty(&client->connections))
		call_connection_close(LIST_ENTRY(client->connections.next, struct call_connection, link));
	handovers_stop(&client->handovers);
	task_clear(&client->task);
	free(client->name);
	free(client);
}

static bool is_ours(const char *name)
{
	static const char *const ours[] = { "host", "content-length", "transfer-encoding" };
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (strcasecmp(name, ours[i]) == 0)
			return true;
	return false;
}

static int write_fields(struct http_call *call, const struct http_call_spec *spec)
{
	struct buf *out = &call->request;
	const char *fallback = str_starts(call->client->text, "unix:") ? "localhost" : call->client->text;
	int r = http1_write_header(out, "Host", spec->host ? spec->host : fallback);
	for (size_t i = 0; i < spec->n_headers && r == 0; i++) {
		const struct http_header *h = &spec->headers[i];
		call->asked_upgrade |= strcasecmp(h->name, "upgrade") == 0;
		r = is_ours(h->name) ? -EINVAL : http1_write_header(out, h->name, h->value);
	}
	if (r < 0)
		return r;
	bool expects_body = strcmp(call->method, "POST") == 0 || strcmp(call->method, "PUT") == 0 ||
			    strcmp(call->method, "PATCH") == 0;
	if (spec->stream_body)
		return http1_write_header(out, "Transfer-Encoding", "chunked");
	if (spec->body || expects_body)
		return http1_write_header_u64(out, "Content-Length", spec->body ? spec->body_len : 0);
	return 0;
}

static int write_request(struct http_call *call, const struct http_call_spec *spec)
{
	struct buf *out = &call->request;
	int r = http1_write_request_line(out, spec->method, spec->target);
	if (r == 0)
		r = write_fields(call, spec);
	if (r == 0)
		r = http1_write_head_end(out);
	if (r == 0 && spec->body && !spec->stream_body)
		r = buf_add(out, spec->body, spec->body_len);
	return r;
}

static bool is_idempotent(const char *method)
{
	static const char *const known[] = { "GET", "HEAD", "PUT", "DELETE", "OPTIONS" };
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(method, known[i]) == 0)
			return true;
	return false;
}

static void timed_out(struct timer *timer)
{
	struct http_call *call = CONTAINER_OF(timer, struct http_call, timer);
	unsigned ms = call->head_seen ? call->spec.idle_timeout_ms : call->spec.head_timeout_ms;
	if (call->head_seen)
		err_set(&call->failure, -ETIMEDOUT, "%s %s: the answer of %s stopped for %u ms", call->method,
			call->target, call->client->text, ms);
	else
		err_set(&call->failure, -ETIMEDOUT, "%s %s: no answer from %s within %u ms", call->method, call->target,
			call->client->text, ms);
	task_wake(call->connection ? &call->connection->task : &call->client->task);
}

struct http_call *http_client_call(struct http_client *client, const struct http_call_spec *spec)
{
	assert(!client->freeing);
	struct http_call *call = xcalloc(1, sizeof(*call));
	*call = (struct http_call){
		.client = client,
		.spec = *spec,
		.method = xstrdup(spec->method),
		.target = xstrdup(spec->target),
		.request = BUF_INIT(CALL_OUT_MAX),
		.streams = spec->stream_body,
		.all_written = !spec->stream_body,
		.may_repeat = !spec->stream_body && is_idempotent(spec->method),
	};
	if (!call->spec.head_timeout_ms)
		call->spec.head_timeout_ms = HEAD_TIMEOUT_MS;
	timer_init(&call->timer, client->loop, timed_out);
	int r = write_request(call, spec);
	if (r < 0)
		err_set_errno(&call->failure, r, "%s %s: the request cannot be sent", call->method, call->target);
	list_append(&client->waiting, &call->link);
	call_arm_timer(call, true);
	task_wake(&client->task);
	return call;
}

size_t call_unsent(const struct http_call *call)
{
	return buf_len(&call->request) - call->sent;
}

// Before the head it runs while the peer is to do something; not while the caller has yet to write.
void call_arm_timer(struct http_call *call, bool renew)
{
	unsigned ms = call->head_seen ? call->spec.idle_timeout_ms : call->spec.head_timeout_ms;
	const struct call_connection *k = call->connection;
	bool callers_turn = call->paused ||
			    (!call->head_seen && !call->all_written && k && !k->connecting && call_unsent(call) == 0);
	if (ms == 0 || callers_turn)
		timer_stop(&call->timer);
	else if (renew || !timer_is_set(&call->timer))
		timer_set(&call->timer, ms);
}

static void call_free(struct http_call *call)
{
	list_remove(&call->link);
	timer_clear(&call->timer);
	buf_clear(&call->request);
	free(call->method);
	free(call->target);
	free(call);
}

void call_end(struct http_call *call, const struct err *err)
{
	assert(!call->connection);
	list_remove(&call->link);
	timer_clear(&call->timer);
	if (!call->client->freeing)
		task_wake(&call->client->task); // a connection may have become free
	call->spec.on_end(call, err);
	call_free(call);
}

bool call_repeat(struct http_call *call)
{
	if (!call->may_repeat || call->repeated)
		return false;
	call->repeated = true;
	call->sent = 0;
	list_remove(&call->link);
	list_prepend(&call->client->waiting, &call->link);
	task_wake(&call->client->task);
	return true;
}

// A kept-alive connection that still seems to be there. One that has gone meanwhile is closed on the way.
static struct call_connection *take_idle(struct http_client *client)
{
	while (!list_empty(&client->idle)) {
		struct call_connection *k = LIST_ENTRY(client->idle.next, struct call_connection, idle);
		if (call_connection_is_alive(k))
			return k;
		call_connection_close(k);
	}
	return NULL;
}

enum placed { PLACED, MUST_WAIT, FAILED };

static enum placed place(struct http_client *client, struct http_call *call, struct err *err)
{
	// What is repeated shall not meet another connection that is about to close.
	struct call_connection *k = call->repeated ? NULL : take_idle(client);
	if (k) {
		call_connection_assign(k, call);
		return PLACED;
	}
	if (client->n_connections >= client->max_connections && !list_empty(&client->idle))
		call_connection_close(LIST_ENTRY(client->idle.prev, struct call_connection, idle));
	if (client->n_connections >= client->max_connections)
		return MUST_WAIT;
	return call_connection_open(client, call, err) < 0 ? FAILED : PLACED;
}

// The next waiting call; one that has failed meanwhile goes first.
static struct http_call *next_waiting(struct http_client *client)
{
	struct http_call *call;
	LIST_EACH(call, &client->waiting, link)
		if (call->failure.code)
			return call;
	if (list_empty(&client->waiting))
		return NULL;
	return LIST_ENTRY(client->waiting.next, struct http_call, link);
}

static void find_connections(struct task *task)
{
	struct http_client *client = CONTAINER_OF(task, struct http_client, task);
	struct http_call *call;
	while ((call = next_waiting(client))) {
		struct err err = call->failure;
		enum placed placed = err.code ? FAILED : place(client, call, &err);
		if (placed == MUST_WAIT)
			return;
		if (placed == FAILED) {
			call_end(call, &err); // wakes this task again; may free the client
			return;
		}
	}
}

void *http_call_arg(const struct http_call *call)
{
	return call->spec.arg;
}

static void wake(struct http_call *call)
{
	if (call->connection)
		task_wake(&call->connection->task);
}

size_t http_call_write(struct http_call *call, const void *bytes, size_t n)
{
	assert(call->streams && !call->all_written);
	if (http1_write_chunk(&call->request, bytes, n) < 0 && !call->failure.code)
		err_set(&call->failure, -ENOBUFS, "%s %s: more than %lu bytes wait to be sent to %s", call->method,
			call->target, CALL_OUT_MAX, call->client->text);
	if (call_unsent(call) > HTTP_HIGH_WATER)
		call->above_high = true;
	wake(call);
	return call_unsent(call);
}

void http_call_end(struct http_call *call)
{
	assert(call->streams && !call->all_written);
	call->all_written = true;
	if (http1_write_last_chunk(&call->request) < 0 && !call->failure.code)
		err_set(&call->failure, -ENOBUFS, "%s %s: too much waits to be sent", call->method, call->target);
	wake(call);
}

void http_call_pause(struct http_call *call)
{
	call->paused = true;
	call_arm_timer(call, false);
}

void http_call_resume(struct http_call *call)
{
	call->paused = false;
	call_arm_timer(call, true);
	wake(call);
}

void http_call_cancel(struct http_call *call)
{
	struct call_connection *k = call->connection;
	struct http_client *client = call->client;
	if (k) {
		k->call = NULL;
		call_connection_close(k);
	}
	call_free(call);
	if (!client->freeing)
		task_wake(&client->task);
}

int http_call_take_socket(struct http_call *call, struct buf *early)
{
	struct call_connection *k = call->connection;
	assert(k && k->parser.upgrade && call->head_seen);
	int r = buf_add(early, buf_data(&k->in), buf_len(&k->in));
	if (r < 0)
		return r;
	buf_reset(&k->in);
	poll_stop(&k->poll);
	if (!k->channel.tls)
		return TAKE_FD(k->channel.fd);
	int fd = -1;
	r = handover_start(k->client->loop, &k->client->handovers, &k->channel, k->client->on_over,
			   k->client->on_over_arg, &fd);
	return r < 0 ? r : fd;
}
