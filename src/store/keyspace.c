#include "store/keyspace.h"

#include "base/str.h"
#include "store/record.h"

#include <assert.h>

// Where a key is or would go: records[at] of blocks[block] is the first that is not less than it.
struct place {
	size_t block, at;
	bool found;
};

void keyspace_clear(struct keyspace *k)
{
	for (size_t i = 0; i < k->count; i++) {
		for (uint32_t j = 0; j < k->blocks[i]->count; j++)
			record_unref(k->blocks[i]->records[j]);
		free(k->blocks[i]);
	}
	free(k->blocks);
	*k = (struct keyspace){ 0 };
}

// The last block whose first key is not greater than key; the first block when there is none.
static size_t find_block(const struct keyspace *k, const char *key)
{
	size_t low = 0, high = k->count;
	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;
		if (strcmp(record_key(k->blocks[mid]->records[0]), key) <= 0)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static struct place find(const struct keyspace *k, const char *key)
{
	struct place p = { 0 };
	if (!k->count)
		return p;
	p.block = find_block(k, key);
	const struct keyspace_block *b = k->blocks[p.block];
	size_t low = 0, high = b->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = strcmp(record_key(b->records[mid]), key);
		if (c == 0)
			return (struct place){ .block = p.block, .at = mid, .found = true };
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	p.at = low;
	return p;
}

struct record *keyspace_get(const struct keyspace *k, const char *key)
{
	struct place p = find(k, key);
	return p.found ? k->blocks[p.block]->records[p.at] : NULL;
}

struct record *keyspace_after(const struct keyspace *k, const char *key, bool or_equal)
{
	struct place p = find(k, key);
	if (p.found && !or_equal)
		p.at++;
	if (p.block < k->count && p.at == k->blocks[p.block]->count) {
		p.block++;
		p.at = 0;
	}
	return p.block < k->count ? k->blocks[p.block]->records[p.at] : NULL;
}

static void insert_block(struct keyspace *k, size_t at)
{
	if (k->count == k->room) {
		k->room = k->room ? 2 * k->room : 16;
		k->blocks = xreallocarray(k->blocks, k->room, sizeof(*k->blocks));
	}
	memmove(k->blocks + at + 1, k->blocks + at, (k->count - at) * sizeof(*k->blocks));
	k->blocks[at] = xmalloc(sizeof(**k->blocks));
	k->blocks[at]->count = 0;
	k->count++;
}

// Makes room in a full block. Keys that come in order leave full blocks behind them; others halve.
static void split(struct keyspace *k, struct place *p)
{
	uint32_t keep = p->at == KEYSPACE_BLOCK ? KEYSPACE_BLOCK : KEYSPACE_BLOCK / 2;
	insert_block(k, p->block + 1);
	struct keyspace_block *left = k->blocks[p->block], *right = k->blocks[p->block + 1];
	right->count = KEYSPACE_BLOCK - keep;
	memcpy(right->records, left->records + keep, right->count * sizeof(left->records[0]));
	left->count = keep;
	if (p->at >= keep && (p->at > keep || keep == KEYSPACE_BLOCK)) {
		p->block++;
		p->at -= keep;
	}
}

struct record *keyspace_put(struct keyspace *k, struct record *record)
{
	assert(!record->deleted);
	struct place p = find(k, record_key(record));
	k->bytes += record_bytes(record);
	if (p.found) {
		struct record *before = k->blocks[p.block]->records[p.at];
		k->bytes -= record_bytes(before);
		k->blocks[p.block]->records[p.at] = record;
		return before;
	}
	if (!k->count)
		insert_block(k, 0);
	if (k->blocks[p.block]->count == KEYSPACE_BLOCK)
		split(k, &p);
	struct keyspace_block *b = k->blocks[p.block];
	memmove(b->records + p.at + 1, b->records + p.at, (b->count - p.at) * sizeof(b->records[0]));
	b->records[p.at] = record;
	b->count++;
	k->records++;
	return NULL;
}

static void remove_block(struct keyspace *k, size_t at)
{
	free(k->blocks[at]);
	k->count--;
	memmove(k->blocks + at, k->blocks + at + 1, (k->count - at) * sizeof(*k->blocks));
}

// Joins the block with its right neighbour when both fit into three quarters of one: no pile of near-empty blocks.
static void join(struct keyspace *k, size_t at)
{
	if (at + 1 >= k->count)
		return;
	struct keyspace_block *left = k->blocks[at], *right = k->blocks[at + 1];
	if (left->count + right->count > KEYSPACE_BLOCK * 3 / 4)
		return;
	memcpy(left->records + left->count, right->records, right->count * sizeof(right->records[0]));
	left->count += right->count;
	remove_block(k, at + 1);
}

struct record *keyspace_remove(struct keyspace *k, const char *key)
{
	struct place p = find(k, key);
	if (!p.found)
		return NULL;
	struct keyspace_block *b = k->blocks[p.block];
	struct record *before = b->records[p.at];
	b->count--;
	memmove(b->records + p.at, b->records + p.at + 1, (b->count - p.at) * sizeof(b->records[0]));
	k->records--;
	k->bytes -= record_bytes(before);
	if (b->count == 0)
		remove_block(k, p.block);
	else
		join(k, p.block);
	return before;
}
