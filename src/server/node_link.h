// A node's agent as this server sees it: when it was last heard, the stream it reads its assignments from, and for each
// placement what that stream was told and whether its stop may be told already. ARCHITECTURE.md: Assignment, Report,
// Stopping.
#pragma once

#include "model/exchange.h"
#include "server/stream.h"

struct node_link {
	struct stream stream;
	bool full_sent; // on this stream
	bool dirty;     // the stream lacks something
	char **removed; // instance ids that are gone, and the stream does not know
	uint32_t removed_count;
	uint64_t heard_ms; // loop time of the last report; 0: never
	bool heard_full;   // since this process started
	bool behind;       // a placement came after the report of it may have: everything is to be said again
	uint64_t asked_ms; // loop time at which that was last asked for
	char *boot;
	uint64_t seq;
	bool writing;          // its record is being written
	struct resources used; // as of the last report
	char **problems;       // likewise
	uint32_t problem_count;
};

// What the stream was told of a placement.
struct sent {
	bool known;
	uint32_t generation;
	enum want want;
};

// The stop of a placement, held back until no router sends it anything: gate.c.
struct gate {
	uint64_t since_ms; // loop time at which want was seen to be stop; 0: it is not
	uint64_t version;  // of the first route table without it; 0: not published yet
	bool unrouted;     // every router goes by that table, or does not matter any more
	bool open;
};
