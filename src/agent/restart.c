#include "agent/restart.h"

bool restart_wanted(const struct restart *restart, bool clean_exit)
{
	switch (restart->policy) {
	case RESTART_NEVER:
		return false;
	case RESTART_ON_FAILURE:
		return !clean_exit;
	case RESTART_ALWAYS:
		break;
	}
	return true;
}

uint64_t restart_delay_ms(struct restart_count *count, const struct restart *restart, uint64_t run_ms, struct rng *rng)
{
	if (restart->reset_ms && run_ms >= restart->reset_ms)
		count->in_row = 0;
	count->in_row++;
	if (count->in_row == 1)
		return 0;
	uint64_t delay = restart->backoff_ms;
	for (uint32_t i = 2; i < count->in_row && delay < restart->cap_ms; i++)
		delay *= 2;
	if (delay > restart->cap_ms)
		delay = restart->cap_ms;
	return delay - rng_below(rng, delay / 5 + 1);
}
