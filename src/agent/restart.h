// When a crashed instance is started again. Pure: the clock and the dice come in.
#pragma once

#include "base/rng.h"
#include "model/spec.h"

struct restart_count {
	uint32_t in_row; // crashes since the last clean run
};

// Whether the policy wants another run after this end.
bool restart_wanted(const struct restart *restart, bool clean_exit);

// A run of run_ms has crashed: returns how long to wait before the next. The first crash of a row costs nothing, the next
// backoff_ms, then twice that and so on up to cap_ms; a run of at least reset_ms begins a new row. Up to a fifth of each
// wait is taken off by chance, so that instances that fell together do not rise together.
uint64_t restart_delay_ms(struct restart_count *count, const struct restart *restart, uint64_t run_ms, struct rng *rng);
