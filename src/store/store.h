// The store: a sorted map of keys to values with one revision counter. Every driver (sqlite, etcd, memory) keeps the
// same contract, held by one conformance suite (tests/unit/store).
//
// Contract
// - A key is 1 to STORE_KEY_MAX bytes without NUL, ordered by bytes; a value up to STORE_VALUE_MAX bytes of anything.
// - The store has one 64-bit revision. A transaction is an AND of compares and then puts and deletes, all or nothing;
//   it names a key at most once among its operations. One that changes something takes the next revision; one that
//   changes nothing (only compares, or deletes of absent keys) succeeds at the current one. Where revisions begin is
//   the driver's affair, and etcd's uses some for itself (its epoch, its slots, transactions that only delete what is
//   absent).
// - A record carries the revision that created it, the one that last changed it, its version (1 when created, +1 with
//   each put) and the id of the operation that wrote it. A key deleted and put again is a new record: version 1.
// - STORE_OK is answered only when the transaction survives kill -9 and power loss. Nobody (reads, lists, watches)
//   sees it before that.
// - Transactions are applied in the order of their revisions. Those of one store that name a common key (a fence does
//   not count) are applied in the order of store_commit; who needs an order between others waits for the first answer.
// - Reads answer from the replica in memory: everything that was acknowledged by this store, nothing that was not
//   committed. Nothing changes within one turn of a caller; a record never changes, and lives as long as somebody holds
//   a reference. What others wrote to a shared store (etcd) arrives a little later: a linearizable read is an empty
//   transaction committed and then a read; a read at no less than a given revision is store_await and then a read.
// - A transaction that was sent and not answered is sent again, to another member, only in a way that it cannot be
//   applied twice: 1 s per attempt, 10 s in all, with jitter. What still has no answer is STORE_UNKNOWN. Nothing
//   unconditional is ever sent twice.
// - A lease is what its holder can lose without noticing, so nobody stands on it alone, and no transaction
//   compares one: that a lease lives says nothing of who may act (see store_holds). The holder's own deadline is two
//   thirds of the time to live after it sent the last keep-alive that was answered, on a clock that counts suspend, and
//   every write of a holder compares the creation revision of the key it holds (store_txn_fence), which nobody else can
//   ever make again.
// - The epoch is random and kept with the store; it changes with every restore from a backup (store/backup.h): what was
//   remembered from before is worth nothing. Watches end then, and what was committed before and not applied yet is
//   answered STORE_EPOCH_CHANGED.
// - A list is pinned to one revision; a watch started after that revision continues at the next one. A watch delivers
//   every change below its prefix once, in order, without a gap, or ends with STORE_WATCH_LIST_AGAIN: since what comes
//   next is no longer kept, since the epoch has changed, or since its reader has left STORE_WATCH_BEHIND bytes unread.
//   How far it has come can be asked at any time (store_watch_revision). That nothing comes may be silence or a broken
//   connection to a shared store: the driver asks for a sign of life after 2 s and goes on elsewhere, from where it
//   was, after 5 s, unseen by the watches; store_stats says for how long it has heard nothing.
// - A failed fsync or I/O error ends the process: `fatal` is called and nothing more is applied. A full disk does not:
//   transactions that put something are answered STORE_NO_SPACE and are not applied; reads and transactions that only
//   delete go on (a file is held back to make room for these), and writes work again when there is room. store_stats
//   says so.
//
// Thread: everything here belongs to the thread of the loop given at open. Drivers have threads of their own inside.
#pragma once

#include "base/err.h"
#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct task;
struct store;
struct store_txn;

enum {
	STORE_KEY_MAX = 512,
	STORE_VALUE_MAX = 256 << 10,
	STORE_TXN_OPS = 100,          // compares, and puts and deletes: up to this many of each
	STORE_TXN_BYTES = 1 << 20,    // keys and values of its puts and deletes
	STORE_WATCH_BEHIND = 4 << 20, // keys and values that a watch may leave unread
};

// ---- records

struct record {
	uint64_t create_revision; // of a deletion: 0
	uint64_t mod_revision;
	uint64_t version;   // of a deletion: 0
	uint64_t operation; // id of the transaction that wrote it: the same for all its records, and for no others
	uint32_t refs;
	uint32_t value_len;
	uint16_t key_len;
	uint8_t index;   // which operation of its transaction wrote it
	uint8_t deleted; // a deletion, as watches show it; never found by reads
	char bytes[];    // key, NUL, value, NUL
};

static inline const char *record_key(const struct record *r)
{
	return r->bytes;
}

// value_len bytes, followed by a NUL that does not count.
static inline const char *record_value(const struct record *r)
{
	return r->bytes + r->key_len + 1;
}

struct record *record_ref(const struct record *r); // to keep one beyond the turn in which it was found
void record_unref(struct record *r);               // NULL is fine
static inline void cleanup_record(struct record **r)
{
	record_unref(*r);
}
#define AUTO_RECORD CLEANUP(cleanup_record)

// ---- open and close

// Called on the loop's thread, at most once, when the store can no longer keep its promises (failed fsync, I/O error,
// corruption). The owner logs err and ends the process. Whatever waits is answered right after it, should it return:
// STORE_UNKNOWN for what was being written, STORE_SHUTTING_DOWN for the rest and everything later.
struct store_owner {
	void (*fatal)(void *arg, const struct err *err);
	void *arg;
};

// Opens or makes the store in folder dir (made when missing), loads it into memory and checks every row on the way.
// Blocks. -EBUSY: another process has it open. -EUCLEAN: a damaged file or row, named in err. -ENOSPC.
int store_open_sqlite(struct loop *loop, const char *dir, struct store_owner owner, struct store **ret,
		      struct err *err);

// A store without a disk, for tests; cannot fail. Its faults: store/memory.h.
struct store *store_open_memory(struct loop *loop);

// Waits for what is being written (blocks for one commit at most) and answers it; the rest is answered
// STORE_SHUTTING_DOWN. All from within this call. Watches must have been stopped. NULL is fine.
void store_close(struct store *store);

// ---- transactions

enum store_result {
	STORE_OK,
	STORE_CONFLICT,      // a compare did not hold; nothing was applied
	STORE_NOT_APPLIED,   // proven not applied: safe to send again (also: too many transactions wait)
	STORE_UNKNOWN,       // may be applied, now or later
	STORE_NO_SPACE,      // not applied; the disk or the quota is full
	STORE_TOO_LARGE,     // not applied; a key, a value or the transaction is over its limit
	STORE_COMPACTED,     // the revision asked for is no longer kept
	STORE_EPOCH_CHANGED, // not applied; the store is being or was restored from a backup: list again
	STORE_LEASE_LOST,
	STORE_FENCED,        // a deposed leader's write
	STORE_INVALID,       // not applied; an empty key, a key twice
	STORE_SHUTTING_DOWN, // not applied; the store is closing or has failed
	STORE_RESULTS,
};

const char *store_result_name(enum store_result result); // "ok", "conflict", "not applied" …

struct store_answer {
	enum store_result result;
	uint64_t revision;           // ok: of the transaction, or the current one when it changed nothing.
				     // conflict: the revision at which the compare did not hold
	size_t compare;              // conflict: which compare, counted from 0
	const struct record *record; // conflict: that key's record as it is, NULL when absent; to be kept by record_ref
	const char *reason;          // what a person should read; "" for ok
};

// A transaction is put together by its maker and then given to store_commit. Keys and values are copied at once. Limits
// are judged by store_commit, so these cannot fail.
struct store_txn *store_txn_new(void);
void store_txn_free(struct store_txn *txn); // one that was not committed; NULL is fine

void store_txn_if_absent(struct store_txn *txn, const char *key);
void store_txn_if_exists(struct store_txn *txn, const char *key);
void store_txn_if_revision(struct store_txn *txn, const char *key, uint64_t mod_revision); // 0: absent
void store_txn_if_created(struct store_txn *txn, const char *key, uint64_t create_revision);
void store_txn_put(struct store_txn *txn, const char *key, const void *value, size_t len);
void store_txn_delete(struct store_txn *txn, const char *key);
size_t store_txn_ops(const struct store_txn *txn); // puts and deletes so far

// Takes txn. done is called once, always later and from the loop (or from store_close); answer and what it points to
// are valid during that call only. txn remains a valid name for store_forget until then.
void store_commit(struct store *store, struct store_txn *txn,
		  void (*done)(void *arg, const struct store_answer *answer), void *arg);

// Answers STORE_OK when reads see at least that revision, which another server's answer may have named;
// STORE_NOT_APPLIED when it has not come for 10 s, STORE_INVALID when the store is not shared and has no such revision.
// txn: a new one, as a name for store_forget.
void store_await(struct store *store, struct store_txn *txn, uint64_t revision,
		 void (*done)(void *arg, const struct store_answer *answer), void *arg);

// The transaction goes on as it would, but done will not be called: for a caller that goes away.
void store_forget(struct store_txn *txn);

static inline void cleanup_store_txn(struct store_txn **txn)
{
	store_txn_free(*txn);
}
#define AUTO_STORE_TXN CLEANUP(cleanup_store_txn)

// ---- reads, from memory

uint64_t store_revision(const struct store *store);

// NULL when absent. Valid until the caller returns to the loop; record_ref keeps it.
const struct record *store_get(const struct store *store, const char *key);

// The record that follows `key` among those whose key starts with prefix; key NULL or "": the first. NULL at the end.
//	for (r = store_next(s, "v1/nodes/", NULL); r; r = store_next(s, "v1/nodes/", record_key(r)))
const struct record *store_next(const struct store *store, const char *prefix, const char *key);

struct store_list {
	uint64_t revision; // all records are as they were at this one; watch after it
	size_t count;
	struct record **records; // references held by the list
	bool more;               // there was more than max; ask again after the last key (at a later revision)
};

// Up to max records below prefix whose key is greater than after (NULL: from the first). The list stays as it is
// however long the caller takes over it; store_list_clear releases it (zeroed is fine).
void store_list(const struct store *store, const char *prefix, const char *after, size_t max, struct store_list *ret);
void store_list_clear(struct store_list *list);
#define AUTO_STORE_LIST CLEANUP(store_list_clear)

// Random text, the same as long as what was read stays true: another one after a restore from a backup. Watches end
// with STORE_WATCH_LIST_AGAIN then. Valid until the loop turns.
const char *store_epoch(const struct store *store);

// Whether other processes may write to it too.
bool store_is_shared(const struct store *store);

// ---- holding a key: election, membership, fencing

// A key that one process holds as long as it lives: "v1/leader" for those who want to lead, or "v1/servers/NAME" for
// who is there. The first to write it holds it; the others wait until it is gone. It goes when its holder stops, or
// ttl_ms after it was last heard. In a store that is not shared, it is held at once, whatever was there before.
struct store_hold;

// task is woken whenever it has been gained or lost; store_holds says which. Never woken from within this call.
struct store_hold *store_hold_start(struct store *store, const char *key, const void *value, size_t len,
				    unsigned ttl_ms, struct task *task);
// By our own deadline, at this moment. Whoever acts on it asks each time.
bool store_holds(const struct store_hold *hold);
uint64_t store_hold_revision(const struct store_hold *hold); // of the key's creation; 0: not held
void store_hold_stop(struct store_hold *hold);               // gives it up; before store_close. NULL is fine

// The transaction is applied only while the key is held by this very winning of it: STORE_LEASE_LOST, not even sent,
// when our own deadline has passed; STORE_FENCED when another was faster. At most one fence a transaction.
void store_txn_fence(struct store_txn *txn, const struct store_hold *hold);

// While hold is held, this process keeps the history of a shared store short: at least 10 minutes of it stay. NULL
// stops; to be stopped before the hold. Other stores do so by themselves.
void store_compact_by(struct store *store, const struct store_hold *hold);

// While frozen, transactions that change something are answered STORE_NOT_APPLIED. Those of before go on.
void store_set_frozen(struct store *store, bool frozen);
bool store_is_frozen(const struct store *store);

// Removes superseded records now: all of them from a store that is not shared (a watch that is to go on after a restart
// of the server may have to list again), those of more than ten minutes from one that is.
void store_compact(struct store *store);

// ---- watches

struct store_event {
	const struct record *record; // record->deleted: a deletion (key and mod_revision count). Valid like store_get's
	uint64_t previous;           // mod_revision of the record that this one replaced or removed; 0: there was none
};

enum store_watch_result {
	STORE_WATCH_EVENT,      // *ret is the next change
	STORE_WATCH_IDLE,       // nothing now; the task is woken when there is
	STORE_WATCH_LIST_AGAIN, // over: too slow, or started too far back (or in the future). List, then start again
};

// A cursor into the ring of changes; embedded by its owner, costs nothing while idle, is never waited for.
struct store_watch {
	struct store *store;
	struct task *task;
	char *prefix;
	uint64_t next;          // position in the ring; not used while parked
	bool parked;            // has read everything; told by the next change below its prefix
	uint64_t read;          // how much of what came into the ring
	enum store_result over; // why; STORE_OK: it goes on
	struct list link;
};

// Delivers the changes below prefix ("" is all) with a revision greater than after. task is woken once if there is
// something to read (or the watch is over already), and later whenever there is again after a STORE_WATCH_IDLE.
void store_watch_start(struct store_watch *watch, struct store *store, const char *prefix, uint64_t after,
		       struct task *task);

// All changes of one revision become readable together: one who reads until STORE_WATCH_IDLE has seen whole revisions.
enum store_watch_result store_watch_next(struct store_watch *watch, struct store_event *ret);

// Why a watch ended with STORE_WATCH_LIST_AGAIN: STORE_COMPACTED, STORE_EPOCH_CHANGED, or STORE_TOO_LARGE for a reader
// that was too slow. STORE_OK: it did not.
enum store_result store_watch_why(const struct store_watch *watch);

// Every change up to and with this revision has been delivered (or was not below the prefix): where to resume.
uint64_t store_watch_revision(const struct store_watch *watch);

void store_watch_stop(struct store_watch *watch); // zeroed is fine

// ---- figures for status and metrics

const char *store_driver(const struct store *store); // "sqlite", "etcd", "memory"

struct store_stats {
	uint64_t revision;
	uint64_t compacted;      // history up to here may be gone
	uint64_t records, bytes; // live: count; keys and values
	uint64_t history_rows;   // superseded rows still in the log
	uint64_t transactions;   // acknowledged since open
	uint64_t commits;        // fsyncs that acknowledged them
	uint64_t waiting;        // transactions not answered yet
	uint64_t history_bytes;  // their keys and values
	uint64_t disk_bytes;     // what the store takes on its disk; 0: not its own
	uint64_t ballast;        // bytes held back for the time when the disk is full
	uint64_t silent_ms;      // for how long the store has not been heard of, where others write to it
	bool full;               // only deletes are possible: no room on its disk, or its quota is used up
};

void store_stats(const struct store *store, struct store_stats *ret);
