// The newest changes, numbered from 0 as they happened; the oldest are forgotten when there are too many or they hold
// too much. Holds a reference to each change's record.
#pragma once

#include "store/store.h"

enum {
	RING_CHANGES = 1 << 16, // a power of two
	RING_BYTES = 16 << 20,  // of keys and values; the newest revision stays whole whatever its size
};

struct ring {
	struct store_event *events;
	uint64_t first, next; // positions: [first, next) are kept
	uint64_t bytes;
	uint64_t pushed; // bytes of everything that ever came in
	uint64_t after;  // every change with a greater revision is in the ring, as long as it has them
};

// after: the revision from which on the ring will hear of everything.
void ring_init(struct ring *ring, uint64_t after);
void ring_clear(struct ring *ring);

// record: a reference is taken over.
void ring_push(struct ring *ring, struct record *record, uint64_t previous);

static inline const struct store_event *ring_at(const struct ring *ring, uint64_t position)
{
	return &ring->events[position & (RING_CHANGES - 1)];
}

// The position of the first change with a revision greater than after.
uint64_t ring_find(const struct ring *ring, uint64_t after);
