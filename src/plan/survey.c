// What there is of one process, index by index.
#include "plan/work.h"

static void count_one(struct work *work, uint32_t i)
{
	const struct plan_placement *placement = at(work, i);
	struct plan_status *status = work->status;
	if (placement->want == WANT_STOP) {
		status->stopping++;
		work->draining += !is_lost(work, placement);
		return;
	}
	bool wanted = placement_is_wanted(work->planner, placement);
	work->run++;
	work->ready += serves(work, placement);
	status->current += wanted;
	status->current_ready += wanted && serves(work, placement);
	status->old += !wanted;
	if (wanted && is_finished(placement) && placement->index < work->wanted && work->floor)
		work->floor--;
	if (wanted && status->failing == PLAN_NONE && placement_fails(placement) && !is_evicting(work, placement))
		status->failing = i;
	bool pattern = !wanted && serves(work, placement) && !is_evicting(work, placement);
	if (pattern && work->serving_old == PLAN_NONE)
		work->serving_old = i;
}

static bool is_preferred(const struct work *work, uint32_t a, uint32_t b)
{
	const struct plan_placement *left = at(work, a), *right = at(work, b);
	if (is_settled(work, left) != is_settled(work, right))
		return is_settled(work, left);
	if (is_broken(work, left) != is_broken(work, right))
		return !is_broken(work, left);
	if (is_evicting(work, left) != is_evicting(work, right))
		return !is_evicting(work, left);
	return left->created_ms != right->created_ms ? left->created_ms < right->created_ms : a < b;
}

static void add_extra(struct work *work, uint32_t placement, enum plan_reason reason)
{
	const struct plan_placement *extra = at(work, placement);
	uint32_t index = extra->index < (1u << 29) ? extra->index : (1u << 29) - 1;
	work->extras[work->extra_count++] = (struct extra){
		.rank = (uint32_t)is_idle(work, extra) << 30 |
			(uint32_t)!placement_is_wanted(work->planner, extra) << 29 | index,
		.placement = placement,
		.reason = reason,
	};
}

// The chair at the seat that this placement would take.
static uint32_t *chair(const struct work *work, const struct plan_placement *placement)
{
	struct seat *seat = &work->planner->seats[placement->index];
	if (is_evicting(work, placement))
		return &seat->leaving;
	return placement_is_wanted(work->planner, placement) ? &seat->current : &seat->old;
}

static void seat_one(struct work *work, uint32_t i)
{
	const struct plan_placement *placement = at(work, i);
	if (placement->want != WANT_RUN)
		return;
	if (placement->index >= work->wanted) {
		add_extra(work, i, work->app->stopped ? PLAN_APP_STOPPED : PLAN_SCALED_DOWN);
		return;
	}
	uint32_t *taken = chair(work, placement);
	if (*taken == PLAN_NONE) {
		*taken = i;
	} else if (is_preferred(work, i, *taken)) {
		add_extra(work, *taken, PLAN_DUPLICATE);
		*taken = i;
	} else {
		add_extra(work, i, PLAN_DUPLICATE);
	}
}

bool work_is_done(const struct work *work)
{
	for (uint32_t i = 0; i < work->wanted; i++) {
		const struct seat *seat = &work->planner->seats[i];
		if (seat->current == PLAN_NONE || !is_settled(work, at(work, seat->current)))
			return false;
		if (seat->old != PLAN_NONE || seat->leaving != PLAN_NONE)
			return false;
	}
	return work->stopped_extras == work->extra_count;
}

void work_survey(struct work *work)
{
	struct planner *planner = work->planner;
	for (uint32_t i = 0; i < work->wanted; i++)
		planner->seats[i] = (struct seat){ PLAN_NONE, PLAN_NONE, PLAN_NONE };
	uint32_t from = planner->first[work->process], to = planner->first[work->process + 1];
	for (uint32_t i = from; i < to; i++)
		count_one(work, planner->order[i]);
	work->status->ready = work->ready;
	work->extras = xcalloc(to - from, sizeof(*work->extras));
	for (uint32_t i = from; i < to; i++)
		seat_one(work, planner->order[i]);
}
