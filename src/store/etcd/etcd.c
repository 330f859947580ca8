#include "store/etcd.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "store/etcd/private.h"

#include <assert.h>
#include <errno.h>

enum { IDLE_TICK_MS = 100 };

uint64_t etcd_jitter(struct etcd *e, uint64_t ms)
{
	return ms / 2 + rng_below(&e->rng, ms + 1);
}

// ---- the task

static void step(struct task *task)
{
	struct etcd *e = CONTAINER_OF(task, struct etcd, task);
	etcd_members_step(e);
	etcd_leases_step(e);
	etcd_sync_step(e);
	etcd_writes_step(e);
	etcd_surveys_step(e);
}

static bool busy(const struct etcd *e)
{
	return e->sync.state != SYNC_WATCHING || !list_empty(&e->resting) || !list_empty(&e->flying) ||
	       !list_empty(&e->caught) || !list_empty(&e->ready) || !list_empty(&e->surveys);
}

static void tick(struct timer *timer)
{
	struct etcd *e = CONTAINER_OF(timer, struct etcd, tick);
	uint64_t now = monotonic_ms();
	etcd_sync_tick(e, now);
	etcd_writes_tick(e, now);
	etcd_leases_tick(e, now);
	etcd_pulse_tick(e, now);
	if (busy(e))
		task_wake(&e->task);
	if (e->opening)
		task_wake(e->opening);
	timer_set(timer, busy(e) ? TICK_MS : IDLE_TICK_MS);
}

static const char *epoch(const struct store *store)
{
	const struct etcd *e = etcd_of(store);
	return e->epoch ? e->epoch : "";
}

static void stats(const struct store *store, struct store_stats *ret)
{
	const struct etcd *e = etcd_of(store);
	ret->compacted = e->compacted;
	ret->transactions = ret->commits = e->transactions;
	ret->waiting = e->n_waiting;
	ret->full = e->full;
	ret->silent_ms = monotonic_ms() - e->sync.heard_ms;
}

void store_etcd_stats(const struct store *store, struct store_etcd_stats *ret)
{
	const struct etcd *e = etcd_of(store);
	*ret = e->counts;
	ret->version = e->version;
	ret->member = e->members[e->current].name;
}

// ---- open and close

static void etcd_close(struct store *store)
{
	struct etcd *e = etcd_of(store);
	e->closing = true;
	etcd_writes_close(e);
	etcd_surveys_step(e);
	etcd_sync_clear(e);
	etcd_leases_clear(e);
	etcd_pulse_clear(e);
	etcd_members_clear(e);
	etcd_compact_clear(e);
	task_clear(&e->task);
	timer_clear(&e->tick);
	replica_clear(&e->store.replica);
	etcd_forget_slots(e);
	map_clear(&e->lanes);
	tls_config_free(e->tls);
	free(e->epoch);
	free(e->epoch_next);
	free(e);
}

static struct etcd *etcd_new(struct loop *loop, struct store_owner owner)
{
	static const struct driver driver = {
		.name = "etcd",
		.commit = etcd_commit,
		.await = etcd_await,
		.epoch = epoch,
		.lease = etcd_lease,
		.lease_end = etcd_lease_end,
		.compact_by = etcd_compact_by,
		.compact = etcd_compact_now,
		.stats = stats,
		.close = etcd_close,
		.shared = true,
	};
	struct etcd *e = xcalloc(1, sizeof(*e));
	e->store = (struct store){ .driver = &driver, .loop = loop };
	e->owner = owner;
	replica_init(&e->store.replica, 0);
	random_bytes(&e->rng.state, sizeof(e->rng.state));
	random_bytes(&e->next_operation, sizeof(e->next_operation));
	e->next_operation |= 1;
	e->client = rng_next(&e->rng);
	list_init(&e->ready);
	list_init(&e->flying);
	list_init(&e->resting);
	list_init(&e->caught);
	list_init(&e->slots);
	list_init(&e->leases);
	list_init(&e->surveys);
	task_init(&e->task, loop, "store etcd", step);
	timer_init(&e->tick, loop, tick);
	etcd_compact_init(e);
	return e;
}

struct opening {
	struct task look;
	struct etcd *e;
	uint64_t deadline_ms;
};

static void look(struct task *task)
{
	struct opening *o = CONTAINER_OF(task, struct opening, look);
	if ((o->e->synced && o->e->sync.state == SYNC_WATCHING) || monotonic_ms() >= o->deadline_ms)
		loop_stop(task->loop);
}

static int wait_for_list(struct etcd *e, unsigned open_ms, const char *url, struct err *err)
{
	struct opening o = { .e = e, .deadline_ms = monotonic_ms() + open_ms };
	task_init(&o.look, e->store.loop, "store etcd opens", look);
	e->opening = &o.look;
	timer_set(&e->tick, 0);
	loop_run(e->store.loop);
	e->opening = NULL;
	task_clear(&o.look);
	if (e->synced)
		return 0;
	err_set(err, -ETIMEDOUT, "no answer from '%s' within %u ms (%s)", url, open_ms,
		*e->last_error ? e->last_error : "no connection");
	return err_hint(err, "are its members running, and more than half of them in touch with each other?");
}

int etcd_open(struct loop *loop, const char *url, const struct store_etcd_options *options, struct store_owner owner,
	      const char *restoring, struct store **ret, struct err *err)
{
	static const struct store_etcd_options none = { 0 };
	const struct store_etcd_options *o = options ? options : &none;
	struct etcd *e = etcd_new(loop, owner);
	e->restoring = restoring;
	int r = etcd_members_parse(e, url, err);
	if (r == 0 && (o->ca || o->cert || o->key))
		r = tls_config_read(o->ca, o->cert, o->key, &e->tls, err);
	if (r == 0)
		r = wait_for_list(e, o->open_ms ? o->open_ms : COMMIT_MS, url, err);
	if (r < 0) {
		etcd_close(&e->store);
		return err_wrap(err, "cannot open the store in etcd");
	}
	*ret = &e->store;
	return 0;
}

int store_open_etcd(struct loop *loop, const char *url, const struct store_etcd_options *options,
		    struct store_owner owner, struct store **ret, struct err *err)
{
	return etcd_open(loop, url, options, owner, NULL, ret, err);
}
