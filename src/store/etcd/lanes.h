// The order of transactions that name a common key: each waits until those before it are through with the key, except
// that mere compares share one. Taken all at once, so nobody waits in a circle.
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "store/txn.h"

struct lane;

struct lane_place {
	struct list link; // of the lane's waiting places
	struct lane *lane;
	struct lane_holder *holder;
	bool exclusive;
};

struct lane_holder {
	struct lane_place *places;
	size_t n_places, blockers;                   // blockers == 0: all places are granted
	void (*granted)(struct lane_holder *holder); // when blockers has become 0 later; not from within lanes_enter
};

// True: all is granted at once.
bool lanes_enter(struct map *lanes, struct lane_holder *holder, const struct store_txn *txn);
void lanes_leave(struct map *lanes, struct lane_holder *holder); // also one that still waits
