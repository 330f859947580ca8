// The server as one object: what its parts share.
#pragma once

#include "http/client.h"
#include "http/server.h"
#include "io/loop.h"
#include "model/platform.h"
#include "server/audit.h"
#include "server/authority.h"
#include "server/control.h"
#include "server/lead.h"
#include "server/replica.h"
#include "server/routers.h"
#include "server/sweep.h"
#include "store/store.h"

enum { SERVER_LISTENERS = 2 };

struct blobs;

struct server {
	struct loop *loop;
	const struct platform *platform;
	const char *driver; // of the store: "sqlite", "etcd", "memory"
	char *name, *api;   // of this one among the servers; as others reach it, "http://ADDR:PORT"
	char *suffix;       // of keys that end in a number and are written by all: "", or "-NAME" in a shared store
	struct store *store;
	struct http_server *http;
	struct http_client *agent; // run/agent.sock
	struct map peers;          // other servers: address → struct http_client *
	struct replica replica;
	struct lead lead;
	struct control control;
	struct routers routers;
	struct audit_trail audit;
	struct authority authority;
	struct map blobs; // tenant → struct blobs *
	struct list streams, tunnels;
	struct timer ping;
	struct timer thaw; // of store_switch.c
	bool untidy; // a large request has ended since the last ping
	struct sweep sweep;
	unsigned beginning; // writes without which nobody can be answered
	int waiting_fds[SERVER_LISTENERS]; // to listen on once they are done
	size_t n_waiting;
	bool closing;
	bool freed;       // released when nothing works for it any more
	unsigned working; // jobs on the thread pool
};

// Everything but the process. Takes over the store when it succeeds; the caller frees platform after server_free. The
// token files in platform->data/secrets are read here. The store must be of the same loop.
int server_new(struct loop *loop, const struct platform *platform, struct store *store, const char *driver,
	       struct server **ret, struct err *err);
// Takes fd (of SERVER_LISTENERS at most); answers on it as soon as tokens and the first tenant are in the store.
int server_listen(struct server *server, int fd, struct err *err);

#define SERVER_PLATFORM_KEY "v1/platform" // of a shared store: {"domain"}

// One of the things without which nobody is answered is done.
void server_begun(struct server *server);
// Commits a write that must be done before anybody is answered.
void server_begin_with(struct server *server, struct store_txn *txn);
// Stops listening and ends streams; requests under way go on.
void server_drain(struct server *server);
// Cuts what is under way, closes the store. NULL is fine.
void server_free(struct server *server);
void server_release(struct server *server); // the last part of it, when no job runs any more

// Store keys that end in a number (and a suffix): the smallest and the greatest one below prefix, 0 when there is none.
uint64_t store_first_number(struct store *store, const char *prefix);
uint64_t store_last_number(struct store *store, const char *prefix);
