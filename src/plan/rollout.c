// One process: what runs of it against what should, and how to get from one to the other without a gap.
#include "plan/work.h"

// ---- actions

static bool may_stop(const struct work *work, const struct plan_placement *placement)
{
	return !work->wanted || is_idle(work, placement) || work->ready > work->floor;
}

static void stop(struct work *work, uint32_t placement, enum plan_reason reason)
{
	const struct plan_placement *stopped = at(work, placement);
	planner_act_on(work->planner, PLAN_STOP, reason, placement);
	work->run--;
	work->ready -= serves(work, stopped);
	work->draining += !is_lost(work, stopped);
}

// What the new instance is to be.
struct order {
	uint32_t release, restart, moves;
	struct wish wish;
	uint32_t replaces;
};

static struct order order_wanted(const struct work *work, uint32_t index, enum plan_reason reason)
{
	return (struct order){ .release = work->app->release,
			       .restart = work->app->restart,
			       .replaces = PLAN_NONE,
			       .wish = { .process = work->process,
					 .index = index,
					 .takes = work->in->processes[work->process].takes,
					 .except = PLAN_NONE,
					 .reason = reason } };
}

// The same as another placement in release and size.
static struct order order_like(const struct work *work, uint32_t index, uint32_t pattern, enum plan_reason reason)
{
	struct order order = order_wanted(work, index, reason);
	order.release = at(work, pattern)->release;
	order.restart = at(work, pattern)->restart;
	order.wish.takes = placement_takes(at(work, pattern));
	return order;
}

static bool place(struct work *work, const struct order *order)
{
	struct planner *planner = work->planner;
	uint32_t node = work->unplaced ? PLAN_NONE : node_choose(planner, &order->wish);
	if (node == PLAN_NONE) {
		if (!work->unplaced++)
			nodes_refuse(planner, &order->wish);
		else
			planner->out->unplaced[planner->out->unplaced_count - 1].count++;
		return false;
	}
	struct plan_action *action = planner_act(planner, PLAN_PLACE, order->wish.reason);
	action->placement = order->replaces;
	action->app = work->in->processes[work->process].app;
	action->process = work->process;
	action->index = order->wish.index;
	action->release = order->release;
	action->restart = order->restart;
	action->moves = order->moves;
	action->node = node;
	node_take(planner, node, &order->wish.takes);
	node_count_one(planner, node, 1);
	work->run++;
	return true;
}

// ---- what to do about it

static int by_rank(const void *a, const void *b)
{
	const struct extra *left = a, *right = b;
	if (left->rank != right->rank)
		return left->rank > right->rank ? -1 : 1;
	return left->placement > right->placement ? -1 : left->placement < right->placement;
}

static void stop_extras(struct work *work)
{
	if (work->extra_count)
		qsort(work->extras, work->extra_count, sizeof(*work->extras), by_rank);
	for (uint32_t i = 0; i < work->extra_count; i++) {
		if (!may_stop(work, at(work, work->extras[i].placement)))
			continue;
		stop(work, work->extras[i].placement, work->extras[i].reason);
		work->stopped_extras++;
	}
}

// Empties a chair if what sits there has a replacement that is settled.
static void stop_one_replaced(struct work *work, uint32_t *chair, uint32_t by)
{
	if (*chair == PLAN_NONE || by == PLAN_NONE || !is_settled(work, at(work, by)))
		return;
	if (!is_finished(at(work, by)) && !may_stop(work, at(work, *chair)))
		return;
	stop(work, *chair, PLAN_REPLACED);
	*chair = PLAN_NONE;
}

static void stop_replaced(struct work *work)
{
	for (uint32_t i = 0; i < work->wanted && !work->planner->cut_off; i++) {
		struct seat *seat = &work->planner->seats[i];
		stop_one_replaced(work, &seat->leaving, seat->old);
		stop_one_replaced(work, &seat->leaving, seat->current);
		stop_one_replaced(work, &seat->old, seat->current);
	}
}

// After the wanted count shrank, the surge may be larger than it may be now, also with what is missing added: the
// newest that do not serve yet give way, all but the one that shows that the release fails.
static void trim(struct work *work)
{
	uint32_t missing = 0;
	for (uint32_t i = 0; i < work->wanted; i++) {
		const struct seat *seat = &work->planner->seats[i];
		missing += seat->current == PLAN_NONE && seat->old == PLAN_NONE && seat->leaving == PLAN_NONE;
	}
	uint32_t evidence = work->planner->app_failing[work->in->processes[work->process].app];
	uint32_t most = work->wanted + work->surge + work->extra_count - work->stopped_extras;
	for (uint32_t i = work->wanted; i-- > 0 && work->run + missing > most;) {
		struct seat *seat = &work->planner->seats[i];
		bool surplus = seat->current != PLAN_NONE && seat->current != evidence &&
			       !is_settled(work, at(work, seat->current)) &&
			       (seat->old != PLAN_NONE || seat->leaving != PLAN_NONE);
		if (!surplus || !may_stop(work, at(work, seat->current)))
			continue;
		stop(work, seat->current, PLAN_SCALED_DOWN);
		seat->current = PLAN_NONE;
	}
}

static void fill(struct work *work)
{
	for (uint32_t i = 0; i < work->wanted; i++) {
		const struct seat *seat = &work->planner->seats[i];
		if (seat->current != PLAN_NONE || seat->old != PLAN_NONE || seat->leaving != PLAN_NONE)
			continue;
		bool keep = work->stalled && work->serving_old != PLAN_NONE;
		struct order order = keep ? order_like(work, i, work->serving_old, PLAN_MISSING)
					  : order_wanted(work, i, PLAN_MISSING);
		place(work, &order);
	}
}

static enum plan_reason why_replace(const struct work *work, const struct plan_placement *old)
{
	if (is_lost(work, old))
		return PLAN_NODE_LOST;
	if (is_evicting(work, old))
		return PLAN_NODE_DRAINED;
	return old->release != work->app->release ? PLAN_RELEASE : PLAN_RESTART;
}

// Which placement of an index is to have a replacement now, or PLAN_NONE.
static uint32_t find_outgoing(const struct work *work, const struct seat *seat)
{
	if (seat->old != PLAN_NONE) // whatever is leaving besides waits for this one
		return work->stalled || seat->current != PLAN_NONE ? PLAN_NONE : seat->old;
	if (seat->leaving == PLAN_NONE || seat->current == PLAN_NONE)
		return seat->leaving;
	bool useless = work->stalled && placement_fails(at(work, seat->current));
	return useless && !placement_is_wanted(work->planner, at(work, seat->leaving)) ? seat->leaving : PLAN_NONE;
}

static bool order_replacement(const struct work *work, uint32_t index, struct order *ret)
{
	uint32_t outgoing = find_outgoing(work, &work->planner->seats[index]);
	if (outgoing == PLAN_NONE)
		return false;
	enum plan_reason reason = why_replace(work, at(work, outgoing));
	*ret = work->stalled ? order_like(work, index, outgoing, reason) : order_wanted(work, index, reason);
	ret->replaces = outgoing;
	return true;
}

// What is broken is stopped in the same step: nothing is lost by it.
static void replace_broken(struct work *work, uint32_t index)
{
	struct order order;
	if (!order_replacement(work, index, &order) || !is_broken(work, at(work, order.replaces)))
		return;
	uint32_t old = order.replaces;
	bool lost = is_lost(work, at(work, old));
	if (!lost && work->draining >= work->surge + work->in->settings.unavailable)
		return;
	struct plan_room given_back = placement_takes(at(work, old));
	if (place(work, &order))
		stop(work, old, order.wish.reason);
	else if (!lost && node_fits_after(work->planner, at(work, old)->node, &order.wish.takes, &given_back))
		stop(work, old, order.wish.reason); // makes room for it
}

// What serves, or may, gets its replacement first; stop_replaced stops it when that is ready.
static void replace_serving(struct work *work, uint32_t index)
{
	struct order order;
	if (!order_replacement(work, index, &order) || is_broken(work, at(work, order.replaces)))
		return;
	uint32_t over = work->run > work->wanted ? work->run - work->wanted : 0;
	if (over + work->draining < work->surge && place(work, &order))
		return;
	if (!over && work->draining < work->in->settings.unavailable && may_stop(work, at(work, order.replaces)))
		stop(work, order.replaces, order.wish.reason); // the next step fills its place
}

static void roll(struct work *work)
{
	if (work->planner->cut_off)
		return;
	for (uint32_t i = 0; i < work->wanted; i++)
		replace_broken(work, i);
	for (uint32_t i = 0; i < work->wanted; i++)
		replace_serving(work, i);
}

// Crashed often enough, and long enough ago, to be tried on another node.
static bool should_move(const struct work *work, const struct plan_placement *placement)
{
	const struct plan_settings *settings = &work->in->settings;
	uint32_t doubled = placement->moves < 6 ? placement->moves : 6;
	uint64_t age = work->in->now_ms > placement->created_ms ? work->in->now_ms - placement->created_ms : 0;
	bool crashed = placement->state == INSTANCE_BACKOFF && placement->restarts >= (uint64_t)settings->crash_limit
											      << doubled;
	return settings->crash_limit && (crashed || placement->state == INSTANCE_FAILED) &&
	       age >= settings->move_ms << doubled;
}

static void move_crashed(struct work *work)
{
	bool rolling = work->planner->app_has_old[work->in->processes[work->process].app];
	if (work->in->node_count < 2 || rolling || work->planner->cut_off || work->unplaced)
		return;
	for (uint32_t i = 0; i < work->wanted; i++) {
		uint32_t current = work->planner->seats[i].current;
		if (current == PLAN_NONE || !should_move(work, at(work, current)))
			continue;
		struct order order = order_wanted(work, i, PLAN_CRASHED);
		order.wish.except = at(work, current)->node;
		order.replaces = current;
		order.moves = at(work, current)->moves + 1;
		if (node_choose(work->planner, &order.wish) == PLAN_NONE)
			continue; // nothing better than where it is
		place(work, &order);
		stop(work, current, PLAN_CRASHED);
	}
}

static uint32_t surge_of(const struct plan_settings *settings, uint32_t wanted)
{
	uint32_t surge = (uint32_t)(((uint64_t)wanted * settings->surge_percent + 99) / 100);
	if (surge < settings->surge_min)
		surge = settings->surge_min;
	return surge || settings->unavailable ? surge : 1; // with neither nothing could ever be replaced
}

static enum rollout judge(struct work *work, bool done)
{
	if (!work->wanted)
		return ROLLOUT_STOPPED;
	if (work->stalled && !done) {
		if (work->status->failing == PLAN_NONE) // another process of the app
			work->status->failing = work->planner->app_failing[work->in->processes[work->process].app];
		return ROLLOUT_FAILED;
	}
	if (work->unplaced)
		return ROLLOUT_NO_ROOM;
	return done ? ROLLOUT_DONE : ROLLOUT_ROLLING;
}

static void uncount_spread(struct planner *planner, uint32_t process, uint32_t first_action)
{
	nodes_spread(planner, process, -1);
	for (uint32_t i = first_action; i < planner->out->action_count; i++)
		if (planner->out->actions[i].verb == PLAN_PLACE)
			node_count_one(planner, planner->out->actions[i].node, -1);
}

void process_plan(struct planner *planner, uint32_t process)
{
	const struct plan_input *in = planner->in;
	uint32_t app = in->processes[process].app, wanted = in->apps[app].stopped ? 0 : in->processes[process].wanted;
	uint32_t unavailable = in->settings.unavailable;
	struct work work = { .planner = planner,
			     .in = in,
			     .app = &in->apps[app],
			     .status = &planner->out->statuses[process],
			     .process = process,
			     .wanted = wanted,
			     .surge = surge_of(&in->settings, wanted),
			     .floor = wanted > unavailable ? wanted - unavailable : 0,
			     .stalled = planner->app_failing[app] != PLAN_NONE,
			     .serving_old = PLAN_NONE };
	*work.status = (struct plan_status){ .wanted = wanted, .failing = PLAN_NONE };
	uint32_t first_action = planner->out->action_count;
	nodes_spread(planner, process, 1);
	work_survey(&work);
	bool done = work_is_done(&work);
	stop_extras(&work);
	stop_replaced(&work);
	trim(&work);
	planner->app_unfinished[app] |= !work_is_done(&work);
	fill(&work);
	roll(&work);
	move_crashed(&work);
	work.status->rollout = judge(&work, done);
	uncount_spread(planner, process, first_action);
	free(work.extras);
}
