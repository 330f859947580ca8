#include "store/store.h"

#include "base/str.h"
#include "store/driver.h"

#include <assert.h>

void store_close(struct store *store)
{
	if (store)
		store->driver->close(store);
}

void store_commit(struct store *store, struct store_txn *txn,
		  void (*done)(void *arg, const struct store_answer *answer), void *arg)
{
	assert(list_empty(&txn->link));
	if (store->frozen && txn->n_ops)
		store_txn_refuse(txn, STORE_NOT_APPLIED, "no changes are taken at this moment: the store is being moved");
	txn->done = done;
	txn->arg = arg;
	store->driver->commit(store, txn);
}

void store_await(struct store *store, struct store_txn *txn, uint64_t revision,
		 void (*done)(void *arg, const struct store_answer *answer), void *arg)
{
	assert(list_empty(&txn->link) && !txn->n_ops && !txn->n_compares);
	txn->done = done;
	txn->arg = arg;
	store->driver->await(store, txn, revision);
}

const char *store_epoch(const struct store *store)
{
	return store->driver->epoch(store);
}

bool store_is_shared(const struct store *store)
{
	return store->driver->shared;
}

void store_compact_by(struct store *store, const struct store_hold *hold)
{
	if (store->driver->compact_by)
		store->driver->compact_by(store, hold);
}

void store_set_frozen(struct store *store, bool frozen)
{
	store->frozen = frozen;
}

bool store_is_frozen(const struct store *store)
{
	return store->frozen;
}

void store_compact(struct store *store)
{
	if (store->driver->compact)
		store->driver->compact(store);
}

uint64_t store_revision(const struct store *store)
{
	return store->replica.revision;
}

const struct record *store_get(const struct store *store, const char *key)
{
	return keyspace_get(&store->replica.keyspace, key);
}

const struct record *store_next(const struct store *store, const char *prefix, const char *key)
{
	// Before the prefix in order there is nothing to be found below it.
	bool first = str_empty(key) || strcmp(key, prefix) < 0;
	struct record *r = keyspace_after(&store->replica.keyspace, first ? prefix : key, first);
	return r && str_starts(record_key(r), prefix) ? r : NULL;
}

void store_list(const struct store *store, const char *prefix, const char *after, size_t max, struct store_list *ret)
{
	struct store_list list = { .revision = store->replica.revision };
	size_t room = 0;
	for (const struct record *r = store_next(store, prefix, after); r;
	     r = store_next(store, prefix, record_key(r))) {
		if (list.count == max) {
			list.more = true;
			break;
		}
		if (list.count == room) {
			room = room ? 2 * room : 16;
			list.records = xreallocarray(list.records, room, sizeof(*list.records));
		}
		list.records[list.count++] = record_ref(r);
	}
	*ret = list;
}

void store_list_clear(struct store_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		record_unref(list->records[i]);
	free(list->records);
	*list = (struct store_list){ 0 };
}

const char *store_driver(const struct store *store)
{
	return store->driver->name;
}

void store_stats(const struct store *store, struct store_stats *ret)
{
	struct store_stats stats = {
		.revision = store->replica.revision,
		.records = store->replica.keyspace.records,
		.bytes = store->replica.keyspace.bytes,
	};
	store->driver->stats(store, &stats);
	*ret = stats;
}
