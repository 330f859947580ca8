// Private to the etcd driver. One task drives everything: events (answers, broken connections, timers) store facts and
// wake it; it then replaces connections, brings the replica up to date, sends what may be sent and answers what can be
// answered. Loop thread only.
#pragma once

#include "base/map.h"
#include "base/rng.h"
#include "io/loop.h"
#include "store/driver.h"
#include "store/etcd.h"
#include "store/etcd/etcd.pb-c.h"
#include "store/etcd/grpc.h"
#include "store/history.h"
#include "store/hold.h"

enum {
	ATTEMPT_MS = 1000, // for one member to answer
	COMMIT_MS = 10000, // for a transaction from its first sending to its answer
	CONNECT_MS = 500,
	FLYING_MAX = 256,
	FLYING_BYTES = 8 << 20,
	BEHIND_MS = 1000,         // the replica may lag behind an answer for so long before the watch is taken as stuck
	WATCH_QUESTION_MS = 2000, // silence after which the watch is asked for a sign of life
	WATCH_SILENCE_MS = 5000,  // and after which it is given up
	TICK_MS = 10,
};

// No key of the store's users contains a NUL, so these are out of their reach.
#define RESERVED "\0dialtone/"
#define RESERVED_LEN (sizeof(RESERVED) - 1)
#define EPOCH_KEY RESERVED "epoch"
#define COMPACTED_KEY RESERVED "compacted"
#define SLOT_PREFIX RESERVED "slot/"
// An epoch that begins so is none: the store is being restored, or was moved away, as the rest of the text says.
#define CLOSED '!'
#define BURNT "burnt" // a slot's value, see write.c
#define NOTHING_KEY RESERVED "nothing" // never exists

#define BYTES(p, n) ((ProtobufCBinaryData){ .data = (uint8_t *)(p), .len = (n) })
#define LITERAL(s) BYTES(s, sizeof(s) - 1)

struct member {
	struct etcd *etcd;
	char *name; // "ADDR:PORT"
	struct address address;
	struct http2_client *client; // NULL: none yet
	bool drop;                   // the client is no good any more: the task frees it
};

// A key under which the driver leaves the mark of one transaction at a time, see write.c.
struct slot {
	struct list link;
	uint64_t client;
	unsigned number;
	uint64_t mod; // its modified revision as we left it; 0: absent
};

enum sync_state { SYNC_IDLE, SYNC_ASKING, SYNC_MAKING_EPOCH, SYNC_LISTING, SYNC_OPENING, SYNC_WATCHING, SYNC_STATES };

struct sync {
	enum sync_state state;
	size_t member; // on which
	struct grpc_call *call;
	uint64_t after_ms;                        // not before
	uint64_t heard_ms, asked_ms, watching_ms; // watching_ms: since when
	unsigned failures;                        // in a row
	uint64_t at_least;                        // what was asked for must not be older
	uint64_t pin;                             // listing: revision of the list
	char *last;                               // listing: the last key so far
	size_t last_len;
	int64_t limit;          // listing: records a page
	struct keyspace listed; // listing: so far
	Etcd__Event **pending;  // watching: events of a revision that is not whole yet
	size_t n_pending;
	bool must_list;
};

struct etcd {
	struct store store; // first
	struct store_owner owner;
	struct rng rng;
	struct task task;
	struct timer tick;
	bool closing;
	struct task *opening; // woken while the store is being opened

	struct tls_config *tls;
	struct member *members;
	size_t n_members, current;
	char last_error[GRPC_TEXT_SIZE];
	char version[32]; // of the member asked last
	struct grpc_call *pulse;
	size_t pulse_member;
	uint64_t pulse_ms; // when it was asked last
	uint64_t term;     // of etcd's leader, as last heard

	struct map lanes;    // key → struct lane
	struct list ready;   // struct write: may be sent
	struct list flying;  // sent
	struct list resting; // to be sent again a little later
	struct list caught;  // judged; answered when the replica is there
	size_t n_flying, flying_bytes, n_waiting, waiting_bytes;
	struct list slots;
	uint64_t client;
	unsigned next_slot;
	uint64_t next_operation;

	struct sync sync;
	bool synced; // the first list is in
	char *epoch;
	char *epoch_next; // of the list that is being made
	uint64_t epoch_next_mod;
	uint64_t cluster_id;
	uint64_t epoch_mod;    // modified revision of its key: what every transaction compares
	const char *restoring; // not NULL: this process restores, and this is the epoch that it has put while it does
	uint64_t compacted;    // history up to here may be gone

	struct list leases;
	struct grpc_call *keepalive;
	size_t keepalive_member;

	struct list surveys; // of all members, under way
	struct history history; // for its marks of time only
	struct timer mark;
	const struct store_hold *compactor;
	bool compacting;

	struct store_etcd_stats counts;
	uint64_t transactions;
	bool full;
};

static inline struct etcd *etcd_of(const struct store *store)
{
	return CONTAINER_OF(store, struct etcd, store);
}

static inline bool is_reserved(ProtobufCBinaryData key)
{
	return key.len >= 1 && key.data[0] == '\0';
}

uint64_t etcd_jitter(struct etcd *e, uint64_t ms); // between half and one and a half of it

// ---- member.c

int etcd_members_parse(struct etcd *e, const char *url, struct err *err);
void etcd_members_clear(struct etcd *e);
// A call to the current member. NULL: no connection takes it at this moment; try again after a little while.
struct grpc_call *etcd_call(struct etcd *e, const struct grpc_spec *spec);
struct grpc_call *etcd_call_on(struct etcd *e, size_t member, const struct grpc_spec *spec); // to any of them
// That member did not do what it should: another one is current from now on. drop: its connection is suspect, too.
void etcd_member_failed(struct etcd *e, size_t member, bool drop, const char *why);
void etcd_members_step(struct etcd *e);

// ---- write.c

void etcd_commit(struct store *store, struct store_txn *txn);
void etcd_await(struct store *store, struct store_txn *txn, uint64_t revision);
void etcd_writes_step(struct etcd *e);
void etcd_writes_tick(struct etcd *e, uint64_t now_ms);
void etcd_writes_close(struct etcd *e); // answers all
void etcd_forget_slots(struct etcd *e);

uint64_t etcd_writes_oldest(const struct etcd *e); // when the oldest one on its way was sent; 0: none is
// Those that were sent to that member before that term began are given up and sent again.
void etcd_writes_resend(struct etcd *e, size_t member, uint64_t term);

// ---- pulse.c

void etcd_pulse_tick(struct etcd *e, uint64_t now_ms);
void etcd_pulse_clear(struct etcd *e);

// ---- health.c

void etcd_surveys_step(struct etcd *e);

// ---- encode.c

// The request of a transaction, which holds only in the epoch that is known. slot NULL: it leaves no mark. burn: when
// its compares do not hold, it takes the slot all the same, so that no earlier sending of it can be applied any more.
// To be freed by etcd_request_free.
Etcd__TxnRequest *etcd_request(const struct store_txn *txn, const struct slot *slot, uint64_t epoch_mod,
			       uint64_t operation, bool burn);
// Changes nothing: succeeds if the slot is as we left it, else shows it. Has its place in etcd's history.
Etcd__TxnRequest *etcd_request_slot(const struct slot *slot);
void etcd_request_free(Etcd__TxnRequest *request);
struct record *etcd_record(const Etcd__KeyValue *kv);
#define SLOT_KEY_MAX 80
size_t etcd_slot_key(const struct slot *slot, char key[SLOT_KEY_MAX]);
const Etcd__KeyValue *etcd_first_kv(const Etcd__TxnResponse *response,
				    size_t i); // of the i-th answer, a range; or NULL

// ---- sync.c

void etcd_sync_step(struct etcd *e);
void etcd_sync_tick(struct etcd *e, uint64_t now_ms);
// The watch is not to be trusted. list: and neither is the replica.
void etcd_sync_again(struct etcd *e, bool list, const char *why);
void etcd_sync_clear(struct etcd *e);

// ---- replay.c

// A whole answer of the watch. Takes the events it keeps out of the message. False: what came does not fit to what is
// known, why says how; the replica stays as it was.
bool etcd_replay(struct etcd *e, Etcd__WatchResponse *response, const char **why);
void etcd_replay_clear(struct etcd *e);

// ---- lease.c

bool etcd_lease(struct store *store, struct store_hold *hold);
void etcd_lease_end(struct store *store, struct store_hold *hold);
void etcd_leases_step(struct etcd *e);
void etcd_leases_tick(struct etcd *e, uint64_t now_ms);
void etcd_leases_clear(struct etcd *e);

// ---- compact.c

void etcd_compact_by(struct store *store, const struct store_hold *hold);
void etcd_compact(struct etcd *e, uint64_t revision); // also for tests
void etcd_compact_now(struct store *store);
void etcd_compact_init(struct etcd *e);
void etcd_compact_clear(struct etcd *e);

// ---- etcd.c

// As store_open_etcd; restoring: also one that is closed, see CLOSED.
int etcd_open(struct loop *loop, const char *url, const struct store_etcd_options *options, struct store_owner owner,
	      const char *restoring, struct store **ret, struct err *err);
