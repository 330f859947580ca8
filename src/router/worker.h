// What the connections of one router thread share.
#pragma once

#include "router/limits.h"
#include "router/table.h"

#define SCRATCH_SIZE (64 << 10)

struct counters {
	uint64_t connections, requests, retries, failures; // failures: answers of our own with 5xx
};

struct routes;

struct worker {
	struct loop *loop;
	struct limits limits;
	struct upstreams upstreams;
	struct table *table; // NULL: none yet
	struct list clients; // of struct downstream
	uint32_t n_clients;
	struct list closed; // clients to be freed by reaper
	struct task reaper;
	bool draining;         // connections end after their answer
	struct routes *routes; // NULL: table fixed by a test
	struct counters counters;
	char scratch[SCRATCH_SIZE]; // what was just read; used within one callback
};
