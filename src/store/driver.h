// Private to store: what a driver is. The replica is the same for all; a driver decides how a transaction becomes
// durable and then calls replica_apply.
#pragma once

#include "store/replica.h"
#include "store/txn.h"

struct driver {
	const char *name;
	void (*commit)(struct store *store, struct store_txn *txn); // takes txn, finishes it by store_txn_finish, later
	void (*stats)(const struct store *store, struct store_stats *stats); // beyond those of the replica
	void (*close)(struct store *store); // finishes all transactions, frees the store
};

struct store {
	const struct driver *driver;
	struct loop *loop;
	struct replica replica;
};
