// What only a shared store can show: two stores in one cluster, and its members killed and paused in the middle of
// writes.
#include "bed.h"

#include "base/clock.h"
#include "base/rng.h"
#include "base/str.h"
#include "io/file.h"
#include "io/loop.h"
#include "io/process.h"
#include "store/etcd/private.h"

#include <errno.h>
#include <signal.h>

// ---- a second store in the same cluster, on the same loop

static struct bed second_of(struct bed *bed)
{
	struct bed second = { .loop = bed->loop, .cluster = bed->cluster };
	bed_reopen(&second);
	return second;
}

static void test_two_stores(void **state)
{
	struct bed *bed = *state;
	bed_put(bed, "a", "before");
	struct bed second = second_of(bed);
	assert_string_equal(bed_value(&second, "a"), "before");
	assert_string_equal(store_epoch(bed->store), store_epoch(second.store));
	for (int i = 0; i < 200; i++) {
		char value[16];
		snprintf(value, sizeof(value), "%d", i);
		struct bed *writer = i % 2 ? bed : &second, *reader = i % 2 ? &second : bed;
		uint64_t revision = bed_put(writer, "a", value);
		struct outcome o = { 0 };
		struct store_txn *txn = store_txn_new();
		if (i % 4 < 2) { // at no less than a revision, or linearizable
			store_await(reader->store, txn, revision, bed_answered, &o);
			bed_wait(reader, &o.done);
		} else {
			assert_int_equal(bed_do(reader, txn, &o), STORE_OK);
		}
		assert_int_equal(o.result, STORE_OK);
		assert_string_equal(bed_value(reader, "a"), value);
	}
	bed_close(&second);
}

static void test_conflicts_between_stores(void **state)
{
	struct bed *bed = *state, second = second_of(bed);
	enum { N = 200 };
	static struct outcome o[2][N];
	memset(o, 0, sizeof(o));
	for (int i = 0; i < N; i++) {
		for (int k = 0; k < 2; k++) {
			char key[16];
			struct store_txn *txn = store_txn_new();
			snprintf(key, sizeof(key), "key/%d", i);
			store_txn_if_absent(txn, key);
			store_txn_put(txn, key, k ? "second" : "first", 5);
			bed_commit(k ? &second : bed, txn, &o[k][i]);
		}
	}
	for (int i = 0; i < N; i++) {
		bed_wait(bed, &o[0][i].done);
		bed_wait(bed, &o[1][i].done);
		int won = o[0][i].result == STORE_OK ? 0 : 1;
		assert_int_equal(o[won][i].result, STORE_OK);
		assert_int_equal(o[!won][i].result, STORE_CONFLICT);
		assert_int_equal(o[!won][i].record->mod_revision, o[won][i].revision);
		outcome_clear(&o[!won][i]);
	}
	bed_close(&second);
}

// ---- catching up after compaction

static void do_nothing(UNUSED struct task *task)
{
}

static void test_compacted_away(void **state)
{
	struct bed *bed = *state, second = { .loop = loop_new(), .cluster = bed->cluster };
	bed_reopen(&second);
	struct etcd *e = etcd_of(bed->store);
	bed_put(bed, "stays", "1");
	bed_put(bed, "goes", "1");
	AUTO_OUTCOME struct outcome o = { 0 };
	bed_do(&second, store_txn_new(), &o);
	struct store_watch watch;
	struct task task;
	task_init(&task, second.loop, "watcher", do_nothing);
	store_watch_start(&watch, second.store, "", store_revision(second.store), &task);

	// The second's loop does not turn now, so it cannot follow.
	bed_delete(bed, "goes");
	enum { VALUE = 200 << 10 }; // more than what is sent ahead
	AUTO_FREE char *value = xcalloc(1, VALUE);
	for (int i = 0; i < 60; i++) {
		struct store_txn *txn = store_txn_new();
		store_txn_put(txn, "large", value, VALUE);
		assert_int_equal(bed_do(bed, txn, NULL), STORE_OK);
	}
	bed_put(bed, "stays", "2");
	etcd_compact(e, store_revision(bed->store));
	while (e->compacting)
		bed_turn(bed);
	int member =
		cluster_member_of(bed->cluster, etcd_of(second.store)->members[etcd_of(second.store)->current].name);
	cluster_signal(bed->cluster, (unsigned)member, SIGKILL);
	cluster_start(bed->cluster, (unsigned)member);
	cluster_leader(bed->cluster);

	assert_int_equal(bed_do(&second, store_txn_new(), NULL), STORE_OK);
	assert_string_equal(bed_value(&second, "stays"), "2");
	assert_null(store_get(second.store, "goes"));
	struct store_event event;
	assert_int_equal(store_watch_next(&watch, &event), STORE_WATCH_LIST_AGAIN);
	store_watch_stop(&watch);
	task_clear(&task);
	bed_close(&second);
	loop_free(second.loop);
}

// A restore changes the epoch; wiping everything under a running store has the same effect on it.
static void test_epoch(void **state)
{
	struct bed *bed = *state;
	bed_put(bed, "a", "1");
	AUTO_FREE char *before = xstrdup(store_epoch(bed->store));
	assert_true(*before);
	cluster_wipe(bed->cluster);
	struct store_txn *txn = store_txn_new(); // made before that is known
	store_txn_put(txn, "b", "0", 1);
	assert_int_equal(bed_do(bed, txn, NULL), STORE_EPOCH_CHANGED);
	for (uint64_t until = monotonic_ms() + 10000; str_eq(store_epoch(bed->store), before);) {
		assert_true(monotonic_ms() < until);
		bed_turn(bed);
	}
	assert_null(store_get(bed->store, "a"));
	assert_true(bed_put(bed, "b", "1") > bed->base + 1);
}

// ---- members that die or hang in the middle of writes

enum { WRITERS = 24, ACKS = 400000, RECOVERY_MS = 5000 }; // 3 s, and a second election on a busy machine

struct ack {
	uint64_t revision;
	unsigned writer, n;
	enum store_result result;
};

struct run;

struct writer {
	struct run *run;
	unsigned id, n;
};

struct run {
	struct bed *bed, observer;
	struct task task; // of the observer's watch
	struct store_watch watch;
	struct timer phase;
	unsigned phases, fault;
	unsigned victim;
	struct writer writers[WRITERS];
	struct ack *acks, *events; // events: what the observer saw
	size_t n_acks, n_events;
	uint64_t counts[STORE_RESULTS];
	uint64_t last_ok_ms, worst_ms;
	unsigned flying;
	bool stopping, done;
};

static void observe(struct task *task)
{
	struct run *run = CONTAINER_OF(task, struct run, task);
	struct store_event e;
	enum store_watch_result r;
	while ((r = store_watch_next(&run->watch, &e)) == STORE_WATCH_EVENT) {
		struct ack seen = { .revision = e.record->mod_revision };
		sscanf(record_key(e.record), "%*[a-z]/%u", &seen.writer);
		seen.n = (unsigned)strtoul(record_value(e.record), NULL, 10);
		assert_true(run->n_events < ACKS);
		run->events[run->n_events++] = seen;
	}
	assert_int_equal(r, STORE_WATCH_IDLE); // never made to list again
}

static void write_next(struct writer *w);

static void written(void *arg, const struct store_answer *answer)
{
	struct writer *w = arg;
	struct run *run = w->run;
	uint64_t now = monotonic_ms();
	assert_true(run->n_acks < ACKS);
	run->acks[run->n_acks++] = (struct ack){ answer->revision, w->id, w->n, answer->result };
	run->counts[answer->result]++;
	if (answer->result == STORE_OK) {
		if (now - run->last_ok_ms > run->worst_ms)
			run->worst_ms = now - run->last_ok_ms;
		run->last_ok_ms = now;
	}
	run->flying--;
	run->done = run->stopping && !run->flying;
	if (!run->stopping)
		write_next(w);
}

// A third each: bare puts, compare-and-swap, puts of new keys.
static void write_next(struct writer *w)
{
	static const char *const kinds[] = { "put", "swap", "new" };
	struct store *store = w->run->bed->store;
	char key[64], value[16];
	struct store_txn *txn = store_txn_new();
	w->n++;
	snprintf(value, sizeof(value), "%u", w->n);
	snprintf(key, sizeof(key), "%s/%u/%u", kinds[w->id % 3], w->id, w->run->fault);
	if (w->id % 3 == 1) {
		const struct record *r = store_get(store, key);
		store_txn_if_revision(txn, key, r ? r->mod_revision : 0);
	} else if (w->id % 3 == 2) {
		snprintf(key, sizeof(key), "new/%u/%u/%u", w->id, w->run->fault, w->n);
		store_txn_if_absent(txn, key);
	}
	store_txn_put(txn, key, value, strlen(value));
	w->run->flying++;
	store_commit(store, txn, written, w);
}

static int compare_acks(const void *a, const void *b)
{
	const struct ack *x = a, *y = b;
	if (x->writer != y->writer)
		return x->writer < y->writer ? -1 : 1;
	return x->n < y->n ? -1 : x->n > y->n;
}

// Every acknowledged write is in the history once, at its revision; what is unknown at most once; the rest is not.
static void check_run(struct run *run)
{
	qsort(run->acks, run->n_acks, sizeof(run->acks[0]), compare_acks);
	qsort(run->events, run->n_events, sizeof(run->events[0]), compare_acks);
	size_t at = 0;
	for (size_t i = 0; i < run->n_acks; i++) {
		const struct ack *a = &run->acks[i];
		size_t times = 0;
		for (; at < run->n_events && compare_acks(&run->events[at], a) == 0; at++, times++)
			if (a->result == STORE_OK)
				assert_int_equal(run->events[at].revision, a->revision);
		if (a->result == STORE_UNKNOWN)
			assert_true(times <= 1);
		else if (times != (a->result == STORE_OK))
			fail_msg("write %u of writer %u was answered '%s' and is in the history %zu times", a->n,
				 a->writer, store_result_name(a->result), times);
	}
	assert_int_equal(at, run->n_events); // and nothing else
}

static const struct {
	const char *name;
	bool leader;
	int signum;
} faults[] = {
	{ "kill -9 of the leader", true, SIGKILL },
	{ "SIGSTOP of the leader", true, SIGSTOP },
	{ "kill -9 of the connected member", false, SIGKILL },
	{ "SIGSTOP of the connected member", false, SIGSTOP },
};

static void next_phase(struct timer *timer)
{
	struct run *run = CONTAINER_OF(timer, struct run, phase);
	struct cluster *c = run->bed->cluster;
	switch (run->phases++) {
	case 0:
		run->worst_ms = 0;
		cluster_signal(c, run->victim, faults[run->fault].signum);
		timer_set(timer, 4000);
		return;
	case 1:
		if (faults[run->fault].signum == SIGSTOP)
			cluster_signal(c, run->victim, SIGCONT);
		else
			cluster_start(c, run->victim);
		timer_set(timer, 1500);
		return;
	default:
		run->stopping = true;
	}
}

static void run_fault(struct bed *bed, unsigned fault)
{
	struct etcd *e = etcd_of(bed->store);
	struct run *run = xcalloc(1, sizeof(*run));
	*run = (struct run){ .bed = bed, .observer = second_of(bed), .fault = fault, .last_ok_ms = monotonic_ms() };
	run->acks = xcalloc(ACKS, sizeof(struct ack));
	run->events = xcalloc(ACKS, sizeof(struct ack));
	run->victim = faults[fault].leader ? cluster_leader(bed->cluster)
					   : (unsigned)cluster_member_of(bed->cluster, e->members[e->current].name);
	task_init(&run->task, bed->loop, "observer", observe);
	store_watch_start(&run->watch, run->observer.store, "", store_revision(run->observer.store), &run->task);
	timer_init(&run->phase, bed->loop, next_phase);
	timer_set(&run->phase, 500);
	for (unsigned i = 0; i < WRITERS; i++) {
		run->writers[i] = (struct writer){ .run = run, .id = i };
		write_next(&run->writers[i]);
	}
	bed_wait(bed, &run->done);
	assert_int_equal(bed_do(&run->observer, store_txn_new(), NULL), STORE_OK);
	observe(&run->task);
	check_run(run);

	struct store_etcd_stats stats;
	store_etcd_stats(bed->store, &stats);
	print_message("%s: %llu ok, %llu conflicts, %llu not applied, %llu unknown; %llu resent, %llu recognised; "
		      "%llu ms without an answer\n",
		      faults[fault].name, (unsigned long long)run->counts[STORE_OK],
		      (unsigned long long)run->counts[STORE_CONFLICT],
		      (unsigned long long)run->counts[STORE_NOT_APPLIED],
		      (unsigned long long)run->counts[STORE_UNKNOWN], (unsigned long long)stats.resent,
		      (unsigned long long)stats.recognised, (unsigned long long)run->worst_ms);
	assert_true(run->counts[STORE_OK] > 1000);
	assert_int_equal(run->counts[STORE_UNKNOWN] + run->counts[STORE_NOT_APPLIED], 0); // it was over before 10 s
	assert_int_equal(stats.mismatches, 0);
	assert_true(run->worst_ms <= RECOVERY_MS);
	store_watch_stop(&run->watch);
	task_clear(&run->task);
	timer_clear(&run->phase);
	bed_close(&run->observer);
	free(run->acks);
	free(run->events);
	free(run);
}

static void test_faults(void **state)
{
	for (unsigned i = 0; i < ARRAY_LEN(faults); i++)
		run_fault(*state, i);
}

// ---- nobody answers

static void test_nobody_answers(void **state)
{
	struct bed *bed = *state;
	bed_put(bed, "a", "1");
	cluster_signal(bed->cluster, 0, SIGSTOP);
	AUTO_OUTCOME struct outcome o = { 0 }, later = { 0 };
	uint64_t start = monotonic_ms();
	struct store_txn *txn = store_txn_new();
	store_txn_put(txn, "a", "2", 1);
	bed_commit(bed, txn, &o);
	bed_wait(bed, &o.done);
	uint64_t took_ms = monotonic_ms() - start;
	assert_int_equal(o.result, STORE_UNKNOWN);
	assert_true(took_ms >= 9000 && took_ms <= 12500);
	assert_string_equal(bed_value(bed, "a"), "1"); // reads go on

	// What never left this process is known not to be applied.
	start = monotonic_ms();
	txn = store_txn_new();
	store_txn_put(txn, "b", "1", 1);
	bed_commit(bed, txn, &later);
	bed_wait(bed, &later.done);
	assert_int_equal(later.result, STORE_NOT_APPLIED);
	cluster_signal(bed->cluster, 0, SIGCONT);

	start = monotonic_ms();
	bed_put(bed, "a", "3");
	assert_true(monotonic_ms() - start < 3000);
	assert_string_equal(bed_value(bed, "a"), "3");
	assert_null(store_get(bed->store, "b"));
}

// Transactions go through, but the watch does not come back: who read now would not see what it wrote.
static void test_replica_behind(void **state)
{
	struct bed *bed = *state;
	struct etcd *e = etcd_of(bed->store);
	bed_put(bed, "a", "1");
	etcd_sync_again(e, false, "a test");
	e->sync.after_ms = monotonic_ms() + 60000;
	struct outcome put = { 0 }, read = { 0 };
	struct store_txn *txn = store_txn_new();
	store_txn_put(txn, "a", "2", 1);
	bed_commit(bed, txn, &put);
	while (list_empty(&e->caught))
		bed_turn(bed); // until etcd has committed it
	bed_commit(bed, store_txn_new(), &read);
	bed_wait(bed, &put.done);
	bed_wait(bed, &read.done);
	assert_int_equal(put.result, STORE_UNKNOWN);
	assert_int_equal(read.result, STORE_NOT_APPLIED);
	assert_string_equal(bed_value(bed, "a"), "1");
	e->sync.after_ms = 0;
	assert_int_equal(bed_do(bed, store_txn_new(), NULL), STORE_OK);
	assert_string_equal(bed_value(bed, "a"), "2");
}

static void test_no_cluster(UNUSED void **state)
{
	struct bed bed = { .loop = loop_new() };
	static const char *const urls[] = { "etcd://127.0.0.1:1", "http://127.0.0.1:1", "etcd://", "etcd://a b:1" };
	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		struct err err = { 0 };
		struct store_etcd_options options = { .open_ms = 300 };
		int r = store_open_etcd(bed.loop, urls[i], &options, (struct store_owner){ 0 }, &bed.store, &err);
		assert_int_equal(r, i ? -EINVAL : -ETIMEDOUT);
		assert_true(*err.text);
	}
	loop_free(bed.loop);
}

// ---- one holds, another takes over

static uint64_t wait_held(struct bed *bed, const struct store_hold *hold, bool held)
{
	uint64_t start = monotonic_ms();
	while (store_holds(hold) != held && monotonic_ms() - start < 15000)
		bed_turn(bed);
	assert_int_equal(store_holds(hold), held);
	return monotonic_ms() - start;
}

// A holder that hangs (its loop does not turn) loses the key by its own clock before another can have it; when it
// wakes, nothing of it lands.
static void test_takeover(void **state)
{
	enum { TTL_MS = 3000 };
	struct bed *bed = *state, second = { .loop = loop_new(), .cluster = bed->cluster };
	struct task changed = { 0 }, changed_too = { 0 };
	bed_reopen(&second);
	task_init(&changed, bed->loop, "holder", do_nothing);
	task_init(&changed_too, second.loop, "holder", do_nothing);
	struct store_hold *first = store_hold_start(bed->store, "leader", "first", 5, TTL_MS, &changed);
	wait_held(bed, first, true);
	struct store_hold *next = store_hold_start(second.store, "leader", "second", 6, TTL_MS, &changed_too);
	for (int i = 0; i < 1000; i++)
		bed_turn(&second);
	assert_false(store_holds(next));
	struct store_txn *late = store_txn_new();
	store_txn_fence(late, first);
	store_txn_put(late, "decided", "late", 4);

	uint64_t took_ms = wait_held(&second, next, true); // the first does not turn now
	assert_true(took_ms < 3 * TTL_MS);
	assert_false(store_holds(first)); // by its own clock alone
	AUTO_OUTCOME struct outcome o = { 0 };
	assert_int_equal(bed_do(bed, late, &o), STORE_FENCED);
	assert_null(store_get(second.store, "decided"));
	assert_false(store_holds(first));

	store_hold_stop(next); // handed back at once
	for (int i = 0; i < 100; i++)
		bed_turn(&second);
	assert_true(wait_held(bed, first, true) < TTL_MS);
	store_hold_stop(first);
	task_clear(&changed);
	task_clear(&changed_too);
	bed_close(&second);
	loop_free(second.loop);
}

// ---- TLS with client certificates

static void make_certificates(const char *dir)
{
	AUTO_FREE char *script =
		xasprintf("cd '%s' && exec 2>/dev/null; n='openssl req -newkey rsa:2048 -nodes -subj /CN=test -days 2';"
			  "$n -x509 -keyout ca.key -out ca.pem && $n -x509 -keyout other.key -out other.pem && "
			  "echo subjectAltName=IP:127.0.0.1 >ext && for who in server client; do $n -keyout $who.key "
			  "-out $who.csr && "
			  "openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile "
			  "ext -out $who.pem "
			  "|| exit 1; done",
			  dir);
	struct err err = { 0 };
	if (process_check((const char *const[]){ "/bin/sh", "-c", script, NULL }, 60000, &err) < 0)
		fail_msg("%s", err.text);
}

static int open_tls(struct bed *bed, const char *ca, const char *cert, const char *key, struct err *err)
{
	AUTO_FREE char *ca_path = xasprintf("%s/%s", bed->dir, ca);
	AUTO_FREE char *cert_path = cert ? xasprintf("%s/%s", bed->dir, cert) : NULL;
	AUTO_FREE char *key_path = key ? xasprintf("%s/%s", bed->dir, key) : NULL;
	struct store_etcd_options options = { .ca = ca_path, .cert = cert_path, .key = key_path, .open_ms = 3000 };
	return store_open_etcd(bed->loop, bed->cluster->url, &options, (struct store_owner){ 0 }, &bed->store, err);
}

static void test_tls(UNUSED void **state)
{
	struct bed *bed = xcalloc(1, sizeof(*bed));
	struct err err = { 0 };
	bed->loop = loop_new();
	bed->dir = bed_temp_dir();
	make_certificates(bed->dir);
	AUTO_FREE char *ca = xasprintf("%s/ca.pem", bed->dir), *cert = xasprintf("%s/server.pem", bed->dir);
	AUTO_FREE char *key = xasprintf("%s/server.key", bed->dir);
	const char *args[] = { "--cert-file",       cert, "--key-file",         key,
			       "--trusted-ca-file", ca,   "--client-cert-auth", NULL };
	setenv("ETCDCTL_CACERT", ca, 1);
	setenv("ETCDCTL_CERT", cert, 1);
	setenv("ETCDCTL_KEY", key, 1);
	bed->cluster = cluster_new_in(bed->dir, 1, args);
	assert_int_equal(open_tls(bed, "ca.pem", NULL, NULL, &err), -ETIMEDOUT);                    // nobody we are
	assert_int_equal(open_tls(bed, "other.pem", "client.pem", "client.key", &err), -ETIMEDOUT); // nobody they are
	assert_non_null(strstr(err.text, "certificate"));
	assert_true(open_tls(bed, "none.pem", NULL, NULL, &err) < 0);
	assert_int_equal(open_tls(bed, "ca.pem", "client.pem", "client.key", &err), 0);
	AUTO_FREE char *value = xcalloc(1, 256 << 10);
	for (int i = 0; i < 100; i++) {
		struct store_txn *txn = store_txn_new();
		store_txn_put(txn, "large", value, 256 << 10);
		assert_int_equal(bed_do(bed, txn, NULL), STORE_OK);
	}
	assert_int_equal(store_get(bed->store, "large")->version, 100);
	bed_close(bed);
	cluster_free(bed->cluster);
	bed_free(bed);
	unsetenv("ETCDCTL_CACERT");
	unsetenv("ETCDCTL_CERT");
	unsetenv("ETCDCTL_KEY");
}

// ---- a quota that is used up

// Etcd applies what makes it go over its quota, and answers "no space" all the same: who is told so has written
// nothing.
static void test_quota(UNUSED void **state)
{
	enum { N = 64, VALUE = 200 << 10, ROUNDS = 4 };
	AUTO_FREE char *dir = bed_temp_dir(), *value = xcalloc(1, VALUE);
	struct cluster *cluster =
		cluster_new_in(dir, 1, (const char *const[]){ "--quota-backend-bytes", "16777216", NULL });
	struct bed *bed = bed_new_etcd(cluster);
	static struct outcome o[ROUNDS][N];
	unsigned refused = 0;
	char key[32];
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < N; i++) {
			struct store_txn *txn = store_txn_new();
			snprintf(key, sizeof(key), "quota/%d/%d", round, i);
			store_txn_put(txn, key, value, VALUE);
			bed_commit(bed, txn, &o[round][i]);
		}
		for (int i = 0; i < N; i++)
			bed_wait(bed, &o[round][i].done);
	}
	assert_int_equal(bed_do(bed, store_txn_new(), NULL), STORE_OK); // a linearizable read goes on
	for (int n = 0; n < ROUNDS * N; n++) {
		struct outcome *one = &o[n / N][n % N];
		snprintf(key, sizeof(key), "quota/%d/%d", n / N, n % N);
		if (one->result != STORE_UNKNOWN) // a sending got lost, and etcd was full afterwards
			assert_int_equal(one->result, store_get(bed->store, key) ? STORE_OK : STORE_NO_SPACE);
		refused += one->result == STORE_NO_SPACE;
		outcome_clear(one);
	}
	assert_true(refused > 0 && refused < ROUNDS * N);
	bed_delete(bed, "quota/0/0"); // and so do deletes
	assert_null(store_get(bed->store, "quota/0/0"));
	bed_free(bed);
	cluster_free(cluster);
	assert_int_equal(tree_remove(dir, NULL), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup_etcd, bed_teardown)

int main(void)
{
	const struct CMUnitTest alone[] = { cmocka_unit_test(test_no_cluster) };
	const struct CMUnitTest one[] = { TEST(test_two_stores),    TEST(test_conflicts_between_stores),
					  TEST(test_epoch),         TEST(test_compacted_away),
					  TEST(test_takeover),      TEST(test_nobody_answers),
					  TEST(test_replica_behind) };
	const struct CMUnitTest three[] = { TEST(test_two_stores), TEST(test_compacted_away), TEST(test_faults) };
	int failed = cmocka_run_group_tests_name("no etcd", alone, NULL, NULL);
	if (!cluster_possible())
		return failed;
	const struct CMUnitTest own[] = { cmocka_unit_test(test_quota), cmocka_unit_test(test_tls) };
	failed += cmocka_run_group_tests_name("clusters of their own", own, NULL, NULL);
	failed += cmocka_run_group_tests_name("1 member", one, bed_cluster_one, bed_cluster_free);
	return failed + cmocka_run_group_tests_name("3 members", three, bed_cluster_three, bed_cluster_free);
}
