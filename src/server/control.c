#include "server/control.h"

#include "base/log.h"
#include "base/str.h"
#include "server/control_private.h"
#include "server/events.h"
#include "server/gate.h"
#include "server/nodes.h"
#include "server/watch.h"

void control_wake(struct server *server, unsigned flags)
{
	struct control *control = &server->control;
	if (!control->server)
		return; // not begun yet, or over
	if (flags & CONTROL_ROUTES)
		control->routes_dirty = true;
	task_wake(&control->task);
}

// ---- settling

static bool all_heard(struct server *server)
{
	size_t at = 0;
	void *value;
	while (map_next(&server->replica.nodes, &at, NULL, &value)) {
		const struct node_entry *node = value;
		if (!node->link.heard_full && node->exists && node->node.state != NODE_LOST)
			return false;
	}
	return true;
}

// Before, an instance that was not reported may just not have been reported yet.
static void settle(struct server *server)
{
	struct control *control = &server->control;
	if (control->settled)
		return;
	uint64_t waited = loop_now_ms(server->loop) - control->started_ms;
	if (!all_heard(server) && waited < SETTLE_MS)
		return;
	control->settled = true;
	control->routes_dirty = true;
	log_info("settled after_ms=%llu nodes=%zu placements=%zu", (unsigned long long)waited,
		 server->replica.nodes.count, server->replica.placements.count);
}

enum { FRESH_MS = 3000 };

// What was heard of a node too long ago, when this process was paused for example, is nothing to act on.
static void forget_stale(struct server *server, uint64_t now)
{
	size_t at = 0;
	void *value;
	while (map_next(&server->replica.nodes, &at, NULL, &value)) {
		struct node_link *link = &((struct node_entry *)value)->link;
		if (link->heard_ms && now < link->heard_ms + FRESH_MS) {
			link->heard_full &= !link->behind;
			continue;
		}
		link->heard_full = false;
		link->heard_ms = 0;
	}
}

static void reset_gates(struct server *server)
{
	size_t at = 0;
	void *value;
	while (map_next(&server->replica.placements, &at, NULL, &value))
		((struct placement_entry *)value)->gate = (struct gate){};
}

void control_take_over(struct server *server)
{
	struct control *control = &server->control;
	uint64_t now = loop_now_ms(server->loop);
	forget_stale(server, now);
	reset_gates(server);
	control->started_ms = now;
	control->settled = control->settled && all_heard(server);
	control->routes_dirty = true;
	reports_catch_up(server);
	task_wake(&control->task);
}

// ---- telling agents and watchers

static void step_gates(struct server *server, uint64_t *wait_ms)
{
	size_t at = 0;
	void *value;
	while (map_next(&server->replica.placements, &at, NULL, &value))
		gate_step(server, value, wait_ms);
}

static void flush_nodes(struct server *server)
{
	size_t at = 0;
	void *value;
	while (map_next(&server->replica.nodes, &at, NULL, &value))
		node_flush(server, value);
}

static void lead_step(struct server *server, uint64_t *wait_ms)
{
	uint64_t pace_ms = routers_publish(server);
	if (pace_ms && pace_ms < *wait_ms)
		*wait_ms = pace_ms;
	step_gates(server, wait_ms);
	flush_nodes(server);
	events_flush(server);
}

static void step(struct task *task)
{
	struct control *control = CONTAINER_OF(task, struct control, task);
	struct server *server = control->server;
	uint64_t wait_ms = CONTROL_TICK_MS;
	replica_catch_up(&server->replica);
	settle(server);
	if (control->settled) {
		control_plan(server);
		control_collect(server);
	}
	if (server_leads(server))
		lead_step(server, &wait_ms);
	watches_flush(server);
	timer_set(&control->timer, wait_ms ? wait_ms : 1);
}

static void tick(struct timer *timer)
{
	task_wake(&CONTAINER_OF(timer, struct control, timer)->task);
}

void control_open(struct server *server)
{
	struct control *control = &server->control;
	*control = (struct control){ .server = server, .started_ms = loop_now_ms(server->loop) };
	task_init(&control->task, server->loop, "control", step);
	timer_init(&control->timer, server->loop, tick);
	task_wake(&control->task);
}

void control_close(struct server *server)
{
	struct control *control = &server->control;
	if (!control->server)
		return;
	control->server = NULL;
	task_clear(&control->task);
	timer_clear(&control->timer);
	for (uint32_t i = 0; i < control->event_count; i++) {
		event_clear(&control->events[i]);
		free(control->event_apps[i]);
	}
	free(control->events);
	free(control->event_apps);
	control->events = NULL;
	control->event_apps = NULL;
	control->event_count = 0;
}
