// Private to src/client: the blocking client, and one call of it that is waited for.
#pragma once

#include "base/rng.h"
#include "client/wire.h"

struct carrier;

struct client {
	struct carrier *carriers;
	struct client_wire wire; // of the present address
	char **addresses;
	size_t n_addresses, at;
	char *token;
	struct loop *loop;
	struct http_client *http;
	unsigned patience_ms;
	struct rng rng;
};

// One call that is waited for.
struct wait {
	struct client *client;
	const struct client_request *request;
	struct http_call *call; // NULL: over
	struct client_collect collect;
	struct err lost; // code 0: the answer came to its end
	int stopped;     // what a callback of the caller's returned to end the call, or 0
	bool upload_ended;
	// Called with the body's bytes of a good answer instead of collecting them; returns 0 or what to stop with.
	int (*data)(struct wait *wait, const char *bytes, size_t n);
	void *arg;
	bool endless;         // a stream: it may be silent for as long as it likes
	uint64_t deadline_ms; // monotonic; 0: none
	struct timer deadline;
	// Upgrade.
	bool upgrade;
	struct buf *early;
	int fd;
};

// Runs the call to its end. Returns what a callback stopped it with, or the judgement of the answer.
int wait_run(struct wait *wait, struct client_headers *headers, struct client_answer *answer, struct err *err);

void client_pause(unsigned ms);
