// The contract of store.h about watches, held against every driver; and all of it against a model.
#include "bed.h"

#include "base/rng.h"
#include "base/str.h"
#include "io/loop.h"
#include "store/ring.h"

struct watcher {
	struct task task;
	struct store_watch watch;
	unsigned wakes;
	uint64_t base;
};

static void woken(struct task *task)
{
	CONTAINER_OF(task, struct watcher, task)->wakes++;
}

// Revisions here and in expect_event count from the beginning of the test.
static void watcher_start(struct watcher *w, struct bed *bed, const char *prefix, uint64_t after)
{
	w->wakes = 0;
	w->base = bed->base;
	task_init(&w->task, bed->loop, "watcher", woken);
	store_watch_start(&w->watch, bed->store, prefix, w->base + after, &w->task);
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
	assert_int_equal(e.record->mod_revision, w->base + revision);
	assert_int_equal(e.previous, previous ? w->base + previous : 0);
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
	assert_int_equal(store_watch_revision(&w.watch), bed->base + 2);
	bed_put(bed, "a/1", "y");
	bed_put(bed, "a/2", "z");
	bed_delete(bed, "a/1");
	bed_turn(bed);
	assert_int_equal(w.wakes, 1); // once, however much there is
	expect_event(&w, "a/1", 3, 1, "y");
	assert_int_equal(store_watch_revision(&w.watch), bed->base + 3);
	expect_event(&w, "a/2", 4, 0, "z");
	expect_event(&w, "a/1", 5, 3, NULL);
	expect_idle(&w);
	expect_idle(&w);
	assert_int_equal(store_watch_revision(&w.watch), bed->base + 5);
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
	uint64_t at = store_watch_revision(&w.watch) - bed->base;
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
	watcher_start(&future, bed, "", store_revision(bed->store) - bed->base + 1);
	bed_turn(bed);
	assert_int_equal(late.wakes, 1);
	assert_int_equal(store_watch_next(&late.watch, &e), STORE_WATCH_LIST_AGAIN);
	assert_int_equal(store_watch_next(&future.watch, &e), STORE_WATCH_LIST_AGAIN);
	// One that had read everything is not slow, however much went by that was not its own.
	bed_put(bed, "other", "v");
	bed_turn(bed);
	assert_int_equal(idle.wakes, 1);
	expect_event(&idle, "other", store_revision(bed->store) - bed->base, 0, "v");
	expect_idle(&idle);
	watcher_stop(&slow);
	watcher_stop(&late);
	watcher_stop(&future);
	watcher_stop(&idle);
}

// A reader may leave 4 MiB unread, though the ring holds more; what it was started behind does not count.
static void test_watch_left_unread(void **state)
{
	struct bed *bed = *state;
	enum { VALUE = 200 << 10, N = STORE_WATCH_BEHIND / VALUE };
	AUTO_FREE char *value = xcalloc(1, VALUE);
	struct watcher slow = { 0 }, reader = { 0 }, behind = { 0 };
	struct store_event e;
	bed_put(bed, "k", "first");
	watcher_start(&slow, bed, "", 0);
	watcher_start(&reader, bed, "", 0);
	for (int i = 0; i < 2 * N; i++) {
		struct store_txn *txn = store_txn_new();
		store_txn_put(txn, "k", value, VALUE);
		assert_int_equal(bed_do(bed, txn, NULL), STORE_OK);
		if (i == N / 2) // not yet
			assert_int_equal(store_watch_next(&slow.watch, &e), STORE_WATCH_EVENT);
		while (store_watch_next(&reader.watch, &e) == STORE_WATCH_EVENT)
			;
	}
	assert_int_equal(store_watch_next(&slow.watch, &e), STORE_WATCH_LIST_AGAIN);
	assert_int_equal(store_watch_why(&slow.watch), STORE_TOO_LARGE);
	expect_idle(&reader);
	watcher_start(&behind, bed, "", 1);
	unsigned n = 0;
	while (store_watch_next(&behind.watch, &e) == STORE_WATCH_EVENT)
		n++;
	assert_int_equal(n, 2 * N);
	assert_int_equal(store_watch_why(&behind.watch), STORE_OK);
	watcher_stop(&slow);
	watcher_stop(&reader);
	watcher_stop(&behind);
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
		// Of a shared store, deletions of what does not exist take a revision that nobody sees.
		assert_true(e.record->mod_revision == m->revision || e.record->mod_revision == m->revision + 1 ||
			    (m->bed->cluster && e.record->mod_revision > m->revision));
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
	if (!m->bed->cluster)
		assert_int_equal(m->revision, store_revision(m->bed->store));
}

static void test_model(void **state)
{
	struct model m = { .bed = *state, .rng = { .state = 20 } };
	m.revision = m.bed->base;
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

#define TEST(f, open) cmocka_unit_test_setup_teardown(f, open, bed_teardown)
#define TESTS(open)                                                                                                    \
	TEST(test_watch, open), TEST(test_watch_resumes, open), TEST(test_watch_too_slow, open),                       \
		TEST(test_watch_left_unread, open), TEST(test_model, open)

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
