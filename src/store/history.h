// Rows of the log that are no longer current, oldest first, and how long they are kept: what there is to remove when
// the log is compacted.
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	HISTORY_KEEP_MS = 10 * 60 * 1000, // kept this long at least, unless it gets too much:
	HISTORY_ROWS = 100000,
	HISTORY_BYTES = 256 << 20,
	HISTORY_MARK_MS = 30 * 1000, // how exactly time is known
	HISTORY_MARKS = HISTORY_KEEP_MS / HISTORY_MARK_MS + 1,
};

struct past_row {
	uint64_t row; // id in the log
	uint64_t by;  // the revision that superseded it (of a deletion: its own)
	uint64_t bytes;
};

struct history {
	struct past_row *rows; // ring of `room` (a power of two or 0), [first, next)
	uint64_t first, next, room;
	uint64_t bytes;
	uint64_t keep_rows, keep_bytes;
	uint64_t marks[HISTORY_MARKS]; // revision at each of the last moments of history_mark, oldest first
	unsigned n_marks;
};

void store_history_init(struct history *h); // with the bounds above
void store_history_clear(struct history *h);

void store_history_add(struct history *h, uint64_t row, uint64_t by, uint64_t bytes); // by: never less than before

// To be called every HISTORY_MARK_MS.
void store_history_mark(struct history *h, uint64_t revision);

// Up to and with which revision history need not be kept any more.
uint64_t store_history_limit(const struct history *h);

// The oldest rows superseded at or before limit, up to max of them, in *ret (borrowed until history_drop).
size_t store_history_oldest(const struct history *h, uint64_t limit, size_t max, struct past_row *ret);
void store_history_drop(struct history *h, size_t n); // forgets the n oldest
