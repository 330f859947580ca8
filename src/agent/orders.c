// What the server wants to run here: the stream of assignments, and turning it into instances.
#include "agent/core.h"
#include "agent/endpoint.h"
#include "agent/report.h"
#include "agent/unreadable.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

static void changed(struct instance *instance)
{
	report_instance(instance->arg, instance->id);
}

static void repeated(struct instance *instance)
{
	report_later(instance->arg, instance->id);
}

static void gone(struct instance *instance)
{
	struct agent *agent = instance->arg;
	map_remove(&agent->instances, instance->id);
	history_add(&agent->history, &instance->order->assignment, realtime_ms());
	logs_instance_ended(agent, &instance->order->assignment);
	report_forget(agent, instance->id);
	log_info("instance=%s app=%s removed", instance->id, instance->order->assignment.app);
	instance_free(instance);
}

const struct instance_events agent_events = { .changed = changed, .repeated = repeated, .gone = gone };

// A new one, or one that was here and whose own assignment could not be read.
static struct instance *begin(struct agent *agent, struct order *order)
{
	const struct assignment *a = &order->assignment;
	struct unreadable *unreadable = unreadable_find(agent, a->instance);
	if (!unreadable) {
		log_info("instance=%s app=%s process=%s index=%u release=%u assigned", a->instance, a->app, a->process,
			 a->index, a->release);
		history_forget(&agent->history, a->instance);
		return instance_new(&agent->world, order, &agent_events, agent);
	}
	unreadable->run.unstored = true;
	struct instance *instance = instance_adopt(&agent->world, order, &unreadable->run, &agent_events, agent);
	log_info("instance=%s app=%s its assignment is known again, adopted as %s pid=%d", a->instance, a->app,
		 instance_life_name(instance), instance->running.pid);
	unreadable_free(unreadable);
	return instance;
}

static void take_one(struct agent *agent, struct assignment *assignment)
{
	if (!instance_id_valid(assignment->instance)) {
		log_warn("instance=%s is not taken: that is no id", assignment->instance);
		return;
	}
	struct instance *instance = map_get(&agent->instances, assignment->instance);
	struct order *order = order_new(assignment);
	if (instance) {
		instance_order(instance, order);
	} else {
		instance = begin(agent, order);
		map_set(&agent->instances, instance->id, instance);
		report_instance(agent, instance->id);
		logs_instance_came(agent, &order->assignment);
	}
	order_unref(order);
}

static void remove_absent(struct agent *agent, const struct map *present)
{
	const char *id;
	void *instance;
	for (size_t at = 0; map_next(&agent->instances, &at, &id, &instance);) {
		if (!map_get(present, id))
			instance_remove(instance);
	}
}

void agent_take_orders(struct agent *agent, struct assignments *orders)
{
	struct map present = { 0 };
	for (uint32_t i = 0; i < orders->set_count; i++) {
		map_set(&present, orders->set[i].instance, agent);
		take_one(agent, &orders->set[i]);
	}
	for (uint32_t i = 0; i < orders->remove_count; i++) {
		struct instance *instance = map_get(&agent->instances, orders->remove[i]);
		if (instance)
			instance_remove(instance);
	}
	if (orders->full) {
		remove_absent(agent, &present);
		agent->ordered = true;
	}
	map_clear(&present);
}

static void on_event(const struct sse_event *event, void *arg)
{
	struct agent *agent = arg;
	struct assignments orders = { 0 };
	struct err err = { 0 };
	if (!str_eq(event->event, "assignments"))
		return;
	if (assignments_parse_text(event->data, event->data_len, &orders, &err) < 0) {
		log_error("assignments cannot be read and are not followed: %s", err.text);
		return;
	}
	log_debug("assignments revision=%llu full=%d set=%u remove=%u", (unsigned long long)orders.revision, orders.full,
		  orders.set_count, orders.remove_count);
	agent_take_orders(agent, &orders);
	assignments_clear(&orders);
}

static void on_state(bool connected, const struct err *err, void *arg)
{
	struct agent *agent = arg;
	if (connected) {
		log_info("orders come");
		agent->away = false;
		report_everything(agent);
	} else if (!agent->away) {
		agent->away = true;
		log_warn("no orders come, instances run on: %s", err->text);
	}
}

void agent_follow_orders(struct agent *agent)
{
	AUTO_FREE char *path = xasprintf("/v1/nodes/%s/assignments", agent->name);
	struct client_watch_spec spec = { .path = path, .on_event = on_event, .on_state = on_state, .arg = agent };
	agent->orders = client_servers_watch(agent->servers, &spec);
}
