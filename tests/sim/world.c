#include "world.h"

#include "base/str.h"

#include <stdarg.h>

uint64_t world_between(struct world *world, uint64_t low, uint64_t high)
{
	return low + rng_below(&world->rng, high - low + 1);
}

bool world_chance(struct world *world, uint32_t in_thousand)
{
	return rng_below(&world->rng, 1000) < in_thousand;
}

void world_violate(struct world *world, const char *law, const char *fmt, ...)
{
	if (world->violation.law)
		return;
	world->violation.law = law;
	va_list args;
	va_start(args, fmt);
	vsnprintf(world->violation.text, sizeof(world->violation.text), fmt, args);
	va_end(args);
}

static void draw_weather(struct world *world)
{
	bool quiet = world_chance(world, 300); // operators only: here the strictest law holds
	struct weather *weather = &world->weather;
	weather->bad_releases = world_chance(world, 500);
	weather->server_restarts = world_chance(world, 300);
	weather->refused_writes = world_chance(world, 300);
	weather->tight = world_chance(world, 200);
	weather->crashes = !quiet && world_chance(world, 500);
	weather->partitions = !quiet && world_chance(world, 400);
	weather->deaths = !quiet && world_chance(world, 400);
	weather->drains = !quiet && world_chance(world, 300);
}

static void draw_settings(struct world *world)
{
	world->settings = PLAN_SETTINGS_DEFAULT;
	world->settings.surge_percent = (uint32_t)world_between(world, 0, 60);
	world->settings.surge_min = (uint32_t)world_between(world, 0, 2);
	world->settings.unavailable = world_chance(world, 250) ? (uint32_t)world_between(world, 1, 2) : 0;
	world->settings.crash_limit = (uint32_t)world_between(world, 2, 10);
	world->settings.move_ms = world_between(world, 1000, 30000);
	world->settings.lost_ms = world_between(world, 5000, 20000);
}

void world_init(struct world *world, uint64_t seed, enum bug bug)
{
	*world = (struct world){ .rng = { seed }, .now_ms = 1000000, .bug = bug };
	draw_weather(world);
	draw_settings(world);
	world->node_count = (uint32_t)world_between(world, 1, NODES_MAX);
	for (uint32_t i = 0; i < world->node_count; i++)
		world->nodes[i] = (struct sim_node){ .up = true,
						     .connected = true,
						     .back_ms = NEVER,
						     .heard_ms = world->now_ms,
						     .memory_bytes = world->weather.tight ? 3000 : 1000000,
						     .zone = (uint32_t)world_between(world, 7, 9) };
}

void world_clear(struct world *world)
{
	for (uint32_t i = 0; i < world->message_count; i++)
		free(world->messages[i].lines);
	free(world->messages);
	free(world->instances);
}

uint32_t app_wants(const struct sim_app *app, uint32_t process)
{
	bool has = process == 0 || app->releases[app->release].has_worker;
	return app->exists && !app->stopped && has ? app->wanted[process] : 0;
}

bool instance_belongs(const struct world *world, const struct sim_instance *instance)
{
	const struct sim_app *app = &world->apps[instance->app];
	return instance->exists && app->exists && app->uid == instance->app_uid;
}

static void view_apps(const struct world *world, struct view *view)
{
	for (uint32_t a = 0; a < APPS; a++) {
		const struct sim_app *app = &world->apps[a];
		if (!app->exists)
			continue;
		uint32_t processes = app->releases[app->release].has_worker ? 2 : 1;
		uint32_t n = view->input.app_count++;
		view->app_of[n] = a;
		view->apps[n] = (struct plan_app){ .release = app->release,
						   .restart = app->restart,
						   .stopped = app->stopped,
						   .first_process = view->input.process_count,
						   .process_count = processes };
		for (uint32_t p = 0; p < processes; p++) {
			view->kind_of[view->input.process_count] = p;
			view->processes[view->input.process_count++] = (struct plan_process){
				.app = n,
				.wanted = app->wanted[p],
				.takes = { .memory_bytes = app->releases[app->release].memory_bytes, .instances = 1 }
			};
		}
	}
}

static void find_app(const struct view *view, uint32_t app, uint32_t process, struct plan_placement *ret)
{
	ret->app = ret->process = PLAN_NONE;
	for (uint32_t a = 0; a < view->input.app_count; a++) {
		if (view->app_of[a] != app)
			continue;
		ret->app = a;
		if (process < view->apps[a].process_count)
			ret->process = view->apps[a].first_process + process;
	}
}

static void view_placements(const struct world *world, struct view *view)
{
	view->placements = xcalloc(world->instance_count, sizeof(*view->placements));
	view->instances = xcalloc(world->instance_count, sizeof(*view->instances));
	for (uint32_t i = 0; i < world->instance_count; i++) {
		const struct sim_instance *instance = &world->instances[i];
		if (!instance->exists)
			continue;
		uint32_t n = view->input.placement_count++;
		view->instances[n] = i;
		view->placements[n] = (struct plan_placement){
			.node = instance->node,
			.index = instance->index,
			.release = instance->release,
			.restart = instance->restart,
			.restarts = instance->seen_restarts,
			.moves = instance->moves,
			.want = instance->want,
			.state = instance->seen,
			.unheard = !instance->heard,
			.takes_memory_bytes = instance->memory_bytes,
			.created_ms = instance->created_ms,
		};
		view->placements[n].app = view->placements[n].process = PLAN_NONE;
		if (instance_belongs(world, instance))
			find_app(view, instance->app, instance->process, &view->placements[n]);
	}
}

// What the planner is told wrongly, so that each law can be seen to fail.
static void seed_bug(struct world *world, struct view *view)
{
	struct plan_input *in = &view->input;
	in->settings.surge_min += world->bug == BUG_SURGE ? 3 : 0;
	in->settings.unavailable += world->bug == BUG_FLOOR ? 2 : 0;
	in->settings.lost_ms = world->bug == BUG_DEAF ? NEVER : in->settings.lost_ms;
	in->settings.memory_percent = world->bug == BUG_ROOMY ? 300 : in->settings.memory_percent;
	for (uint32_t i = 0; i < in->placement_count; i++) {
		struct plan_placement *placement = &view->placements[i];
		bool failing = placement->state == INSTANCE_BACKOFF || placement->state == INSTANCE_FAILED;
		if (world->bug == BUG_HASTY && placement->state == INSTANCE_STARTING)
			placement->state = INSTANCE_READY;
		if (world->bug == BUG_EAGER && failing)
			placement->state = INSTANCE_STARTING;
		if (world->bug == BUG_EAGER)
			placement->restarts = 0;
		if (world->bug == BUG_FORGET && placement->index == 1 && placement->state == INSTANCE_READY)
			placement->index = 1000000;
	}
	for (uint32_t p = 0; p < in->process_count && world->bug == BUG_SHORT; p++)
		view->processes[p].wanted = view->processes[p].wanted < 2 ? view->processes[p].wanted : 2;
	if (world->bug == BUG_RESTLESS)
		view->nodes[0].state = NODE_LOST;
	bool silent = true;
	for (uint32_t i = 0; i < in->node_count; i++)
		silent = silent && view->nodes[i].silent_ms >= in->settings.lost_ms;
	for (uint32_t i = 1; i < in->node_count && silent && world->bug == BUG_PANIC; i++)
		view->nodes[i].silent_ms = 0;
}

void view_make(struct world *world, bool honest, struct view *ret)
{
	*ret = (struct view){ .input = { .now_ms = world->now_ms, .seed = 1, .settings = world->settings } };
	view_apps(world, ret);
	for (uint32_t i = 0; i < world->node_count; i++)
		ret->nodes[i] = (struct plan_node){ .room = { .memory_bytes = world->nodes[i].memory_bytes },
						    .state = world->nodes[i].stored,
						    .zone = world->nodes[i].zone,
						    .silent_ms = world->now_ms - world->nodes[i].heard_ms };
	ret->input.node_count = world->node_count;
	view_placements(world, ret);
	ret->input.apps = ret->apps;
	ret->input.processes = ret->processes;
	ret->input.nodes = ret->nodes;
	ret->input.placements = ret->placements;
	if (!honest)
		seed_bug(world, ret);
}

void view_clear(struct view *view)
{
	free(view->placements);
	free(view->instances);
}

static void add_instance(struct world *world, const struct view *view, const struct plan_action *action)
{
	if (world->instance_count == world->instance_size) {
		world->instance_size = world->instance_size ? world->instance_size * 2 : 64;
		world->instances = xreallocarray(world->instances, world->instance_size, sizeof(*world->instances));
	}
	uint32_t a = view->app_of[action->app];
	const struct sim_app *app = &world->apps[a];
	world->placed++;
	world->instances[world->instance_count++] = (struct sim_instance){
		.exists = true,
		.app = a,
		.app_uid = app->uid,
		.process = view->kind_of[action->process],
		.node = action->node,
		.index = action->index,
		.release = action->release,
		.restart = action->restart,
		.moves = action->moves,
		.want = WANT_RUN,
		.created_ms = world->now_ms,
		.memory_bytes = app->releases[action->release].memory_bytes,
		.good = app->releases[action->release].good,
		.order_ms = world->now_ms + world_between(world, 10, 800),
		.state = INSTANCE_PENDING,
		.heard = true,
		.seen = INSTANCE_PENDING,
	};
}

static void apply_one(struct world *world, const struct view *view, const struct plan_action *action)
{
	struct sim_instance *instance =
		action->placement == PLAN_NONE ? NULL : &world->instances[view->instances[action->placement]];
	if (world->trace)
		fprintf(stderr, "%8.1f   verb %d app %d process %d index %u release %u.%u node %d instance %d: %s\n",
			(double)world->now_ms / 1000, action->verb, (int)action->app, (int)action->process,
			action->index, action->release, action->restart, (int)action->node,
			action->placement == PLAN_NONE ? -1 : (int)view->instances[action->placement],
			plan_reason_text(action->reason));
	switch (action->verb) {
	case PLAN_PLACE:
		add_instance(world, view, action);
		break;
	case PLAN_STOP:
		world->stopped++;
		instance->want = WANT_STOP;
		instance->order_ms = world->now_ms + world_between(world, 10, 3000); // routers let go of it first
		break;
	case PLAN_REMOVE:
		instance->exists = false;
		break;
	case PLAN_NODE:
		world->nodes[action->node].stored = action->state;
		break;
	}
}

// Now and then the store refuses what is to be written of an app.
void world_apply(struct world *world, const struct view *view, const struct plan *plan)
{
	bool refused[APPS + 1] = { false };
	for (uint32_t a = 0; a <= APPS; a++)
		refused[a] = world->weather.refused_writes && !world->calm && world_chance(world, 100);
	for (uint32_t i = 0; i < plan->action_count; i++)
		if (!refused[plan->actions[i].app == PLAN_NONE ? APPS : plan->actions[i].app])
			apply_one(world, view, &plan->actions[i]);
}
