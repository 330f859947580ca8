// Private to store: making records. They are immutable once a driver has numbered them.
#pragma once

#include "store/store.h"

// One reference, owned by the caller; revisions and version are 0. key_len <= STORE_KEY_MAX, len <= STORE_VALUE_MAX.
struct record *record_new(const char *key, size_t key_len, const void *value, size_t len);
struct record *record_new_deletion(const char *key, size_t key_len);

// Key and value bytes; what a record costs beyond them is the struct and two NULs.
static inline size_t record_bytes(const struct record *r)
{
	return (size_t)r->key_len + r->value_len;
}
