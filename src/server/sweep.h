// Artifacts that no release has and nobody uploaded lately are removed, with the results of builds that gave them, and
// the blobs that no manifest names any more. One tenant at a time, on the thread pool, once an hour.
#pragma once

#include "io/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct server;

enum { SWEEP_FIRST_MS = 10 * 60 * 1000, SWEEP_EVERY_MS = 60 * 60 * 1000 };
#define SWEEP_AGE_MS (24ull * 60 * 60 * 1000)

struct sweep {
	struct timer timer;
	bool running;
	uint64_t age_ms; // what is younger stays; SWEEP_AGE_MS but in tests
};

void sweep_open(struct server *server);
void sweep_close(struct server *server);

// Begins a round for this tenant; nothing when one is running.
void sweep_tenant(struct server *server, const char *tenant);
