// Unpacked artifacts that no instance here uses any more: removed when two rounds, an hour apart, found them unused. A
// rollback to one fetches it again.
#pragma once

#include "base/map.h"
#include "io/loop.h"

struct agent;

struct sweep {
	struct agent *agent;
	struct timer timer;
	struct map unused; // folder names that the last round found unused
};

void sweep_init(struct sweep *sweep, struct agent *agent);

// One round. Returns how many removals were begun; they go on on the pool.
unsigned sweep_round(struct sweep *sweep);
