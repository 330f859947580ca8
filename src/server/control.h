// The control loop: one task that, whenever anything changed, compares what is wanted with what is (src/plan), carries
// the actions out as transactions, opens gates, publishes routes, and tells agents and watchers what changed. It acts
// on the facts as they are; how often it is woken makes no difference.
#pragma once

#include "io/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct server;
struct event;

enum {
	CONTROL_ROUTES = 1 << 0, // the route table may have changed
};

enum { SETTLE_MS = 10000, CONTROL_TICK_MS = 2000 };

struct control {
	struct server *server;
	struct task task;
	struct timer timer;
	uint64_t started_ms; // loop time
	bool settled;        // every known node was heard whole, or SETTLE_MS have passed: absence means something now
	bool routes_dirty;
	unsigned in_flight;     // transactions of the last plan; no new plan while there are any
	uint64_t not_before_ms; // no plan before: the store refused the last one's writes
	bool collecting;
	struct event *events; // waiting to be written
	char **event_apps;    // keys
	uint32_t event_count;
};

void control_open(struct server *server);
void control_close(struct server *server);
void control_wake(struct server *server, unsigned flags);

// This server decides from now on: at once if every known node was heard of late, otherwise as after a start.
void control_take_over(struct server *server);
