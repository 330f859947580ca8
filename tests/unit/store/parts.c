// The parts a store is made of, each by itself.
#include "bed.h"

#include "base/rng.h"
#include "base/str.h"
#include "store/checksum.h"
#include "store/history.h"
#include "store/keyspace.h"
#include "store/record.h"
#include "store/ring.h"

static void test_checksum(UNUSED void **state)
{
	assert_int_equal(checksum_add(0, "123456789", 9), 0xe3069283); // RFC 3720, B.4
	assert_int_equal(checksum_add(checksum_add(0, "12345", 5), "6789", 4), 0xe3069283);
	assert_int_equal(checksum_add(0, "", 0), 0);
	char zeros[32] = { 0 };
	assert_int_equal(checksum_add(0, zeros, 32), 0x8a9136aa);
}

// ---- keyspace, against a sorted table of all keys there can be

enum { NAMES = 3000, STEPS = 60000 };

struct naive {
	char names[NAMES][96];
	bool present[NAMES];
	uint64_t written[NAMES];
	unsigned count;
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

// Prefixes of each other, long common beginnings, bytes above 127.
static void make_names(struct naive *n, struct rng *rng)
{
	static const char *const starts[] = { "",
					      "v1/",
					      "v1/placements/node-1/",
					      "v1/placements/node-2/",
					      "\xc3\xa4",
					      "v1/releases/a-tenant-of-a-long-name/an-environment-of-a-long-name/" };
	for (unsigned i = 0; i < NAMES; i++) {
		const char *start = starts[rng_below(rng, ARRAY_LEN(starts))];
		unsigned len = 1 + (unsigned)rng_below(rng, 8);
		char *name = stpcpy(n->names[i], start);
		for (unsigned j = 0; j < len; j++)
			*name++ = "ab/\xff\x01"[rng_below(rng, 5)];
		*name = '\0';
	}
	qsort(n->names, NAMES, sizeof(n->names[0]), compare_names);
}

static unsigned pick(const struct naive *n, struct rng *rng)
{
	unsigned i = (unsigned)rng_below(rng, NAMES);
	while (i && strcmp(n->names[i], n->names[i - 1]) == 0) // the first of equal names stands for them
		i--;
	return i;
}

static void expect_same(const struct keyspace *k, const struct naive *n)
{
	struct record *r = keyspace_after(k, "", true);
	uint64_t bytes = 0;
	for (unsigned i = 0; i < NAMES; i++) {
		if (!n->present[i])
			continue;
		assert_non_null(r);
		assert_string_equal(record_key(r), n->names[i]);
		assert_int_equal(r->mod_revision, n->written[i]);
		bytes += record_bytes(r);
		r = keyspace_after(k, record_key(r), false);
	}
	assert_null(r);
	assert_int_equal(k->records, n->count);
	assert_int_equal(k->bytes, bytes);
}

static void put_name(struct keyspace *k, struct naive *n, unsigned i, uint64_t revision)
{
	struct record *r = record_new(n->names[i], strlen(n->names[i]), "value", revision % 6);
	r->mod_revision = revision;
	AUTO_RECORD struct record *before = keyspace_put(k, r);
	assert_int_equal(before != NULL, n->present[i]);
	if (before)
		assert_int_equal(before->mod_revision, n->written[i]);
	n->count += !n->present[i];
	n->present[i] = true;
	n->written[i] = revision;
}

static void remove_name(struct keyspace *k, struct naive *n, unsigned i)
{
	AUTO_RECORD struct record *before = keyspace_remove(k, n->names[i]);
	assert_int_equal(before != NULL, n->present[i]);
	n->count -= n->present[i];
	n->present[i] = false;
}

static void test_keyspace(UNUSED void **state)
{
	struct rng rng = { .state = 11 };
	AUTO_FREE struct naive *n = xcalloc(1, sizeof(*n));
	struct keyspace k = { 0 };
	make_names(n, &rng);
	for (unsigned step = 1; step <= STEPS; step++) {
		unsigned i = pick(n, &rng);
		bool growing = step / 10000 % 2 == 0; // it fills up and empties in turn
		if (rng_below(&rng, 10) < (growing ? 8 : 2))
			put_name(&k, n, i, step);
		else
			remove_name(&k, n, i);
		i = pick(n, &rng);
		struct record *found = keyspace_get(&k, n->names[i]);
		assert_int_equal(found != NULL, n->present[i]);
		if (step % 5000 == 0)
			expect_same(&k, n);
	}
	for (unsigned i = 0; i < NAMES; i++)
		remove_name(&k, n, i);
	assert_int_equal(k.count, 0);
	assert_int_equal(k.bytes, 0);
	keyspace_clear(&k);
}

static void test_keyspace_in_order(UNUSED void **state)
{
	struct keyspace k = { 0 };
	for (unsigned i = 0; i < 10000; i++) {
		char key[32];
		snprintf(key, sizeof(key), "v1/audit/%08u", i);
		assert_null(keyspace_put(&k, record_new(key, strlen(key), "", 0)));
	}
	assert_true(k.count <= 10000 / KEYSPACE_BLOCK + 1); // full blocks
	keyspace_clear(&k);
}

// ---- ring

static struct record *change(uint64_t revision, size_t size)
{
	AUTO_FREE char *value = xcalloc(1, size + 1);
	struct record *r = record_new("k", 1, value, size);
	r->mod_revision = revision;
	return r;
}

static void test_ring(UNUSED void **state)
{
	struct ring ring;
	ring_init(&ring, 7);
	assert_int_equal(ring_find(&ring, 7), ring.next);
	for (uint64_t revision = 8; revision < 8 + RING_CHANGES; revision++)
		ring_push(&ring, change(revision, 0), revision - 1);
	assert_int_equal(ring.after, 7);
	assert_int_equal(ring_at(&ring, ring_find(&ring, 7))->record->mod_revision, 8);
	assert_int_equal(ring_at(&ring, ring_find(&ring, 1000))->record->mod_revision, 1001);
	ring_push(&ring, change(8 + RING_CHANGES, 0), 0);
	assert_int_equal(ring.after, 8);
	assert_int_equal(ring.next - ring.first, RING_CHANGES);
	for (unsigned i = 0; i < 200; i++)
		ring_push(&ring, change(9 + RING_CHANGES + i, 256 << 10), 0);
	assert_true(ring.bytes <= RING_BYTES);
	assert_true(ring.next - ring.first < 70);
	ring_clear(&ring);
}

// ---- history

static void test_history_by_size(UNUSED void **state)
{
	struct history h;
	struct past_row rows[10];
	store_history_init(&h);
	h.keep_rows = 100;
	h.keep_bytes = 100 * 1000;
	for (uint64_t i = 1; i <= 100; i++)
		store_history_add(&h, i, i * 10, 500);
	assert_int_equal(store_history_limit(&h), 0);
	store_history_add(&h, 101, 1010, 500);
	assert_int_equal(store_history_limit(&h), 10);
	assert_int_equal(store_history_oldest(&h, 10, 10, rows), 1);
	assert_int_equal(rows[0].row, 1);
	store_history_drop(&h, 1);
	assert_int_equal(store_history_limit(&h), 0);
	store_history_add(&h, 102, 1020, 60 * 1000);
	assert_int_equal(store_history_limit(&h), 210); // rows 2 to 21 make room for it
	store_history_clear(&h);
}

static void test_history_by_time(UNUSED void **state)
{
	struct history h;
	struct past_row rows[10];
	store_history_init(&h);
	for (uint64_t i = 1; i <= 5; i++)
		store_history_add(&h, i, i, 1);
	store_history_mark(&h, 3);
	for (unsigned i = 1; i < HISTORY_MARKS; i++) {
		assert_int_equal(store_history_limit(&h), 0); // not before its time
		store_history_mark(&h, 5);
	}
	assert_int_equal(store_history_limit(&h), 3);
	assert_int_equal(store_history_oldest(&h, 3, 10, rows), 3);
	store_history_drop(&h, 3);
	store_history_mark(&h, 5);
	assert_int_equal(store_history_limit(&h), 5);
	store_history_clear(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checksum),          cmocka_unit_test(test_keyspace),
		cmocka_unit_test(test_keyspace_in_order), cmocka_unit_test(test_ring),
		cmocka_unit_test(test_history_by_size),   cmocka_unit_test(test_history_by_time),
	};
	return cmocka_run_group_tests_name("parts", tests, NULL, NULL);
}
