#include "store/replica.h"

#include "base/str.h"
#include "io/loop.h"
#include "store/driver.h"
#include "store/record.h"

#include <assert.h>

void replica_init(struct replica *replica, uint64_t revision)
{
	*replica = (struct replica){ .revision = revision };
	ring_init(&replica->ring, revision);
	list_init(&replica->parked);
	list_init(&replica->reading);
}

void replica_clear(struct replica *replica)
{
	assert(list_empty(&replica->parked) && list_empty(&replica->reading));
	keyspace_clear(&replica->keyspace);
	ring_clear(&replica->ring);
}

static void unpark(struct replica *replica, struct store_watch *watch, uint64_t position)
{
	watch->parked = false;
	watch->next = position;
	watch->read = replica->ring.pushed;
	list_remove(&watch->link);
	list_append(&replica->reading, &watch->link);
	task_wake(watch->task);
}

static void tell_watches(struct replica *replica, const char *key, uint64_t position)
{
	struct store_watch *watch;
	LIST_EACH(watch, &replica->parked, link) {
		if (str_starts(key, watch->prefix))
			unpark(replica, watch, position);
	}
}

struct record *replica_apply(struct replica *replica, struct record *record)
{
	assert(record->mod_revision >= replica->revision);
	struct record *before = record->deleted ? keyspace_remove(&replica->keyspace, record_key(record))
						: keyspace_put(&replica->keyspace, record_ref(record));
	uint64_t position = replica->ring.next;
	ring_push(&replica->ring, record, before ? before->mod_revision : 0);
	replica->revision = record->mod_revision;
	tell_watches(replica, record_key(record), position);
	return before;
}

void replica_reset(struct replica *replica, struct keyspace *keyspace, uint64_t revision, enum store_result why)
{
	struct store_watch *watch;
	keyspace_clear(&replica->keyspace);
	replica->keyspace = *keyspace;
	*keyspace = (struct keyspace){ 0 };
	ring_clear(&replica->ring);
	ring_init(&replica->ring, revision);
	replica->revision = revision;
	LIST_EACH(watch, &replica->parked, link)
		unpark(replica, watch, 0);
	LIST_EACH(watch, &replica->reading, link) {
		watch->over = why;
		task_wake(watch->task);
	}
}

static void park(struct replica *replica, struct store_watch *watch)
{
	watch->parked = true;
	list_remove(&watch->link);
	list_append(&replica->parked, &watch->link);
}

void store_watch_start(struct store_watch *watch, struct store *store, const char *prefix, uint64_t after,
		       struct task *task)
{
	struct replica *replica = &store->replica;
	*watch = (struct store_watch){ .store = store, .task = task, .prefix = xstrdup(prefix) };
	list_init(&watch->link);
	list_append(&replica->reading, &watch->link);
	if (after < replica->ring.after || after > replica->revision)
		watch->over = STORE_COMPACTED;
	watch->read = replica->ring.pushed; // what it was started behind is not slowness
	watch->next = ring_find(&replica->ring, after);
	if (!watch->over && watch->next == replica->ring.next)
		park(replica, watch);
	else
		task_wake(task);
}

enum store_watch_result store_watch_next(struct store_watch *watch, struct store_event *ret)
{
	struct replica *replica = &watch->store->replica;
	const struct ring *ring = &replica->ring;
	if (watch->parked)
		return STORE_WATCH_IDLE;
	if (!watch->over && (watch->next < ring->first || ring->pushed - watch->read > STORE_WATCH_BEHIND))
		watch->over = STORE_TOO_LARGE;
	if (watch->over)
		return STORE_WATCH_LIST_AGAIN;
	while (watch->next < ring->next) {
		const struct store_event *e = ring_at(ring, watch->next++);
		watch->read += record_bytes(e->record);
		if (watch->read > ring->pushed)
			watch->read = ring->pushed;
		if (str_starts(record_key(e->record), watch->prefix)) {
			*ret = *e;
			return STORE_WATCH_EVENT;
		}
	}
	park(replica, watch);
	return STORE_WATCH_IDLE;
}

enum store_result store_watch_why(const struct store_watch *watch)
{
	return watch->over;
}

uint64_t store_watch_revision(const struct store_watch *watch)
{
	const struct replica *replica = &watch->store->replica;
	const struct ring *ring = &replica->ring;
	if (watch->over || (!watch->parked && watch->next < ring->first))
		return 0;
	if (watch->parked || watch->next == ring->next)
		return replica->revision;
	return ring_at(ring, watch->next)->record->mod_revision - 1;
}

void store_watch_stop(struct store_watch *watch)
{
	if (!watch->store)
		return;
	list_remove(&watch->link);
	free(watch->prefix);
	*watch = (struct store_watch){ 0 };
}
