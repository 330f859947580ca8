// Private to store: what a driver is. The replica is the same for all; a driver decides how a transaction becomes
// durable and then calls replica_apply.
#pragma once

#include "store/replica.h"
#include "store/txn.h"

struct driver {
	const char *name;
	void (*commit)(struct store *store, struct store_txn *txn); // takes txn, finishes it by store_txn_finish, later
	// Finishes txn (which has no operations) when the replica has that revision.
	void (*await)(struct store *store, struct store_txn *txn, uint64_t revision);
	const char *(*epoch)(const struct store *store);
	// True: hold->lease stands. Otherwise hold->look is woken when there is something new about it.
	bool (*lease)(struct store *store, struct store_hold *hold);
	void (*lease_end)(struct store *store, struct store_hold *hold); // gives it back, with what stands on it
	void (*compact_by)(struct store *store, const struct store_hold *hold); // NULL: it does so by itself
	void (*compact)(struct store *store); // now; NULL: it has no history
	bool shared; // others may write to the same store
	void (*stats)(const struct store *store, struct store_stats *stats); // beyond those of the replica
	void (*close)(struct store *store); // finishes all transactions, frees the store
};

struct store {
	const struct driver *driver;
	struct loop *loop;
	struct replica replica;
	bool frozen;
};
