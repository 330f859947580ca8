// Private to the etcd driver: a transaction on its way (write.c), and what is made of the answers to it (judge.c).
#pragma once

#include "store/etcd/lanes.h"
#include "store/etcd/private.h"

struct write {
	struct list link; // of ready, flying, resting or caught; of none while it waits in lanes
	struct etcd *e;
	struct store_txn *txn;
	struct lane_holder holder;
	struct slot *slot;
	struct grpc_call *call;
	size_t member;
	uint64_t operation;          // 0: only waits for a revision
	uint64_t began_ms, after_ms; // first sent; not to be sent again before
	unsigned sent, in_doubt;     // how often; and how many of these may be applied, now or later
	bool plain;                  // sent without a slot
	bool asking;                 // next, look at the slot; the last sending, of no space, is in doubt until then
	bool slot_worn;              // not to be used again
	bool waits;                  // counted in n_waiting
	uint64_t sent_ms, term;      // of the last sending
	uint64_t epoch_mod;          // of the epoch in which it was made: it is applied in no other
	uint64_t caught_ms;
};

enum verdict { NOT_DONE, IN_DOUBT, FINAL };

struct judgement {
	enum verdict verdict;
	enum store_result result; // FINAL
	const char *reason;
	bool move, drop; // another member; and the connection is suspect
};

// Of a sending that ended without an answer, or with an error.
struct judgement write_judge_failure(const struct grpc_end *end);
// Of one that was answered; takes down in w what follows from it.
struct judgement write_judge(struct write *w, const Etcd__TxnResponse *response);
