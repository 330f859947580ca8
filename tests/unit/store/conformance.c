// The contract of store.h, held against every driver.
#include "bed.h"

#include "base/rng.h"
#include "base/str.h"
#include "io/loop.h"
#include "store/memory.h"

static int open_memory(void **state)
{
	*state = bed_new_memory();
	return 0;
}

static int open_sqlite(void **state)
{
	*state = bed_new_sqlite();
	return 0;
}

static int close_bed(void **state)
{
	bed_free(*state);
	return 0;
}

// ---- transactions

static void test_put_get_delete(void **state)
{
	struct bed *bed = *state;
	assert_int_equal(store_revision(bed->store), 0);
	assert_null(store_get(bed->store, "a"));
	assert_int_equal(bed_put(bed, "a", "one"), 1);
	assert_int_equal(bed_put(bed, "a", "two"), 2);
	assert_int_equal(bed_put(bed, "b", ""), 3);

	const struct record *a = store_get(bed->store, "a");
	assert_string_equal(record_key(a), "a");
	assert_string_equal(record_value(a), "two");
	assert_int_equal(a->create_revision, 1);
	assert_int_equal(a->mod_revision, 2);
	assert_int_equal(a->version, 2);
	assert_int_equal(store_get(bed->store, "b")->value_len, 0);

	assert_int_equal(bed_delete(bed, "a"), 4);
	assert_null(store_get(bed->store, "a"));
	assert_int_equal(bed_put(bed, "a", "three"), 5);
	a = store_get(bed->store, "a");
	assert_int_equal(a->version, 1);
	assert_int_equal(a->create_revision, 5);
}

static void test_nothing_changed(void **state)
{
	struct bed *bed = *state;
	bed_put(bed, "a", "1");
	assert_int_equal(bed_delete(bed, "absent"), 1);
	assert_int_equal(bed_do(bed, store_txn_new(), NULL), STORE_OK);
	struct store_txn *txn = store_txn_new();
	store_txn_if_exists(txn, "a");
	assert_int_equal(bed_do(bed, txn, NULL), STORE_OK);
	assert_int_equal(store_revision(bed->store), 1);
	assert_int_equal(bed_put(bed, "a", "2"), 2);
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
		store_txn_if_exists(txn, "x");
		if (str_eq(cases[i].kind, "absent"))
			store_txn_if_absent(txn, cases[i].key);
		else if (str_eq(cases[i].kind, "exists"))
			store_txn_if_exists(txn, cases[i].key);
		else if (str_eq(cases[i].kind, "revision"))
			store_txn_if_revision(txn, cases[i].key, cases[i].revision);
		else
			store_txn_if_created(txn, cases[i].key, cases[i].revision);
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
	assert_int_equal(o.revision, 2);
	const struct record *a = store_get(bed->store, "a"), *b = store_get(bed->store, "b");
	assert_int_equal(a->mod_revision, 2);
	assert_int_equal(b->mod_revision, 2);
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
	store_txn_if_revision(t[2], "k", 1);
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
	assert_int_equal(o[5].revision, 4);
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
		store_txn_put(txn, "k", "v", 1);
		bed_commit(bed, txn, &o[i]);
	}
	unsigned refused = 0;
	for (int i = 0; i < N; i++) {
		bed_wait(bed, &o[i].done);
		refused += o[i].result == STORE_NOT_APPLIED;
	}
	assert_int_equal(refused, 100);
	assert_int_equal(store_revision(bed->store), COMMITTER_WAITING);
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
	bed_put(bed, "after", "1");
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
	assert_int_equal(all.revision, ARRAY_LEN(keys));
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

// ---- watches

struct watcher {
	struct task task;
	struct store_watch watch;
	unsigned wakes;
};

static void woken(struct task *task)
{
	CONTAINER_OF(task, struct watcher, task)->wakes++;
}

static void watcher_start(struct watcher *w, struct bed *bed, const char *prefix, uint64_t after)
{
	w->wakes = 0;
	task_init(&w->task, bed->loop, "watcher", woken);
	store_watch_start(&w->watch, bed->store, prefix, after, &w->task);
}

static void watcher_stop(struct watcher *w)
{
	store_watch_stop(&w->watch);
	task_clear(&w->task);
}

static void expect_event(struct watcher *w, const char *key, uint64_t revision, uint64_t previous, const char *value)
{
	struct store_event e;
	assert_int_equal(store_watch_next(&w->watch, &e), STORE_WATCH_EVENT);
	assert_string_equal(record_key(e.record), key);
	assert_int_equal(e.record->mod_revision, revision);
	assert_int_equal(e.previous, previous);
	assert_int_equal(e.record->deleted, value == NULL);
	if (value)
		assert_string_equal(record_value(e.record), value);
}

static void expect_idle(struct watcher *w)
{
	struct store_event e;
	assert_int_equal(store_watch_next(&w->watch, &e), STORE_WATCH_IDLE);
}

static void test_watch(void **state)
{
	struct bed *bed = *state;
	bed_put(bed, "a/1", "x");
	struct watcher w = { 0 }, past = { 0 };
	watcher_start(&w, bed, "a/", 1);
	watcher_start(&past, bed, "a/", 0);
	bed_turn(bed);
	assert_int_equal(w.wakes, 0);
	assert_int_equal(past.wakes, 1);
	expect_idle(&w);
	expect_event(&past, "a/1", 1, 0, "x");
	expect_idle(&past);

	bed_put(bed, "b/1", "other");
	bed_turn(bed);
	assert_int_equal(w.wakes, 0);
	assert_int_equal(store_watch_revision(&w.watch), 2);
	bed_put(bed, "a/1", "y");
	bed_put(bed, "a/2", "z");
	bed_delete(bed, "a/1");
	bed_turn(bed);
	assert_int_equal(w.wakes, 1); // once, however much there is
	expect_event(&w, "a/1", 3, 1, "y");
	assert_int_equal(store_watch_revision(&w.watch), 3);
	expect_event(&w, "a/2", 4, 0, "z");
	expect_event(&w, "a/1", 5, 3, NULL);
	expect_idle(&w);
	expect_idle(&w);
	assert_int_equal(store_watch_revision(&w.watch), 5);
	bed_put(bed, "a/3", "n");
	bed_turn(bed);
	assert_int_equal(w.wakes, 2);
	watcher_stop(&w);
	watcher_stop(&past);
}

static void test_watch_resumes(void **state)
{
	struct bed *bed = *state;
	struct watcher w = { 0 };
	for (int i = 0; i < 10; i++)
		bed_put(bed, i % 2 ? "odd" : "even", "v");
	watcher_start(&w, bed, "odd", 0);
	expect_event(&w, "odd", 2, 0, "v");
	expect_event(&w, "odd", 4, 2, "v");
	uint64_t at = store_watch_revision(&w.watch);
	watcher_stop(&w);
	watcher_start(&w, bed, "odd", at);
	expect_event(&w, "odd", 6, 4, "v");
	watcher_stop(&w);
}

static void test_watch_too_slow(void **state)
{
	struct bed *bed = *state;
	enum { VALUE = 200 << 10, N = RING_BYTES / VALUE + 2 };
	AUTO_FREE char *value = xcalloc(1, VALUE);
	struct watcher slow = { 0 }, late = { 0 }, future = { 0 }, idle = { 0 };
	bed_put(bed, "k", "first");
	watcher_start(&slow, bed, "", 0);
	watcher_start(&idle, bed, "other", 1);
	for (int i = 0; i < N; i++) {
		struct store_txn *txn = store_txn_new();
		store_txn_put(txn, "k", value, VALUE);
		assert_int_equal(bed_do(bed, txn, NULL), STORE_OK); // nobody waits for the slow one
	}
	struct store_event e;
	assert_int_equal(store_watch_next(&slow.watch, &e), STORE_WATCH_LIST_AGAIN);
	assert_int_equal(store_watch_next(&slow.watch, &e), STORE_WATCH_LIST_AGAIN);
	watcher_start(&late, bed, "", 1);
	watcher_start(&future, bed, "", store_revision(bed->store) + 1);
	bed_turn(bed);
	assert_int_equal(late.wakes, 1);
	assert_int_equal(store_watch_next(&late.watch, &e), STORE_WATCH_LIST_AGAIN);
	assert_int_equal(store_watch_next(&future.watch, &e), STORE_WATCH_LIST_AGAIN);
	// One that had read everything is not slow, however much went by that was not its own.
	bed_put(bed, "other", "v");
	bed_turn(bed);
	assert_int_equal(idle.wakes, 1);
	expect_event(&idle, "other", store_revision(bed->store), 0, "v");
	expect_idle(&idle);
	watcher_stop(&slow);
	watcher_stop(&late);
	watcher_stop(&future);
	watcher_stop(&idle);
}

// ---- against a model: random transactions, many in flight; the watch's history, the answers and the state must agree

enum { MODEL_KEYS = 40, MODEL_TXNS = 3000, MODEL_FLYING = 32 };

struct model {
	struct bed *bed;
	struct rng rng;
	struct watcher watcher;
	char values[MODEL_KEYS][16]; // as the watch told
	uint64_t mods[MODEL_KEYS];
	uint64_t revision; // of the last event
	unsigned started, answered, ok, conflicts;
	bool done;
};

static unsigned key_number(const char *key)
{
	return (unsigned)atoi(key + 2);
}

static void read_events(struct model *m)
{
	struct store_event e;
	while (store_watch_next(&m->watcher.watch, &e) == STORE_WATCH_EVENT) {
		unsigned k = key_number(record_key(e.record));
		assert_true(e.record->mod_revision == m->revision || e.record->mod_revision == m->revision + 1);
		assert_int_equal(e.previous, m->mods[k]);
		m->revision = e.record->mod_revision;
		m->mods[k] = e.record->deleted ? 0 : m->revision;
		snprintf(m->values[k], sizeof(m->values[k]), "%s", record_value(e.record));
	}
}

static void model_send(struct model *m);

static void model_answer(void *arg, const struct store_answer *answer)
{
	struct model *m = arg;
	m->answered++;
	m->ok += answer->result == STORE_OK;
	m->conflicts += answer->result == STORE_CONFLICT;
	assert_true(answer->result == STORE_OK || answer->result == STORE_CONFLICT);
	assert_true(answer->revision <= store_revision(m->bed->store));
	read_events(m);
	m->done = m->answered == MODEL_TXNS;
	if (m->started < MODEL_TXNS)
		model_send(m);
}

static void model_send(struct model *m)
{
	struct store_txn *txn = store_txn_new();
	unsigned first = (unsigned)rng_below(&m->rng, MODEL_KEYS), n = 1 + (unsigned)rng_below(&m->rng, 4);
	for (unsigned i = 0; i < n; i++) {
		unsigned k = (first + i * 7) % MODEL_KEYS;
		char key[16], value[16];
		snprintf(key, sizeof(key), "k/%u", k);
		snprintf(value, sizeof(value), "%u", m->started);
		if (rng_below(&m->rng, 3) == 0)
			store_txn_if_revision(txn, key, m->mods[k]);
		if (rng_below(&m->rng, 4) == 0)
			store_txn_delete(txn, key);
		else
			store_txn_put(txn, key, value, strlen(value));
	}
	m->started++;
	store_commit(m->bed->store, txn, model_answer, m);
}

static void model_compare(struct model *m)
{
	for (unsigned k = 0; k < MODEL_KEYS; k++) {
		char key[16];
		snprintf(key, sizeof(key), "k/%u", k);
		const struct record *r = store_get(m->bed->store, key);
		assert_int_equal(r ? r->mod_revision : 0, m->mods[k]);
		assert_string_equal(r ? record_value(r) : "", m->values[k]);
	}
	assert_int_equal(m->revision, store_revision(m->bed->store));
}

static void test_model(void **state)
{
	struct model m = { .bed = *state, .rng = { .state = 20 } };
	watcher_start(&m.watcher, m.bed, "", 0);
	for (int i = 0; i < MODEL_FLYING; i++)
		model_send(&m);
	bed_wait(m.bed, &m.done);
	read_events(&m);
	model_compare(&m);
	assert_true(m.ok > 100 && m.conflicts > 100);
	watcher_stop(&m.watcher);
	if (!m.bed->dir)
		return;
	uint64_t revision = m.revision;
	bed_reopen(m.bed);
	assert_int_equal(store_revision(m.bed->store), revision);
	model_compare(&m);

	// The ring is there again too: a watch goes on over a restart.
	memset(m.mods, 0, sizeof(m.mods));
	m.revision = 0;
	watcher_start(&m.watcher, m.bed, "", 0);
	read_events(&m);
	model_compare(&m);
	watcher_stop(&m.watcher);
}

#define TEST(f, open) cmocka_unit_test_setup_teardown(f, open, close_bed)
#define TESTS(open)                                                                                                    \
	TEST(test_put_get_delete, open), TEST(test_nothing_changed, open), TEST(test_compares, open),                  \
		TEST(test_all_or_nothing, open), TEST(test_order_within_a_batch, open), TEST(test_limits, open),       \
		TEST(test_too_many_wait, open), TEST(test_forget, open), TEST(test_close_answers_all, open),           \
		TEST(test_lists, open), TEST(test_watch, open), TEST(test_watch_resumes, open),                        \
		TEST(test_watch_too_slow, open), TEST(test_model, open)

int main(void)
{
	const struct CMUnitTest memory[] = { TESTS(open_memory) };
	const struct CMUnitTest sqlite[] = { TESTS(open_sqlite) };
	int failed = cmocka_run_group_tests_name("memory", memory, NULL, NULL);
	return failed + cmocka_run_group_tests_name("sqlite", sqlite, NULL, NULL);
}
