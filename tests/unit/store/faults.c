// What a caller sees when writes fail, by the memory store's faults; and compaction of the log, which must change
// nothing that can be read.
#include "bed.h"

#include "base/rng.h"
#include "base/str.h"
#include "io/loop.h"
#include "store/memory.h"

static struct store_txn *put(const char *key, const char *value)
{
	struct store_txn *txn = store_txn_new();
	store_txn_put(txn, key, value, strlen(value));
	return txn;
}

static void test_refused(UNUSED void **state)
{
	static const struct {
		enum store_fault fault;
		enum store_result result;
		const char *value;
		uint64_t revision;
	} cases[] = {
		{ STORE_FAULT_NOT_APPLIED, STORE_NOT_APPLIED, "before", 1 },
		{ STORE_FAULT_NO_SPACE, STORE_NO_SPACE, "before", 1 },
		{ STORE_FAULT_UNKNOWN_APPLIED, STORE_UNKNOWN, "after", 2 },
		{ STORE_FAULT_UNKNOWN_NOT_APPLIED, STORE_UNKNOWN, "before", 1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_OUTCOME struct outcome o = { 0 };
		struct bed *bed = bed_new_memory();
		bed_put(bed, "k", "before");
		store_memory_fault(bed->store, cases[i].fault, 1, 1);
		assert_int_equal(bed_do(bed, put("k", "after"), &o), cases[i].result);
		assert_true(o.reason[0]);
		assert_string_equal(bed_value(bed, "k"), cases[i].value);
		assert_int_equal(store_revision(bed->store), cases[i].revision);
		assert_int_equal(bed_put(bed, "k", "next"), cases[i].revision + 1);
		bed_free(bed);
	}
}

// A conflict with what the same batch wrote must not be told when that was not written: it shows what never was.
static void test_no_conflict_with_what_failed(UNUSED void **state)
{
	struct bed *bed = bed_new_memory();
	AUTO_OUTCOME struct outcome first = { 0 }, second = { 0 }, third = { 0 };
	store_memory_fault(bed->store, STORE_FAULT_NO_SPACE, 1, 1);
	bed_commit(bed, put("k", "never"), &first);
	struct store_txn *txn = put("k", "mine");
	store_txn_if_absent(txn, "k");
	bed_commit(bed, txn, &second);
	txn = store_txn_new();
	store_txn_if_exists(txn, "k");
	bed_commit(bed, txn, &third);
	bed_wait(bed, &third.done);
	assert_int_equal(first.result, STORE_NO_SPACE);
	assert_int_equal(second.result, STORE_NOT_APPLIED);
	assert_null(second.record);
	assert_int_equal(third.result, STORE_CONFLICT); // judged anew: it puts nothing
	assert_null(third.record);
	bed_free(bed);
}

static void told(void *arg, UNUSED const struct err *err)
{
	++*(unsigned *)arg;
}

static void test_fatal(UNUSED void **state)
{
	struct bed *bed = bed_new_memory();
	unsigned times = 0;
	store_memory_own(bed->store, (struct store_owner){ .fatal = told, .arg = &times });
	store_memory_fault(bed->store, STORE_FAULT_FATAL, 2, 1);
	bed_put(bed, "k", "1");
	AUTO_OUTCOME struct outcome writing = { 0 }, waiting = { 0 };
	bed_commit(bed, put("k", "2"), &writing);
	store_memory_hold(bed->store, true);
	bed_turn(bed);
	bed_commit(bed, put("k", "3"), &waiting);
	store_memory_hold(bed->store, false);
	bed_wait(bed, &waiting.done);
	assert_int_equal(times, 1);
	assert_int_equal(writing.result, STORE_UNKNOWN);
	assert_int_equal(waiting.result, STORE_SHUTTING_DOWN);
	assert_int_equal(bed_do(bed, put("k", "4"), NULL), STORE_SHUTTING_DOWN);
	assert_string_equal(bed_value(bed, "k"), "1");
	assert_int_equal(times, 1);
	bed_free(bed);
}

// Not before it is durable does anyone see it, watches included.
static void test_held(UNUSED void **state)
{
	struct bed *bed = bed_new_memory();
	AUTO_OUTCOME struct outcome o = { 0 };
	store_memory_hold(bed->store, true);
	bed_commit(bed, put("k", "1"), &o);
	bed_turn(bed);
	assert_false(o.done);
	assert_null(store_get(bed->store, "k"));
	assert_int_equal(store_revision(bed->store), 0);
	struct store_stats stats;
	store_stats(bed->store, &stats);
	assert_int_equal(stats.waiting, 1);
	store_memory_hold(bed->store, false);
	bed_wait(bed, &o.done);
	assert_string_equal(bed_value(bed, "k"), "1");
	bed_free(bed);
}

static void test_compaction(UNUSED void **state)
{
	struct bed *bed = bed_new_sqlite();
	struct rng rng = { .state = 9 };
	bed->options.keep_rows = 300;
	bed_reopen(bed);
	char want[20][16] = { 0 };
	struct outcome o = { 0 };
	for (unsigned i = 0; i < 6000; i++) {
		unsigned k = (unsigned)rng_below(&rng, 20);
		char key[16];
		snprintf(key, sizeof(key), "k/%u", k);
		snprintf(want[k], sizeof(want[k]), "%u", i);
		struct store_txn *txn = put(key, want[k]);
		if (rng_below(&rng, 5) == 0) {
			store_txn_free(txn);
			txn = store_txn_new();
			store_txn_delete(txn, key);
			want[k][0] = '\0';
		}
		outcome_clear(&o);
		bed_commit(bed, txn, &o);
		if (i % 20 == 19 || i == 5999)
			bed_wait(bed, &o.done);
		else
			store_forget(txn);
	}
	struct store_stats stats;
	store_stats(bed->store, &stats);
	assert_true(stats.compacted > 1000);
	assert_true(stats.history_rows < 300 + 2 * BATCH_PAST);
	uint64_t revision = stats.revision, compacted = stats.compacted;
	for (int round = 0; round < 2; round++) {
		for (unsigned k = 0; k < 20; k++) {
			char key[16];
			snprintf(key, sizeof(key), "k/%u", k);
			assert_string_equal(bed_value(bed, key), want[k]);
		}
		assert_int_equal(store_revision(bed->store), revision);
		store_stats(bed->store, &stats);
		assert_int_equal(stats.compacted, compacted);
		bed_reopen(bed);
	}
	bed_free(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),    cmocka_unit_test(test_no_conflict_with_what_failed),
		cmocka_unit_test(test_fatal),      cmocka_unit_test(test_held),
		cmocka_unit_test(test_compaction),
	};
	return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
