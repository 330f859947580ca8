#include "store/committer.h"

#include "base/id.h"
#include "base/map.h"
#include "base/str.h"
#include "store/hold.h"
#include "store/record.h"

#include <assert.h>

static_assert(STORE_TXN_OPS <= 128, "row_id has 7 bits for the operation");

static void wake_if_needed(struct committer *c)
{
	if (!c->writing)
		task_wake(&c->start);
}

void committer_commit(struct store *store, struct store_txn *txn)
{
	struct committer *c = CONTAINER_OF(store, struct committer, store);
	if (c->failed) {
		txn->result = STORE_SHUTTING_DOWN;
		txn->reason = "the store is shutting down";
	} else if (txn->result == STORE_OK && store_txn_check(txn)) {
		txn->result = txn->broken;
		txn->reason = txn->broken_reason;
	} else if (c->waiting >= COMMITTER_WAITING || c->waiting_bytes + txn->bytes > COMMITTER_WAITING_BYTES) {
		txn->result = STORE_NOT_APPLIED;
		txn->reason = "too many transactions are waiting to be written; try again";
		store_txn_empty(txn);
	}
	c->waiting++;
	c->waiting_bytes += txn->bytes;
	list_append(&c->queue, &txn->link);
	wake_if_needed(c);
}

// ---- evaluating

// The records that a batch has written or deleted, over those of the replica.
struct overlay {
	const struct keyspace *keyspace;
	struct map changed; // key → struct record
};

static struct record *overlay_find(void *arg, const char *key)
{
	struct overlay *overlay = arg;
	struct record *r = map_get(&overlay->changed, key);
	if (!r)
		return keyspace_get(overlay->keyspace, key);
	return r->deleted ? NULL : r;
}

static void batch_add(struct batch *batch, struct record *record)
{
	if (batch->n_rows == batch->room) {
		batch->room = batch->room ? 2 * batch->room : 16;
		batch->rows = xreallocarray(batch->rows, batch->room, sizeof(*batch->rows));
		batch->row_ops = xreallocarray(batch->row_ops, batch->room, 1);
	}
	batch->rows[batch->n_rows++] = record_ref(record);
}

// Numbers txn's changes as `revision` and adds them to the batch; returns how many there are.
static uint8_t take_changes(struct committer *c, struct batch *batch, struct overlay *overlay, struct store_txn *txn,
			    uint64_t revision)
{
	uint8_t n = 0;
	for (size_t i = 0; i < txn->n_ops; i++) {
		struct record *r = txn->ops[i], *before = overlay_find(overlay, record_key(r));
		if (r->deleted && !before)
			continue;
		r->mod_revision = revision;
		r->index = n++;
		r->operation = c->operation;
		if (!r->deleted) {
			r->create_revision = before ? before->create_revision : revision;
			r->version = before ? before->version + 1 : 1;
		}
		map_set(&overlay->changed, record_key(r), r);
		batch_add(batch, r);
	}
	for (size_t i = batch->n_rows - n; i < batch->n_rows; i++)
		batch->row_ops[i] = n;
	c->operation += n > 0;
	return n;
}

static void evaluate(struct committer *c, struct batch *batch, struct overlay *overlay, struct store_txn *txn,
		     uint64_t *revision)
{
	if (txn->result != STORE_OK) // refused at store_commit
		return;
	struct record *found = NULL;
	txn->revision = *revision;
	if (txn->fence_key && store_txn_fenced(txn, overlay_find(overlay, txn->fence_key))) {
		txn->result = STORE_FENCED;
		txn->reason = "another holds the key that fences this transaction";
		return;
	}
	size_t failed = store_txn_compare(txn, overlay_find, overlay, &found);
	if (failed < txn->n_compares) {
		txn->result = STORE_CONFLICT;
		txn->reason = "a compare did not hold";
		txn->failed_compare = failed;
		txn->found = found ? record_ref(found) : NULL;
	} else if (take_changes(c, batch, overlay, txn, *revision + 1)) {
		txn->revision = ++*revision;
	}
}

static bool has_puts(const struct store_txn *txn)
{
	for (size_t i = 0; i < txn->n_ops; i++)
		if (!txn->ops[i]->deleted)
			return true;
	return false;
}

// On a full disk, what puts something does not share a batch with what does not.
static bool fits_batch(const struct committer *c, const struct batch *batch, const struct store_txn *txn)
{
	return !c->full || list_empty(&batch->txns) || has_puts(txn) == batch->puts;
}

static struct batch *collect(struct committer *c)
{
	struct batch *batch = xcalloc(1, sizeof(*batch));
	struct overlay overlay = { .keyspace = &c->store.replica.keyspace };
	uint64_t revision = c->store.replica.revision;
	size_t bytes = 0;
	list_init(&batch->txns);
	for (size_t n = 0; n < BATCH_TXNS && bytes < BATCH_BYTES && !list_empty(&c->queue); n++) {
		struct store_txn *txn = LIST_ENTRY(c->queue.next, struct store_txn, link);
		if (!fits_batch(c, batch, txn))
			break;
		list_remove(&txn->link);
		list_append(&batch->txns, &txn->link);
		c->waiting--;
		c->waiting_bytes -= txn->bytes;
		batch->puts |= has_puts(txn);
		bytes += txn->bytes;
		evaluate(c, batch, &overlay, txn, &revision);
	}
	map_clear(&overlay.changed);
	return batch;
}

// ---- compacting

// A batch of rows to remove, when there are enough to be worth an fsync or nothing else is to be done.
static struct batch *compaction(struct committer *c)
{
	if (!c->compacts || c->compact_later)
		return NULL;
	// On a full disk all of it, at once: what is removed makes room.
	bool all = c->full || c->compact_all;
	uint64_t limit = all ? c->store.replica.revision : store_history_limit(&c->history);
	struct past_row past[BATCH_PAST];
	size_t n = store_history_oldest(&c->history, limit, BATCH_PAST, past);
	if (!n)
		c->compact_rest = c->compact_all = false;
	if (!n || (!all && n < BATCH_PAST && (!c->compact_rest || !list_empty(&c->queue))))
		return NULL;
	struct batch *batch = xcalloc(1, sizeof(*batch));
	list_init(&batch->txns);
	batch->compact_to = limit;
	batch->n_past = n;
	memcpy(batch->past, past, n * sizeof(past[0]));
	return batch;
}

static void compacted(struct committer *c, const struct batch *batch)
{
	store_history_drop(&c->history, batch->n_past);
	c->compacted = batch->compact_to;
}

static void mark_time(struct timer *timer)
{
	struct committer *c = CONTAINER_OF(timer, struct committer, mark);
	store_history_mark(&c->history, c->store.replica.revision);
	c->compact_rest = true;
	c->compact_later = false;
	wake_if_needed(c);
	timer_set(timer, HISTORY_MARK_MS);
}

// ---- writing

static void batch_free(struct batch *batch)
{
	for (size_t i = 0; i < batch->n_rows; i++)
		record_unref(batch->rows[i]);
	free(batch->rows);
	free(batch->row_ops);
	free(batch);
}

static void refuse_all(struct committer *c)
{
	struct store_txn *txn;
	LIST_EACH(txn, &c->queue, link) {
		if (txn->result == STORE_OK) {
			txn->result = STORE_SHUTTING_DOWN;
			txn->reason = "the store is shutting down";
		}
	}
}

static void start(struct task *task)
{
	struct committer *c = CONTAINER_OF(task, struct committer, start);
	if (c->writing)
		return;
	if (c->failed)
		refuse_all(c);
	struct batch *batch = c->failed ? NULL : compaction(c);
	if (!batch && list_empty(&c->queue))
		return;
	c->writing = batch ? batch : collect(c);
	if (c->writing->n_rows || c->writing->n_past)
		c->ops->write(&c->store, c->writing);
	else
		committer_written(c, c->writing);
}

void committer_apply(struct committer *c, struct record *record)
{
	AUTO_RECORD struct record *before = replica_apply(&c->store.replica, record_ref(record));
	if (!c->compacts)
		return;
	if (before)
		store_history_add(&c->history, row_id(before), record->mod_revision, record_bytes(before));
	if (record->deleted)
		store_history_add(&c->history, row_id(record), record->mod_revision, record_bytes(record));
}

static const char *reason_of(const struct batch *batch)
{
	switch (batch->result) {
	case STORE_OK:
		return "";
	case STORE_NO_SPACE:
		return "no space left on the store's disk: only deletes are possible; make room, then try again";
	case STORE_UNKNOWN:
		return "the store failed while this was being written: it may or may not be applied";
	default:
		return "not written; safe to try again";
	}
}

static void answer(struct committer *c, struct batch *batch)
{
	c->answering = true;
	while (!list_empty(&batch->txns)) {
		struct store_txn *txn = LIST_ENTRY(batch->txns.next, struct store_txn, link);
		list_remove(&txn->link);
		bool writes = txn->result == STORE_OK && txn->n_ops;
		bool judged = txn->result == STORE_OK || txn->result == STORE_CONFLICT;
		if (batch->result != STORE_OK && judged) {
			// What was compared may have been this batch's own, which is not to be seen.
			record_unref(TAKE_PTR(txn->found));
			txn->result = writes ? batch->result : STORE_NOT_APPLIED;
			txn->reason = reason_of(batch);
			txn->revision = txn->failed_compare = 0;
		}
		c->transactions += txn->result == STORE_OK;
		store_txn_finish(txn);
	}
	c->answering = false;
}

// What only deletes is written without the puts that found no room.
static void take_back(struct committer *c, struct batch *batch)
{
	for (struct list *at = batch->txns.prev, *before; at != &batch->txns; at = before) {
		struct store_txn *txn = LIST_ENTRY(at, struct store_txn, link);
		bool judged = txn->result == STORE_OK || txn->result == STORE_CONFLICT;
		before = at->prev;
		if (!judged || has_puts(txn))
			continue;
		record_unref(TAKE_PTR(txn->found));
		txn->result = STORE_OK;
		txn->reason = "";
		txn->revision = txn->failed_compare = 0;
		c->waiting++;
		c->waiting_bytes += txn->bytes;
		list_remove(&txn->link);
		list_prepend(&c->queue, &txn->link);
	}
}

static void publish(struct committer *c, struct batch *batch)
{
	for (size_t i = 0; i < batch->n_rows; i++)
		committer_apply(c, batch->rows[i]);
	c->commits += batch->n_rows > 0;
	if (batch->n_past)
		compacted(c, batch);
}

void committer_written(struct committer *c, struct batch *batch)
{
	assert(batch == c->writing);
	c->writing = NULL;
	bool wrote = batch->n_rows || batch->n_past;
	if (wrote && (batch->result == STORE_NO_SPACE || batch->puts))
		c->full = batch->result == STORE_NO_SPACE;
	if (wrote)
		c->ballast = batch->ballast;
	if (batch->result == STORE_NO_SPACE && batch->puts)
		take_back(c, batch);
	c->compact_later = batch->n_past && !batch->applied;
	if (batch->applied)
		publish(c, batch);
	if (batch->broken)
		committer_fail(c, &batch->err);
	answer(c, batch);
	batch_free(batch);
	wake_if_needed(c);
}

void committer_fail(struct committer *c, const struct err *err)
{
	if (c->failed)
		return;
	c->failed = true;
	timer_stop(&c->mark);
	c->owner.fatal(c->owner.arg, err);
	wake_if_needed(c);
}

void committer_init(struct committer *c, struct loop *loop, const struct driver *driver,
		    const struct committer_ops *ops, struct store_owner owner)
{
	*c = (struct committer){ .store = { .driver = driver, .loop = loop }, .ops = ops, .owner = owner };
	replica_init(&c->store.replica, 0);
	store_history_init(&c->history);
	list_init(&c->queue);
	task_init(&c->start, loop, "store commit", start);
	timer_init(&c->mark, loop, mark_time);
	timer_set(&c->mark, HISTORY_MARK_MS);
	random_bytes(&c->operation, sizeof(c->operation));
	uid_new(c->epoch);
	c->operation >>= 1; // fits SQL's signed integers for longer than anyone lives
}

void committer_await(struct store *store, struct store_txn *txn, uint64_t revision)
{
	if (revision > store->replica.revision) {
		txn->result = STORE_INVALID;
		txn->reason = "no transaction has that revision yet";
	}
	committer_commit(store, txn);
}

const char *committer_epoch(const struct store *store)
{
	return CONTAINER_OF(store, struct committer, store)->epoch;
}

bool committer_lease(UNUSED struct store *store, struct store_hold *hold)
{
	hold->lease = 1;
	hold->until_ms = UINT64_MAX; // as long as this process, and there is no other
	return true;
}

void committer_lease_end(struct store *store, struct store_hold *hold)
{
	if (hold->fence && !CONTAINER_OF(store, struct committer, store)->failed) {
		struct store_txn *txn = store_txn_new();
		store_txn_if_created(txn, hold->key, hold->fence);
		store_txn_delete(txn, hold->key);
		store_commit(store, txn, NULL, NULL);
	}
	hold->lease = 0;
}

void committer_compact(struct store *store)
{
	struct committer *c = CONTAINER_OF(store, struct committer, store);
	c->compact_all = true;
	c->compact_later = false;
	wake_if_needed(c);
}

void committer_stats(const struct store *store, struct store_stats *stats)
{
	const struct committer *c = CONTAINER_OF(store, struct committer, store);
	stats->compacted = c->compacted;
	stats->history_rows = c->history.next - c->history.first;
	stats->transactions = c->transactions;
	stats->commits = c->commits;
	stats->waiting = c->waiting;
	if (c->writing) {
		struct store_txn *txn;
		LIST_EACH(txn, &c->writing->txns, link)
			stats->waiting++;
	}
	stats->full = c->full;
	stats->ballast = c->ballast;
	stats->history_bytes = c->history.bytes;
}

void committer_close(struct committer *c)
{
	assert(!c->answering); // not from within a done callback
	if (c->writing)
		c->ops->wait(&c->store);
	c->failed = true;
	refuse_all(c);
	while (!list_empty(&c->queue)) {
		struct store_txn *txn = LIST_ENTRY(c->queue.next, struct store_txn, link);
		list_remove(&txn->link);
		store_txn_finish(txn);
	}
	task_clear(&c->start);
	timer_clear(&c->mark);
	store_history_clear(&c->history);
	replica_clear(&c->store.replica);
}
