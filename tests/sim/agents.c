// Agents without containers: instances become ready after a while, crash, hang; agents report, vanish and come back.
#include "world.h"

#include "base/str.h"

static void disarm(struct world *world, const struct sim_instance *instance)
{
	if (instance_belongs(world, instance))
		world->apps[instance->app].armed[instance->process] = false;
}

void world_disarm_node(struct world *world, uint32_t node)
{
	for (uint32_t i = 0; i < world->instance_count; i++)
		if (world->instances[i].exists && world->instances[i].node == node)
			disarm(world, &world->instances[i]);
}

static void crash(struct world *world, struct sim_instance *instance)
{
	uint32_t doubled = instance->restarts < 4 ? instance->restarts : 4;
	if (!instance->restarts++ && world_chance(world, 800)) { // at once; what was late waits already now
		instance->state = INSTANCE_STARTING;
		instance->next_ms = world->now_ms + world_between(world, 100, 4000);
		return;
	}
	instance->state = INSTANCE_BACKOFF;
	instance->next_ms = world->now_ms + (world_between(world, 200, 1000) << doubled);
}

static void start(struct world *world, struct sim_instance *instance)
{
	instance->state = INSTANCE_STARTING;
	instance->next_ms = world->now_ms + world_between(world, 100, 4000);
}

static void started(struct world *world, struct sim_instance *instance)
{
	if (!instance->good) {
		crash(world, instance);
		return;
	}
	if (instance->restarts || instance->state == INSTANCE_UNREADY)
		instance->flapped_ms = world->now_ms;
	instance->state = INSTANCE_READY;
	bool crashes = world->weather.crashes && !world->calm;
	instance->next_ms = crashes ? world->now_ms + world_between(world, 1000, 120000) : NEVER;
}

static void falter(struct world *world, struct sim_instance *instance)
{
	if (world->calm) {
		instance->next_ms = NEVER;
		return;
	}
	disarm(world, instance);
	instance->flapped_ms = world->now_ms;
	if (world_chance(world, 700)) {
		crash(world, instance);
		return;
	}
	instance->state = INSTANCE_UNREADY;
	instance->next_ms = world->now_ms + world_between(world, 500, 10000);
}

static void run(struct world *world, struct sim_instance *instance)
{
	if (world->now_ms < instance->next_ms)
		return;
	switch (instance->state) {
	case INSTANCE_PENDING:
		if (!instance->good && world_chance(world, 300))
			instance->state = INSTANCE_FAILED;
		else
			start(world, instance);
		break;
	case INSTANCE_STARTING:
	case INSTANCE_UNREADY:
		started(world, instance);
		break;
	case INSTANCE_READY:
		falter(world, instance);
		break;
	case INSTANCE_BACKOFF:
		start(world, instance);
		break;
	default:
		break;
	}
}

static void stop(struct world *world, struct sim_instance *instance)
{
	if (instance->state == INSTANCE_STOPPED)
		return;
	if (instance->state != INSTANCE_STOPPING) {
		instance->state = INSTANCE_STOPPING;
		instance->next_ms = world->now_ms + world_between(world, 100, 5000);
	} else if (world->now_ms >= instance->next_ms) {
		instance->state = INSTANCE_STOPPED;
	}
}

static void step_instance(struct world *world, struct sim_instance *instance)
{
	const struct sim_node *node = &world->nodes[instance->node];
	if (!instance->exists || !node->up)
		return;
	if (node->connected && world->now_ms >= instance->order_ms) {
		instance->order_ms = NEVER;
		if (!instance->known)
			instance->next_ms = world->now_ms + world_between(world, 50, 1000);
		instance->known = true;
		instance->told = instance->want;
	}
	if (instance->known && instance->told == WANT_STOP)
		stop(world, instance);
	else if (instance->known)
		run(world, instance);
}

// The machine started anew: its agent starts what it was told to run, and has nothing left of the rest.
static void revive(struct world *world, uint32_t n)
{
	for (uint32_t i = 0; i < world->instance_count; i++) {
		struct sim_instance *instance = &world->instances[i];
		if (!instance->exists || instance->node != n || !instance->known || instance->state == INSTANCE_STOPPED)
			continue;
		if (instance->told == WANT_STOP)
			instance->state = INSTANCE_STOPPED;
		else if (instance->state != INSTANCE_PENDING && instance->state != INSTANCE_FAILED)
			start(world, instance);
	}
}

static void trouble(struct world *world, uint32_t n)
{
	struct sim_node *node = &world->nodes[n];
	bool partition = world->weather.partitions && world_chance(world, 2);
	bool death = world->weather.deaths && world_chance(world, 2);
	if (world->calm || (!partition && !death))
		return;
	node->connected = false;
	node->up = !death;
	node->back_ms = world->now_ms + world_between(world, 500, 60000);
	if (death)
		world_disarm_node(world, n);
	if (world->trace)
		fprintf(stderr, "%8.1f node %u %s\n", (double)world->now_ms / 1000, n, death ? "dies" : "is cut off");
}

static void recover(struct world *world, uint32_t n)
{
	struct sim_node *node = &world->nodes[n];
	if (world->now_ms < node->back_ms && !world->calm)
		return;
	if (!node->up)
		revive(world, n);
	node->up = node->connected = true;
	node->back_ms = NEVER;
	node->report_ms = world->now_ms;
}

static void send(struct world *world, uint32_t n)
{
	struct message message = { .node = n, .seq = ++world->nodes[n].sent_seq };
	message.lines = xcalloc(world->instance_count, sizeof(*message.lines));
	for (uint32_t i = 0; i < world->instance_count; i++) {
		const struct sim_instance *instance = &world->instances[i];
		if (instance->exists && instance->node == n && instance->known)
			message.lines[message.count++] = (struct line){ i, instance->state, instance->restarts };
	}
	bool twice = world_chance(world, 50);
	for (int copy = 0; copy <= twice; copy++) {
		if (world->message_count == world->message_size) {
			world->message_size = world->message_size ? world->message_size * 2 : 64;
			world->messages = xreallocarray(world->messages, world->message_size, sizeof(message));
		}
		struct message *sent = &world->messages[world->message_count++];
		*sent = message;
		sent->at_ms = world->now_ms + (world_chance(world, 50) ? world_between(world, 500, DELAY_MAX_MS)
								       : world_between(world, 5, 300));
		if (copy) {
			sent->lines = xcalloc(message.count, sizeof(*sent->lines));
			if (message.count)
				memcpy(sent->lines, message.lines, message.count * sizeof(*sent->lines));
		}
	}
	world->nodes[n].report_ms = world->now_ms + 1000;
}

void agents_step(struct world *world)
{
	for (uint32_t n = 0; n < world->node_count; n++) {
		struct sim_node *node = &world->nodes[n];
		if (node->connected)
			trouble(world, n);
		else
			recover(world, n);
		if (world->now_ms - node->heard_ms >= world->settings.lost_ms || node->stored != NODE_READY)
			world_disarm_node(world, n);
	}
	for (uint32_t i = 0; i < world->instance_count; i++)
		step_instance(world, &world->instances[i]);
	for (uint32_t n = 0; n < world->node_count; n++)
		if (world->nodes[n].connected &&
		    (world->now_ms >= world->nodes[n].report_ms || world_chance(world, 200)))
			send(world, n);
}

static void deliver(struct world *world, const struct message *message)
{
	struct sim_node *node = &world->nodes[message->node];
	if (message->seq <= node->seen_seq)
		return; // repeated, or overtaken
	node->seen_seq = message->seq;
	node->heard_ms = world->now_ms;
	for (uint32_t i = 0; i < world->instance_count; i++) // one that is not named has not begun
		if (world->instances[i].exists && world->instances[i].node == message->node &&
		    !world->instances[i].heard) {
			world->instances[i].heard = true;
			world->instances[i].seen = INSTANCE_PENDING;
		}
	for (uint32_t i = 0; i < message->count; i++) {
		struct sim_instance *instance = &world->instances[message->lines[i].instance];
		instance->heard = true;
		instance->seen = message->lines[i].state;
		instance->seen_restarts = message->lines[i].restarts;
	}
}

void messages_deliver(struct world *world)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < world->message_count; i++) {
		struct message message = world->messages[i];
		if (message.at_ms > world->now_ms) {
			world->messages[kept++] = message;
			continue;
		}
		deliver(world, &message);
		free(message.lines);
	}
	world->message_count = kept;
}
