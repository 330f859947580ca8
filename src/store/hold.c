#include "store/hold.h"

#include "base/str.h"

#include <assert.h>
#include <time.h>

enum { AGAIN_MS = 500 };

uint64_t boottime_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool key_is_ours(const struct store_hold *hold)
{
	const struct record *r = store_get(hold->store, hold->key);
	return hold->fence && r && r->create_revision == hold->fence;
}

bool store_holds(const struct store_hold *hold)
{
	// A lease that is renewed says nothing about the key: etcd 3.4.23 also renews one that was revoked meanwhile
	// (etcd-io/etcd#20590), and a former leader revokes what the new one has renewed (#15247, #12528).
	return hold->state == HOLD_HELD && boottime_ms() < hold->until_ms && key_is_ours(hold);
}

uint64_t store_hold_revision(const struct store_hold *hold)
{
	return hold->state == HOLD_HELD ? hold->fence : 0;
}

static void claimed(void *arg, const struct store_answer *answer)
{
	struct store_hold *hold = arg;
	hold->claim = NULL;
	hold->state = HOLD_WAITING;
	if (answer->result == STORE_OK) {
		hold->fence = answer->revision;
		hold->state = HOLD_HELD;
		task_wake(hold->owner);
	} else if (answer->result != STORE_CONFLICT) {
		// It may have been applied, or be applied yet: on a lease that is gone, it goes too.
		hold->store->driver->lease_end(hold->store, hold);
		timer_set(&hold->again, AGAIN_MS);
	}
	task_wake(&hold->look);
}

static void claim(struct store_hold *hold)
{
	const struct record *r = store_get(hold->store, hold->key);
	if (r && hold->store->driver->shared)
		return; // somebody holds it; the watch tells when it goes
	if (r) {
		struct store_txn *txn = store_txn_new(); // of an earlier life of this process
		store_txn_delete(txn, hold->key);
		store_commit(hold->store, txn, NULL, NULL);
	}
	struct store_txn *txn = store_txn_new();
	store_txn_if_absent(txn, hold->key);
	store_txn_put(txn, hold->key, buf_data(&hold->value), buf_len(&hold->value));
	txn->lease = hold->lease;
	hold->state = HOLD_CLAIMING;
	hold->claim = txn;
	store_commit(hold->store, txn, claimed, hold);
}

void hold_lost(struct store_hold *hold)
{
	if (hold->state == HOLD_HELD) {
		hold->state = HOLD_WAITING;
		task_wake(hold->owner);
	}
	hold->fence = 0;
	task_wake(&hold->look);
}

static void read_watch(struct store_hold *hold)
{
	struct store_event e;
	enum store_watch_result r;
	do
		r = store_watch_next(&hold->watch, &e);
	while (r == STORE_WATCH_EVENT);
	if (r == STORE_WATCH_LIST_AGAIN) {
		store_watch_stop(&hold->watch);
		store_watch_start(&hold->watch, hold->store, hold->key, store_revision(hold->store), &hold->look);
	}
}

static void look(struct task *task)
{
	struct store_hold *hold = CONTAINER_OF(task, struct store_hold, look);
	read_watch(hold);
	if (hold->state == HOLD_HELD && !key_is_ours(hold)) {
		hold->store->driver->lease_end(hold->store, hold);
		hold_lost(hold);
	}
	// Also while another holds the key: to be ready, and to be known.
	bool leased = hold->store->driver->lease(hold->store, hold);
	if (leased && hold->state == HOLD_WAITING && !timer_is_set(&hold->again))
		claim(hold);
}

static void again(struct timer *timer)
{
	task_wake(&CONTAINER_OF(timer, struct store_hold, again)->look);
}

struct store_hold *store_hold_start(struct store *store, const char *key, const void *value, size_t len,
				    unsigned ttl_ms, struct task *task)
{
	assert(*key && strlen(key) <= STORE_KEY_MAX && len <= STORE_VALUE_MAX);
	struct store_hold *hold = xcalloc(1, sizeof(*hold));
	hold->store = store;
	hold->key = xstrdup(key);
	hold->ttl_ms = ttl_ms;
	hold->owner = task;
	hold->value = BUF_INIT(STORE_VALUE_MAX);
	buf_add(&hold->value, value, len);
	list_init(&hold->link);
	task_init(&hold->look, store->loop, "store hold", look);
	timer_init(&hold->again, store->loop, again);
	store_watch_start(&hold->watch, store, key, store_revision(store), &hold->look);
	task_wake(&hold->look);
	return hold;
}

void store_hold_stop(struct store_hold *hold)
{
	if (!hold)
		return;
	if (hold->claim)
		store_forget(hold->claim);
	hold->store->driver->lease_end(hold->store, hold);
	store_watch_stop(&hold->watch);
	task_clear(&hold->look);
	timer_clear(&hold->again);
	buf_clear(&hold->value);
	free(hold->key);
	free(hold);
}
