#include "store/memory.h"

#include "base/id.h"
#include "base/str.h"
#include "store/backup.h"
#include "store/committer.h"

#include <assert.h>
#include <errno.h>

struct memory {
	struct committer committer;
	struct batch *batch; // being "written"
	struct task write;
	enum store_fault fault;
	unsigned before_fault, faults; // writes until the first; how many then
	bool held;
};

static struct memory *memory_of(struct store *store)
{
	return CONTAINER_OF(store, struct memory, committer.store);
}

static void no_owner(UNUSED void *arg, const struct err *err)
{
	fprintf(stderr, "memory store: %s\n", err->text);
	abort();
}

static enum store_fault next_fault(struct memory *m)
{
	if (!m->faults || (m->before_fault && --m->before_fault))
		return STORE_FAULT_NONE;
	m->faults--;
	return m->fault;
}

static void write_batch(struct task *task)
{
	struct memory *m = CONTAINER_OF(task, struct memory, write);
	if (!m->batch || m->held)
		return;
	static const enum store_result results[] = {
		[STORE_FAULT_NONE] = STORE_OK,
		[STORE_FAULT_NOT_APPLIED] = STORE_NOT_APPLIED,
		[STORE_FAULT_NO_SPACE] = STORE_NO_SPACE,
		[STORE_FAULT_UNKNOWN_APPLIED] = STORE_UNKNOWN,
		[STORE_FAULT_UNKNOWN_NOT_APPLIED] = STORE_UNKNOWN,
		[STORE_FAULT_FATAL] = STORE_UNKNOWN,
	};
	struct batch *batch = TAKE_PTR(m->batch);
	enum store_fault fault = next_fault(m);
	batch->result = results[fault];
	batch->applied = fault == STORE_FAULT_NONE || fault == STORE_FAULT_UNKNOWN_APPLIED;
	batch->broken = fault == STORE_FAULT_FATAL;
	if (batch->broken)
		err_set(&batch->err, -EIO, "simulated failure of the store's disk");
	committer_written(&m->committer, batch);
}

static void memory_write(struct store *store, struct batch *batch)
{
	struct memory *m = memory_of(store);
	assert(!m->batch);
	m->batch = batch;
	task_wake(&m->write);
}

static void memory_wait(struct store *store)
{
	struct memory *m = memory_of(store);
	m->held = false;
	write_batch(&m->write);
}

static void memory_close(struct store *store)
{
	struct memory *m = memory_of(store);
	committer_close(&m->committer);
	task_clear(&m->write);
	free(m);
}

struct store *store_open_memory(struct loop *loop)
{
	static const struct driver driver = {
		.name = "memory",
		.commit = committer_commit,
		.await = committer_await,
		.epoch = committer_epoch,
		.lease = committer_lease,
		.lease_end = committer_lease_end,
		.stats = committer_stats,
		.close = memory_close,
	};
	static const struct committer_ops ops = { .write = memory_write, .wait = memory_wait };
	struct memory *m = xcalloc(1, sizeof(*m));
	committer_init(&m->committer, loop, &driver, &ops, (struct store_owner){ .fatal = no_owner });
	task_init(&m->write, loop, "store memory", write_batch);
	return &m->committer.store;
}

void store_memory_fault(struct store *store, enum store_fault fault, unsigned n, unsigned times)
{
	struct memory *m = memory_of(store);
	m->fault = fault;
	m->before_fault = n;
	m->faults = times;
}

void store_memory_own(struct store *store, struct store_owner owner)
{
	memory_of(store)->committer.owner = owner;
}

void store_memory_hold(struct store *store, bool hold)
{
	struct memory *m = memory_of(store);
	m->held = hold;
	task_wake(&m->write);
}

void store_memory_restore(struct store *store, const struct backup *backup)
{
	struct memory *m = memory_of(store);
	struct keyspace keyspace = { 0 };
	uint64_t revision = store_revision(store);
	assert(!m->batch && list_empty(&m->committer.queue));
	for (size_t i = 0; i < backup->count; i++)
		record_unref(keyspace_put(&keyspace, record_ref(backup->records[i])));
	uid_new(m->committer.epoch);
	replica_reset(&store->replica, &keyspace, backup->revision > revision ? backup->revision : revision,
		      STORE_EPOCH_CHANGED);
}
