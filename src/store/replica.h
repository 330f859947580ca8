// What every driver keeps in memory: the current records, the ring of changes and the watches on it. Loop thread only.
#pragma once

#include "store/keyspace.h"
#include "store/ring.h"

struct replica {
	struct keyspace keyspace;
	struct ring ring;
	uint64_t revision;
	struct list parked, reading; // watches: have read everything; have something to read
};

void replica_init(struct replica *replica, uint64_t revision);
void replica_clear(struct replica *replica); // watches must have been stopped

// Replaces everything by what keyspace holds (which is empty afterwards): all watches end with STORE_WATCH_LIST_AGAIN.
// why: STORE_COMPACTED or STORE_EPOCH_CHANGED.
void replica_reset(struct replica *replica, struct keyspace *keyspace, uint64_t revision, enum store_result why);

// Makes a change current and known to the watches; record's revision is the current one or greater. Takes one reference
// of record. Returns the record that it replaced or removed, with its reference; NULL when there was none.
struct record *replica_apply(struct replica *replica, struct record *record);
