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
		for (uint32_t j = 0; j < k->entries[i].block->count; j++)
			record_unref(k->entries[i].block->records[j]);
		free(k->entries[i].block);
	}
	free(k->entries);
	*k = (struct keyspace){ 0 };
}

// The last block whose first key is not greater than key; the first block when there is none.
static size_t find_block(const struct keyspace *k, const char *key)
{
	size_t low = 0, high = k->count;
	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;
		int c = strncmp(k->entries[mid].start, key, sizeof(k->entries[mid].start));
		if (c == 0)
			c = strcmp(record_key(k->entries[mid].block->records[0]), key);
		if (c <= 0)
			low = mid;
		else
			high = mid;
	}
	return low;
}

// After the block's first record has become another one.
static void set_start(struct keyspace *k, size_t block)
{
	struct keyspace_entry *e = &k->entries[block];
	const struct record *first = e->block->records[0];
	size_t n = first->key_len < sizeof(e->start) ? first->key_len : sizeof(e->start);
	memset(e->start, 0, sizeof(e->start));
	memcpy(e->start, record_key(first), n);
}

// The eight bytes of key from `at` on, as a number that sorts like them; zeros beyond its end. Equal heads mean equal
// keys when there is a zero in them, since no key contains one.
static uint64_t head_of(const char *key, size_t at)
{
	uint64_t head = 0;
	for (int i = 0; i < 8 && key[at + i]; i++)
		head |= (uint64_t)(unsigned char)key[at + i] << (56 - 8 * i);
	return head;
}

static uint32_t common_length(const char *a, const char *b)
{
	uint32_t n = 0;
	while (a[n] && a[n] == b[n])
		n++;
	return n;
}

// After records were moved in or out: what the first and the last key have in common all have.
static void set_heads(struct keyspace_block *b)
{
	if (!b->count)
		return;
	b->common = common_length(record_key(b->records[0]), record_key(b->records[b->count - 1]));
	for (uint32_t i = 0; i < b->count; i++)
		b->heads[i] = head_of(record_key(b->records[i]), b->common);
}

// The first record of the block whose key is not less than key, whose head is `head`.
static size_t search(const struct keyspace_block *b, const char *key, uint64_t head, bool *ret_found)
{
	size_t low = 0, high = b->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = b->heads[mid] < head ? -1 : b->heads[mid] > head;
		if (c == 0)
			c = strcmp(record_key(b->records[mid]) + b->common, key + b->common);
		if (c == 0) {
			*ret_found = true;
			return mid;
		}
		if (c < 0)
			low = mid + 1;
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
	const struct keyspace_block *b = k->entries[p.block].block;
	int c = strncmp(key, record_key(b->records[0]), b->common);
	if (c == 0)
		p.at = search(b, key, head_of(key, b->common), &p.found);
	else if (c > 0)
		p.at = b->count;
	return p;
}

struct record *keyspace_get(const struct keyspace *k, const char *key)
{
	struct place p = find(k, key);
	return p.found ? k->entries[p.block].block->records[p.at] : NULL;
}

struct record *keyspace_after(const struct keyspace *k, const char *key, bool or_equal)
{
	struct place p = find(k, key);
	if (p.found && !or_equal)
		p.at++;
	if (p.block < k->count && p.at == k->entries[p.block].block->count) {
		p.block++;
		p.at = 0;
	}
	return p.block < k->count ? k->entries[p.block].block->records[p.at] : NULL;
}

static void insert_block(struct keyspace *k, size_t at)
{
	if (k->count == k->room) {
		k->room = k->room ? 2 * k->room : 16;
		k->entries = xreallocarray(k->entries, k->room, sizeof(*k->entries));
	}
	memmove(k->entries + at + 1, k->entries + at, (k->count - at) * sizeof(*k->entries));
	k->entries[at].block = xmalloc(sizeof(struct keyspace_block));
	k->entries[at].block->count = 0;
	k->count++;
}

// Makes room in a full block. Keys that come in order leave full blocks behind them; others halve.
static void split(struct keyspace *k, struct place *p)
{
	uint32_t keep = p->at == KEYSPACE_BLOCK ? KEYSPACE_BLOCK : KEYSPACE_BLOCK / 2;
	insert_block(k, p->block + 1);
	struct keyspace_block *left = k->entries[p->block].block, *right = k->entries[p->block + 1].block;
	right->count = KEYSPACE_BLOCK - keep;
	memcpy(right->records, left->records + keep, right->count * sizeof(left->records[0]));
	left->count = keep;
	set_heads(left);
	set_heads(right);
	if (right->count)
		set_start(k, p->block + 1);
	if (p->at >= keep && (p->at > keep || keep == KEYSPACE_BLOCK)) {
		p->block++;
		p->at -= keep;
	}
}

static void insert(struct keyspace_block *b, size_t at, struct record *record)
{
	size_t after = b->count - at;
	memmove(b->records + at + 1, b->records + at, after * sizeof(b->records[0]));
	memmove(b->heads + at + 1, b->heads + at, after * sizeof(b->heads[0]));
	b->records[at] = record;
	b->count++;
	if (b->count == 1 || strncmp(record_key(record), record_key(b->records[at ? 0 : 1]), b->common) != 0)
		set_heads(b);
	else
		b->heads[at] = head_of(record_key(record), b->common);
}

struct record *keyspace_put(struct keyspace *k, struct record *record)
{
	assert(!record->deleted);
	struct place p = find(k, record_key(record));
	k->bytes += record_bytes(record);
	if (p.found) {
		struct record *before = k->entries[p.block].block->records[p.at];
		k->bytes -= record_bytes(before);
		k->entries[p.block].block->records[p.at] = record;
		return before;
	}
	if (!k->count)
		insert_block(k, 0);
	if (k->entries[p.block].block->count == KEYSPACE_BLOCK)
		split(k, &p);
	insert(k->entries[p.block].block, p.at, record);
	if (p.at == 0)
		set_start(k, p.block);
	k->records++;
	return NULL;
}

static void remove_block(struct keyspace *k, size_t at)
{
	free(k->entries[at].block);
	k->count--;
	memmove(k->entries + at, k->entries + at + 1, (k->count - at) * sizeof(*k->entries));
}

// Joins the block with its right neighbour when both fit into three quarters of one: no pile of near-empty blocks.
static void join(struct keyspace *k, size_t at)
{
	if (at + 1 >= k->count)
		return;
	struct keyspace_block *left = k->entries[at].block, *right = k->entries[at + 1].block;
	if (left->count + right->count > KEYSPACE_BLOCK * 3 / 4)
		return;
	memcpy(left->records + left->count, right->records, right->count * sizeof(right->records[0]));
	left->count += right->count;
	set_heads(left);
	remove_block(k, at + 1);
}

struct record *keyspace_remove(struct keyspace *k, const char *key)
{
	struct place p = find(k, key);
	if (!p.found)
		return NULL;
	struct keyspace_block *b = k->entries[p.block].block;
	struct record *before = b->records[p.at];
	b->count--;
	memmove(b->records + p.at, b->records + p.at + 1, (b->count - p.at) * sizeof(b->records[0]));
	memmove(b->heads + p.at, b->heads + p.at + 1, (b->count - p.at) * sizeof(b->heads[0]));
	k->records--;
	k->bytes -= record_bytes(before);
	if (b->count == 0) {
		remove_block(k, p.block);
		return before;
	}
	if (p.at == 0)
		set_start(k, p.block);
	join(k, p.block);
	return before;
}
