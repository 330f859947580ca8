#include "router/upstream.h"

#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

#define IDLE_MAX 64 // connections kept for one upstream
#define FAILED_FOR_MS 1000

struct upstream *upstreams_get(struct upstreams *set, const char *id, const char *address)
{
	AUTO_FREE char *key = xasprintf("%s %s", id, address);
	struct upstream *u = map_get(&set->by_id, key);
	if (u) {
		u->current = true;
		return upstream_ref(u);
	}
	struct address parsed;
	if (address_parse(address, &parsed, NULL) < 0)
		return NULL;
	u = xcalloc(1, sizeof(*u));
	*u = (struct upstream){ .set = set, .id = TAKE_PTR(key), .address = parsed, .refs = 1, .current = true };
	list_init(&u->idle);
	map_set(&set->by_id, u->id, u);
	return u;
}

static void connection_free(struct upstream_connection *c)
{
	int fd = c->poll.fd;
	poll_stop(&c->poll);
	if (fd >= 0)
		close(fd);
	http1_parser_clear(&c->parser);
	free(c);
}

static void close_idle(struct upstream *u, struct upstream_connection *c)
{
	list_remove(&c->link);
	u->n_idle--;
	connection_free(c);
}

void upstream_close_idle(struct upstream *u)
{
	struct upstream_connection *c;
	LIST_EACH(c, &u->idle, link)
		close_idle(u, c);
}

struct upstream *upstream_ref(struct upstream *u)
{
	u->refs++;
	return u;
}

void upstream_unref(struct upstream *u)
{
	if (!u || --u->refs)
		return;
	upstream_close_idle(u);
	map_remove(&u->set->by_id, u->id);
	free(u->id);
	free(u);
}

void upstreams_unmark(struct upstreams *set)
{
	size_t at = 0;
	void *value;
	while (map_next(&set->by_id, &at, NULL, &value))
		((struct upstream *)value)->current = false;
}

void upstreams_retire(struct upstreams *set)
{
	size_t at = 0;
	void *value;
	while (map_next(&set->by_id, &at, NULL, &value)) {
		struct upstream *u = value;
		if (!u->current)
			upstream_close_idle(u);
	}
}

static bool is_among(const struct upstream *u, struct upstream *const *some, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (some[i] == u)
			return true;
	return false;
}

static bool failed_lately(const struct upstream *u, uint64_t now_ms)
{
	return u->failed_ms && now_ms - u->failed_ms < FAILED_FOR_MS;
}

// The k-th candidate that fits.
static struct upstream *nth(struct upstream *const *candidates, uint32_t n, struct upstream *const *tried,
			    uint32_t n_tried, uint64_t now_ms, bool healthy, uint64_t k)
{
	for (uint32_t i = 0; i < n; i++) {
		if (is_among(candidates[i], tried, n_tried) || (healthy && failed_lately(candidates[i], now_ms)))
			continue;
		if (k-- == 0)
			return candidates[i];
	}
	return NULL;
}

static uint32_t count_fitting(struct upstream *const *candidates, uint32_t n, struct upstream *const *tried,
			      uint32_t n_tried, uint64_t now_ms, bool healthy)
{
	uint32_t fitting = 0;
	for (uint32_t i = 0; i < n; i++)
		fitting +=
			!is_among(candidates[i], tried, n_tried) && !(healthy && failed_lately(candidates[i], now_ms));
	return fitting;
}

struct upstream *upstream_choose(struct upstream *const *candidates, uint32_t n, struct upstream *const *tried,
				 uint32_t n_tried)
{
	if (!n)
		return NULL;
	struct upstreams *set = candidates[0]->set;
	uint64_t now_ms = loop_now_ms(set->loop);
	bool healthy = true;
	uint32_t fitting = count_fitting(candidates, n, tried, n_tried, now_ms, healthy);
	if (!fitting) {
		healthy = false; // all have failed: better one of those than none
		fitting = count_fitting(candidates, n, tried, n_tried, now_ms, healthy);
	}
	if (!fitting)
		return NULL;
	uint64_t first = rng_below(&set->rng, fitting);
	struct upstream *a = nth(candidates, n, tried, n_tried, now_ms, healthy, first);
	if (fitting == 1)
		return a;
	uint64_t second = (first + 1 + rng_below(&set->rng, fitting - 1)) % fitting;
	struct upstream *b = nth(candidates, n, tried, n_tried, now_ms, healthy, second);
	return b->outstanding < a->outstanding ? b : a;
}

// An idle connection that becomes readable was closed by the instance (or misbehaves): it is of no use.
static void idle_ready(struct poll *poll, UNUSED int events)
{
	struct upstream_connection *c = CONTAINER_OF(poll, struct upstream_connection, poll);
	struct upstream *u = c->upstream;
	close_idle(u, c);
}

// Nothing to be read, not even the end.
static bool is_silent(const struct upstream_connection *c)
{
	char byte;
	return recv(c->poll.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

// One that has something to say has ended, or would have it taken for the answer to a request that it has not got yet.
static struct upstream_connection *take_idle(struct upstream *u)
{
	struct upstream_connection *c;
	for (;;) {
		if (list_empty(&u->idle))
			return NULL;
		c = LIST_ENTRY(u->idle.next, struct upstream_connection, link);
		if (is_silent(c))
			break;
		close_idle(u, c);
	}
	list_remove(&c->link);
	u->n_idle--;
	c->reused = true;
	c->events = POLL_READ;
	return c;
}

static struct upstream_connection *open_connection(struct upstream *u)
{
	struct upstream_connection *c = xcalloc(1, sizeof(*c));
	list_init(&c->link);
	c->upstream = u;
	http1_parser_init(&c->parser, true);
	int fd;
	int r = socket_connect(&u->address, &fd, NULL);
	if (r == 0) {
		r = poll_start(&c->poll, u->set->loop, fd, POLL_READ | POLL_WRITE, idle_ready);
		if (r < 0)
			close(fd);
	}
	if (r < 0) {
		free(c);
		errno = -r;
		return NULL;
	}
	return c;
}

struct upstream_connection *upstream_connect(struct upstream *u, struct exchange *exchange,
					     void (*ready)(struct poll *poll, int events))
{
	struct upstream_connection *c = take_idle(u);
	if (!c)
		c = open_connection(u);
	if (!c)
		return NULL;
	c->exchange = exchange;
	c->poll.ready = ready;
	u->refs++;
	u->outstanding++;
	return c;
}

void upstream_release(struct upstream_connection *c, bool keep)
{
	struct upstream *u = c->upstream;
	assert(u->outstanding);
	u->outstanding--;
	c->exchange = NULL;
	if (keep && u->current && u->n_idle < IDLE_MAX) {
		c->poll.ready = idle_ready;
		c->idle_since_ms = loop_now_ms(u->set->loop);
		list_prepend(&u->idle, &c->link);
		u->n_idle++;
	} else {
		connection_free(c);
	}
	if (!u->outstanding && !u->current && u->set->on_idle)
		u->set->on_idle(u->set);
	upstream_unref(u);
}

void upstream_note_failure(struct upstream *u)
{
	u->failed_ms = loop_now_ms(u->set->loop);
}

void upstreams_sweep(struct upstreams *set, uint64_t max_idle_ms)
{
	uint64_t now_ms = loop_now_ms(set->loop);
	size_t at = 0;
	void *value;
	while (map_next(&set->by_id, &at, NULL, &value)) {
		struct upstream *u = value;
		struct upstream_connection *c;
		LIST_EACH(c, &u->idle, link)
			if (now_ms - c->idle_since_ms > max_idle_ms)
				close_idle(u, c);
	}
}
