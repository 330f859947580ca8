#include "keeper/client.h"

#include "base/list.h"
#include "base/map.h"
#include "base/str.h"
#include "io/file.h"
#include "io/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>

#define RETRY_MS 20
#define RETRY_CAP_MS 500

struct request {
	struct list link; // in the order they were made
	struct keeper_request wire;
	keeper_done *done; // NULL: nobody waits
	void *arg;
	bool sent; // on the present connection
};

// The FIFOs of an instance, held open here as well: what an application wrote just before it ended is then not lost
// when the keeper is away at that moment.
struct held {
	int fds[2];
};

struct keeper_client {
	struct loop *loop;
	char *socket_path, *instances;
	struct keeper_client_spec spec;
	int fd; // -1: not connected
	struct poll poll;
	struct timer retry;
	unsigned retry_ms;
	uint64_t serial;
	struct list requests; // not answered yet
	struct map held;
	bool receiving, dead; // freed from inside a callback: the memory goes when receive() returns
};

static void request_free(struct request *r)
{
	list_remove(&r->link);
	free(r);
}

static void held_free(struct held *held)
{
	if (!held)
		return;
	cleanup_close(&held->fds[0]);
	cleanup_close(&held->fds[1]);
	free(held);
}

static void schedule_retry(struct keeper_client *c)
{
	timer_set(&c->retry, c->retry_ms);
	c->retry_ms = c->retry_ms * 2 < RETRY_CAP_MS ? c->retry_ms * 2 : RETRY_CAP_MS;
}

static void disconnect(struct keeper_client *c)
{
	bool was = c->fd >= 0;
	poll_stop(&c->poll);
	cleanup_close(&c->fd);
	c->fd = -1;
	struct request *r;
	LIST_EACH(r, &c->requests, link) {
		r->sent = false;
		if (r->wire.verb == KEEPER_SUBSCRIBE)
			request_free(r); // each connection begins with its own
	}
	schedule_retry(c);
	if (was && c->spec.on_connected)
		c->spec.on_connected(c->spec.arg, false);
}

// Sends what waits, in order; the rest when the socket takes more. A broken connection shows as readable.
static void flush(struct keeper_client *c)
{
	bool full = false;
	struct request *r;
	LIST_EACH(r, &c->requests, link) {
		if (r->sent)
			continue;
		if (packet_send(c->fd, &r->wire, sizeof(r->wire), NULL, 0) < 0) {
			full = true;
			break;
		}
		r->sent = true;
	}
	poll_set(&c->poll, full ? POLL_READ | POLL_WRITE : POLL_READ);
}

static void answered(struct keeper_client *c, const struct keeper_event *event)
{
	struct request *r;
	LIST_EACH(r, &c->requests, link) {
		if (r->wire.serial != event->serial)
			continue;
		keeper_done *done = r->done;
		void *arg = r->arg;
		if (r->wire.verb == KEEPER_FORGET)
			held_free(map_remove(&c->held, r->wire.id));
		request_free(r);
		if (done)
			done(arg, event->result);
		return;
	}
}

static void ended(struct keeper_client *c, const struct keeper_event *event)
{
	struct keeper_exit record = {
		.pid = event->pid,
		.start_ticks = event->start_ticks,
		.known = event->known,
		.status = event->status,
		.time_ms = event->time_ms,
	};
	memcpy(record.id, event->id, sizeof(record.id));
	record.id[sizeof(record.id) - 1] = '\0';
	c->spec.on_exit(c->spec.arg, &record);
}

static void receive(struct poll *poll, int events)
{
	struct keeper_client *c = CONTAINER_OF(poll, struct keeper_client, poll);
	c->receiving = true;
	if (events & POLL_WRITE)
		flush(c);
	while (c->fd >= 0) {
		struct keeper_event event;
		ssize_t n = packet_recv(c->fd, &event, sizeof(event), NULL, NULL);
		if (n == -EAGAIN)
			break;
		if (n != (ssize_t)sizeof(event) || event.magic != KEEPER_MAGIC)
			disconnect(c);
		else if (event.kind == KEEPER_ANSWER)
			answered(c, &event);
		else if (event.kind == KEEPER_EXIT)
			ended(c, &event);
	}
	c->receiving = false;
	if (c->dead)
		free(c);
}

static struct request *request_new(struct keeper_client *c, enum keeper_verb verb, const char *id)
{
	struct request *r = xcalloc(1, sizeof(*r));
	r->wire = (struct keeper_request){ .magic = KEEPER_MAGIC, .verb = verb, .serial = ++c->serial };
	snprintf(r->wire.id, sizeof(r->wire.id), "%s", id);
	return r;
}

static void connect_now(struct keeper_client *c)
{
	AUTO_CLOSE int fd = -1;
	if (packet_connect(c->socket_path, &fd, NULL) < 0 ||
	    poll_start(&c->poll, c->loop, fd, POLL_READ, receive) < 0) {
		schedule_retry(c);
		return;
	}
	c->fd = TAKE_FD(fd);
	c->retry_ms = RETRY_MS;
	struct request *subscribe = request_new(c, KEEPER_SUBSCRIBE, "");
	list_prepend(&c->requests, &subscribe->link);
	flush(c);
	if (c->spec.on_connected)
		c->spec.on_connected(c->spec.arg, true);
}

static void retry_fired(struct timer *timer)
{
	connect_now(CONTAINER_OF(timer, struct keeper_client, retry));
}

struct keeper_client *keeper_client_new(const struct keeper_client_spec *spec)
{
	struct keeper_client *c = xcalloc(1, sizeof(*c));
	c->loop = spec->loop;
	c->spec = *spec;
	c->spec.data = NULL;
	c->socket_path = xasprintf("%s/run/keeper.sock", spec->data);
	c->instances = xasprintf("%s/node/instances", spec->data);
	c->fd = -1;
	c->retry_ms = RETRY_MS;
	list_init(&c->requests);
	timer_init(&c->retry, c->loop, retry_fired);
	timer_set(&c->retry, 0); // the first callback never comes from inside a call
	return c;
}

void keeper_client_free(struct keeper_client *client)
{
	if (!client)
		return;
	poll_stop(&client->poll);
	cleanup_close(&client->fd);
	client->fd = -1;
	timer_clear(&client->retry);
	struct request *r;
	LIST_EACH(r, &client->requests, link)
		request_free(r);
	const char *id;
	void *held;
	for (size_t at = 0; map_next(&client->held, &at, &id, &held);)
		held_free(held);
	map_clear(&client->held);
	free(client->socket_path);
	free(client->instances);
	client->dead = true;
	if (!client->receiving)
		free(client);
}

static void ask(struct keeper_client *c, struct request *r, keeper_done *done, void *arg)
{
	r->done = done;
	r->arg = arg;
	list_append(&c->requests, &r->link);
	if (c->fd >= 0)
		flush(c);
}

static void hold(struct keeper_client *c, const char *id)
{
	static const char *const names[] = { "out.fifo", "err.fifo" };
	struct held *held = xcalloc(1, sizeof(*held));
	for (size_t n = 0; n < ARRAY_LEN(names); n++) {
		AUTO_FREE char *path = xasprintf("%s/%s/%s", c->instances, id, names[n]);
		held->fds[n] = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	}
	held_free(map_set(&c->held, id, held));
}

void keeper_output(struct keeper_client *client, const char *id, keeper_done *done, void *arg)
{
	hold(client, id);
	ask(client, request_new(client, KEEPER_OUTPUT, id), done, arg);
}

void keeper_watch(struct keeper_client *client, const char *id, pid_t pid, unsigned long long start_ticks,
		  keeper_done *done, void *arg)
{
	struct request *r = request_new(client, KEEPER_WATCH, id);
	r->wire.pid = pid;
	r->wire.start_ticks = start_ticks;
	ask(client, r, done, arg);
}

void keeper_forget(struct keeper_client *client, const char *id, keeper_done *done, void *arg)
{
	ask(client, request_new(client, KEEPER_FORGET, id), done, arg);
}

void keeper_cancel(struct keeper_client *client, void *arg)
{
	struct request *r;
	LIST_EACH(r, &client->requests, link)
		if (r->arg == arg)
			r->done = NULL;
}

// One request on a connection of its own. *ret: the answer; -ECONNRESET: the keeper closed the connection instead.
static int request_once(const char *data, enum keeper_verb verb, int pass_fd, unsigned timeout_ms,
			struct keeper_event *ret, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/run/keeper.sock", data);
	AUTO_CLOSE int fd = -1;
	int r = packet_connect(path, &fd, err);
	if (r < 0)
		return r;
	struct keeper_request request = { .magic = KEEPER_MAGIC, .verb = verb, .serial = 1 };
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	r = packet_send(fd, &request, sizeof(request), &pass_fd, pass_fd >= 0);
	if (r < 0)
		return err_set_errno(err, r, "cannot ask the keeper");
	if (poll(&readable, 1, (int)timeout_ms) <= 0)
		return err_set(err, -ETIMEDOUT, "the keeper did not answer within %u ms", timeout_ms);
	ssize_t n = packet_recv(fd, ret, sizeof(*ret), NULL, NULL);
	if (n <= 0)
		return err_set(err, -ECONNRESET, "the keeper closed the connection");
	return n == (ssize_t)sizeof(*ret) ? 0 : err_set(err, -EPROTO, "the keeper's answer is not one");
}

int keeper_stop(const char *data, unsigned timeout_ms, struct err *err)
{
	struct keeper_event event;
	return request_once(data, KEEPER_STOP, -1, timeout_ms, &event, err);
}

static void add_words(struct buf *words, const char *const *list)
{
	for (; *list; list++)
		buf_add(words, *list, strlen(*list) + 1);
	buf_add(words, "", 1);
}

int keeper_resume(const char *data, const char *const *argv, unsigned timeout_ms, struct err *err)
{
	AUTO_BUF struct buf words = BUF_INIT(4 << 20);
	add_words(&words, argv);
	add_words(&words, (const char *const *)environ);
	AUTO_CLOSE int file = memfd_create("keeper", MFD_CLOEXEC);
	int r = file < 0 ? -errno : write_all(file, buf_data(&words), buf_len(&words));
	if (r < 0)
		return err_set_errno(err, r, "cannot write down what the keeper is to become");
	struct keeper_event event;
	r = request_once(data, KEEPER_RESUME, file, timeout_ms, &event, err);
	if (r == -ECONNRESET)
		return 0;
	return r < 0 ? r : err_set_errno(err, event.result, "the keeper cannot be resumed");
}
