// The blocking face: each client has a loop of its own, and every call runs it until the answer is there.
#include "client/client.h"

#include "base/clock.h"
#include "base/str.h"
#include "client/wait.h"
#include "http/server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <time.h>

enum { SILENCE_MS = 30000, HANGS_MS = 5000, HASTE_MS = 20, CARRIER_ENDS_S = 2 };

// What is under TLS and was handed out as a socket is carried by a thread, on the loop of a client of its own.
struct carrier {
	struct client *client;
	pthread_t thread;
	struct carrier *next;
	bool over;
};

static void addresses_free(struct client *client)
{
	for (size_t i = 0; i < client->n_addresses; i++)
		free(client->addresses[i]);
	free(client->addresses);
}

// All are looked at now, so that moving to one cannot fail later.
static int split_addresses(struct client *client, const char *text, struct err *err)
{
	AUTO_FREE char *copy = xstrdup(text);
	char *rest = copy;
	for (char *address; (address = strsep(&rest, ","));) {
		struct client_wire wire;
		int r = client_wire_init(&wire, address, NULL, err);
		if (r < 0)
			return r;
		client_wire_clear(&wire);
		client->addresses = xreallocarray(client->addresses, client->n_addresses + 1, sizeof(char *));
		client->addresses[client->n_addresses++] = xstrdup(address);
	}
	return 0;
}

static void use_address(struct client *client)
{
	struct client_seen seen = client->wire.seen;
	http_client_free(client->http);
	client_wire_clear(&client->wire);
	int r = client_wire_init(&client->wire, client->addresses[client->at], client->token, NULL);
	assert(r == 0);
	client->wire.seen = seen;
	client->http = client_wire_connect(&client->wire, client->loop, 4);
}

struct client *client_new(const char *address, const char *token, struct err *err)
{
	struct client *client = xcalloc(1, sizeof(*client));
	if (split_addresses(client, address, err) < 0) {
		addresses_free(client);
		free(client);
		return NULL;
	}
	client->token = token ? xstrdup(token) : NULL;
	client->rng = (struct rng){ monotonic_ns() ^ (uintptr_t)client };
	client->loop = loop_new();
	use_address(client);
	return client;
}

// They end by themselves once their sockets are closed, which the caller has done; one that hangs on its peer is left.
static void end_carriers(struct client *client)
{
	for (struct carrier *c = client->carriers, *next; c; c = next) {
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += CARRIER_ENDS_S;
		next = c->next;
		if (pthread_timedjoin_np(c->thread, NULL, &until) == 0) {
			client_free(c->client);
			free(c);
		}
	}
}

void client_free(struct client *client)
{
	if (!client)
		return;
	end_carriers(client);
	http_client_free(client->http);
	loop_free(client->loop);
	client_wire_clear(&client->wire);
	addresses_free(client);
	free(client->token);
	free(client);
}

const char *client_address(const struct client *client)
{
	return client->wire.text;
}

void client_patience(struct client *client, unsigned ms)
{
	client->patience_ms = ms;
}

static void wait_over(struct wait *wait)
{
	wait->call = NULL;
	loop_stop(wait->client->loop);
}

static void wait_cancel(struct wait *wait, int stopped)
{
	wait->stopped = stopped;
	if (wait->call)
		http_call_cancel(wait->call);
	wait_over(wait);
}

static void deadline_passed(struct timer *timer)
{
	wait_cancel(CONTAINER_OF(timer, struct wait, deadline), -ETIMEDOUT);
}

static void deadline_start(struct wait *wait)
{
	uint64_t now_ms = monotonic_ms();
	if (!wait->deadline_ms)
		return;
	timer_init(&wait->deadline, wait->client->loop, deadline_passed);
	timer_set(&wait->deadline, wait->deadline_ms > now_ms ? wait->deadline_ms - now_ms : 0);
}

static void upload_more(struct wait *wait)
{
	char bytes[64 << 10];
	size_t waiting = 0;
	while (wait->call && !wait->upload_ended && waiting <= HTTP_HIGH_WATER) {
		ssize_t n = wait->request->upload(bytes, sizeof(bytes), wait->request->upload_arg);
		if (n < 0) {
			wait_cancel(wait, (int)n);
		} else if (n == 0) {
			wait->upload_ended = true;
			http_call_end(wait->call);
		} else {
			waiting = http_call_write(wait->call, bytes, (size_t)n);
		}
	}
}

static void on_drain(struct http_call *call)
{
	upload_more(http_call_arg(call));
}

static void on_head(struct http_call *call, const struct http_response *response)
{
	struct wait *wait = http_call_arg(call);
	client_collect_head(&wait->collect, response);
	client_wire_note(&wait->client->wire, response);
	if (response->status >= 400)
		wait->upload_ended = true;
	if (wait->upgrade && response->status == 101)
		wait->fd = http_call_take_socket(call, wait->early);
}

static void on_data(struct http_call *call, const char *bytes, size_t n)
{
	struct wait *wait = http_call_arg(call);
	if (wait->collect.status >= 400 || !wait->data) {
		client_collect_data(&wait->collect, bytes, n);
		return;
	}
	int r = wait->data(wait, bytes, n);
	if (r != 0)
		wait_cancel(wait, r);
}

static void on_end(struct http_call *call, const struct err *err)
{
	struct wait *wait = http_call_arg(call);
	if (err)
		wait->lost = *err;
	wait_over(wait);
}

// A server that hangs is not waited for when another can be asked the same.
static bool reads_elsewhere(const struct wait *wait)
{
	return wait->client->n_addresses > 1 && str_eq(wait->request->method, "GET");
}

static void wait_start(struct wait *wait, struct client_headers headers)
{
	const struct client_request *request = wait->request;
	AUTO_FREE char *body = request->body ? json_dumps(request->body, JSON_COMPACT) : NULL;
	const char *type = body ? "application/json" : request->upload ? request->content_type : NULL;
	client_headers_add(&headers, "Content-Type", type);
	client_headers_add(&headers, "If-Match", request->if_match);
	struct http_call_spec spec = {
		.method = request->method,
		.target = request->path,
		.host = wait->client->wire.host,
		.headers = headers.items,
		.n_headers = headers.n,
		.body = body,
		.body_len = body ? strlen(body) : 0,
		.stream_body = request->upload != NULL,
		.head_timeout_ms = request->timeout_ms     ? request->timeout_ms
				   : reads_elsewhere(wait) ? HANGS_MS
							   : 0,
		.idle_timeout_ms = wait->endless         ? 0
				   : request->timeout_ms ? request->timeout_ms
							 : SILENCE_MS,
		.on_head = on_head,
		.on_data = on_data,
		.on_drain = on_drain,
		.on_end = on_end,
		.arg = wait,
	};
	wait->call = http_client_call(wait->client->http, &spec);
}

void client_pause(unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
	nanosleep(&t, NULL);
}

// Whether the call that was just lost can be made again without being done twice. A request that was refused was not
// sent; what an upload has given cannot be had again.
static bool may_repeat(const struct wait *wait)
{
	const struct client_request *request = wait->request;
	bool unanswered = wait->lost.code && wait->collect.status == 0 && wait->stopped == 0;
	bool reads = str_eq(request->method, "GET") || str_eq(request->method, "HEAD");
	switch (unanswered && !request->upload ? wait->lost.code : 0) {
	case -ECONNREFUSED:
	case -ENOENT: // of a unix socket
		return true;
	case -EHOSTUNREACH:
	case -ENETUNREACH:
		return wait->client->n_addresses > 1;
	case -ETIMEDOUT: // it may be at work still; another server answers meanwhile
		return wait->client->n_addresses > 1 && (reads || request->repeatable);
	case -ECONNRESET:
	case -EPIPE:
		return reads || request->repeatable;
	default:
		return false;
	}
}

// Each server in turn at once, then, while the platform is being restarted, again for as long as the client is patient.
static void wait_patiently(struct wait *wait, struct client_headers *headers)
{
	struct client *client = wait->client;
	uint64_t give_up_ms = monotonic_ms() + client->patience_ms;
	unsigned delay_ms = 25;
	for (size_t tried = 1;; tried++) {
		client_headers_revise(headers, &client->wire);
		wait->lost = (struct err){ 0 };
		wait->collect = CLIENT_COLLECT_INIT;
		wait_start(wait, *headers);
		deadline_start(wait);
		if (wait->request->upload)
			upload_more(wait);
		while (wait->call)
			loop_run(wait->client->loop);
		timer_clear(&wait->deadline);
		bool others = tried < client->n_addresses;
		if (!may_repeat(wait) || (!others && monotonic_ms() + delay_ms > give_up_ms))
			return;
		client_collect_clear(&wait->collect);
		if (client->n_addresses > 1) {
			client->at = (client->at + 1) % client->n_addresses;
			use_address(client);
		}
		client_pause(others ? (unsigned)rng_below(&client->rng, HASTE_MS) : delay_ms);
		delay_ms = others || delay_ms >= 200 ? delay_ms : delay_ms * 2;
	}
}

int wait_run(struct wait *wait, struct client_headers *headers, struct client_answer *answer, struct err *err)
{
	AUTO_ANSWER struct client_answer unseen = { 0 };
	wait->fd = -1;
	wait_patiently(wait, headers);
	int r = wait->stopped;
	if (r == 0)
		r = client_collect_finish(&wait->collect, &wait->client->wire, wait->lost.code ? &wait->lost : NULL,
					  answer ? answer : &unseen, err);
	else if (r < 0)
		err_set_errno(err, r, "%s %s", wait->request->method, wait->request->path);
	client_collect_clear(&wait->collect);
	return r;
}

int client_send(struct client *client, const struct client_request *request, struct client_answer *answer,
		struct err *err)
{
	struct client_headers headers;
	client_headers_init(&headers, &client->wire, "application/json");
	struct wait wait = { .client = client, .request = request };
	return wait_run(&wait, &headers, answer, err);
}

int client_call(struct client *client, const char *method, const char *path, const json_t *body,
		struct client_answer *answer, struct err *err)
{
	return client_send(client, &(struct client_request){ .method = method, .path = path, .body = body }, answer,
			   err);
}

struct download {
	int (*write)(const char *bytes, size_t n, void *arg);
	void *arg;
};

static int download_data(struct wait *wait, const char *bytes, size_t n)
{
	struct download *download = wait->arg;
	return download->write(bytes, n, download->arg);
}

int client_download(struct client *client, const char *path, int (*write)(const char *bytes, size_t n, void *arg),
		    void *arg, struct err *err)
{
	struct client_headers headers;
	client_headers_init(&headers, &client->wire, "*/*");
	struct client_request request = { .method = "GET", .path = path };
	struct download download = { .write = write, .arg = arg };
	struct wait wait = { .client = client, .request = &request, .data = download_data, .arg = &download };
	return wait_run(&wait, &headers, NULL, err);
}

static void carrier_over(void *arg)
{
	struct carrier *carrier = arg;
	carrier->over = true;
	loop_stop(carrier->client->loop);
}

static void *carry(void *arg)
{
	struct carrier *carrier = arg;
	while (!carrier->over)
		loop_run(carrier->client->loop);
	return NULL;
}

static int upgrade(struct client *client, const char *path, const char *protocol, const json_t *body, struct buf *early,
		   int *ret_fd, struct err *err);

static int upgrade_secure(struct client *client, const char *path, const char *protocol, const json_t *body,
			  struct buf *early, int *ret_fd, struct err *err)
{
	struct client *own = client_new(client->wire.text, client->token, err);
	if (!own)
		return err->code;
	own->patience_ms = client->patience_ms;
	own->wire.seen = client->wire.seen;
	struct carrier *carrier = xcalloc(1, sizeof(*carrier));
	carrier->client = own;
	http_client_on_over(own->http, carrier_over, carrier);
	AUTO_CLOSE int fd = -1;
	int r = upgrade(own, path, protocol, body, early, &fd, err);
	if (r == 0 && (r = -pthread_create(&carrier->thread, NULL, carry, carrier)) < 0)
		err_set_errno(err, r, "cannot start a thread for %s", protocol);
	if (r < 0) {
		client_free(own);
		free(carrier);
		return r;
	}
	carrier->next = client->carriers;
	client->carriers = carrier;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int client_upgrade(struct client *client, const char *path, const char *protocol, const json_t *body, struct buf *early,
		   int *ret_fd, struct err *err)
{
	return client->wire.secure ? upgrade_secure(client, path, protocol, body, early, ret_fd, err)
				   : upgrade(client, path, protocol, body, early, ret_fd, err);
}

static int upgrade(struct client *client, const char *path, const char *protocol, const json_t *body, struct buf *early,
		   int *ret_fd, struct err *err)
{
	struct client_headers headers;
	client_headers_init(&headers, &client->wire, "application/json");
	client_headers_add(&headers, "Connection", "Upgrade");
	client_headers_add(&headers, "Upgrade", protocol);
	struct client_request request = { .method = "POST", .path = path, .body = body };
	struct wait wait = { .client = client, .request = &request, .upgrade = true, .early = early };
	int r = wait_run(&wait, &headers, NULL, err);
	if (wait.fd < 0)
		return r < 0 ? r : err_set(err, -EPROTO, "%s did not switch to %s", client->wire.text, protocol);
	int flags = fcntl(wait.fd, F_GETFL);
	if (flags < 0 || fcntl(wait.fd, F_SETFL, flags & ~O_NONBLOCK) < 0) {
		r = err_set_errno(err, -errno, "socket of %s", protocol);
		close(wait.fd);
		return r;
	}
	*ret_fd = wait.fd;
	return 0;
}
