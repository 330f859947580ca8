// Instances as the router knows them: how many requests each has in flight, its idle connections, when it last failed.
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"
#include "http/http1.h"
#include "io/loop.h"
#include "io/socket.h"

struct upstreams {
	struct loop *loop;
	struct map by_id;
	struct rng rng;
	void (*on_idle)(struct upstreams *set); // an upstream that is in no table any more has answered its last request
};

struct upstream {
	struct upstreams *set;
	char *id;
	struct address address;
	uint32_t refs;	      // tables and connections
	uint32_t tables;      // set by upstreams_mark: whether the current table has it
	uint32_t outstanding; // requests in flight
	uint64_t failed_ms;   // loop time of the last failed connect or broken connection; 0: none
	struct list idle;     // of struct upstream_connection, the most recently used first
	uint32_t n_idle;
};

// A reference to the upstream of that id, made when there is none; NULL when the address cannot be parsed.
struct upstream *upstreams_get(struct upstreams *set, const char *id, const char *address);
void upstream_unref(struct upstream *u); // NULL is fine

// After a table swap: upstreams that are not among those of the new table close their idle connections and take no more.
// `current` says whether the new table has u.
void upstreams_retire(struct upstreams *set, bool (*current)(const struct upstream *u, void *arg), void *arg);

struct exchange;

// A connection to an upstream: idle in its pool, or at work for one exchange.
struct upstream_connection {
	struct upstream *upstream; // a reference
	struct poll poll;
	struct http1_parser parser;
	struct list link; // idle list, or the list of connecting and busy ones
	struct exchange *exchange; // NULL: idle
	bool connected;
	int events; // what the poll waits for while at work
	bool reused; // has answered before: a break before the first byte may mean that it was just closed
	uint64_t idle_since_ms;
};

// Of n candidates the less loaded of two random ones, passing over those in tried and, if others are there, those that
// failed in the last second. NULL: none left.
struct upstream *upstream_choose(struct upstream *const *candidates, uint32_t n, struct upstream *const *tried,
				 uint32_t n_tried);

// An idle connection, or a new one that is being connected (connected: false). NULL with errno when it fails at once.
struct upstream_connection *upstream_connect(struct upstream *u, struct exchange *exchange,
					     void (*ready)(struct poll *poll, int events));

// Back to the pool (keep) or closed. Ends the exchange's count.
void upstream_release(struct upstream_connection *c, bool keep);

void upstream_note_failure(struct upstream *u);

// Closes the idle connections of u.
void upstream_close_idle(struct upstream *u);

// Closes connections that have been idle for longer than max_idle_ms.
void upstreams_sweep(struct upstreams *set, uint64_t max_idle_ms);
