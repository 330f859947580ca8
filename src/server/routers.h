// Routers, and the table they route by: published whole, versioned, to every router's stream, at most every
// ROUTES_PACE_MS.
#pragma once

#include "base/list.h"
#include "server/stream.h"

struct placement_entry;

enum { ROUTES_PACE_MS = 10, ROUTER_GHOST_MS = 10000 };

struct router {
	char *name;
	struct stream stream; // open while connected
	bool dirty;           // the stream lacks the newest table
	uint64_t lost_ms;     // loop time since which it is not connected; 0: it is
	uint64_t acked;       // version
	char **busy;          // instances with requests in flight, as of that
	uint32_t busy_count;
	struct list link;
};

struct routers {
	struct list all;
	uint64_t version; // of the published table; grows over restarts
	bool published;
	char *text; // the published routes, without the version
	uint64_t published_ms;
	uint64_t started_ms;
};

void routers_open(struct server *server);
void routers_close(struct server *server);
void routers_begin(struct server *server, uint64_t term); // this server decides: tables are made anew
void routers_end(struct server *server);                  // another one does: all streams end

// Makes the table anew and sends it if it differs. Returns how many ms to wait before it may be tried again, 0: done.
uint64_t routers_publish(struct server *server);

bool routers_connected(const struct server *server);

// Whether every router that is known goes by this version, or a later one.
bool routers_serve(const struct server *server, uint64_t version);

// Whether no router sends this instance anything any more, given the first version without it.
bool routers_let_go(const struct server *server, const char *instance, uint64_t version);

void routers_stream(struct request *rq); // GET /v1/routers/{router}/routes
void routers_ack(struct request *rq);    // POST /v1/routers/{router}/ack
