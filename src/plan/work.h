// Private to src/plan: the planning of one process.
#pragma once

#include "plan/planner.h"

// Beyond the wanted indexes, or a second one for the same index.
struct extra {
	uint32_t rank; // larger is stopped sooner
	uint32_t placement;
	enum plan_reason reason;
};

struct work {
	struct planner *planner;
	const struct plan_input *in;
	const struct plan_app *app;
	struct plan_status *status;
	uint32_t process;
	uint32_t wanted, surge;
	uint32_t run, ready, draining; // as they will be after the actions so far
	uint32_t floor;                // so many shall be ready before one that is ready is stopped
	bool stalled;                  // the wanted release fails
	uint32_t serving_old;          // a placement of another release that serves, as a pattern; PLAN_NONE
	uint32_t unplaced;             // how many found no node
	struct extra *extras;
	uint32_t extra_count, stopped_extras;
};

static inline const struct plan_placement *at(const struct work *work, uint32_t placement)
{
	return &work->in->placements[placement];
}

static inline bool is_lost(const struct work *work, const struct plan_placement *placement)
{
	return work->planner->judged[placement->node] == NODE_LOST;
}

static inline bool serves(const struct work *work, const struct plan_placement *placement)
{
	return placement->state == INSTANCE_READY && !placement->unheard && !is_lost(work, placement);
}

// Serves nobody, as far as is known.
static inline bool is_idle(const struct work *work, const struct plan_placement *placement)
{
	return is_lost(work, placement) || (!placement->unheard && placement->state != INSTANCE_READY);
}

// Has shown that it does not serve. What is still on its way to ready may have arrived there since it was heard.
static inline bool is_broken(const struct work *work, const struct plan_placement *placement)
{
	bool coming = placement->state == INSTANCE_PENDING || placement->state == INSTANCE_STARTING;
	return is_lost(work, placement) || (is_idle(work, placement) && !coming);
}

// Ended for good, by its own rule.
static inline bool is_finished(const struct plan_placement *placement)
{
	return placement->state == INSTANCE_STOPPED && !placement->unheard;
}

static inline bool is_settled(const struct work *work, const struct plan_placement *placement)
{
	return serves(work, placement) || is_finished(placement);
}

static inline bool is_evicting(const struct work *work, const struct plan_placement *placement)
{
	return node_is_evicting(work->planner, placement->node);
}

// survey.c: counts what there is, gives each index its seat, collects the extras. extras is to be freed.
void work_survey(struct work *work);

// Every index has its instance, settled, and there is nothing else; without regard to the extras that were stopped.
bool work_is_done(const struct work *work);
