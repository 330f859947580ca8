// Faults of the memory store, for tests of whatever stands on a store.
#pragma once

#include "store/store.h"

enum store_fault {
	STORE_FAULT_NONE,
	STORE_FAULT_NOT_APPLIED, // the batch is refused
	STORE_FAULT_NO_SPACE,
	STORE_FAULT_UNKNOWN_APPLIED,     // it is applied, but the answer is STORE_UNKNOWN; the store goes on
	STORE_FAULT_UNKNOWN_NOT_APPLIED, // it is not, the answer is the same
	STORE_FAULT_FATAL,               // as a failed fsync
};

// Every write from the n-th on (1: the next) meets this fault, `times` times.
void store_memory_fault(struct store *store, enum store_fault fault, unsigned n, unsigned times);

// What the owner is told with STORE_FAULT_FATAL; without an owner that fault aborts.
void store_memory_own(struct store *store, struct store_owner owner);

struct backup;
// As a restore from a backup does: all of its content, with the revisions, under a new epoch. Nothing may wait.
void store_memory_restore(struct store *store, const struct backup *backup);

// While held, nothing is written and so nothing answered.
void store_memory_hold(struct store *store, bool hold);
