// The contract of store.h, held against every driver.
#include "bed.h"

#include "base/str.h"
#include "io/loop.h"
#include "store/committer.h"

// ---- transactions

static void test_put_get_delete(void **state)
{
	struct bed *bed = *state;
	assert_int_equal(store_revision(bed->store), bed->base);
	assert_null(store_get(bed->store, "a"));
	assert_int_equal(bed_put(bed, "a", "one"), bed->base + 1);
	assert_int_equal(bed_put(bed, "a", "two"), bed->base + 2);
	assert_int_equal(bed_put(bed, "b", ""), bed->base + 3);

	const struct record *a = store_get(bed->store, "a");
	assert_string_equal(record_key(a), "a");
	assert_string_equal(record_value(a), "two");
	assert_int_equal(a->create_revision, bed->base + 1);
	assert_int_equal(a->mod_revision, bed->base + 2);
	assert_int_equal(a->version, 2);
	assert_int_equal(store_get(bed->store, "b")->value_len, 0);

	assert_int_equal(bed_delete(bed, "a"), bed->base + 4);
	assert_null(store_get(bed->store, "a"));
	assert_int_equal(bed_put(bed, "a", "three"), bed->base + 5);
	a = store_get(bed->store, "a");
	assert_int_equal(a->version, 1);
	assert_int_equal(a->create_revision, bed->base + 5);
}

static void test_nothing_changed(void **state)
{
	struct bed *bed = *state;
	bed_put(bed, "a", "1");
	uint64_t revision = bed_delete(bed, "absent");
	assert_true(revision == bed->base + 1 || (bed->cluster && revision == bed->base + 2));
	assert_int_equal(store_revision(bed->store), revision);
	assert_int_equal(bed_do(bed, store_txn_new(), NULL), STORE_OK);
	struct store_txn *txn = store_txn_new();
	store_txn_if_exists(txn, "a");
	assert_int_equal(bed_do(bed, txn, NULL), STORE_OK);
	assert_int_equal(store_revision(bed->store), revision);
	assert_int_equal(bed_put(bed, "a", "2"), revision + 1);
}

static void test_compares(void **state)
{
	struct bed *bed = *state;
	bed_put(bed, "x", "1");
	bed_put(bed, "x", "2");
	static const struct {
		const char *kind, *key;
		uint64_t revision;
		bool holds;
	} cases[] = {
		{ "absent", "x", 0, false },  { "absent", "y", 0, true },    { "exists", "x", 0, true },
		{ "exists", "y", 0, false },  { "revision", "x", 2, true },  { "revision", "x", 1, false },
		{ "revision", "y", 0, true }, { "revision", "y", 3, false }, { "created", "x", 1, true },
		{ "created", "x", 2, false }, { "created", "y", 1, false },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_OUTCOME struct outcome o = { 0 };
		struct store_txn *txn = store_txn_new();
		uint64_t revision = cases[i].revision ? bed->base + cases[i].revision : 0;
		store_txn_if_exists(txn, "x");
		if (str_eq(cases[i].kind, "absent"))
			store_txn_if_absent(txn, cases[i].key);
		else if (str_eq(cases[i].kind, "exists"))
			store_txn_if_exists(txn, cases[i].key);
		else if (str_eq(cases[i].kind, "revision"))
			store_txn_if_revision(txn, cases[i].key, revision);
		else
			store_txn_if_created(txn, cases[i].key, revision);
		store_txn_put(txn, "written", "", 0);
		bed_do(bed, txn, &o);
		assert_int_equal(o.result, cases[i].holds ? STORE_OK : STORE_CONFLICT);
		if (cases[i].holds) {
			bed_delete(bed, "written");
			continue;
		}
		assert_null(store_get(bed->store, "written"));
		assert_int_equal(o.compare, 1);
		assert_int_equal(o.revision, store_revision(bed->store));
		assert_true(o.record == (struct record *)store_get(bed->store, cases[i].key));
	}
}

static void test_all_or_nothing(void **state)
{
	struct bed *bed = *state;
	bed_put(bed, "old", "1");
	struct store_txn *txn = store_txn_new();
	store_txn_put(txn, "a", "1", 1);
	store_txn_put(txn, "b", "2", 1);
	store_txn_delete(txn, "old");
	store_txn_delete(txn, "absent");
	AUTO_OUTCOME struct outcome o = { 0 };
	assert_int_equal(bed_do(bed, txn, &o), STORE_OK);
	assert_int_equal(o.revision, bed->base + 2);
	const struct record *a = store_get(bed->store, "a"), *b = store_get(bed->store, "b");
	assert_int_equal(a->mod_revision, bed->base + 2);
	assert_int_equal(b->mod_revision, bed->base + 2);
	assert_int_equal(a->operation, b->operation);
	assert_null(store_get(bed->store, "old"));
}

// Sent together, so that they share a batch: each must see what the ones before it wrote, even before it is durable.
static void test_order_within_a_batch(void **state)
{
	struct bed *bed = *state;
	struct outcome o[6] = { 0 };
	struct store_txn *t[6];
	for (int i = 0; i < 6; i++)
		t[i] = store_txn_new();
	store_txn_if_absent(t[0], "k");
	store_txn_put(t[0], "k", "0", 1);
	store_txn_if_absent(t[1], "k"); // lost to t[0]
	store_txn_put(t[1], "k", "1", 1);
	store_txn_if_revision(t[2], "k", bed->base + 1);
	store_txn_put(t[2], "k", "2", 1);
	store_txn_delete(t[3], "k");
	store_txn_if_exists(t[4], "k"); // lost to t[3]
	store_txn_if_absent(t[5], "k");
	store_txn_put(t[5], "k", "5", 1);
	for (int i = 0; i < 6; i++)
		bed_commit(bed, t[i], &o[i]);
	assert_null(store_get(bed->store, "k")); // nothing is seen before it is durable
	bed_wait(bed, &o[5].done);
	static const enum store_result want[] = {
		STORE_OK, STORE_CONFLICT, STORE_OK, STORE_OK, STORE_CONFLICT, STORE_OK
	};
	for (int i = 0; i < 6; i++)
		assert_int_equal(o[i].result, want[i]);
	assert_string_equal(record_value(o[1].record), "0");
	assert_null(o[4].record);
	assert_int_equal(o[5].revision, bed->base + 4);
	assert_string_equal(bed_value(bed, "k"), "5");
	assert_int_equal(store_get(bed->store, "k")->version, 1);
	for (int i = 0; i < 6; i++)
		outcome_clear(&o[i]);
}

static enum store_result put_of(struct bed *bed, size_t key_len, size_t value_len)
{
	AUTO_FREE char *key = xcalloc(1, key_len + 1);
	AUTO_FREE char *value = xcalloc(1, value_len + 1);
	memset(key, 'k', key_len);
	struct store_txn *txn = store_txn_new();
	store_txn_put(txn, key, value, value_len);
	return bed_do(bed, txn, NULL);
}

static void test_limits(void **state)
{
	struct bed *bed = *state;
	assert_int_equal(put_of(bed, 512, 256 << 10), STORE_OK);
	assert_int_equal(put_of(bed, 513, 1), STORE_TOO_LARGE);
	assert_int_equal(put_of(bed, 1, (256 << 10) + 1), STORE_TOO_LARGE);
	assert_int_equal(put_of(bed, 0, 1), STORE_INVALID);

	for (int n = 100; n <= 101; n++) {
		struct store_txn *txn = store_txn_new();
		for (int i = 0; i < n; i++) {
			char key[32];
			snprintf(key, sizeof(key), "many/%d", i);
			store_txn_put(txn, key, "", 0);
		}
		assert_int_equal(bed_do(bed, txn, NULL), n == 100 ? STORE_OK : STORE_TOO_LARGE);
	}
	for (int n = 3; n <= 4; n++) {
		AUTO_FREE char *value = xcalloc(1, 256 << 10);
		struct store_txn *txn = store_txn_new();
		for (int i = 0; i < n; i++) {
			char key[32];
			snprintf(key, sizeof(key), "large/%d", i);
			store_txn_put(txn, key, value, 256 << 10);
		}
		assert_int_equal(bed_do(bed, txn, NULL), n == 3 ? STORE_OK : STORE_TOO_LARGE);
	}
	struct store_txn *txn = store_txn_new();
	for (int i = 0; i < 101; i++)
		store_txn_if_absent(txn, "none");
	assert_int_equal(bed_do(bed, txn, NULL), STORE_TOO_LARGE);

	txn = store_txn_new();
	store_txn_put(txn, "twice", "1", 1);
	store_txn_delete(txn, "twice");
	assert_int_equal(bed_do(bed, txn, NULL), STORE_INVALID);
	assert_null(store_get(bed->store, "twice"));
}

static void test_too_many_wait(void **state)
{
	struct bed *bed = *state;
	enum { N = COMMITTER_WAITING + 100 };
	struct outcome *o = xcalloc(N, sizeof(*o));
	for (int i = 0; i < N; i++) {
		struct store_txn *txn = store_txn_new();
		char key[16];
		snprintf(key, sizeof(key), "k/%d", i);
		store_txn_put(txn, key, "v", 1);
		bed_commit(bed, txn, &o[i]);
	}
	unsigned refused = 0;
	for (int i = 0; i < N; i++) {
		bed_wait(bed, &o[i].done);
		refused += o[i].result == STORE_NOT_APPLIED;
	}
	assert_int_equal(refused, 100);
	struct store_stats stats;
	store_stats(bed->store, &stats);
	assert_int_equal(stats.records, COMMITTER_WAITING);
	free(o);
}

static void not_to_be_called(UNUSED void *arg, UNUSED const struct store_answer *answer)
{
	fail();
}

static void test_forget(void **state)
{
	struct bed *bed = *state;
	struct store_txn *txn = store_txn_new();
	store_txn_put(txn, "forgotten", "1", 1);
	store_commit(bed->store, txn, not_to_be_called, NULL);
	store_forget(txn);
	txn = store_txn_new();
	store_txn_if_exists(txn, "forgotten"); // names the same key: comes after it
	assert_int_equal(bed_do(bed, txn, NULL), STORE_OK);
	assert_string_equal(bed_value(bed, "forgotten"), "1");
}

static void test_close_answers_all(void **state)
{
	struct bed *bed = *state;
	struct outcome o[200] = { 0 };
	for (int i = 0; i < 100; i++) {
		struct store_txn *txn = store_txn_new();
		store_txn_put(txn, "k", "v", 1);
		bed_commit(bed, txn, &o[i]);
	}
	static const bool at_once = true;
	bed_wait(bed, &at_once); // these are being written now
	for (int i = 100; i < 200; i++) {
		struct store_txn *txn = store_txn_new();
		store_txn_put(txn, "late", "v", 1);
		bed_commit(bed, txn, &o[i]);
	}
	bed_close(bed);
	for (int i = 0; i < 200; i++) {
		assert_true(o[i].done);
		assert_true(o[i].result == STORE_OK || o[i].result == STORE_SHUTTING_DOWN);
	}
	assert_int_equal(o[199].result, STORE_SHUTTING_DOWN);
}

// Being moved: what came before goes on, reads too.
static void test_frozen(void **state)
{
	struct bed *bed = *state;
	struct outcome before = { 0 }, after = { 0 };
	struct store_txn *txn = store_txn_new();
	store_txn_put(txn, "k", "before", 6);
	bed_commit(bed, txn, &before);
	store_set_frozen(bed->store, true);
	txn = store_txn_new();
	store_txn_put(txn, "k", "after", 5);
	bed_commit(bed, txn, &after);
	bed_wait(bed, &before.done);
	bed_wait(bed, &after.done);
	assert_int_equal(before.result, STORE_OK);
	assert_int_equal(after.result, STORE_NOT_APPLIED);
	assert_int_equal(bed_do(bed, store_txn_new(), NULL), STORE_OK);
	assert_string_equal(bed_value(bed, "k"), "before");
	store_set_frozen(bed->store, false);
	bed_put(bed, "k", "after");
}

// ---- reads

static void test_lists(void **state)
{
	struct bed *bed = *state;
	static const char *const keys[] = { "b/2", "a", "b/10", "c", "b/1", "b", "b0", "b/", "b/\xff" };
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		bed_put(bed, keys[i], "v");
	static const char *const want[] = { "b/", "b/1", "b/10", "b/2", "b/\xff" };

	AUTO_STORE_LIST struct store_list all = { 0 };
	store_list(bed->store, "b/", NULL, 100, &all);
	assert_int_equal(all.count, ARRAY_LEN(want));
	assert_false(all.more);
	assert_int_equal(all.revision, bed->base + ARRAY_LEN(keys));
	for (size_t i = 0; i < all.count; i++)
		assert_string_equal(record_key(all.records[i]), want[i]);

	AUTO_STORE_LIST struct store_list page = { 0 };
	store_list(bed->store, "b/", "b/1", 2, &page);
	assert_int_equal(page.count, 2);
	assert_true(page.more);
	assert_string_equal(record_key(page.records[0]), "b/10");

	// What was listed stays as it was.
	bed_put(bed, "b/1", "changed");
	bed_delete(bed, "b/2");
	assert_string_equal(record_value(all.records[1]), "v");
	assert_string_equal(record_key(all.records[3]), "b/2");

	AUTO_STORE_LIST struct store_list none = { 0 };
	store_list(bed->store, "zzz", NULL, 100, &none);
	assert_int_equal(none.count, 0);
	store_list(bed->store, "b/", "c", 100, &none);
	assert_int_equal(none.count, 0);
}

// ---- holding a key

struct holder {
	struct task task;
	unsigned wakes;
};

static void hold_changed(struct task *task)
{
	CONTAINER_OF(task, struct holder, task)->wakes++;
}

static void wait_for_hold(struct bed *bed, struct store_hold *hold, bool held)
{
	for (int i = 0; i < 100000 && store_holds(hold) != held; i++)
		bed_turn(bed);
	assert_int_equal(store_holds(hold), held);
}

static enum store_result put_fenced(struct bed *bed, const struct store_hold *hold)
{
	struct store_txn *txn = store_txn_new();
	store_txn_fence(txn, hold);
	store_txn_put(txn, "decided", "x", 1);
	return bed_do(bed, txn, NULL);
}

static void test_hold(void **state)
{
	struct bed *bed = *state;
	struct holder h = { 0 };
	task_init(&h.task, bed->loop, "holder", hold_changed);
	struct store_hold *hold = store_hold_start(bed->store, "leader", "me", 2, 3000, &h.task);
	assert_false(store_holds(hold));
	assert_int_equal(put_fenced(bed, hold), STORE_LEASE_LOST);
	wait_for_hold(bed, hold, true);
	assert_string_equal(bed_value(bed, "leader"), "me");
	uint64_t first = store_hold_revision(hold);
	assert_int_equal(store_get(bed->store, "leader")->create_revision, first);
	assert_int_equal(put_fenced(bed, hold), STORE_OK);

	// Deposed: what was fenced before cannot land after.
	struct outcome o = { 0 };
	struct store_txn *late = store_txn_new();
	store_txn_fence(late, hold);
	store_txn_put(late, "decided", "late", 4);
	bed_delete(bed, "leader");
	bed_commit(bed, late, &o);
	bed_wait(bed, &o.done);
	assert_int_equal(o.result, STORE_FENCED);
	assert_string_equal(bed_value(bed, "decided"), "x");
	wait_for_hold(bed, hold, true); // and wins again
	assert_true(store_hold_revision(hold) > first);
	assert_int_equal(put_fenced(bed, hold), STORE_OK);
	store_hold_stop(hold);
	for (int i = 0; i < 100000 && store_get(bed->store, "leader"); i++)
		bed_turn(bed);
	assert_null(store_get(bed->store, "leader"));
	task_clear(&h.task);
}

#define TEST(f, open) cmocka_unit_test_setup_teardown(f, open, bed_teardown)
#define TESTS(open)                                                                                                    \
	TEST(test_put_get_delete, open), TEST(test_nothing_changed, open), TEST(test_compares, open),                  \
		TEST(test_all_or_nothing, open), TEST(test_order_within_a_batch, open), TEST(test_limits, open),       \
		TEST(test_too_many_wait, open), TEST(test_forget, open), TEST(test_close_answers_all, open),           \
		TEST(test_lists, open), TEST(test_hold, open), TEST(test_frozen, open)

int main(void)
{
	const struct CMUnitTest memory[] = { TESTS(bed_setup_memory) };
	const struct CMUnitTest sqlite[] = { TESTS(bed_setup_sqlite) };
	const struct CMUnitTest etcd[] = { TESTS(bed_setup_etcd) };
	int failed = cmocka_run_group_tests_name("memory", memory, NULL, NULL);
	failed += cmocka_run_group_tests_name("sqlite", sqlite, NULL, NULL);
	if (!cluster_possible())
		return failed;
	if (!getenv("STORE_ETCD")) // clusters of etcd take their time: make soak
		return failed;
	failed += cmocka_run_group_tests_name("etcd, 1 member", etcd, bed_cluster_one, bed_cluster_free);
	return failed + cmocka_run_group_tests_name("etcd, 3 members", etcd, bed_cluster_three, bed_cluster_free);
}
