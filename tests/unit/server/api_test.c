// The API as its callers see it: paths, rights, problems, conditions, apps and their releases.
#include "rig.h"

#include "io/file.h"
#include "server/openapi.h"
#include "server/records_check.h"
#include "server/route.h"
#include "store/memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct rig rig;

static int setup(void **state UNUSED)
{
	rig_start(&rig, false);
	return 0;
}

static int setup_node(void **state UNUSED)
{
	rig_start(&rig, false);
	rig_agent_start(&rig);
	rig_router_start(&rig);
	return 0;
}

static int teardown(void **state UNUSED)
{
	rig_stop(&rig);
	return 0;
}

static unsigned status_for(struct client *client, const char *method, const char *path)
{
	AUTO_ANSWER struct client_answer answer = {};
	rig_send(client, method, path, NULL, NULL, &answer);
	if (answer.status >= 400 && !str_eq(method, "HEAD")) {
		assert_int_equal(json_get_u64(answer.json, "status", 0), answer.status);
		assert_string_not_equal(json_get_text(answer.json, "title", ""), "");
		assert_string_not_equal(json_get_text(answer.json, "detail", ""), "");
	}
	return answer.status;
}

// ---- routing table

static void test_route_find(void **state UNUSED)
{
	static const struct {
		const char *method, *path, *allow;
		int result;
	} cases[] = {
		{ "GET", "/v1/nodes", "", 0 },
		{ "GET", "/v1/nodes/", "", -ENOENT },
		{ "GET", "/v1", "", -ENOENT },
		{ "GET", "", "", -ENOENT },
		{ "GET", "*", "", -ENOENT },
		{ "GET", "//v1/nodes", "", -ENOENT },
		{ "POST", "/v1/nodes", "GET, HEAD", -ENOTSUP },
		{ "get", "/v1/nodes", "GET, HEAD", -ENOTSUP },
		{ "POST", "/v1/tenants/t/environments/e/apps/a", "GET, HEAD, PUT, DELETE", -ENOTSUP },
		{ "HEAD", "/v1/tenants/t/environments/e/apps/a", "", 0 },
		{ "HEAD", "/v1/tenants/t/environments/e/apps/a/watch", "GET", -ENOTSUP },
		{ "HEAD", "/v1/tenants/t/environments/e/apps/a/plan", "POST", -ENOTSUP },
		{ "GET", "/v1/tenants/t/environments/e/apps/a%zz", "", -EINVAL },
		{ "GET", "/v1/tenants//environments/e/apps", "", -ENOENT },
		{ "GET", "/v1/tenants/t/environments/e/apps/a/b/c/d/e", "", -ENOENT },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct route *route = NULL;
		char *params[REQUEST_PARAMS] = {}, allow[128];
		int r = route_find(cases[i].method, cases[i].path, &route, params, allow, sizeof(allow));
		if (r != cases[i].result)
			fail_msg("%s %s: %d", cases[i].method, cases[i].path, r);
		if (r == -ENOTSUP)
			assert_string_equal(allow, cases[i].allow);
		for (size_t k = 0; k < REQUEST_PARAMS; k++)
			free(params[k]);
	}
}

static void test_route_params(void **state UNUSED)
{
	const struct route *route;
	char *params[REQUEST_PARAMS] = {}, allow[128];
	assert_int_equal(
		route_find("GET", "/v1/tenants/a/environments/b/apps/c%2Fd", &route, params, allow, sizeof(allow)), 0);
	assert_int_equal(route_param_index(route, "tenant"), 0);
	assert_int_equal(route_param_index(route, "app"), 2);
	assert_int_equal(route_param_index(route, "node"), -1);
	assert_string_equal(params[2], "c/d");
	for (size_t k = 0; k < REQUEST_PARAMS; k++)
		free(params[k]);
}

// ---- OpenAPI

// Every reference leads somewhere.
static void check_references(const json_t *root, const json_t *at)
{
	const char *key;
	json_t *value;
	size_t i;
	if (json_is_array(at))
		json_array_foreach(at, i, value) check_references(root, value);
	json_object_foreach((json_t *)at, key, value)
	{
		check_references(root, value);
		if (!str_eq(key, "$ref"))
			continue;
		const char *path = json_string_value(value);
		assert_true(str_starts(path, "#/components/"));
		AUTO_FREE char *kind = xstrdup(path + strlen("#/components/"));
		char *name = strchr(kind, '/');
		*name++ = '\0';
		if (!json_object_get(json_object_get(json_object_get(root, "components"), kind), name))
			fail_msg("'%s' leads nowhere", path);
	}
}

static void test_openapi(void **state UNUSED)
{
	json_t *document = openapi_document();
	assert_non_null(document);
	assert_string_equal(json_get_text(document, "openapi", ""), "3.1.0");
	for (size_t i = 0; i < n_routes; i++) {
		AUTO_FREE char *method = xstrdup(routes[i].method);
		for (char *c = method; *c; c++)
			*c = (char)(*c | 0x20);
		json_t *operation =
			json_object_get(json_object_get(json_object_get(document, "paths"), routes[i].path), method);
		if (!operation)
			fail_msg("%s %s is not in the document", routes[i].method, routes[i].path);
		assert_string_equal(json_get_text(operation, "summary", ""), routes[i].summary);
		assert_int_equal(json_object_get(operation, "requestBody") != NULL, routes[i].body_kind != BODY_NONE);
	}
	check_references(document, document);
	json_decref(document);
}

// ---- rights and problems

static void test_access(void **state UNUSED)
{
	assert_int_equal(status_for(rig.nobody, "GET", "/livez"), 200);
	assert_int_equal(status_for(rig.nobody, "GET", "/v1/openapi.json"), 200);
	assert_int_equal(status_for(rig.nobody, "GET", "/v1/nodes"), 401);
	assert_int_equal(status_for(rig.node, "GET", "/v1/nodes"), 403);
	assert_int_equal(status_for(rig.operator, "GET", "/v1/nodes"), 200);
	struct err err = {};
	struct client *wrong = client_new(rig.api, "operator-secreT", &err);
	assert_int_equal(status_for(wrong, "GET", "/v1/nodes"), 401);
	client_free(wrong);
	struct client *empty = client_new(rig.api, "", &err);
	assert_int_equal(status_for(empty, "GET", "/v1/nodes"), 401);
	client_free(empty);
}

static void test_problems(void **state UNUSED)
{
	assert_int_equal(status_for(rig.operator, "GET", "/v1/nothing"), 404);
	assert_int_equal(status_for(rig.operator, "DELETE", "/v1/nodes"), 405);
	assert_int_equal(status_for(rig.operator, "GET", "/v1/tenants/other/environments/dev/apps"), 404);
	assert_int_equal(status_for(rig.operator, "GET", "/v1/tenants/default/environments/prod/apps"), 404);
	assert_int_equal(status_for(rig.operator, "GET", APP_PATH "none"), 404);
	assert_int_equal(status_for(rig.operator, "GET", "/v1/audit?limit=many"), 400);
	static const char *const pages[] = { "limit=0", "limit=1001", "limit=-1", "limit=", "cursor=bogus", "cursor=" };
	static const char *const lists[] = { "/v1/audit", "/v1/nodes", "/v1/tenants/default/environments/dev/apps" };
	for (size_t i = 0; i < ARRAY_LEN(lists) * ARRAY_LEN(pages); i++) {
		AUTO_FREE char *path = xasprintf("%s?%s", lists[i / ARRAY_LEN(pages)], pages[i % ARRAY_LEN(pages)]);
		json_t *refused = rig_call(&rig, 400, "GET", path, NULL);
		assert_string_equal(json_get_text(refused, "field", ""), i % ARRAY_LEN(pages) < 4 ? "limit" : "cursor");
		json_decref(refused);
	}
	json_t *problem = rig_call(
		&rig, 400, "PUT", APP_PATH "shop",
		"{\"spec\":{\"name\":\"shop\",\"processes\":{\"web\":{\"instancs\":2}}},\"artifact\":\"" ARTIFACT
		"\"}");
	assert_string_equal(json_get_text(problem, "field", ""), "spec.processes.web.instancs");
	assert_non_null(strstr(json_get_text(problem, "hint", ""), "instances"));
	json_decref(problem);
	problem = rig_call(&rig, 400, "POST", APP_PATH "shop/scale", "{\"instances\":\"two\"}");
	assert_string_equal(json_get_text(problem, "field", ""), "instances");
	json_decref(problem);
	problem = rig_call(&rig, 400, "POST", APP_PATH "shop/stop", "{\"gently\":true}");
	assert_string_equal(json_get_text(problem, "field", ""), "gently");
	json_decref(problem);
}

// A parameter that nobody reads would let a person believe that it counted.
static void test_queries(void **state UNUSED)
{
	static const struct {
		const char *path, *detail, *hint;
	} cases[] = {
		{ "/v1/audit?limti=1", "unknown query parameter 'limti'",
		  "did you mean 'limit'? possible here: limit, cursor" },
		{ "/v1/audit?limit=1&since=2", "unknown query parameter 'since'", "possible here: limit, cursor" },
		{ "/v1/audit?l%69mit=1&limit=2", "query parameter 'limit' is given twice", "give it once" },
		{ "/v1/status?x", "unknown query parameter 'x'", "none is possible here" },
		{ "/v1/status?=1", "unknown query parameter ''", "none is possible here" },
		{ "/v1/audit?limit=%zz", "the query has a malformed escape", "write a percent sign as %25" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *problem = rig_call(&rig, 400, "GET", cases[i].path, NULL);
		assert_string_equal(json_get_text(problem, "detail", ""), cases[i].detail);
		assert_string_equal(json_get_text(problem, "hint", ""), cases[i].hint);
		json_decref(problem);
	}
	assert_int_equal(status_for(rig.operator, "GET", "/v1/audit?"), 200);
	assert_int_equal(status_for(rig.operator, "GET", "/v1/audit?limit=1&"), 200);
	assert_int_equal(status_for(rig.nobody, "GET", "/v1/audit?x=1"), 401);
}

// A manifest and `scale` may ask for the same.
static void test_scale_limit(void **state UNUSED)
{
	AUTO_FREE char *most = deployment_json("shop", "/x", NULL, 1000, ARTIFACT);
	AUTO_FREE char *more = deployment_json("shop", "/x", NULL, 1001, ARTIFACT);
	json_decref(rig_call(&rig, 400, "PUT", APP_PATH "shop", more));
	json_decref(rig_call(&rig, 202, "PUT", APP_PATH "shop", most));
	json_decref(rig_call(&rig, 202, "POST", APP_PATH "shop/scale", "{\"instances\":999}"));
	json_decref(rig_call(&rig, 202, "POST", APP_PATH "shop/scale", "{\"instances\":1000}"));
	json_t *problem = rig_call(&rig, 400, "POST", APP_PATH "shop/scale", "{\"instances\":1001}");
	assert_string_equal(json_get_text(problem, "detail", ""), "instances: must be between 0 and 1000, is 1001");
	json_decref(problem);
	json_t *document = openapi_document();
	json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
	static const char *const names[] = { "Scale", "Process" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		json_t *properties = json_object_get(json_object_get(schemas, names[i]), "properties");
		assert_int_equal(json_get_u64(json_object_get(properties, "instances"), "maximum", 0), 1000);
	}
	json_decref(document);
}

// A body of this many bytes.
static json_t *sized_body(size_t bytes)
{
	static const char around[] = "{\"digests\":[\"\"]}";
	AUTO_FREE char *digest = xcalloc(1, bytes + 1);
	memset(digest, 'x', bytes - strlen(around));
	return json_pack("{s:[s]}", "digests", digest);
}

static void test_body_limit(void **state UNUSED)
{
	for (size_t bytes = (32 << 20) - 1; bytes <= (32 << 20) + 1; bytes++) {
		json_t *body = sized_body(bytes);
		struct client_request request = { .method = "POST",
						  .path = "/v1/tenants/default/blobs/missing",
						  .body = body };
		AUTO_ANSWER struct client_answer answer = {};
		struct err err = {};
		client_send(rig.operator, & request, &answer, &err);
		json_decref(body);
		assert_int_equal(answer.status, bytes <= 32 << 20 ? 400 : 413);
		if (bytes > 32 << 20)
			assert_string_equal(err.text, "the request's body is longer than the 33554432 bytes allowed");
	}
}

static void test_readyz(void **state UNUSED)
{
	AUTO_ANSWER struct client_answer answer = {};
	rig_send(rig.nobody, "GET", "/readyz", NULL, NULL, &answer);
	assert_int_equal(answer.status, 503);
	assert_int_equal(json_array_size(json_object_get(answer.json, "missing")), 2);
	rig_agent_start(&rig);
	AUTO_ANSWER struct client_answer second = {};
	rig_send(rig.nobody, "GET", "/readyz", NULL, NULL, &second);
	assert_int_equal(second.status, 503);
	assert_int_equal(json_array_size(json_object_get(second.json, "missing")), 1);
	rig_router_start(&rig);
	assert_int_equal(status_for(rig.nobody, "GET", "/readyz"), 200);
}

// ---- a store that fails

static void fail_writes(struct rig *r, void *arg)
{
	store_memory_fault(r->server->store, *(enum store_fault *)arg, 1, 3);
}

static void test_store_faults(void **state UNUSED)
{
	static const struct {
		enum store_fault fault;
		unsigned status;
		const char *words;
	} cases[] = {
		{ STORE_FAULT_NO_SPACE, 507, "not made" },
		{ STORE_FAULT_NOT_APPLIED, 503, "not made" },
		{ STORE_FAULT_UNKNOWN_NOT_APPLIED, 503, "not known" },
	};
	AUTO_FREE char *body = deployment_json("shop", "/x", "shop", 1, ARTIFACT);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		rig_do(&rig, fail_writes, (void *)&cases[i].fault);
		json_t *problem = rig_call(&rig, cases[i].status, "PUT", APP_PATH "shop", body);
		assert_non_null(strstr(json_get_text(problem, "detail", ""), cases[i].words));
		assert_string_not_equal(json_get_text(problem, "hint", ""), "");
		json_decref(problem);
	}
	enum store_fault none = STORE_FAULT_NONE;
	rig_do(&rig, fail_writes, &none);
	json_decref(rig_call(&rig, 202, "PUT", APP_PATH "shop", body));
}

// ---- admission

static void refuse(const char *body, unsigned status, const char *field, const char *words)
{
	json_t *problem = rig_call(&rig, status, "PUT", APP_PATH "shop", body);
	assert_string_equal(json_get_text(problem, "field", ""), field);
	if (!strstr(json_get_text(problem, "detail", ""), words))
		fail_msg("'%s' is not in '%s'", words, json_get_text(problem, "detail", ""));
	json_decref(problem);
}

static void test_admission(void **state UNUSED)
{
	AUTO_FREE char *wrong_name = deployment_json("other", "/x", NULL, 1, ARTIFACT);
	refuse(wrong_name, 400, "spec.name", "shop");
	AUTO_FREE char *shell = deployment_json("shop", "/x | /y", NULL, 1, ARTIFACT);
	refuse(shell, 400, "spec.processes.web.command", "spec.processes.web.command");
	AUTO_FREE char *unset = deployment_json("shop", "/x --url $DATABASE_URL", NULL, 1, ARTIFACT);
	refuse(unset, 400, "spec.processes.web.command", "$DATABASE_URL, which is not set");
	json_decref(rig_call(&rig, 400, "POST", APP_PATH "shop/plan", unset));
	refuse("{\"spec\":{\"name\":\"shop\",\"processes\":{\"job\":{\"command\":\"/x $PORT\"}}},\"artifact\":\"" ARTIFACT
	       "\"}",
	       400, "spec.processes.job.command", "$PORT");
	AUTO_FREE char *set = deployment_json("shop", "/x $PORT ${OTHER:-none} $INSTANCE_INDEX '$HERE'", NULL, 1, ARTIFACT);
	json_decref(rig_call(&rig, 200, "POST", APP_PATH "shop/plan", set));
	AUTO_FREE char *missing = deployment_json(
		"shop", "/x", NULL, 1, "sha256:3333333333333333333333333333333333333333333333333333333333333333");
	refuse(missing, 409, "artifact", "not uploaded");
	refuse("{\"spec\":{\"name\":\"shop\",\"runtime\":\"cobol@85\",\"processes\":{\"web\":{\"command\":\"/"
	       "x\"}}},\"artifact\":\"" ARTIFACT "\"}",
	       400, "spec.runtime", "cobol");
	json_t *problem = rig_call(&rig, 400, "PUT", APP_PATH "shop", shell);
	assert_true(str_ends(json_get_text(problem, "hint", ""), "choose a stack that has a shell (stack: shell)"));
	json_decref(problem);
	refuse("{\"spec\":{\"name\":\"shop\",\"stack\":\"mars\",\"processes\":{\"web\":{\"command\":\"/"
	       "x\"}}},\"artifact\":\"" ARTIFACT "\"}",
	       400, "spec.stack", "mars");
	refuse("{\"spec\":{\"name\":\"shop\",\"stack\":\"bare\",\"runtime\":\"static\"},\"artifact\":\"" ARTIFACT "\"}",
	       400, "spec.stack", "does not lie over 'minimal@12'");
	refuse("{\"spec\":{\"name\":\"shop\",\"processes\":{\"web\":{}}},\"artifact\":\"" ARTIFACT "\"}", 400,
	       "spec.processes.web.command", "missing");
	json_t *apps = rig_call(&rig, 200, "GET", "/v1/tenants/default/environments/dev/apps", NULL);
	assert_int_equal(json_array_size(json_object_get(apps, "items")), 0);
	json_decref(apps);
}

static void test_claims(void **state UNUSED)
{
	AUTO_FREE char *first = deployment_json("shop", "/x", "www", 1, ARTIFACT);
	AUTO_FREE char *second = deployment_json("blog", "/x", "www.apps.localhost", 1, ARTIFACT);
	json_decref(rig_call(&rig, 202, "PUT", APP_PATH "shop", first));
	json_t *problem = rig_call(&rig, 409, "PUT", APP_PATH "blog", second);
	assert_string_equal(json_get_text(problem, "field", ""), "spec.routes[0]");
	assert_non_null(strstr(json_get_text(problem, "detail", ""), "shop"));
	json_decref(problem);
	json_decref(rig_call(&rig, 204, "DELETE", APP_PATH "shop", NULL));
	json_decref(rig_call(&rig, 202, "PUT", APP_PATH "blog", second));
}

// ---- releases

static unsigned release_of(const json_t *app)
{
	return (unsigned)json_get_u64(app, "release", 0);
}

static void put(unsigned status, const char *artifact, unsigned instances, unsigned release)
{
	AUTO_FREE char *body = deployment_json("shop", "/x", "shop", instances, artifact);
	json_t *app = rig_call(&rig, status, "PUT", APP_PATH "shop", body);
	assert_int_equal(release_of(app), release);
	assert_int_equal(json_get_bool(app, "changed", false), status == 202);
	json_decref(app);
}

static void test_releases(void **state UNUSED)
{
	put(202, ARTIFACT, 1, 1);
	put(200, ARTIFACT, 1, 1);
	put(202, ARTIFACT2, 1, 2);
	put(202, ARTIFACT, 1, 3);
	json_t *app = rig_call(&rig, 202, "POST", APP_PATH "shop/rollback", "{\"release\":2}");
	assert_int_equal(release_of(app), 4);
	json_decref(app);
	app = rig_call(&rig, 202, "PATCH", APP_PATH "shop/env", "{\"COLOUR\":\"blue\",\"GONE\":null}");
	assert_int_equal(release_of(app), 5);
	json_decref(app);
	json_t *env = rig_call(&rig, 200, "GET", APP_PATH "shop/env", NULL);
	assert_string_equal(json_get_text(env, "COLOUR", ""), "blue");
	json_decref(env);
	json_decref(rig_call(&rig, 200, "PATCH", APP_PATH "shop/env", "{\"COLOUR\":\"blue\"}"));
	json_decref(rig_call(&rig, 400, "PATCH", APP_PATH "shop/env", "{\"A B\":\"x\"}"));
	json_decref(rig_call(&rig, 404, "POST", APP_PATH "shop/rollback", "{\"release\":77}"));
	json_t *releases = rig_call(&rig, 200, "GET", APP_PATH "shop/releases", NULL);
	json_t *newest = json_array_get(json_object_get(releases, "items"), 0);
	assert_int_equal(json_array_size(json_object_get(releases, "items")), 5);
	assert_int_equal(json_get_u64(newest, "release", 0), 5);
	assert_true(json_get_bool(newest, "current", false));
	assert_string_equal(json_get_text(newest, "artifact", ""), ARTIFACT2);
	json_decref(releases);
}

static void test_plan(void **state UNUSED)
{
	AUTO_FREE char *one = deployment_json("shop", "/x", "shop", 1, ARTIFACT);
	AUTO_FREE char *two = deployment_json("shop", "/x", NULL, 2, ARTIFACT2);
	json_t *plan = rig_call(&rig, 200, "POST", APP_PATH "shop/plan", one);
	assert_true(json_get_bool(plan, "changed", false));
	json_decref(plan);
	put(202, ARTIFACT, 1, 1);
	plan = rig_call(&rig, 200, "POST", APP_PATH "shop/plan", one);
	assert_false(json_get_bool(plan, "changed", true));
	assert_int_equal(json_array_size(json_object_get(plan, "changes")), 0);
	json_decref(plan);
	plan = rig_call(&rig, 200, "POST", APP_PATH "shop/plan", two);
	AUTO_FREE char *text = json_dumps(plan, 0);
	assert_non_null(strstr(text, "instances"));
	assert_non_null(strstr(text, "routes"));
	assert_non_null(strstr(text, ARTIFACT2));
	json_decref(plan);
	put(200, ARTIFACT, 1, 1); // the plan changed nothing
}

static void rebuild_stack(const char *layer)
{
	AUTO_FREE char *path = xasprintf("%s/stacks/minimal/12.json", rig.dir);
	AUTO_FREE char *text =
		xasprintf("{\"name\":\"minimal\",\"version\":\"12\",\"layers\":[\"%s\"],\"env\":{\"PATH\":"
			  "\"/usr/bin\"}}",
			  layer);
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, NULL), 0);
}

// The same version with another content: what runs stays, and a push does what the plan says.
static void test_rebuilt_stack(void **state UNUSED)
{
	put(202, ARTIFACT, 1, 1);
	rebuild_stack("sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc");
	AUTO_FREE char *body = deployment_json("shop", "/x", "shop", 1, ARTIFACT);
	json_t *plan = rig_call(&rig, 200, "POST", APP_PATH "shop/plan", body);
	assert_true(json_get_bool(plan, "changed", false));
	assert_int_equal(json_array_size(json_object_get(plan, "changes")), 1);
	json_t *change = json_array_get(json_object_get(plan, "changes"), 0);
	assert_string_equal(json_get_text(change, "path", ""), "stack.layers");
	assert_string_equal(json_get_text(change, "before", ""), "sha256:aaaaaaaaaaaa");
	assert_string_equal(json_get_text(change, "after", ""), "sha256:cccccccccccc");
	json_decref(plan);
	put(202, ARTIFACT, 1, 2);
	put(200, ARTIFACT, 1, 2);
}

static void expect_status(unsigned status, const char *method, const char *app, const char *body, const char *if_match)
{
	AUTO_ANSWER struct client_answer answer = {};
	AUTO_FREE char *path = xasprintf(APP_PATH "%s", app);
	rig_send(rig.operator, method, path, body, if_match, &answer);
	assert_int_equal(answer.status, status);
}

static void test_if_match(void **state UNUSED)
{
	put(202, ARTIFACT, 1, 1);
	AUTO_ANSWER struct client_answer read = {}, good = {}, stale = {}, odd = {}, gone = {};
	rig_send(rig.operator, "GET", APP_PATH "shop", NULL, NULL, &read);
	assert_non_null(read.etag);
	rig_send(rig.operator, "POST", APP_PATH "shop/scale", "{\"instances\":3}", read.etag, &good);
	assert_int_equal(good.status, 202);
	assert_string_not_equal(good.etag, read.etag);
	rig_send(rig.operator, "POST", APP_PATH "shop/scale", "{\"instances\":4}", read.etag, &stale);
	assert_int_equal(stale.status, 412);
	rig_send(rig.operator, "POST", APP_PATH "shop/scale", "{\"instances\":4}", "\"x\"", &odd);
	assert_int_equal(odd.status, 412);
	rig_send(rig.operator, "DELETE", APP_PATH "shop", NULL, read.etag, &gone);
	assert_int_equal(gone.status, 412);
	expect_status(412, "POST", "shop/scale", "{\"instances\":3}", read.etag); // though it would change nothing
	expect_status(412, "POST", "shop/stop", NULL, read.etag);
	expect_status(202, "POST", "shop/scale", "{\"instances\":2}", "*");
	expect_status(202, "POST", "shop/scale", "{\"instances\":3}", NULL);
	AUTO_FREE char *other = deployment_json("other", "/x", NULL, 1, ARTIFACT);
	expect_status(412, "PUT", "other", other, "*"); // it is not there
	expect_status(404, "POST", "other/stop", NULL, "*");
	json_t *app = rig_call(&rig, 200, "GET", APP_PATH "shop", NULL);
	json_t *web = json_object_get(json_object_get(app, "processes"), "web");
	assert_int_equal(json_get_u64(web, "wanted", 0), 3);
	json_decref(app);
}

static void test_numbers_after_delete(void **state UNUSED)
{
	put(202, ARTIFACT, 1, 1);
	json_t *first = rig_call(&rig, 200, "GET", APP_PATH "shop", NULL);
	json_decref(rig_call(&rig, 204, "DELETE", APP_PATH "shop", NULL));
	json_decref(rig_call(&rig, 404, "GET", APP_PATH "shop", NULL));
	AUTO_FREE char *body = deployment_json("shop", "/x", "shop", 1, ARTIFACT);
	json_t *second = rig_call(&rig, 202, "PUT", APP_PATH "shop", body);
	assert_string_not_equal(json_get_text(first, "uid", ""), json_get_text(second, "uid", ""));
	json_t *releases = rig_call(&rig, 200, "GET", APP_PATH "shop/releases", NULL);
	assert_int_equal(json_array_size(json_object_get(releases, "items")), 1);
	json_t *events = rig_call(&rig, 200, "GET", APP_PATH "shop/events", NULL);
	size_t i;
	json_t *event;
	json_array_foreach(json_object_get(events, "items"), i, event)
		assert_string_not_equal(json_get_text(event, "type", ""), "deleted");
	json_decref(events);
	json_decref(releases);
	json_decref(first);
	json_decref(second);
}

// ---- audit

static json_t *find_audit(const json_t *audit, const char *method, const char *outcome)
{
	size_t i;
	json_t *record;
	json_array_foreach(json_object_get(audit, "items"), i,
			   record) if (str_starts(json_get_text(record, "action", ""), method) &&
				       str_eq(json_get_text(record, "outcome", ""), outcome)) return record;
	return NULL;
}

// What was refused is written after it was answered.
static bool has_refused(const json_t *audit, const void *arg UNUSED)
{
	return find_audit(audit, "DELETE", "denied") && find_audit(audit, "POST", "refused");
}

static void test_audit(void **state UNUSED)
{
	put(202, ARTIFACT, 1, 1);
	for (int i = 0; i < 60; i++) // more than is recorded of those without a token
		status_for(rig.nobody, "DELETE", APP_PATH "shop");
	json_decref(rig_call(&rig, 400, "POST", APP_PATH "shop/scale", "{}"));
	json_t *audit = rig_wait(&rig, "/v1/audit", has_refused, NULL);
	assert_int_equal(json_array_size(json_object_get(audit, "items")), 52); // PUT, 50 × DELETE, POST
	json_t *done = find_audit(audit, "PUT", "done");
	assert_non_null(done);
	assert_string_equal(json_get_text(done, "who", ""), "operator");
	assert_string_equal(json_get_text(done, "target", ""), "apps/default/dev/shop");
	assert_true(str_starts(json_get_text(done, "from", ""), "127.0.0.1:"));
	json_t *denied = find_audit(audit, "DELETE", "denied");
	assert_string_equal(json_get_text(denied, "who", ""), "-");
	json_decref(audit);
}

static void test_audit_pages(void **state UNUSED)
{
	for (unsigned i = 1; i <= 7; i++)
		put(202, i % 2 ? ARTIFACT : ARTIFACT2, 1, i);
	AUTO_FREE char *path = xstrdup("/v1/audit?limit=3");
	uint64_t last = UINT64_MAX;
	unsigned pages = 0, n = 0;
	while (path) {
		json_t *page = rig_call(&rig, 200, "GET", path, NULL);
		size_t i;
		json_t *record;
		json_array_foreach(json_object_get(page, "items"), i, record)
		{
			assert_true(json_get_u64(record, "seq", 0) < last);
			last = json_get_u64(record, "seq", 0);
			n++;
		}
		const char *next = json_get_text(page, "next", NULL);
		free(path);
		path = next ? xasprintf("/v1/audit?limit=3&cursor=%s", next) : NULL;
		json_decref(page);
		pages++;
	}
	assert_int_equal(n, 7);
	assert_int_equal(pages, 3);
}

// What a command needs cannot be taken from it.
static void test_env_in_use(void **state UNUSED)
{
	json_decref(rig_call(&rig, 202, "PUT", APP_PATH "shop",
			     "{\"spec\":{\"name\":\"shop\",\"env\":{\"A\":\"1\"},\"processes\":{\"web\":{\"command\":\"/x "
			     "$A\"}}},\"artifact\":\"" ARTIFACT "\"}"));
	json_t *problem = rig_call(&rig, 400, "PATCH", APP_PATH "shop/env", "{\"A\":null}");
	assert_string_equal(json_get_text(problem, "field", ""), "spec.processes.web.command");
	json_decref(problem);
	json_decref(rig_call(&rig, 202, "PATCH", APP_PATH "shop/env", "{\"A\":\"2\"}"));
}

// What a manifest may not set, a change of the environment may not set either.
static void test_env_names(void **state UNUSED)
{
	put(202, ARTIFACT, 1, 1);
	json_decref(rig_call(&rig, 400, "PATCH", APP_PATH "shop/env", "{\"PORT\":\"1\"}"));
	json_decref(rig_call(&rig, 400, "PATCH", APP_PATH "shop/env", "{\"DIALTONE_APP\":\"1\"}"));
	json_decref(rig_call(&rig, 200, "PATCH", APP_PATH "shop/env", "{\"PORT\":null}"));
	json_decref(rig_call(&rig, 202, "PATCH", APP_PATH "shop/env", "{\"A\":\"1\"}"));
}

static void written(void *arg, const struct store_answer *answer)
{
	assert_int_equal(answer->result, STORE_OK);
	*(bool *)arg = true;
}

static void write_unreadable(struct rig *r, void *arg)
{
	static const char text[] = "{\"tenant\":\"default\",\"environment\":\"dev\",\"name\":\"odd\",\"uid\":\"u\","
				   "\"spec\":{\"name\":\"odd\",\"env\":{\"PORT\":\"1\"}}}";
	struct store_txn *txn = store_txn_new();
	store_txn_put(txn, "v1/apps/default/dev/odd", text, strlen(text));
	store_commit(r->server->store, txn, written, arg);
}

static bool is_true(struct rig *r UNUSED, void *arg)
{
	return *(bool *)arg;
}

static void check_records(struct rig *r, void *arg)
{
	struct err *err = arg;
	records_check(r->server->store, err);
}

// A server that took an app with an unreadable record for deleted stopped its instances and removed its releases.
static void test_unreadable_record(void **state UNUSED)
{
	struct err err = {};
	put(202, ARTIFACT, 1, 1);
	rig_do(&rig, check_records, &err);
	assert_int_equal(err.code, 0);
	bool done = false;
	rig_do(&rig, write_unreadable, &done);
	rig_until(&rig, is_true, &done);
	rig_do(&rig, check_records, &err);
	assert_int_equal(err.code, -EBADMSG);
	assert_non_null(strstr(err.text, "v1/apps/default/dev/odd"));
	assert_non_null(strstr(err.text, "PORT"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_route_find),
		cmocka_unit_test(test_route_params),
		cmocka_unit_test(test_openapi),
		cmocka_unit_test_setup_teardown(test_access, setup, teardown),
		cmocka_unit_test_setup_teardown(test_problems, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scale_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_body_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readyz, setup, teardown),
		cmocka_unit_test_setup_teardown(test_store_faults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_admission, setup, teardown),
		cmocka_unit_test_setup_teardown(test_claims, setup, teardown),
		cmocka_unit_test_setup_teardown(test_releases, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plan, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rebuilt_stack, setup, teardown),
		cmocka_unit_test_setup_teardown(test_if_match, setup, teardown),
		cmocka_unit_test_setup_teardown(test_numbers_after_delete, setup_node, teardown),
		cmocka_unit_test_setup_teardown(test_env_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_env_in_use, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unreadable_record, setup, teardown),
		cmocka_unit_test_setup_teardown(test_audit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_audit_pages, setup, teardown),
	};
	return cmocka_run_group_tests_name("server api", tests, NULL, NULL);
}
