// The agent and the router of the rig. They live on the server's loop.
#include "rig.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

// ---- agent

static void heard(const struct client_answer *answer, const struct err *err UNUSED, void *arg)
{
	struct rig *rig = arg;
	if (answer->status == 200)
		rig->agent.reported_full = true;
}

static void report(struct rig *rig)
{
	struct fake_agent *agent = &rig->agent;
	struct report r = { .boot = (char *)"boot-1",
			    .seq = ++agent->seq,
			    .full = true,
			    .node = { .name = (char *)"n1",
				      .address = (char *)"127.0.0.1",
				      .memory_bytes = 8ull << 30,
				      .disk_bytes = 100ull << 30,
				      .cpu_millis = 4000 } };
	r.instances = xcalloc(agent->instances.count + 1, sizeof(*r.instances));
	size_t at = 0;
	void *value;
	while (map_next(&agent->instances, &at, NULL, &value))
		r.instances[r.instance_count++] = ((struct fake_instance *)value)->report;
	json_t *json = report_write(&r);
	free(r.instances);
	client_link_call(agent->link, "POST", "/v1/nodes/n1/report", json, heard, rig);
	json_decref(json);
}

static void instance_free(struct fake_instance *instance)
{
	assignment_clear(&instance->assignment);
	instance_report_clear(&instance->report);
	free(instance);
}

static void take(struct fake_agent *agent, struct assignment *order)
{
	struct fake_instance *instance = map_get(&agent->instances, order->instance);
	if (!instance) {
		instance = xcalloc(1, sizeof(*instance));
		instance->report = (struct instance_report){ .instance = xstrdup(order->instance),
							     .address = xasprintf("10.0.0.%u", order->index + 1),
							     .state = str_eq(order->process, agent->broken)
									      ? INSTANCE_FAILED
									      : agent->becomes };
		map_set(&agent->instances, order->instance, instance);
	}
	assignment_clear(&instance->assignment);
	instance->assignment = *order;
	*order = (struct assignment){};
	instance->report.generation = instance->assignment.generation;
	if (instance->assignment.want == WANT_STOP)
		instance->report.state = INSTANCE_STOPPED;
}

static void on_assignments(const struct sse_event *event, void *arg)
{
	struct rig *rig = arg;
	struct assignments orders = {};
	struct err err = {};
	if (assignments_parse_text(event->data, event->data_len, &orders, &err) < 0)
		fail_msg("assignments: %s", err.text);
	rig->agent.assigned++;
	for (uint32_t i = 0; i < orders.set_count; i++)
		take(&rig->agent, &orders.set[i]);
	for (uint32_t i = 0; i < orders.remove_count; i++) {
		struct fake_instance *instance = map_remove(&rig->agent.instances, orders.remove[i]);
		if (instance)
			instance_free(instance);
	}
	assignments_clear(&orders);
	report(rig);
}

static void agent_start(struct rig *rig, void *arg UNUSED)
{
	struct fake_agent *agent = &rig->agent;
	struct err err = {};
	agent->link = client_link_new(rig->loop, rig->api, "node-secret", &err);
	if (agent->becomes == INSTANCE_PENDING)
		agent->becomes = INSTANCE_READY;
	struct client_watch_spec spec = { .path = "/v1/nodes/n1/assignments", .on_event = on_assignments, .arg = rig };
	agent->watch = client_watch_start(agent->link, &spec);
	report(rig);
}

static bool is_heard(struct rig *rig, void *arg UNUSED)
{
	return rig->agent.reported_full && rig->agent.assigned;
}

void rig_agent_start(struct rig *rig)
{
	rig_do(rig, agent_start, NULL);
	rig_until(rig, is_heard, NULL);
}

static void agent_stop(struct rig *rig, void *arg UNUSED)
{
	struct fake_agent *agent = &rig->agent;
	client_watch_stop(agent->watch);
	client_link_free(agent->link);
	size_t at = 0;
	void *value;
	while (map_next(&agent->instances, &at, NULL, &value))
		instance_free(value);
	map_clear(&agent->instances);
	*agent = (struct fake_agent){ .seq = agent->seq };
}

void rig_agent_stop(struct rig *rig)
{
	if (rig->agent.link)
		rig_do(rig, agent_stop, NULL);
}

struct crash {
	unsigned index, status;
};

static void crash(struct rig *rig, void *arg)
{
	const struct crash *what = arg;
	size_t at = 0;
	void *value;
	while (map_next(&rig->agent.instances, &at, NULL, &value)) {
		struct fake_instance *instance = value;
		if (instance->assignment.index != what->index || instance->assignment.want != WANT_RUN)
			continue;
		struct instance_report *r = &instance->report;
		if (!r->exit) {
			r->exit = xcalloc(1, sizeof(*r->exit));
			r->exit->lines = xcalloc(1, sizeof(char *));
			r->exit->lines[r->exit->line_count++] = xstrdup("it hurts");
		}
		r->exit->status = what->status;
		r->exit->at_ms = realtime_ms();
		r->restarts++;
		r->state = INSTANCE_BACKOFF;
	}
	report(rig);
}

void rig_crash(struct rig *rig, unsigned index, unsigned status)
{
	rig_do(rig, crash, &(struct crash){ index, status });
}

// ---- router

static void on_routes(const struct sse_event *event, void *arg)
{
	struct rig *rig = arg;
	struct fake_router *router = &rig->router;
	json_decref(router->table);
	router->table = json_loadb(event->data, event->data_len, 0, NULL);
	assert_non_null(router->table);
	router->tables++;
	if (router->silent)
		return;
	json_t *busy = json_array();
	if (router->busy)
		json_array_append_new(busy, json_string(router->busy));
	json_t *ack = json_pack("{s:O, s:o}", "version", json_object_get(router->table, "version"), "busy", busy);
	client_link_call(router->link, "POST", "/v1/routers/r1/ack", ack, NULL, NULL);
	json_decref(ack);
}

static void router_start(struct rig *rig, void *arg UNUSED)
{
	struct err err = {};
	rig->router.link = client_link_new(rig->loop, rig->api, "node-secret", &err);
	struct client_watch_spec spec = { .path = "/v1/routers/r1/routes", .on_event = on_routes, .arg = rig };
	rig->router.watch = client_watch_start(rig->router.link, &spec);
}

static bool has_table(struct rig *rig, void *arg UNUSED)
{
	return rig->router.tables > 0;
}

void rig_router_start(struct rig *rig)
{
	rig_do(rig, router_start, NULL);
	rig_until(rig, has_table, NULL);
}

static void router_stop(struct rig *rig, void *arg UNUSED)
{
	struct fake_router *router = &rig->router;
	client_watch_stop(router->watch);
	client_link_free(router->link);
	json_decref(router->table);
	*router = (struct fake_router){};
}

void rig_router_stop(struct rig *rig)
{
	if (rig->router.link)
		rig_do(rig, router_stop, NULL);
}
