// People: deploy, roll back, scale, stop, start, restart, delete; empty nodes; restart the server.
#include "world.h"

static void note(const struct world *world, uint32_t app, const char *what)
{
	const struct sim_app *a = &world->apps[app];
	if (world->trace)
		fprintf(stderr, "%8.1f app %u %s: release %u.%u (%s) wanted %u %u%s\n", (double)world->now_ms / 1000,
			app, what, a->release, a->restart, a->releases[a->release].good ? "good" : "bad", a->wanted[0],
			a->wanted[1], a->stopped ? " stopped" : "");
}

static void disarm(struct sim_app *app)
{
	for (uint32_t p = 0; p < PROCESSES; p++)
		app->armed[p] = false;
}

static void deploy(struct world *world, uint32_t a, bool good)
{
	struct sim_app *app = &world->apps[a];
	if (app->last_release + 1 == RELEASES_MAX)
		return;
	app->release = ++app->last_release;
	app->releases[app->release] = (struct sim_release){ .good = good,
							    .has_worker = world_chance(world, 700),
							    .memory_bytes = world_between(world, 50, 400) };
	if (!app->releases[app->release].has_worker)
		app->armed[1] = false;
	note(world, a, "deployed");
}

static void create(struct world *world, uint32_t a)
{
	struct sim_app *app = &world->apps[a];
	*app = (struct sim_app){ .exists = true, .uid = ++world->next_uid };
	app->wanted[0] = (uint32_t)world_between(world, 0, 8);
	app->wanted[1] = (uint32_t)world_between(world, 0, 3);
	deploy(world, a, !world->weather.bad_releases || world_chance(world, 700));
}

static void scale(struct world *world, uint32_t a)
{
	struct sim_app *app = &world->apps[a];
	uint32_t p = (uint32_t)world_between(world, 0, PROCESSES - 1);
	uint32_t wanted = (uint32_t)world_between(world, 0, 10);
	if (wanted > app->wanted[p])
		app->armed[p] = false;
	app->wanted[p] = wanted;
	note(world, a, "scaled");
}

static void roll_back(struct world *world, uint32_t a)
{
	struct sim_app *app = &world->apps[a];
	app->release = (uint32_t)world_between(world, 1, app->last_release);
	app->armed[1] = app->armed[1] && app->releases[app->release].has_worker;
	note(world, a, "rolled back");
}

static void turn(struct world *world, uint32_t a)
{
	struct sim_app *app = &world->apps[a];
	app->stopped = !app->stopped;
	disarm(app);
	note(world, a, app->stopped ? "stopped" : "started");
}

static void operate(struct world *world, uint32_t a)
{
	struct sim_app *app = &world->apps[a];
	uint64_t what = world_between(world, 0, 99);
	if (!app->exists) {
		create(world, a);
	} else if (what < 35) {
		deploy(world, a, !world->weather.bad_releases || world_chance(world, 600));
	} else if (what < 60) {
		scale(world, a);
	} else if (what < 70) {
		roll_back(world, a);
	} else if (what < 82) {
		app->restart++;
		note(world, a, "restarted");
	} else if (what < 92 || app->stopped) {
		turn(world, a);
	} else {
		app->exists = false;
		note(world, a, "deleted");
	}
}

static void restart_server(struct world *world)
{
	for (uint32_t i = 0; i < world->instance_count; i++) {
		world->instances[i].heard = false;
		world->instances[i].seen = INSTANCE_PENDING;
		world->instances[i].seen_restarts = 0;
	}
	for (uint32_t n = 0; n < world->node_count; n++)
		world->nodes[n].heard_ms = world->now_ms;
	for (uint32_t i = 0; i < world->message_count; i++)
		world->messages[i].at_ms = NEVER; // their connections are gone
	if (world->trace)
		fprintf(stderr, "%8.1f the server restarts\n", (double)world->now_ms / 1000);
}

void operators_step(struct world *world)
{
	for (uint32_t a = 0; a < APPS; a++)
		if (world_chance(world, 8))
			operate(world, a);
	if (world->weather.server_restarts && world_chance(world, 3))
		restart_server(world);
	if (!world->weather.drains || !world_chance(world, 3))
		return;
	struct sim_node *node = &world->nodes[world_between(world, 0, world->node_count - 1)];
	if (node->stored != NODE_LOST)
		node->stored = node->stored == NODE_READY ? NODE_DRAINING : NODE_READY;
}

// The last order before everybody leaves: something that can work.
void operators_mend(struct world *world)
{
	world->calm = true;
	for (uint32_t a = 0; a < APPS; a++)
		if (world->apps[a].exists && !world->apps[a].releases[world->apps[a].release].good)
			deploy(world, a, true);
	for (uint32_t n = 0; n < world->node_count; n++)
		if (world->nodes[n].stored == NODE_DRAINING)
			world->nodes[n].stored = NODE_READY;
}
