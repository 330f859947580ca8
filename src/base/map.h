// A hash map from strings to pointers: open addressing, keys copied. Not ordered; not for use by several threads.
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

struct map_slot {
	char *key; // NULL: empty
	void *value;
	uint64_t hash;
};

struct map {
	struct map_slot *slots;
	size_t size, count; // size: power of two or 0
};

void map_clear(struct map *m); // frees keys and table, not the values

void *map_get(const struct map *m, const char *key); // NULL when absent

// Returns the value that was there before, or NULL. value must not be NULL.
void *map_set(struct map *m, const char *key, void *value);

// Returns the value removed, or NULL.
void *map_remove(struct map *m, const char *key);

// Walks all entries: start with *at = 0; false at the end. The map may not change meanwhile, except that the entry
// just returned may have its value replaced.
bool map_next(const struct map *m, size_t *at, const char **ret_key, void **ret_value);

// FNV-1a, then a finaliser; not against chosen keys.
uint64_t hash_bytes(const void *bytes, size_t n);
