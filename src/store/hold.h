// Private to store: keys held as long as their holder lives, over any driver's leases. The holder is a state machine
// driven by a task of its own: it looks at the key in the replica and at its lease, and goes on from there.
#pragma once

#include "base/buf.h"
#include "io/loop.h"
#include "store/driver.h"

enum hold_state { HOLD_WAITING, HOLD_CLAIMING, HOLD_HELD, HOLD_STATES };

struct store_hold {
	struct store *store;
	struct list link; // of its driver's leases
	char *key;
	struct buf value;
	uint64_t ttl_ms;
	struct task *owner; // to be told
	struct task look;
	struct timer again;
	struct store_watch watch;
	struct store_txn *claim;
	enum hold_state state;
	uint64_t fence; // creation revision of the key as we made it; 0: not ours

	// The driver's.
	uint64_t lease;       // its id; 0: none
	uint64_t until_ms;    // by clock_boottime_ms: our own deadline
	uint64_t asked_ms;    // when the last keep-alive was sent; 0: it has been answered
	uint64_t granting_ms; // when a lease was asked for; 0: none is being granted
	uint64_t after_ms;    // not before
	void *granting;
};

uint64_t boottime_ms(void); // goes on while the machine sleeps

// By the driver: the lease is gone; whoever stands on it is told.
void hold_lost(struct store_hold *hold);
