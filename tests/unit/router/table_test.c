// Which route a request takes.
#include "base/str.h"
#include "router/table.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct route_instance one = { (char *)"i1", (char *)"127.0.0.1:1" };

#define ROUTE(host_, path_, app_)                                                                                      \
	{                                                                                                              \
		.host = (char *)(host_), .path = (char *)(path_), .tenant = (char *)"t", .environment = (char *)"e",   \
		.app = (char *)(app_), .instances = &one, .instance_count = 1                                          \
	}

struct bed {
	struct upstreams set;
	struct table *table;
};

static void build(struct bed *bed, struct route_entry *routes, uint32_t n)
{
	struct route_table from = { .version = 7, .routes = routes, .route_count = n };
	bed->set.loop = loop_new();
	bed->table = table_new(&from, &bed->set);
	assert_int_equal(bed->table->version, 7);
}

static void clear(struct bed *bed)
{
	table_unref(bed->table);
	assert_int_equal(bed->set.by_id.count, 0); // nothing is left behind
	map_clear(&bed->set.by_id);
	loop_free(bed->set.loop);
}

static void finds(const struct bed *bed, const char *host, const char *path, const char *app)
{
	const struct route *route = table_find(bed->table, host, path);
	if (!app) {
		assert_null(route);
		return;
	}
	assert_non_null(route);
	assert_string_equal(route->app, app);
}

static void test_paths(UNUSED void **state)
{
	struct route_entry routes[] = { ROUTE("a.test", "/", "root"),   ROUTE("a.test", "/api/v1", "v1"),
					ROUTE("a.test", "/api", "api"), ROUTE("b.test", "/only", "only"),
					ROUTE("c.test", NULL, "c"),     ROUTE("d.test", "/in/", "in") };
	struct bed bed = { 0 };
	build(&bed, routes, ARRAY_LEN(routes));
	finds(&bed, "a.test", "/", "t/e/root");
	finds(&bed, "a.test", "/x", "t/e/root");
	finds(&bed, "a.test", "/api", "t/e/api");
	finds(&bed, "a.test", "/api/", "t/e/api");
	finds(&bed, "a.test", "/apiary", "t/e/root");
	finds(&bed, "a.test", "/API", "t/e/root");
	finds(&bed, "a.test", "/api/v1", "t/e/v1");
	finds(&bed, "a.test", "/api/v1/x", "t/e/v1");
	finds(&bed, "a.test", "/api/v10", "t/e/api");
	finds(&bed, "b.test", "/only/x", "t/e/only");
	finds(&bed, "b.test", "/", NULL);
	finds(&bed, "b.test", "/onlyx", NULL);
	finds(&bed, "c.test", "/x", "t/e/c");
	finds(&bed, "d.test", "/in/x", "t/e/in");
	finds(&bed, "d.test", "/in", NULL);
	clear(&bed);
}

static void test_hosts(UNUSED void **state)
{
	struct route_entry routes[] = { ROUTE("App.Test", "/", "app"), ROUTE("z.test", "/", "z"),
					ROUTE("[::1]", "/", "six"), ROUTE("aa.test", "/", "aa") };
	struct bed bed = { 0 };
	build(&bed, routes, ARRAY_LEN(routes));
	finds(&bed, "app.test", "/", "t/e/app");
	finds(&bed, "APP.tesT", "/", "t/e/app");
	finds(&bed, "app.test:8080", "/", "t/e/app");
	finds(&bed, "app.test.", "/", "t/e/app");
	finds(&bed, "app.test.:80", "/", "t/e/app");
	finds(&bed, "[::1]:80", "/", "t/e/six");
	finds(&bed, "[::1]", "/", "t/e/six");
	finds(&bed, "app.test..", "/", NULL);
	finds(&bed, "sub.app.test", "/", NULL); // no wildcards
	finds(&bed, "*.test", "/", NULL);
	finds(&bed, "app%2etest", "/", NULL);
	finds(&bed, "app", "/", NULL);
	finds(&bed, "zz.test", "/", NULL);
	finds(&bed, "", "/", NULL);
	finds(&bed, ".", "/", NULL);
	finds(&bed, ":80", "/", NULL);
	AUTO_FREE char *longest = xcalloc(1, 1001);
	memset(longest, 'a', 1000);
	finds(&bed, longest, "/", NULL);
	clear(&bed);
}

static void test_nothing(UNUSED void **state)
{
	struct bed bed = { 0 };
	build(&bed, NULL, 0);
	finds(&bed, "a.test", "/", NULL);
	clear(&bed);
}

// The server lets no two applications have one address; if it does, the choice at least does not change.
static void test_duplicates(UNUSED void **state)
{
	struct route_entry routes[] = { ROUTE("a.test", "/", "two"), ROUTE("a.test", "/", "one"),
					ROUTE("A.test", "/", "three") };
	for (size_t turn = 0; turn < ARRAY_LEN(routes); turn++) {
		struct bed bed = { 0 };
		struct route_entry first = routes[0];
		memmove(routes, routes + 1, sizeof(routes) - sizeof(first));
		routes[ARRAY_LEN(routes) - 1] = first;
		build(&bed, routes, ARRAY_LEN(routes));
		finds(&bed, "a.test", "/", "t/e/one");
		clear(&bed);
	}
}

// What an address stands for lives on across tables; what cannot be an address is passed over.
static void test_instances(UNUSED void **state)
{
	struct route_instance instances[] = { { (char *)"i1", (char *)"127.0.0.1:1" },
					      { (char *)"i2", (char *)"nonsense" },
					      { (char *)"i3", (char *)"127.0.0.1:3" } };
	struct route_entry route = ROUTE("a.test", "/", "a");
	route.instances = instances;
	route.instance_count = ARRAY_LEN(instances);
	struct bed bed = { 0 };
	build(&bed, &route, 1);
	struct table *before = bed.table;
	assert_int_equal(before->routes[0].n, 2);
	struct upstream *kept = before->routes[0].upstreams[0], *gone = before->routes[0].upstreams[1];

	route.instance_count = 1;
	struct route_table from = { .version = 8, .routes = &route, .route_count = 1 };
	upstreams_unmark(&bed.set);
	bed.table = table_new(&from, &bed.set);
	upstreams_retire(&bed.set);
	assert_ptr_equal(bed.table->routes[0].upstreams[0], kept);
	assert_true(kept->current);
	assert_false(gone->current);
	assert_int_equal(bed.set.by_id.count, 2); // the older table may still be in use
	table_unref(before);
	assert_int_equal(bed.set.by_id.count, 1);
	clear(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),      cmocka_unit_test(test_hosts),     cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_duplicates), cmocka_unit_test(test_instances),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
