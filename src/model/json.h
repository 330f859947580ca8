// JSON helpers over jansson: strict reading, canonical writing, an owner on the stack.
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

static inline void cleanup_json(json_t **json)
{
	json_decref(*json);
}

#define AUTO_JSON CLEANUP(cleanup_json)

// Parses one JSON value and nothing after it. Duplicate keys, invalid UTF-8, NUL inside texts and nesting beyond
// JSON_DEPTH_MAX are refused (-EBADMSG, with line and column). Never recurses deeper than that.
#define JSON_DEPTH_MAX 64
int json_from_bytes(const void *bytes, size_t n, json_t **ret, struct err *err);

// Compact text with sorted keys: the same value gives the same bytes. Heap, never NULL.
char *json_to_text(const json_t *json);

// Indented, keys in their own order, for people. Heap, never NULL.
char *json_to_pretty(const json_t *json);

// A member of an object, or the fallback when absent or of another type. The text belongs to the object.
const char *json_get_text(const json_t *object, const char *key, const char *fallback);
uint64_t json_get_u64(const json_t *object, const char *key, uint64_t fallback);
bool json_get_bool(const json_t *object, const char *key, bool fallback);
