#include "store/ring.h"

#include "base/str.h"
#include "store/record.h"

#include <assert.h>

void ring_init(struct ring *ring, uint64_t after)
{
	*ring = (struct ring){ .after = after };
	ring->events = xcalloc(RING_CHANGES, sizeof(*ring->events));
}

static void forget_first(struct ring *ring)
{
	const struct store_event *e = ring_at(ring, ring->first++);
	ring->after = e->record->mod_revision;
	ring->bytes -= record_bytes(e->record);
	record_unref((struct record *)e->record);
}

void ring_clear(struct ring *ring)
{
	while (ring->first < ring->next)
		forget_first(ring);
	free(ring->events);
	*ring = (struct ring){ 0 };
}

void ring_push(struct ring *ring, struct record *record, uint64_t previous)
{
	uint64_t n = ring->next - ring->first;
	while (n && (n == RING_CHANGES || ring->bytes + record_bytes(record) > RING_BYTES) &&
	       ring_at(ring, ring->first)->record->mod_revision < record->mod_revision) {
		forget_first(ring);
		n--;
	}
	assert(n < RING_CHANGES);
	ring->events[ring->next++ & (RING_CHANGES - 1)] =
		(struct store_event){ .record = record, .previous = previous };
	ring->bytes += record_bytes(record);
	ring->pushed += record_bytes(record);
}

uint64_t ring_find(const struct ring *ring, uint64_t after)
{
	uint64_t low = ring->first, high = ring->next;
	while (low < high) {
		uint64_t mid = low + (high - low) / 2;
		if (ring_at(ring, mid)->record->mod_revision <= after)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}
