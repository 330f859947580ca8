// The current records in key order: a B+tree of two levels, a sorted array of blocks that are sorted arrays of
// references. No separators are kept (a block's first record is its own). Beside each reference stands a piece of its
// key: the eight bytes that follow what all keys of the block have in common, so that most comparisons need not touch
// the record. Holds one reference to each record.
#pragma once

#include "store/store.h"

enum { KEYSPACE_BLOCK = 256 };

struct keyspace_block {
	uint32_t count;
	uint32_t common; // this many first bytes are the same in all keys
	uint64_t heads[KEYSPACE_BLOCK];
	struct record *records[KEYSPACE_BLOCK];
};

struct keyspace_entry {
	struct keyspace_block *block; // not empty
	char start[56];               // of the first key, zeros behind it: looked at without touching the block
};

struct keyspace {
	struct keyspace_entry *entries;
	size_t count, room;      // of blocks
	uint64_t records, bytes; // bytes: of keys and values
};

void keyspace_clear(struct keyspace *k); // zeroed is fine

struct record *keyspace_get(const struct keyspace *k, const char *key); // borrowed; NULL when absent

// The first record whose key is greater than key (or_equal: or the same); borrowed, NULL at the end.
struct record *keyspace_after(const struct keyspace *k, const char *key, bool or_equal);

// Takes one reference of record (which is not a deletion). Returns the record it replaced, reference and all, or NULL.
struct record *keyspace_put(struct keyspace *k, struct record *record);

// Returns the record removed, reference and all, or NULL.
struct record *keyspace_remove(struct keyspace *k, const char *key);
