// The control loop, seen from an agent and a router: placements, rollouts, the stop gate, restarts of the server.
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct rig rig;

static int setup(void **state UNUSED)
{
	rig_start(&rig, true);
	rig_agent_start(&rig);
	rig_router_start(&rig);
	return 0;
}

static int teardown(void **state UNUSED)
{
	rig_stop(&rig);
	return 0;
}

static const json_t *routed(struct rig *r, const char *host)
{
	size_t i;
	json_t *route;
	json_array_foreach(json_object_get(r->router.table, "routes"), i,
			   route) if (str_eq(json_get_text(route, "host", ""), host)) return route;
	return NULL;
}

static bool has_routed(struct rig *r, void *arg)
{
	const json_t *route = routed(r, "shop.apps.localhost");
	return route && json_array_size(json_object_get(route, "instances")) == *(unsigned *)arg;
}

static void expect_routed(unsigned n)
{
	rig_until(&rig, has_routed, &n);
}

static bool agent_has(struct rig *r, void *arg)
{
	return r->agent.instances.count == *(unsigned *)arg;
}

static void test_place(void **state UNUSED)
{
	rig_deploy(&rig, "shop", 2, ARTIFACT);
	expect_routed(2);
	json_t *instances = rig_call(&rig, 200, "GET", APP_PATH "shop/instances", NULL);
	json_t *items = json_object_get(instances, "items");
	assert_int_equal(json_array_size(items), 2);
	assert_string_equal(json_get_text(json_array_get(items, 0), "state", ""), "ready");
	assert_int_equal(json_get_u64(json_array_get(items, 1), "index", 9), 1);
	json_decref(instances);
}

static void read_assignment(struct rig *r, void *arg)
{
	size_t at = 0;
	void *value;
	assert_true(map_next(&r->agent.instances, &at, NULL, &value));
	assignment_copy(&((struct fake_instance *)value)->assignment, arg);
}

static void test_assignment(void **state UNUSED)
{
	const char *body =
		"{\"spec\":{\"name\":\"shop\",\"runtime\":\"static\",\"stack\":\"shell\",\"env\":{\"COLOUR\":\"red\"},"
		"\"processes\":{\"web\":{\"port\":9000,\"instances\":1}},\"routes\":[]},\"artifact\":\"" ARTIFACT "\"}";
	json_decref(rig_call(&rig, 202, "PUT", APP_PATH "shop", body));
	unsigned one = 1;
	rig_until(&rig, agent_has, &one);
	struct assignment a = {};
	rig_do(&rig, read_assignment, &a);
	assert_int_equal(a.port, 9000);
	assert_int_equal(a.layer_count, 3);
	assert_true(str_starts(a.layers[0], "sha256:cccc"));
	assert_true(str_starts(a.layers[1], "sha256:bbbb"));
	assert_string_equal(pairs_get(a.env, a.env_count, "COLOUR"), "red");
	assert_string_equal(pairs_get(a.env, a.env_count, "LANG"), "C.UTF-8");
	assert_string_equal(pairs_get(a.env, a.env_count, "PATH"), "/usr/bin");
	assert_string_equal(a.artifact, ARTIFACT);
	assert_int_equal(a.command_count, 1); // the runtime's own
	assert_string_equal(a.command[0], "/srv/serve");
	assert_int_equal(a.health.type, HEALTH_TCP);
	assignment_clear(&a);
}

static void test_scale(void **state UNUSED)
{
	rig_deploy(&rig, "shop", 1, ARTIFACT);
	json_decref(rig_call(&rig, 202, "POST", APP_PATH "shop/scale", "{\"process\":\"web\",\"instances\":5}"));
	expect_routed(5);
	json_decref(rig_call(&rig, 202, "POST", APP_PATH "shop/scale", "{\"instances\":1}"));
	expect_routed(1);
	unsigned one = 1;
	rig_until(&rig, agent_has, &one);
	json_decref(rig_call(&rig, 200, "POST", APP_PATH "shop/scale", "{\"instances\":1}"));
	json_decref(rig_call(&rig, 400, "POST", APP_PATH "shop/scale", "{\"process\":\"worker\",\"instances\":1}"));
}

// Follows the pages of a list to its end; how many items there were.
static unsigned count_items(const char *list, unsigned limit, unsigned *ret_pages)
{
	unsigned n = 0;
	AUTO_FREE char *cursor = xstrdup("");
	for (*ret_pages = 0; cursor; ++*ret_pages) {
		AUTO_FREE char *path = xasprintf("%s?limit=%u%s%s", list, limit, *cursor ? "&cursor=" : "", cursor);
		json_t *page = rig_call(&rig, 200, "GET", path, NULL);
		const char *next = json_get_text(page, "next", NULL);
		size_t items = json_array_size(json_object_get(page, "items"));
		assert_true(items <= limit);
		n += (unsigned)items;
		free(cursor);
		cursor = next ? xstrdup(next) : NULL;
		json_decref(page);
	}
	return n;
}

static void test_pages(void **state UNUSED)
{
	unsigned pages;
	rig_deploy(&rig, "shop", 5, ARTIFACT);
	assert_int_equal(count_items(APP_PATH "shop/instances", 2, &pages), 5);
	assert_int_equal(pages, 3);
	json_decref(rig_call(&rig, 400, "GET", APP_PATH "shop/instances?cursor=web.1", NULL));
	json_decref(rig_call(&rig, 202, "PATCH", APP_PATH "shop/env", "{\"A\":\"1\"}"));
	json_decref(rig_call(&rig, 202, "PATCH", APP_PATH "shop/env", "{\"A\":\"2\"}"));
	assert_int_equal(count_items(APP_PATH "shop/releases", 2, &pages), 3);
	assert_int_equal(pages, 2);
	assert_int_equal(count_items("/v1/nodes", 1, &pages), 1);
	assert_int_equal(pages, 1);
}

static void drain_and_write(struct rig *r, void *arg UNUSED)
{
	assert_false(list_empty(&r->server->streams)); // the agent's and the router's
	server_drain(r->server);
	streams_ping(&r->server->streams);
	control_wake(r->server, CONTROL_ROUTES);
}

// What is told after the streams have been ended goes nowhere.
static void test_drain(void **state UNUSED)
{
	rig_deploy(&rig, "shop", 1, ARTIFACT);
	rig_do(&rig, drain_and_write, NULL);
}

static bool is_stopped(const json_t *app, const void *arg UNUSED)
{
	return str_eq(json_get_text(app, "state", ""), "stopped") && json_is_null(json_object_get(app, "rollout"));
}

static bool is_running(const json_t *app, const void *arg UNUSED)
{
	return str_eq(json_get_text(app, "state", ""), "running") && json_is_null(json_object_get(app, "rollout"));
}

static void test_stop_start_restart_delete(void **state UNUSED)
{
	unsigned none = 0;
	rig_deploy(&rig, "shop", 2, ARTIFACT);
	json_decref(rig_call(&rig, 202, "POST", APP_PATH "shop/stop", NULL));
	json_decref(rig_wait(&rig, APP_PATH "shop", is_stopped, NULL));
	rig_until(&rig, agent_has, &none);
	expect_routed(0);
	json_decref(rig_call(&rig, 409, "POST", APP_PATH "shop/restart", NULL));
	json_decref(rig_call(&rig, 202, "POST", APP_PATH "shop/start", NULL));
	json_decref(rig_wait(&rig, APP_PATH "shop", is_running, NULL));
	expect_routed(2);
	json_t *before = rig_call(&rig, 200, "GET", APP_PATH "shop/instances", NULL);
	json_decref(rig_call(&rig, 202, "POST", APP_PATH "shop/restart", NULL));
	json_decref(rig_wait(&rig, APP_PATH "shop", is_running, NULL));
	json_t *after = rig_call(&rig, 200, "GET", APP_PATH "shop/instances", NULL);
	assert_string_not_equal(json_get_text(json_array_get(json_object_get(before, "items"), 0), "instance", ""),
				json_get_text(json_array_get(json_object_get(after, "items"), 0), "instance", ""));
	json_decref(before);
	json_decref(after);
	json_decref(rig_call(&rig, 204, "DELETE", APP_PATH "shop", NULL));
	rig_until(&rig, agent_has, &none);
}

// ---- the stop gate

struct one_stop {
	char instance[64];
	bool told;
};

static void first_instance(struct rig *r, void *arg)
{
	struct one_stop *stop = arg;
	size_t at = 0;
	const char *id;
	void *value;
	assert_true(map_next(&r->agent.instances, &at, &id, &value));
	snprintf(stop->instance, sizeof(stop->instance), "%s", id);
}

static void look(struct rig *r, void *arg)
{
	struct one_stop *stop = arg;
	struct fake_instance *instance = map_get(&r->agent.instances, stop->instance);
	stop->told = !instance || instance->assignment.want == WANT_STOP;
}

static void set_busy(struct rig *r, void *arg)
{
	r->router.busy = arg;
}

static void set_silent(struct rig *r, void *arg)
{
	r->router.silent = arg != NULL;
}

static void ack_now(struct rig *r, void *arg UNUSED)
{
	json_t *ack = json_pack("{s:O, s:[]}", "version", json_object_get(r->router.table, "version"), "busy");
	client_link_call(r->router.link, "POST", "/v1/routers/r1/ack", ack, NULL, NULL);
	json_decref(ack);
}

static bool was_told(struct rig *r, void *arg)
{
	look(r, arg);
	return ((struct one_stop *)arg)->told;
}

static void stop_shop(struct one_stop *stop)
{
	rig_do(&rig, first_instance, stop);
	json_decref(rig_call(&rig, 202, "POST", APP_PATH "shop/stop", NULL));
	expect_routed(0);
	rig_do(&rig, look, stop);
}

static void test_gate_waits_for_ack(void **state UNUSED)
{
	struct one_stop stop = {};
	rig_deploy(&rig, "shop", 1, ARTIFACT);
	rig_do(&rig, set_silent, &rig);
	stop_shop(&stop);
	assert_false(stop.told);
	rig_do(&rig, ack_now, NULL);
	rig_until(&rig, was_told, &stop);
}

static void test_gate_waits_for_busy(void **state UNUSED)
{
	struct one_stop stop = {};
	rig_deploy(&rig, "shop", 1, ARTIFACT);
	rig_do(&rig, first_instance, &stop);
	rig_do(&rig, set_busy, stop.instance);
	stop_shop(&stop);
	assert_false(stop.told);
	rig_do(&rig, set_busy, NULL);
	rig_do(&rig, ack_now, NULL);
	rig_until(&rig, was_told, &stop);
}

// drain_ms of the rig's app is 5 s.
static void test_gate_opens_after_drain(void **state UNUSED)
{
	struct one_stop stop = {};
	rig_deploy(&rig, "shop", 1, ARTIFACT);
	rig_do(&rig, set_silent, &rig);
	uint64_t before = loop_now_ms(rig.loop);
	stop_shop(&stop);
	rig_until(&rig, was_told, &stop);
	assert_true(loop_now_ms(rig.loop) - before >= 4900);
}

// ---- rollouts

static void set_becomes(struct rig *r, void *arg)
{
	r->agent.becomes = *(enum instance_state *)arg;
}

static bool is_failed(const json_t *app, const void *arg UNUSED)
{
	return str_eq(json_get_text(json_object_get(app, "rollout"), "state", ""), "failed");
}

static void put_shop(const char *artifact)
{
	AUTO_FREE char *body = deployment_json("shop", "/app/serve", "shop", 1, artifact);
	json_decref(rig_call(&rig, 202, "PUT", APP_PATH "shop", body));
}

static bool has_two(struct rig *r, void *arg)
{
	unsigned two = 2;
	return agent_has(r, arg ? arg : &two);
}

static void test_rollout_keeps_old_until_ready(void **state UNUSED)
{
	rig_deploy(&rig, "shop", 1, ARTIFACT);
	struct one_stop old = {};
	rig_do(&rig, first_instance, &old);
	enum instance_state starting = INSTANCE_STARTING;
	rig_do(&rig, set_becomes, &starting);
	put_shop(ARTIFACT2);
	rig_until(&rig, has_two, NULL);
	rig_do(&rig, look, &old);
	assert_false(old.told);
	expect_routed(1);
	json_t *app = rig_call(&rig, 200, "GET", APP_PATH "shop", NULL);
	json_t *rollout = json_object_get(app, "rollout");
	assert_string_equal(json_get_text(rollout, "state", ""), "rolling");
	assert_int_equal(json_get_u64(rollout, "from", 0), 1);
	assert_int_equal(json_get_u64(rollout, "release", 0), 2);
	json_decref(app);
	rig_crash(&rig, 7, 0); // nobody has this index: only reports again
	rig_do(&rig, look, &old);
	assert_false(old.told);
}

static bool waits_for_routers(const json_t *app, const void *arg UNUSED)
{
	return str_eq(json_get_text(json_object_get(app, "rollout"), "detail", ""), "the routers turn to it");
}

// Who is told that the new release serves, and asks it at once, is not answered by the old one.
static void test_rollout_ends_when_routers_have_turned(void **state UNUSED)
{
	rig_deploy(&rig, "shop", 1, ARTIFACT);
	rig_do(&rig, set_silent, &rig);
	put_shop(ARTIFACT2);
	json_decref(rig_wait(&rig, APP_PATH "shop", waits_for_routers, NULL));
	rig_do(&rig, ack_now, NULL);
	json_decref(rig_wait(&rig, APP_PATH "shop", is_running, NULL));
}

static bool is_completed(const json_t *app, const void *arg UNUSED)
{
	return str_eq(json_get_text(app, "state", ""), "completed");
}

static void set_all(struct rig *r, void *arg)
{
	size_t at = 0;
	void *value;
	while (map_next(&r->agent.instances, &at, NULL, &value))
		((struct fake_instance *)value)->report.state = *(enum instance_state *)arg;
}

static void set_oom(struct rig *r, void *arg UNUSED)
{
	size_t at = 0;
	void *value;
	while (map_next(&r->agent.instances, &at, NULL, &value))
		((struct fake_instance *)value)->report.exit->oom = true;
}

// The crash goes into the report, the state is then another; reported together with the next.
static void crash_and_be(unsigned times, unsigned status, enum instance_state state)
{
	while (times--)
		rig_crash(&rig, 0, status);
	rig_do(&rig, set_all, &state);
	rig_crash(&rig, 7, 0); // nobody has this index: only reports again
}

static bool says_all(const json_t *why, const void *arg)
{
	return strstr(json_get_text(why, "summary", ""), arg) != NULL;
}

static void test_a_job_that_ended_well_is_complete(void **state UNUSED)
{
	rig_deploy(&rig, "shop", 1, ARTIFACT);
	crash_and_be(1, 0, INSTANCE_STOPPED);
	json_t *app = rig_wait(&rig, APP_PATH "shop", is_completed, NULL);
	json_t *web = json_object_get(json_object_get(app, "processes"), "web");
	assert_int_equal(json_get_u64(web, "completed", 0), 1);
	json_decref(app);
	json_t *why = rig_call(&rig, 200, "GET", APP_PATH "shop/why", NULL);
	assert_int_equal(json_array_size(json_object_get(why, "missing")), 0);
	assert_true(says_all(why, "ended with status 0"));
	json_decref(why);
	crash_and_be(1, 3, INSTANCE_STOPPED);
	why = rig_wait(&rig, APP_PATH "shop/why", says_all, "exited with status 3");
	assert_string_equal(json_get_text(why, "state", ""), "failing");
	json_decref(why);
}

static void test_a_loop_is_not_well(void **state UNUSED)
{
	rig_deploy(&rig, "shop", 1, ARTIFACT);
	crash_and_be(3, 3, INSTANCE_READY);
	json_decref(rig_wait(&rig, APP_PATH "shop/why", says_all, "web.0 does not stay up: 3 restarts"));
	rig_do(&rig, set_oom, NULL);
	crash_and_be(0, 0, INSTANCE_BACKOFF);
	json_t *why = rig_wait(&rig, APP_PATH "shop/why", says_all, "out of memory");
	AUTO_FREE char *hints = json_dumps(json_object_get(why, "hints"), 0);
	assert_non_null(strstr(hints, "raise `memory`"));
	assert_null(strstr(hints, "rollback")); // there is nothing to go back to
	json_decref(why);
}

static void expect_release(unsigned release, const char *reason)
{
	json_t *list = rig_call(&rig, 200, "GET", APP_PATH "shop/releases", NULL);
	json_t *newest = json_array_get(json_object_get(list, "items"), 0);
	assert_int_equal(json_get_u64(newest, "release", 0), release);
	assert_string_equal(json_get_text(newest, "reason", ""), reason);
	json_decref(list);
}

static void test_rollback_goes_to_what_came_up(void **state UNUSED)
{
	enum instance_state failed = INSTANCE_FAILED;
	rig_deploy(&rig, "shop", 1, ARTIFACT);
	rig_do(&rig, set_becomes, &failed);
	put_shop(ARTIFACT2);
	json_decref(rig_wait(&rig, APP_PATH "shop", is_failed, NULL));
	put_shop(ARTIFACT);
	json_decref(rig_wait(&rig, APP_PATH "shop", is_failed, NULL));
	json_decref(rig_call(&rig, 202, "POST", APP_PATH "shop/rollback", "{}"));
	expect_release(4, "rollback to 1");
	json_t *list = rig_call(&rig, 200, "GET", APP_PATH "shop/releases", NULL);
	json_t *items = json_object_get(list, "items");
	assert_false(json_is_true(json_object_get(json_array_get(items, 1), "came_up")));
	assert_true(json_is_true(json_object_get(json_array_get(items, 3), "came_up")));
	json_decref(list);
}

static void test_rollout_fails(void **state UNUSED)
{
	rig_deploy(&rig, "shop", 1, ARTIFACT);
	enum instance_state failed = INSTANCE_FAILED;
	rig_do(&rig, set_becomes, &failed);
	put_shop(ARTIFACT2);
	json_t *app = rig_wait(&rig, APP_PATH "shop", is_failed, NULL);
	assert_string_equal(json_get_text(app, "state", ""), "failing");
	json_decref(app);
	expect_routed(1);
	json_t *why = rig_call(&rig, 200, "GET", APP_PATH "shop/why", NULL);
	assert_non_null(strstr(json_get_text(why, "summary", ""), "cannot be started"));
	json_decref(why);
	json_decref(rig_call(&rig, 202, "POST", APP_PATH "shop/rollback", "{}"));
}

static void test_a_cause_is_said_once(void **state UNUSED)
{
	enum instance_state starting = INSTANCE_STARTING;
	rig.agent.broken = "aa";
	rig_do(&rig, set_becomes, &starting);
	json_decref(rig_call(&rig, 202, "PUT", APP_PATH "shop",
			     "{\"artifact\":\"" ARTIFACT "\",\"spec\":{\"name\":\"shop\",\"processes\":{"
			     "\"aa\":{\"command\":\"/app/a\"},\"web\":{\"command\":\"/app/b\"}}}}"));
	json_t *app = rig_wait(&rig, APP_PATH "shop", is_failed, NULL);
	const char *detail = json_get_text(json_object_get(app, "rollout"), "detail", "");
	const char *first = strstr(detail, "aa.0 cannot be started");
	assert_non_null(first);
	assert_null(strstr(first + strlen("aa.0 cannot be started"), "cannot be started"));
	json_decref(app);
}

static bool has_crash(const json_t *events, const void *arg UNUSED)
{
	size_t i;
	json_t *event;
	json_array_foreach(json_object_get(events, "items"), i,
			   event) if (str_eq(json_get_text(event, "type", ""),
					     "crashed")) return strstr(json_get_text(event, "message", ""),
								       "status 3; last line: it hurts");
	return false;
}

static bool is_in_state(struct rig *r, void *arg)
{
	return str_eq(json_get_text(routed(r, "shop.apps.localhost"), "state", ""), arg);
}

static void set_unhealthy(struct rig *r, void *arg UNUSED)
{
	size_t at = 0;
	void *value;
	while (map_next(&r->agent.instances, &at, NULL, &value))
		((struct fake_instance *)value)->report.message = xstrdup("health check: refused");
}

static void test_zero_is_stopped(void **state UNUSED)
{
	rig_deploy(&rig, "shop", 1, ARTIFACT);
	json_decref(rig_call(&rig, 202, "POST", APP_PATH "shop/scale", "{\"instances\":0}"));
	rig_until(&rig, is_in_state, (void *)"stopped");
	json_decref(rig_wait(&rig, APP_PATH "shop/why", says_all, "scaled to 0"));
}

static void test_unready_is_not_starting(void **state UNUSED)
{
	rig_deploy(&rig, "shop", 1, ARTIFACT);
	rig_do(&rig, set_unhealthy, NULL);
	crash_and_be(0, 0, INSTANCE_UNREADY);
	json_t *why = rig_wait(&rig, APP_PATH "shop/why", says_all, "web.0 is unready");
	assert_string_equal(json_get_text(why, "state", ""), "failing");
	json_decref(why);
	expect_routed(0);
	rig_until(&rig, is_in_state, (void *)"running"); // of which none is ready
}

static void test_crash_is_told(void **state UNUSED)
{
	rig_deploy(&rig, "shop", 1, ARTIFACT);
	rig_crash(&rig, 0, 3);
	json_decref(rig_wait(&rig, APP_PATH "shop/events", has_crash, NULL));
	expect_routed(0);
	json_t *why = rig_call(&rig, 200, "GET", APP_PATH "shop/why", NULL);
	assert_int_equal(json_array_size(json_object_get(why, "exits")), 1);
	json_decref(why);
}

// ---- the server goes and comes back

static void count_tables(struct rig *r, void *arg)
{
	*(unsigned *)arg = r->router.tables;
}

static void test_server_restart(void **state UNUSED)
{
	rig_deploy(&rig, "shop", 2, ARTIFACT);
	expect_routed(2);
	json_t *before = rig_call(&rig, 200, "GET", APP_PATH "shop/instances", NULL);
	rig_agent_stop(&rig);
	rig_restart(&rig);
	unsigned tables, later;
	rig_do(&rig, count_tables, &tables);
	json_t *status = rig_call(&rig, 200, "GET", "/v1/status", NULL);
	assert_false(json_get_bool(status, "settled", true));
	json_decref(status);
	rig_do(&rig, count_tables, &later);
	assert_int_equal(tables, later); // no table without the instances that were not heard yet
	rig_agent_start(&rig);           // has forgotten everything: is told again
	expect_routed(2);
	json_decref(rig_wait(&rig, APP_PATH "shop", is_running, NULL));
	json_t *after = rig_call(&rig, 200, "GET", APP_PATH "shop/instances", NULL);
	for (size_t i = 0; i < 2; i++)
		assert_string_equal(json_get_text(json_array_get(json_object_get(before, "items"), i), "instance", "a"),
				    json_get_text(json_array_get(json_object_get(after, "items"), i), "instance", "b"));
	json_decref(before);
	json_decref(after);
}

static bool no_leftovers(struct rig *r, void *arg UNUSED)
{
	return !store_next(r->server->store, "v1/releases/", NULL) &&
	       !store_next(r->server->store, "v1/events/", NULL) &&
	       !store_next(r->server->store, "v1/placements/", NULL);
}

static void test_delete_leaves_nothing(void **state UNUSED)
{
	rig_deploy(&rig, "shop", 2, ARTIFACT);
	json_decref(rig_call(&rig, 204, "DELETE", APP_PATH "shop", NULL));
	rig_until(&rig, no_leftovers, NULL);
}

static int on_state(const struct sse_event *event, void *arg)
{
	json_t *state = json_loadb(event->data, event->data_len, 0, NULL);
	json_t *app = json_object_get(state, "app");
	unsigned *seen = arg;
	++*seen;
	bool done = str_eq(json_get_text(app, "state", ""), "running") &&
		    json_is_null(json_object_get(app, "rollout")) &&
		    json_array_size(json_object_get(state, "instances")) == 3;
	json_decref(state);
	return done;
}

static void test_watch(void **state UNUSED)
{
	AUTO_FREE char *body = deployment_json("shop", "/app/serve", "shop", 3, ARTIFACT);
	json_decref(rig_call(&rig, 202, "PUT", APP_PATH "shop", body));
	unsigned seen = 0;
	struct client_stream stream = { .request = { .method = "GET", .path = APP_PATH "shop/watch" },
					.on_event = on_state,
					.arg = &seen };
	struct err err = {};
	int r = client_stream(rig.operator, & stream, &err);
	if (r != 1)
		fail_msg("watch: %d %s", r, err.text);
	assert_true(seen >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_assignment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scale, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop_start_restart_delete, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gate_waits_for_ack, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gate_waits_for_busy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gate_opens_after_drain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rollout_ends_when_routers_have_turned, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rollout_keeps_old_until_ready, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rollout_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_job_that_ended_well_is_complete, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_loop_is_not_well, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rollback_goes_to_what_came_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_cause_is_said_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_zero_is_stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unready_is_not_starting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_crash_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_delete_leaves_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
	};
	return cmocka_run_group_tests_name("server control", tests, NULL, NULL);
}
