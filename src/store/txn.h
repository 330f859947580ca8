// Private to store: a transaction from its making to its answer.
#pragma once

#include "store/store.h"

enum compare_kind { COMPARE_EXISTS, COMPARE_MODIFIED, COMPARE_CREATED }; // revision 0 means absent

struct compare {
	enum compare_kind kind;
	uint64_t revision;
	char *key;
};

struct store_txn {
	struct list link; // of its driver
	struct compare *compares;
	struct record **ops; // puts and deletions
	size_t n_compares, n_ops;
	size_t bytes;             // keys and values of ops
	enum store_result broken; // why it cannot be committed; STORE_OK when it can
	const char *broken_reason;

	// Of a fenced transaction: the key held, and its creation revision.
	char *fence_key;
	uint64_t fence;
	uint64_t lease; // its puts stand on this one; 0: none

	// What became of it: set by the driver before store_txn_finish.
	enum store_result result;
	uint64_t revision;
	size_t failed_compare;
	struct record *found; // reference
	const char *reason;

	void (*done)(void *arg, const struct store_answer *answer);
	void *arg;
};

// STORE_OK, or why the transaction cannot be committed, with txn->broken_reason set.
enum store_result store_txn_check(struct store_txn *txn);

// It will be answered so, whatever else is wrong with it. reason: a literal.
void store_txn_refuse(struct store_txn *txn, enum store_result result, const char *reason);

// Index of the first compare that does not hold with what find answers, or n_compares when all hold. *ret_found: the
// record (borrowed, NULL: absent) that made it fail.
size_t store_txn_compare(const struct store_txn *txn, struct record *(*find)(void *arg, const char *key), void *arg,
			 struct record **ret_found);

// True: found (NULL: absent) is not what the transaction's fence was made from.
bool store_txn_fenced(const struct store_txn *txn, const struct record *found);

// Gives back the memory of compares and operations: for one that waits for nothing but its answer.
void store_txn_empty(struct store_txn *txn);

void store_txn_finish(struct store_txn *txn); // calls done, frees
