// Group commit for the drivers that live in one process: transactions queue up, are evaluated together against the
// replica and against what the batch itself has changed, are written by the driver in one go, and are published and
// answered when the driver says that they are durable. One batch is written at a time. Loop thread only; the driver may
// write elsewhere.
#pragma once

#include "base/id.h"
#include "io/loop.h"
#include "store/driver.h"
#include "store/history.h"

enum {
	BATCH_TXNS = 1024,
	BATCH_BYTES = 2 << 20,
	BATCH_PAST = 1000,         // rows removed from the log in one go
	COMMITTER_WAITING = 16384, // transactions
	COMMITTER_WAITING_BYTES = 64 << 20,
};

// What the driver has to write: rows to add, or rows to remove. Its fields are not touched while it is being written.
struct batch {
	struct list txns;
	struct record **rows; // references; numbered, in order of revision and index
	uint8_t *row_ops;     // for each: how many rows its revision has
	size_t n_rows, room;
	bool puts;           // some of its transactions put something
	uint64_t compact_to; // != 0: remove `past` and remember that history up to here is gone
	struct past_row past[BATCH_PAST];
	size_t n_past;

	// Set by the driver.
	enum store_result result; // STORE_OK, STORE_NOT_APPLIED, STORE_NO_SPACE or STORE_UNKNOWN
	bool applied;             // the rows are in; goes with STORE_OK, and with STORE_UNKNOWN where that is simulated
	bool broken;              // the store can promise nothing more: err says why
	uint64_t ballast;         // bytes still held back
	struct err err;
};

struct committer_ops {
	void (*write)(struct store *store, struct batch *batch); // then committer_written, later
	void (*wait)(struct store *store); // blocks until committer_written was called for the batch being written
};

struct committer {
	struct store store; // first: a driver's store is a committer
	const struct committer_ops *ops;
	struct store_owner owner;
	struct list queue;
	size_t waiting, waiting_bytes; // of the queue
	struct batch *writing;         // NULL: idle
	struct task start;
	struct timer mark;
	struct history history;
	bool compacts;      // has a log to be kept short
	bool compact_rest;  // also the last few rows: some time has passed
	bool compact_all;   // of the history
	bool compact_later; // it failed; a batch goes first
	uint64_t compacted;
	uint64_t operation; // id of the next transaction
	uint64_t transactions, commits;
	uint64_t ballast; // bytes held back
	bool full, failed, answering;
	char epoch[UID_SIZE];
};

// A row's id in the log: its place in the order of all changes.
static inline uint64_t row_id(const struct record *r)
{
	return r->mod_revision << 7 | r->index;
}

void committer_init(struct committer *c, struct loop *loop, const struct driver *driver,
		    const struct committer_ops *ops, struct store_owner owner);
void committer_commit(struct store *store, struct store_txn *txn); // for struct driver
void committer_await(struct store *store, struct store_txn *txn, uint64_t revision);
const char *committer_epoch(const struct store *store);
bool committer_lease(struct store *store, struct store_hold *hold);
void committer_lease_end(struct store *store, struct store_hold *hold);
void committer_compact(struct store *store);
void committer_stats(const struct store *store, struct store_stats *stats);

// Makes a record current and notes what it supersedes; also for loading.
void committer_apply(struct committer *c, struct record *record);

// By the driver, on the loop's thread: batch->result says what became of it.
void committer_written(struct committer *c, struct batch *batch);

// By the driver, for what fails outside of a batch. Calls owner.fatal the first time; nothing is accepted afterwards.
void committer_fail(struct committer *c, const struct err *err);

// Finishes everything (see store_close) and releases all but the struct.
void committer_close(struct committer *c);
