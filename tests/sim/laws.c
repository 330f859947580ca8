// What must hold, of each plan and of the world.
#include "world.h"

#include "base/str.h"

struct tally {
	uint32_t run, ready;                          // before the plan
	uint32_t run_after, ready_after, extra_after; // extra: index at or beyond wanted, still running
	uint32_t placed;
	bool extra_idle; // one of the extras serves nobody
};

static bool is_silent(const struct view *view, uint32_t node)
{
	return view->nodes[node].silent_ms >= view->input.settings.lost_ms;
}

static bool all_silent(const struct view *view)
{
	for (uint32_t n = 0; n < view->input.node_count; n++)
		if (!is_silent(view, n))
			return false;
	return true;
}

static bool is_lost(const struct view *view, uint32_t node)
{
	return all_silent(view) ? view->nodes[node].state == NODE_LOST : is_silent(view, node);
}

static bool serves(const struct view *view, const struct plan_placement *placement)
{
	return placement->state == INSTANCE_READY && !placement->unheard && !is_lost(view, placement->node);
}

static bool is_stopped_by(const struct plan *plan, uint32_t placement)
{
	for (uint32_t i = 0; i < plan->action_count; i++)
		if (plan->actions[i].placement == placement &&
		    (plan->actions[i].verb == PLAN_STOP || plan->actions[i].verb == PLAN_REMOVE))
			return true;
	return false;
}

static uint32_t wanted_of(const struct view *view, uint32_t process)
{
	const struct plan_process *wanted = &view->processes[process];
	return view->apps[wanted->app].stopped ? 0 : wanted->wanted;
}

static struct tally count_process(const struct view *view, const struct plan *plan, uint32_t process)
{
	struct tally count = { 0 };
	for (uint32_t i = 0; i < view->input.placement_count; i++) {
		const struct plan_placement *placement = &view->placements[i];
		if (placement->process != process || placement->want != WANT_RUN)
			continue;
		bool stays = !is_stopped_by(plan, i), ready = serves(view, placement);
		count.run++;
		count.ready += ready;
		count.run_after += stays;
		count.ready_after += stays && ready;
		bool extra = stays && placement->index >= wanted_of(view, process);
		count.extra_after += extra;
		count.extra_idle |= extra && !ready && !placement->unheard;
	}
	for (uint32_t i = 0; i < plan->action_count; i++)
		count.placed += plan->actions[i].verb == PLAN_PLACE && plan->actions[i].process == process;
	count.run_after += count.placed;
	return count;
}

static uint32_t surge_allowed(const struct plan_settings *settings, uint32_t wanted)
{
	uint32_t surge = (wanted * settings->surge_percent + 99) / 100;
	surge = surge > settings->surge_min ? surge : settings->surge_min;
	return surge || settings->unavailable ? surge : 1;
}

static uint32_t floor_of(const struct plan_settings *settings, uint32_t wanted)
{
	return wanted > settings->unavailable ? wanted - settings->unavailable : 0;
}

static void check_counts(struct world *world, const struct view *view, const struct plan *plan, uint32_t process)
{
	struct tally count = count_process(view, plan, process);
	uint32_t wanted = wanted_of(view, process), floor = floor_of(&world->settings, wanted);
	uint32_t most = wanted + surge_allowed(&world->settings, wanted) + count.extra_after;
	if (count.placed && count.run_after > most && count.run_after > count.run)
		world_violate(world, "surge", "process %u: %u of %u run after the plan", process, count.run_after,
			      wanted);
	if (count.extra_after && wanted && (count.extra_idle || count.ready_after > floor))
		world_violate(world, "surge", "process %u keeps %u too many: %u ready, %u wanted", process,
			      count.extra_after, count.ready_after, wanted);
	uint32_t least = count.ready < floor ? count.ready : floor;
	if (count.ready_after < least)
		world_violate(world, "available", "process %u: ready %u to %u of %u wanted", process, count.ready,
			      count.ready_after, wanted);
}

static bool has_index(const struct view *view, const struct plan *plan, const struct plan_action *action)
{
	for (uint32_t i = 0; i < view->input.placement_count; i++) {
		const struct plan_placement *other = &view->placements[i];
		bool same =
			other->process == action->process && other->index == action->index && other->want == WANT_RUN;
		bool alike = other->release == action->release && other->restart == action->restart;
		bool stays = !is_lost(view, other->node) && view->nodes[other->node].state != NODE_DRAINING;
		if (same && alike && stays && !is_stopped_by(plan, i))
			return true;
	}
	for (const struct plan_action *other = plan->actions; other < action; other++)
		if (other->verb == PLAN_PLACE && other->process == action->process && other->index == action->index)
			return true;
	return false;
}

static bool app_fails(const struct view *view, uint32_t app)
{
	for (uint32_t i = 0; i < view->input.placement_count; i++) {
		const struct plan_placement *placement = &view->placements[i];
		const struct plan_app *wanted = &view->apps[app];
		if (placement->app == app && placement->process != PLAN_NONE && placement->want == WANT_RUN &&
		    placement->index < wanted_of(view, placement->process) && placement->release == wanted->release &&
		    placement->restart == wanted->restart && !placement->unheard && !is_lost(view, placement->node) &&
		    view->nodes[placement->node].state == NODE_READY &&
		    (placement->state == INSTANCE_BACKOFF || placement->state == INSTANCE_FAILED))
			return true;
	}
	return false;
}

static bool old_serves(const struct view *view, const struct plan_action *action)
{
	const struct plan_app *app = &view->apps[action->app];
	for (uint32_t i = 0; i < view->input.placement_count; i++) {
		const struct plan_placement *placement = &view->placements[i];
		if (placement->process == action->process && placement->want == WANT_RUN && serves(view, placement) &&
		    view->nodes[placement->node].state == NODE_READY &&
		    (placement->release != app->release || placement->restart != app->restart))
			return true;
	}
	return false;
}

static void check_place(struct world *world, const struct view *view, const struct plan *plan,
			const struct plan_action *action)
{
	const struct plan_app *app = &view->apps[action->app];
	if (action->index >= wanted_of(view, action->process) || has_index(view, plan, action))
		world_violate(world, "index", "process %u: index %u placed again", action->process, action->index);
	if (is_silent(view, action->node) || view->nodes[action->node].state == NODE_DRAINING)
		world_violate(world, "node", "placed on node %u, which is silent or being emptied", action->node);
	bool advances = action->reason == PLAN_RELEASE || action->reason == PLAN_RESTART;
	bool newest = action->release == app->release && action->restart == app->restart;
	if (app_fails(view, action->app) &&
	    (advances || (newest && action->reason == PLAN_MISSING && old_serves(view, action))))
		world_violate(world, "failed", "app %u: release %u fails, and goes on (%s)", action->app, app->release,
			      plan_reason_text(action->reason));
}

static void check_room(struct world *world, const struct view *view, const struct plan *plan)
{
	uint64_t used[NODES_MAX] = { 0 };
	for (uint32_t i = 0; i < view->input.placement_count; i++)
		used[view->placements[i].node] += view->placements[i].takes_memory_bytes;
	for (uint32_t i = 0; i < plan->action_count; i++) {
		const struct plan_action *action = &plan->actions[i];
		if (action->verb == PLAN_REMOVE)
			used[action->node] -= view->placements[action->placement].takes_memory_bytes;
		if (action->verb != PLAN_PLACE)
			continue;
		const struct sim_app *app = &world->apps[view->app_of[action->app]];
		used[action->node] += app->releases[action->release].memory_bytes;
		if (used[action->node] > view->nodes[action->node].room.memory_bytes)
			world_violate(world, "room", "node %u is to hold %lu", action->node,
				      (unsigned long)used[action->node]);
	}
}

static void check_cut_off(struct world *world, const struct view *view, const struct plan *plan)
{
	static const bool by_people[] = { [PLAN_SCALED_DOWN] = true,  [PLAN_APP_STOPPED] = true, [PLAN_APP_GONE] = true,
					  [PLAN_PROCESS_GONE] = true, [PLAN_DUPLICATE] = true,   [PLAN_OVER] = true };
	if (!all_silent(view))
		return;
	for (uint32_t i = 0; i < plan->action_count; i++)
		if ((size_t)plan->actions[i].reason >= ARRAY_LEN(by_people) || !by_people[plan->actions[i].reason])
			world_violate(world, "cut off", "nobody is heard, yet: %s",
				      plan_reason_text(plan->actions[i].reason));
}

// The same world with the plan carried out and nothing heard since: there is nothing left to do.
static void check_idle(struct world *world, const struct view *view, const struct plan *plan)
{
	if (world->settings.unavailable || !plan->action_count)
		return;
	uint32_t count = 0;
	AUTO_FREE struct plan_placement *placements =
		xcalloc(view->input.placement_count + plan->action_count, sizeof(*placements));
	struct plan_node nodes[NODES_MAX];
	memcpy(nodes, view->nodes, sizeof(nodes));
	for (uint32_t i = 0; i < view->input.placement_count; i++) {
		struct plan_placement placement = view->placements[i];
		bool removed = false;
		for (uint32_t a = 0; a < plan->action_count; a++) {
			if (plan->actions[a].placement != i || plan->actions[a].verb == PLAN_PLACE)
				continue;
			removed |= plan->actions[a].verb == PLAN_REMOVE;
			placement.want = WANT_STOP;
		}
		if (!removed)
			placements[count++] = placement;
	}
	for (uint32_t a = 0; a < plan->action_count; a++) {
		const struct plan_action *action = &plan->actions[a];
		if (action->verb == PLAN_NODE)
			nodes[action->node].state = action->state;
		if (action->verb == PLAN_PLACE)
			placements[count++] = (struct plan_placement){
				.app = action->app,
				.process = action->process,
				.node = action->node,
				.index = action->index,
				.release = action->release,
				.restart = action->restart,
				.moves = action->moves,
				.takes_memory_bytes =
					world->apps[view->app_of[action->app]].releases[action->release].memory_bytes,
				.created_ms = world->now_ms
			};
	}
	struct plan_input again = view->input;
	again.placements = placements;
	again.placement_count = count;
	again.nodes = nodes;
	struct plan second;
	plan_make(&again, &second);
	for (uint32_t i = 0; i < second.action_count; i++)
		if (second.actions[i].reason != PLAN_CRASHED) // waits for the end of the rollout, which the plan was
			world_violate(world, "idle", "planned again: verb %d, %s", second.actions[i].verb,
				      plan_reason_text(second.actions[i].reason));
	plan_clear(&second);
}

void laws_check_plan(struct world *world, const struct view *view, const struct plan *plan)
{
	for (uint32_t p = 0; p < view->input.process_count; p++)
		check_counts(world, view, plan, p);
	for (uint32_t i = 0; i < plan->action_count; i++)
		if (plan->actions[i].verb == PLAN_PLACE)
			check_place(world, view, plan, &plan->actions[i]);
	check_room(world, view, plan);
	check_cut_off(world, view, plan);
	if (world->bug == BUG_NONE)
		check_idle(world, view, plan);
}

static bool is_ready(const struct world *world, const struct sim_instance *instance)
{
	return instance->state == INSTANCE_READY && world->nodes[instance->node].up;
}

// How many are ready; *ret_known: the server knows as much of each, and no message to the contrary is still on its way.
static uint32_t count_ready(const struct world *world, uint32_t app, uint32_t process, bool *ret_known)
{
	uint32_t ready = 0;
	*ret_known = true;
	for (uint32_t i = 0; i < world->instance_count; i++) {
		const struct sim_instance *instance = &world->instances[i];
		if (!instance_belongs(world, instance) || instance->app != app || instance->process != process ||
		    instance->want != WANT_RUN)
			continue;
		bool heard = instance->heard && instance->seen == INSTANCE_READY;
		ready += is_ready(world, instance);
		bool late = instance->flapped_ms && world->now_ms - instance->flapped_ms <= DELAY_MAX_MS;
		*ret_known =
			*ret_known && !late && world->nodes[instance->node].up && heard == is_ready(world, instance);
	}
	return ready;
}

static void list_instances(const struct world *world, uint32_t app, uint32_t process)
{
	for (uint32_t i = 0; i < world->instance_count; i++) {
		const struct sim_instance *instance = &world->instances[i];
		if (instance_belongs(world, instance) && instance->app == app && instance->process == process)
			fprintf(stderr, "    instance %u index %u release %u.%u node %u want %s: %s, heard %s%s\n", i,
				instance->index, instance->release, instance->restart, instance->node,
				instance->want == WANT_RUN ? "run" : "stop", instance_state_name(instance->state),
				instance->heard ? "" : "long ago ", instance_state_name(instance->seen));
	}
}

// What users would notice: once full, and known to be, never fewer really ready than wanted less the allowed, unless
// something broke (which disarms: agents.c, operators.c).
void laws_check_world(struct world *world)
{
	for (uint32_t a = 0; a < APPS; a++) {
		struct sim_app *app = &world->apps[a];
		for (uint32_t p = 0; p < PROCESSES; p++) {
			bool known = false;
			uint32_t wanted = app_wants(app, p), ready = count_ready(world, a, p, &known);
			if (wanted && ready >= wanted && known)
				app->armed[p] = true;
			if (!wanted || !app->armed[p] || ready >= floor_of(&world->settings, wanted))
				continue;
			world_violate(world, "available", "app %u process %u: %u of %u are ready", a, p, ready, wanted);
			if (world->trace)
				list_instances(world, a, p);
		}
	}
}

static void check_seats(struct world *world, uint32_t a, uint32_t p)
{
	const struct sim_app *app = &world->apps[a];
	uint32_t wanted = app_wants(app, p), seated = 0;
	bool taken[64] = { false };
	for (uint32_t i = 0; i < world->instance_count; i++) {
		const struct sim_instance *instance = &world->instances[i];
		if (!instance_belongs(world, instance) || instance->app != a || instance->process != p)
			continue;
		bool right = instance->want == WANT_RUN && instance->release == app->release &&
			     instance->restart == app->restart && instance->state == INSTANCE_READY &&
			     instance->index < wanted && !taken[instance->index];
		if (!right) {
			world_violate(world, "converges",
				      "app %u process %u: instance %u (index %u, state %s) is left over", a, p, i,
				      instance->index, instance_state_name(instance->state));
			return;
		}
		taken[instance->index] = true;
		seated++;
	}
	if (seated != wanted)
		world_violate(world, "converges", "app %u process %u: %u of %u", a, p, seated, wanted);
}

void laws_check_end(struct world *world)
{
	for (uint32_t a = 0; a < APPS && !world->weather.tight; a++)
		for (uint32_t p = 0; p < PROCESSES; p++)
			check_seats(world, a, p);
	for (uint32_t i = 0; i < world->instance_count; i++)
		if (world->instances[i].exists && !instance_belongs(world, &world->instances[i]))
			world_violate(world, "converges", "instance %u of a deleted app is left over", i);
}
