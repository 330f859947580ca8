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
	void (*on_idle)(
		struct upstreams *set); // an upstream that is in no table any more has answered its last request
};

struct upstream {
	struct upstreams *set;
	char *id;
	struct address address;
	uint32_t refs;        // tables and connections
	bool current;         // the newest table has it
	uint32_t outstanding; // requests in flight
	uint64_t failed_ms;   // loop time of the last failed connect or broken connection; 0: none
	struct list idle;     // of struct upstream_connection, the most recently used first
	uint32_t n_idle;
};

// A reference to the upstream of that id, made when there is none; NULL when the address cannot be parsed.
struct upstream *upstreams_get(struct upstreams *set, const char *id, const char *address);
struct upstream *upstream_ref(struct upstream *u);
void upstream_unref(struct upstream *u); // NULL is fine

// Around the making of a new table: what upstreams_get does not return in between is retired by upstreams_retire. It
// closes its idle connections and keeps no more.
void upstreams_unmark(struct upstreams *set);
void upstreams_retire(struct upstreams *set);

struct exchange;

// A connection to an upstream: idle in its pool, or at work for one exchange.
struct upstream_connection {
	struct upstream *upstream; // a reference
	struct poll poll;
	struct http1_parser parser;
	struct list link;          // idle list, or the list of connecting and busy ones
	struct exchange *exchange; // NULL: idle
	bool connected;
	int events;  // what the poll waits for while at work
	bool reused; // has answered before: a break before the first byte may mean that it was just closed
	uint64_t idle_since_ms;
};

// Of n candidates the less loaded of two random ones, passing over those in tried and, if others are there, those that
// failed in the last second. NULL: none left.
struct upstream *upstream_choose(struct upstream *const *candidates, uint32_t n, struct upstream *const *tried,
				 uint32_t n_tried);

// An idle connection that is still open, or a new one that is being connected (connected: false). NULL with errno when
// it fails at once.
struct upstream_connection *upstream_connect(struct upstream *u, struct exchange *exchange,
					     void (*ready)(struct poll *poll, int events));

// Back to the pool (keep) or closed. Ends the exchange's count.
void upstream_release(struct upstream_connection *c, bool keep);

void upstream_note_failure(struct upstream *u);

// Closes the idle connections of u.
void upstream_close_idle(struct upstream *u);

// Closes connections that have been idle for longer than max_idle_ms.
void upstreams_sweep(struct upstreams *set, uint64_t max_idle_ms);
