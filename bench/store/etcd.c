// A store in a real etcd of three members on loopback: fenced transactions of 100 operations beside unfenced ones of
// the bare driver in the same minute; how long a put takes until another server's replica shows it; how long after the
// leader was killed writes are acknowledged again. Prints tab-separated "name median spread unit" lines.
#include "../../tests/unit/store/cluster.h"
#include "figure.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"
#include "store/store.h"

#include "store/etcd.h"

#include <signal.h>

enum { ROUNDS = 7, ROUND_MS = 2000, OPS = 100, VALUE = 256, FLYING = 8, PUTS = 300, KILLS = 3, ROUND_MAX = 512 };

struct bench {
	struct loop *loop;
	struct store *store, *other;
	struct store_hold *hold;
	struct task task, seen;
	struct store_watch watch;
	struct timer end;
	bool fenced, stopping, held;
	unsigned flying, sent, put;
	uint64_t done, put_ns, last_ok_ns;
	double values[ROUND_MAX];
	unsigned n;
};

static void hold_changed(struct task *task)
{
	struct bench *b = CONTAINER_OF(task, struct bench, task);
	if (store_holds(b->hold))
		loop_stop(b->loop);
}

// ---- fenced beside bare

static void send_txn(struct bench *b);

static void committed(void *arg, const struct store_answer *answer)
{
	struct bench *b = arg;
	if (answer->result != STORE_OK)
		die("a transaction was answered", store_result_name(answer->result));
	b->done++;
	b->flying--;
	if (!b->stopping)
		send_txn(b);
	else if (!b->flying)
		loop_stop(b->loop);
}

static void send_txn(struct bench *b)
{
	static const char value[VALUE];
	struct store_txn *txn = store_txn_new();
	unsigned group = b->sent++ % (2 * FLYING);
	if (b->fenced)
		store_txn_fence(txn, b->hold);
	for (unsigned i = 0; i < OPS; i++) {
		char key[64];
		snprintf(key, sizeof(key), "v1/bench/%02u/%03u", group, i);
		store_txn_put(txn, key, value, sizeof(value));
	}
	b->flying++;
	store_commit(b->store, txn, committed, b);
}

static void time_is_up(struct timer *timer)
{
	CONTAINER_OF(timer, struct bench, end)->stopping = true;
}

static double txns_per_second(struct bench *b, bool fenced)
{
	b->fenced = fenced;
	b->done = 0;
	b->stopping = false;
	uint64_t start = monotonic_ns();
	timer_set(&b->end, ROUND_MS);
	for (unsigned i = 0; i < FLYING; i++)
		send_txn(b);
	loop_run(b->loop);
	return (double)b->done * 1e9 / (double)(monotonic_ns() - start);
}

// ---- from a put to another replica

static void put_again(struct bench *b);

static void put_done(UNUSED void *arg, const struct store_answer *answer)
{
	if (answer->result != STORE_OK)
		die("a put was answered", store_result_name(answer->result));
}

static void other_saw(struct task *task)
{
	struct bench *b = CONTAINER_OF(task, struct bench, seen);
	struct store_event e;
	while (store_watch_next(&b->watch, &e) == STORE_WATCH_EVENT)
		b->values[b->n++] = (double)(monotonic_ns() - b->put_ns) / 1e6;
	if (b->n == PUTS)
		loop_stop(b->loop);
	else
		put_again(b);
}

static void put_again(struct bench *b)
{
	struct store_txn *txn = store_txn_new();
	store_txn_put(txn, "v1/seen", "x", 1);
	b->put_ns = monotonic_ns();
	store_commit(b->store, txn, put_done, b);
}

static void measure_replica(struct bench *b)
{
	b->n = 0;
	task_init(&b->seen, b->loop, "bench", other_saw);
	store_watch_start(&b->watch, b->other, "v1/seen", store_revision(b->other), &b->seen);
	put_again(b);
	loop_run(b->loop);
	store_watch_stop(&b->watch);
	task_clear(&b->seen);
	figure_print("store.etcd_replica_ms", b->values, b->n, "ms");
}

// ---- after the leader's end

static void write_on(struct bench *b);

static void wrote(void *arg, const struct store_answer *answer)
{
	struct bench *b = arg;
	uint64_t now = monotonic_ns();
	if (answer->result == STORE_OK) {
		double gap = (double)(now - b->last_ok_ns) / 1e9;
		if (gap > b->values[b->n])
			b->values[b->n] = gap;
		b->last_ok_ns = now;
	}
	if (b->stopping)
		loop_stop(b->loop);
	else
		write_on(b);
}

static void write_on(struct bench *b)
{
	struct store_txn *txn = store_txn_new();
	store_txn_put(txn, "v1/on", "x", 1);
	store_commit(b->store, txn, wrote, b);
}

static void measure_resume(struct bench *b, struct cluster *c)
{
	for (b->n = 0; b->n < KILLS; b->n++) {
		unsigned leader = cluster_leader(c);
		b->values[b->n] = 0;
		b->stopping = false;
		b->last_ok_ns = monotonic_ns();
		timer_set(&b->end, 6000);
		cluster_signal(c, leader, SIGKILL);
		write_on(b);
		loop_run(b->loop);
		cluster_start(c, leader);
		cluster_leader(c);
	}
	figure_print("store.etcd_resume_s", b->values, b->n, "s");
}

static struct store *open_store(struct bench *b, const char *url)
{
	struct err err = { 0 };
	struct store *store = NULL;
	if (store_open_etcd(b->loop, url, NULL, (struct store_owner){ 0 }, &store, &err) < 0)
		die("cannot open the store", err.text);
	return store;
}

int main(int argc, char **argv)
{
	if (!cluster_possible())
		return 0;
	struct cluster *c = cluster_new_in(argc > 1 ? argv[1] : "/var/tmp", 3, NULL);
	struct bench b = { .loop = loop_new() };
	timer_init(&b.end, b.loop, time_is_up);
	task_init(&b.task, b.loop, "bench", hold_changed);
	b.store = open_store(&b, c->url);
	b.other = open_store(&b, c->url);
	b.hold = store_hold_start(b.store, "v1/leader", "bench", 5, 10000, &b.task);
	loop_run(b.loop);

	double bare[ROUNDS], fenced[ROUNDS], ratio[ROUNDS];
	txns_per_second(&b, false);
	for (unsigned i = 0; i < ROUNDS; i++) {
		bare[i] = txns_per_second(&b, false);
		fenced[i] = txns_per_second(&b, true);
		ratio[i] = fenced[i] / bare[i];
	}
	figure_print("store.etcd_txns_bare", bare, ROUNDS, "1/s");
	figure_print("store.etcd_txns_fenced", fenced, ROUNDS, "1/s");
	figure_print("store.etcd_txn_ratio", ratio, ROUNDS, "ratio");
	measure_replica(&b);
	measure_resume(&b, c);
	store_hold_stop(b.hold);
	store_close(b.store);
	store_close(b.other);
	timer_clear(&b.end);
	task_clear(&b.task);
	loop_free(b.loop);
	cluster_free(c);
	return 0;
}
