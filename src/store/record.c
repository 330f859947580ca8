#include "store/record.h"

#include "base/str.h"

#include <assert.h>

// A million of them are held in memory.
static_assert(offsetof(struct record, bytes) <= 48, "struct record has grown");

struct record *record_new(const char *key, size_t key_len, const void *value, size_t len)
{
	assert(key_len <= STORE_KEY_MAX && len <= STORE_VALUE_MAX);
	struct record *r = xmalloc(offsetof(struct record, bytes) + key_len + len + 2);
	memset(r, 0, offsetof(struct record, bytes));
	r->refs = 1;
	r->key_len = (uint16_t)key_len;
	r->value_len = (uint32_t)len;
	memcpy(r->bytes, key, key_len);
	r->bytes[key_len] = '\0';
	if (len)
		memcpy(r->bytes + key_len + 1, value, len);
	r->bytes[key_len + 1 + len] = '\0';
	return r;
}

struct record *record_new_deletion(const char *key, size_t key_len)
{
	struct record *r = record_new(key, key_len, NULL, 0);
	r->deleted = 1;
	return r;
}

struct record *record_ref(const struct record *r)
{
	struct record *own = (struct record *)r; // counting is not a change of the record
	assert(own->refs > 0 && own->refs < UINT32_MAX);
	own->refs++;
	return own;
}

void record_unref(struct record *r)
{
	if (!r)
		return;
	assert(r->refs > 0);
	if (--r->refs == 0)
		free(r);
}
