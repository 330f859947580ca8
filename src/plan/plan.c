#include "plan/plan.h"

#include "plan/planner.h"

static void *grow(void *items, uint32_t *size, uint32_t count, size_t each)
{
	if (count < *size)
		return items;
	*size = *size ? *size * 2 : 16;
	return xreallocarray(items, *size, each);
}

struct plan_action *planner_act(struct planner *planner, enum plan_verb verb, enum plan_reason reason)
{
	struct plan *out = planner->out;
	out->actions = grow(out->actions, &planner->action_size, out->action_count, sizeof(*out->actions));
	struct plan_action *action = &out->actions[out->action_count++];
	*action = (struct plan_action){ .verb = verb,
					.reason = reason,
					.placement = PLAN_NONE,
					.app = PLAN_NONE,
					.process = PLAN_NONE,
					.node = PLAN_NONE };
	return action;
}

void planner_act_on(struct planner *planner, enum plan_verb verb, enum plan_reason reason, uint32_t placement)
{
	const struct plan_placement *on = &planner->in->placements[placement];
	struct plan_action *action = planner_act(planner, verb, reason);
	action->placement = placement;
	action->app = on->app;
	action->process = on->process;
	action->index = on->index;
	action->release = on->release;
	action->restart = on->restart;
	action->node = on->node;
	action->moves = on->moves;
}

// Records of what is over, or was on a node that is no more.
static void remove_records(struct planner *planner)
{
	const struct plan_input *in = planner->in;
	for (uint32_t i = 0; i < in->placement_count; i++) {
		const struct plan_placement *placement = &in->placements[i];
		bool over = placement->want == WANT_STOP && placement->state == INSTANCE_STOPPED;
		bool nowhere = placement->node == PLAN_NONE;
		planner->removed[i] = over || nowhere;
		if (planner->removed[i])
			planner_act_on(planner, PLAN_REMOVE, nowhere ? PLAN_NODE_GONE : PLAN_OVER, i);
	}
}

static bool is_grouped(const struct planner *planner, uint32_t placement)
{
	return !planner->removed[placement] && planner->in->placements[placement].process != PLAN_NONE;
}

// A counting sort: stable, so that the input's order decides between equals.
static void group_by_process(struct planner *planner)
{
	const struct plan_input *in = planner->in;
	for (uint32_t i = 0; i < in->placement_count; i++)
		if (is_grouped(planner, i))
			planner->first[in->placements[i].process + 1]++;
	for (uint32_t p = 0; p < in->process_count; p++)
		planner->first[p + 1] += planner->first[p];
	AUTO_FREE uint32_t *next = xcalloc(in->process_count, sizeof(*next));
	if (in->process_count)
		memcpy(next, planner->first, in->process_count * sizeof(*next));
	for (uint32_t i = 0; i < in->placement_count; i++)
		if (is_grouped(planner, i))
			planner->order[next[in->placements[i].process]++] = i;
}

static void survey_apps(struct planner *planner)
{
	const struct plan_input *in = planner->in;
	for (uint32_t a = 0; a < in->app_count; a++)
		planner->app_failing[a] = PLAN_NONE;
	for (uint32_t i = 0; i < in->placement_count; i++) {
		const struct plan_placement *placement = &in->placements[i];
		if (!is_grouped(planner, i) || placement->want != WANT_RUN ||
		    placement->index >= in->processes[placement->process].wanted)
			continue;
		bool wanted = placement_is_wanted(planner, placement);
		bool fails = placement_fails(placement) && !node_is_evicting(planner, placement->node);
		uint32_t *failing = &planner->app_failing[placement->app];
		planner->app_has_old[placement->app] |= !wanted;
		if (*failing == PLAN_NONE && wanted && fails)
			*failing = i;
	}
}

// Placements without a process: the app is gone, or its release has no such process any more. The latter are kept
// until everything else the release wants is there.
static void stop_orphans(struct planner *planner)
{
	const struct plan_input *in = planner->in;
	for (uint32_t i = 0; i < in->placement_count; i++) {
		const struct plan_placement *placement = &in->placements[i];
		if (planner->removed[i] || placement->process != PLAN_NONE || placement->want != WANT_RUN)
			continue;
		if (placement->app == PLAN_NONE)
			planner_act_on(planner, PLAN_STOP, PLAN_APP_GONE, i);
		else if (in->apps[placement->app].stopped)
			planner_act_on(planner, PLAN_STOP, PLAN_APP_STOPPED, i);
		else if (!planner->app_unfinished[placement->app])
			planner_act_on(planner, PLAN_STOP, PLAN_PROCESS_GONE, i);
	}
}

static void allocate(struct planner *planner)
{
	const struct plan_input *in = planner->in;
	uint32_t most = 0;
	for (uint32_t p = 0; p < in->process_count; p++)
		most = in->processes[p].wanted > most ? in->processes[p].wanted : most;
	planner->first = xcalloc((size_t)in->process_count + 1, sizeof(*planner->first));
	planner->order = xcalloc(in->placement_count, sizeof(*planner->order));
	planner->removed = xcalloc(in->placement_count, sizeof(*planner->removed));
	planner->app_failing = xcalloc(in->app_count, sizeof(*planner->app_failing));
	planner->app_has_old = xcalloc(in->app_count, sizeof(*planner->app_has_old));
	planner->app_unfinished = xcalloc(in->app_count, sizeof(*planner->app_unfinished));
	planner->seats = xcalloc(most, sizeof(*planner->seats));
	planner->out->statuses = xcalloc(in->process_count, sizeof(*planner->out->statuses));
	planner->out->status_count = in->process_count;
}

static void release(struct planner *planner)
{
	nodes_free(planner);
	free(planner->first);
	free(planner->order);
	free(planner->removed);
	free(planner->app_failing);
	free(planner->app_has_old);
	free(planner->app_unfinished);
	free(planner->seats);
}

void plan_make(const struct plan_input *input, struct plan *ret)
{
	*ret = (struct plan){ 0 };
	struct planner planner = { .in = input, .out = ret };
	allocate(&planner);
	remove_records(&planner);
	nodes_judge(&planner);
	group_by_process(&planner);
	survey_apps(&planner);
	for (uint32_t p = 0; p < input->process_count; p++)
		process_plan(&planner, p);
	stop_orphans(&planner);
	release(&planner);
}

void plan_clear(struct plan *plan)
{
	free(plan->actions);
	free(plan->unplaced);
	free(plan->refusals);
	free(plan->statuses);
	*plan = (struct plan){ 0 };
}
