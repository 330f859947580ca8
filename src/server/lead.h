// Who decides, and who else is there. Each server of a platform holds v1/servers/NAME in the store, and one holds
// v1/leader: only that one drives the comparator, takes routers and agents as followers, and writes what the control
// loop writes, each transaction fenced by its hold. In a store that is not shared the key is held at once.
#pragma once

#include "base/list.h"
#include "io/loop.h"
#include "model/exchange.h"

struct request;
struct server;
struct store_answer;
struct store_hold;
struct store_txn;

enum { LEAD_TTL_MS = 2000, MEMBER_TTL_MS = 5000 };

struct lead {
	struct server *server;
	struct store_hold *member, *leader;
	struct task task;
	uint64_t term; // as the parts were last told; 0: does not lead
	bool waited;   // nobody is answered before it leads: the store is not shared
	struct list watches;
};

void lead_open(struct server *server);
void lead_resign(struct server *server); // gives up both keys; others take over at once
void lead_close(struct server *server);
void lead_wake(struct server *server); // the servers, or who leads, may have changed

// At this moment, by the hold's own clock: asked before every decision.
bool server_leads(const struct server *server);

// Commits what only the deciding server may write.
void server_commit_leading(struct server *server, struct store_txn *txn,
			   void (*done)(void *arg, const struct store_answer *answer), void *arg);

// All servers as the store has them, term set for the one that leads. To be cleared by fields_clear.
void lead_list(struct server *server, struct servers_told *ret);
// The API address of a server that is there, NULL otherwise; heap.
char *lead_address(struct server *server, const char *name);

// Answers 421 with `leader` unless this server leads; true: it does.
bool lead_required(struct request *rq);

void servers_stream(struct request *rq); // GET /v1/servers/watch
