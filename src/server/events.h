// What happened to an app, for people: the newest EVENTS_MAX per app, in the store.
#pragma once

#include "server/replica.h"

struct request;
struct store_txn;

enum { EVENTS_MAX = 200 };

// Adds the event to a transaction; seq and at_ms (unless set) are filled in. Three operations at
// most.
void event_put(struct server *server, struct store_txn *txn, struct app_entry *app, struct event *event);

// The same for an app that may not be in the replica yet.
void event_put_named(struct server *server, struct store_txn *txn, const char *app_key, struct event *event);

// Copies the event and writes it soon, with others. Does nothing on a server that does not decide.
void event_add(struct server *server, struct app_entry *app, const struct event *event);
void events_flush(struct server *server);
void events_drop(struct server *server); // those that wait: another server writes them

// True when an event of this type about this instance, as of at_ms or later, is in the store or waiting.
bool event_is_known(struct server *server, struct app_entry *app, const char *type, const char *instance,
		    uint64_t at_ms);

void events_list(struct request *rq); // GET apps/{app}/events
