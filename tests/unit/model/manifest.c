#include "check.h"

#include "model/manifest.h"

static int parse(const char *text, struct spec *ret, struct err *err)
{
	const struct manifest_source source = { .file = "dialtone.yaml", .text = text, .len = strlen(text) };
	return manifest_parse(&source, ret, err);
}

static void parse_good(const char *text, struct spec *ret)
{
	struct err err = { 0 };
	if (parse(text, ret, &err) < 0)
		fail_msg("%s (%s)", err.text, err.hint);
}

static void complete(void **state UNUSED)
{
	static const char text[] = "# an app\n"
				   "name: shop\n"
				   "runtime: node@20\n"
				   "stack: debian-12\n"
				   "build:\n"
				   "  command: npm ci\n"
				   "  timeout: 5m\n"
				   "  memory: 2G\n"
				   "processes:\n"
				   "  web:\n"
				   "    command: node server.js --name \"$NAME\"\n"
				   "    instances: 3\n"
				   "    memory: 128MiB\n"
				   "    cpu: 250m\n"
				   "    disk: 10M\n"
				   "    health: {path: /healthz, interval: 500ms}\n"
				   "  worker: node worker.js\n"
				   "env:\n"
				   "  DEBUG: true\n"
				   "  LEVEL: 3\n"
				   "  EMPTY: \"\"\n"
				   "routes: [shop, shop.example.org/api]\n"
				   "drain: 20s\n"
				   "health: {grace: 2m, path: /up}\n"
				   "restart: on-failure\n";
	CLEANUP(spec_clear) struct spec spec = { 0 };
	parse_good(text, &spec);
	AUTO_FREE char *json = spec_text(&spec);
	assert_string_equal(
		json,
		"{\"build\":{\"command\":\"npm ci\",\"memory_bytes\":2147483648,\"timeout_ms\":300000},"
		"\"env\":{\"DEBUG\":\"true\",\"EMPTY\":\"\",\"LEVEL\":\"3\"},\"name\":\"shop\",\"processes\":{\"web\":{"
		"\"command\":\"node server.js --name \\\"$NAME\\\"\",\"cpu_millis\":250,\"disk_bytes\":10485760,"
		"\"drain_ms\":20000,\"health\":{\"grace_ms\":120000,\"interval_ms\":500,\"path\":\"/healthz\","
		"\"timeout_ms\":2000,\"type\":\"http\"},\"instances\":3,\"memory_bytes\":134217728,\"port\":8080,"
		"\"restart\":{\"backoff_ms\":1000,\"cap_ms\":60000,\"policy\":\"on-failure\",\"reset_ms\":60000}},"
		"\"worker\":{\"command\":\"node worker.js\",\"cpu_millis\":500,\"disk_bytes\":268435456,"
		"\"drain_ms\":20000,\"health\":{\"grace_ms\":120000,\"interval_ms\":5000,\"timeout_ms\":2000,"
		"\"type\":\"process\"},\"instances\":1,\"memory_bytes\":268435456,\"port\":0,\"restart\":{"
		"\"backoff_ms\":1000,\"cap_ms\":60000,\"policy\":\"on-failure\",\"reset_ms\":60000}}},"
		"\"routes\":[{\"host\":\"shop\",\"path\":\"/\"},{\"host\":\"shop.example.org\",\"path\":\"/api\"}],"
		"\"runtime\":\"node@20\",\"stack\":\"debian-12\"}");
}

static void small(void **state UNUSED)
{
	CLEANUP(spec_clear) struct spec spec = { 0 };
	parse_good("name: a\n", &spec);
	assert_null(spec.runtime);
	assert_int_equal(spec.process_count, 1);
	assert_string_equal(spec.processes[0].name, "web");
	assert_null(spec.processes[0].command);
	assert_int_equal(spec.processes[0].port, 8080);
	assert_int_equal(spec.route_count, 1);
	assert_string_equal(spec.routes[0].host, "a");
	assert_string_equal(spec.routes[0].path, "/");
}

static void names(void **state UNUSED)
{
	struct manifest_source source = { .file = "f", .text = "", .len = 0, .fallback_name = "folder" };
	CLEANUP(spec_clear) struct spec spec = { 0 };
	assert_int_equal(manifest_parse(&source, &spec, NULL), 0);
	assert_string_equal(spec.name, "folder");
	assert_string_equal(spec.routes[0].host, "folder");
	spec_clear(&spec);
	source.text = "name: a";
	source.len = strlen(source.text);
	source.name = "forced";
	assert_int_equal(manifest_parse(&source, &spec, NULL), 0);
	assert_string_equal(spec.name, "forced");
	assert_string_equal(spec.routes[0].host, "forced");
}

static void parse_route(const char *path, const char *wrong)
{
	CLEANUP(spec_clear) struct spec spec = { 0 };
	struct err err = { 0 };
	AUTO_FREE char *text = xasprintf("name: a\nroutes: ['x%s']\n", path);
	int r = parse(text, &spec, &err);
	if (r == 0)
		assert_string_equal(spec.routes[0].path, *path ? path : "/");
	else
		assert_has(err.text, wrong ? wrong : "no mistake was expected");
	if (wrong)
		assert_int_equal(r, -EINVAL);
}

// Nothing is taken for another path than the one that is written.
static void route_paths(void **state UNUSED)
{
	static const char *const good[] = { "",    "/",        "/a",    "/a/b.c", "/...", "/.well-known/x",
					    "/~u", "/a@b:c,d", "/a..b", "/..a" };
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		parse_route(good[i], NULL);
	static const struct {
		const char *path, *wrong;
	} bad[] = {
		{ "//", "empty segment" },          { "/a//b", "empty segment" },
		{ "//a", "empty segment" },         { "/a/", "must not end with '/'" },
		{ "/a//", "empty segment" },        { "/.", "'.' or '..'" },
		{ "/..", "'.' or '..'" },           { "/foo/../bar", "'.' or '..'" },
		{ "/a/./b", "'.' or '..'" },        { "/a/..", "'.' or '..'" },
		{ "/%2e/a", "without % escapes" },  { "/a%2Fb", "without % escapes" },
		{ "/a*", "must be made of" },       { "/a?b", "must be made of" },
		{ "/a#b", "must be made of" },      { "/a\\b", "must be made of" },
		{ "/a b", "must be made of" },      { "/a;b|c", "must be made of" },
		{ "/\303\244", "must be made of" }, { "/{id}", "must be made of" },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		parse_route(bad[i].path, bad[i].wrong);
}

static void routes(void **state UNUSED)
{
	CLEANUP(spec_clear) struct spec spec = { 0 };
	parse_good("name: a\nroutes: []\n", &spec);
	assert_int_equal(spec.route_count, 0);
	spec_clear(&spec);
	parse_good("name: a\nprocesses: {worker: run}\n", &spec);
	assert_int_equal(spec.route_count, 0);
	spec_clear(&spec);
	parse_good("name: a\nprocesses: {web: {port: 0}}\n", &spec);
	assert_int_equal(spec.route_count, 0);
	assert_int_equal(spec.processes[0].health.type, HEALTH_PROCESS);
}

static void aliases(void **state UNUSED)
{
	CLEANUP(spec_clear) struct spec spec = { 0 };
	parse_good("name: a\nprocesses:\n  web: &p {memory: 64M}\n  worker: *p\n", &spec);
	assert_int_equal(spec.processes[1].memory_bytes, 64 << 20);
}

static void errors(void **state UNUSED)
{
	static const struct {
		const char *text, *part, *hint;
	} bad[] = {
		{ "", "dialtone.yaml: name: is missing", "name:" },
		{ "runtime: node\n", "name: is missing", "" },
		{ "- a\n", "dialtone.yaml:1:1: must be a mapping", "" },
		{ "name: a\nruntme: node\n", "dialtone.yaml:2:1: runtme: unknown key", "'runtime'" },
		{ "name: a\nreplicas: 2\n", "2:1: replicas: unknown key", "processes.web" },
		{ "name: a\nprocesses:\n  web:\n    replicas: 2\n", "4:5: processes.web.replicas: unknown key",
		  "'instances'" },
		{ "name: a\ncommand: x\n", "2:1: command: unknown key", "processes.web.command" },
		{ "name: a\nprocesses:\n  web:\n    env: {}\n", "4:5: processes.web.env", "top level" },
		{ "name: a\nxyzzy: 1\n", "2:1: xyzzy: unknown key", "possible here: name, runtime" },
		{ "name: a\nname: b\n", "2:1: key 'name' is given twice, first in line 1", "" },
		{ "name: a\nprocesses: {web: {memory: 256}}\n", "2:27: processes.web.memory: '256' has no unit",
		  "256M" },
		{ "name: a\nprocesses: {web: {drain: 10}}\n", "drain: '10' has no unit", "10s" },
		{ "name: a\nprocesses: {web: {memory: 1K}}\n", "must be between 4M and 1T, is 1K", "" },
		{ "name: a\nprocesses: {web: {instances: two}}\n", "must be a whole number, is 'two'", "" },
		{ "name: a\nprocesses: {web: {instances: 1001}}\n", "between 0 and 1000", "" },
		{ "name: a\nprocesses: {web: {cpu: lots}}\n", "not a number of cores", "0.5" },
		{ "name: a\nprocesses: {web: {command: [node, x]}}\n",
		  "processes.web.command: must be one text, is a list", "one line" },
		{ "name: a\nprocesses: {web: {command: }}\n", "has no value", "leave the key out" },
		{ "name: a\nprocesses: [web]\n", "2:12: processes: must be a mapping, is a list", "NAME: value" },
		{ "name: a\nprocesses: {Web: x}\n", "processes.Web: this name must be", "" },
		{ "name: a\nenv: [A=1]\n", "env: must be a mapping", "" },
		{ "name: a\nenv: {A: }\n", "env.A: has no value", "\"\"" },
		{ "name: a\nenv: {PORT: 1}\n", "env.PORT: this name is set by the platform", "" },
		{ "name: a\nenv: {A: {B: c}}\n", "env.A: must be one text, is a mapping", "" },
		{ "name: a\nhealth: htp\n", "2:9: health: must be one of", "'http'" },
		{ "name: a\nprocesses: {job: {health: http}}\n", "processes.job.health: http needs a port", "" },
		{ "name: a\nrestart: {backoff: 5s, cap: 1s}\n", "2:29: restart.cap: must not be shorter", "" },
		{ "name: a\nroutes: shop\n", "routes: must be a list", "" },
		{ "name: a\nroutes: ['http://x']\n", "without http://", "" },
		{ "name: a\nroutes: [x, x/]\n", "2:9: routes: 'x/' is given twice", "" },
		{ "name: a\nprocesses: {job: x}\nroutes: [x]\n", "3:9: routes: routes lead to the process 'web'", "" },
		{ "name: Shop\n", "1:7: name: must be 1 to 63", "" },
		{ "name: !!str a\n", "1:7: tags are not understood", "" },
		{ "name: a\n---\nname: b\n", "second document", "" },
		{ "name: a\n\truntime: x\n", "not valid YAML", "" },
		{ "name: a\nbuild: &x {<<: *x}\n", "alias of something that it is part of", "" },
		{ "name: a\nbuild: {<<: {}}\n", "merge keys", "" },
		{ "name: *b\n", "alias of an anchor", "" },
		{ "? [a]\n: b\n", "a key must be a plain text", "" },
		{ "name: a\nprocesses: [[[[[[[[[[[[[[[[[[a]]]]]]]]]]]]]]]]]]\n", "nested too deeply", "" },
		{ "name: \"a\\0b\"\n", "NUL", "" },
		{ "name: \xff\n", "UTF-8", "" },
		{ "runtime: node 20\nname: a\n", "runtime: must be NAME or NAME@VERSION", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct spec spec = { 0 };
		struct err err = { 0 };
		if (parse(bad[i].text, &spec, &err) != -EINVAL)
			fail_msg("accepted: %s", bad[i].text);
		assert_has(err.text, bad[i].part);
		assert_has(err.hint, bad[i].hint);
		assert_true(str_starts(err.text, "dialtone.yaml:"));
	}
}

static void bombs(void **state UNUSED)
{
	struct err err = { 0 };
	struct spec spec = { 0 };
	assert_int_equal(parse("a: &a [x,x,x,x,x,x,x,x,x,x]\n"
			       "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
			       "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
			       "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
			       "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
			       &spec, &err),
			 -EINVAL);
	assert_has(err.text, "too many entries (aliases");

	AUTO_FREE char *comment = xmalloc(MANIFEST_SIZE_MAX + 1);
	memset(comment, '#', MANIFEST_SIZE_MAX + 1);
	struct manifest_source large = { .file = "f", .text = comment, .fallback_name = "a" };
	for (large.len = MANIFEST_SIZE_MAX - 1; large.len <= MANIFEST_SIZE_MAX; large.len++) {
		assert_int_equal(manifest_parse(&large, &spec, &err), 0);
		spec_clear(&spec);
	}
	assert_int_equal(manifest_parse(&large, &spec, &err), -E2BIG);
	assert_string_equal(err.text, "f: larger than 256 KiB");

	size_t n = MANIFEST_SIZE_MAX;
	AUTO_FREE char *many = xmalloc(n + 1);
	for (size_t i = 0; i < n; i += 4)
		memcpy(many + i, "- a\n", 4);
	many[n] = '\0';
	assert_int_equal(parse(many, &spec, &err), -EINVAL);
	assert_has(err.text, "too many entries");
}

static int procfile(const char *text, struct spec *ret, struct err *err)
{
	const struct manifest_source source = {
		.file = "Procfile", .text = text, .len = strlen(text), .fallback_name = "app"
	};
	return procfile_parse(&source, ret, err);
}

static void procfiles(void **state UNUSED)
{
	CLEANUP(spec_clear) struct spec spec = { 0 };
	assert_int_equal(procfile("# x\n\nweb: gunicorn app:app -b 0.0.0.0:$PORT  \r\nworker:celery\n", &spec, NULL),
			 0);
	assert_int_equal(spec.process_count, 2);
	assert_string_equal(spec.processes[0].command, "gunicorn app:app -b 0.0.0.0:$PORT");
	assert_int_equal(spec.processes[0].port, 8080);
	assert_int_equal(spec.processes[0].health.type, HEALTH_TCP);
	assert_string_equal(spec.processes[1].command, "celery");
	assert_int_equal(spec.processes[1].port, 0);
	assert_string_equal(spec.routes[0].host, "app");

	static const struct {
		const char *text, *part;
	} bad[] = {
		{ "", "names no process" },
		{ "web gunicorn\n", "Procfile:1:1: must be 'NAME: command'" },
		{ "web: a\nweb: b\n", "Procfile:2:1: process 'web' is given twice" },
		{ "\nrelease: a\n", "Procfile:2:1: a release phase" },
		{ "We b: x\n", "this name must" },
		{ "web:\n", "must be 'NAME: command'" },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { 0 };
		struct spec none = { 0 };
		assert_int_equal(procfile(bad[i].text, &none, &err), -EINVAL);
		assert_has(err.text, bad[i].part);
	}
}

static void defaults(void **state UNUSED)
{
	CLEANUP(spec_clear) struct spec spec = { 0 };
	assert_int_equal(manifest_default("site", "static", NULL, &spec, NULL), 0);
	assert_string_equal(spec.runtime, "static");
	assert_null(spec.processes[0].command);
	struct spec none = { 0 };
	assert_int_equal(manifest_default("My Site", "static", NULL, &none, NULL), -EINVAL);
}

static void expect_place(const char *text, bool procfile, const char *field, unsigned line, unsigned column)
{
	const struct manifest_source source = { .file = "m", .text = text, .len = strlen(text) };
	unsigned at_line = 0, at_column = 0;
	if (manifest_place(&source, procfile, field, &at_line, &at_column) < 0)
		at_line = at_column = 0;
	if (at_line != line || at_column != column)
		fail_msg("%s: %u:%u", field, at_line, at_column);
}

static void places(void **state UNUSED)
{
	static const char text[] = "name: shop\nprocesses:\n  command: ./a\n  web:\n    command: ./b $X\n    memory: 8M\n";
	expect_place(text, false, "spec.processes.web.command", 5, 14);
	expect_place(text, false, "spec.processes.web.memory_bytes", 6, 13);
	expect_place(text, false, "spec.processes.command.command", 3, 12); // a process of that name, in short
	expect_place(text, false, "spec.processes.web.health.type", 5, 5);
	expect_place(text, false, "spec.runtime", 0, 0);
	static const char procfile[] = "# two\nwebber: ./a\n web: ./b $X\n";
	expect_place(procfile, true, "spec.processes.web.command", 3, 1);
	expect_place(procfile, true, "spec.processes.none.command", 0, 0);
	expect_place(procfile, true, "spec.stack", 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(complete),  cmocka_unit_test(small),       cmocka_unit_test(names),
		cmocka_unit_test(routes),    cmocka_unit_test(route_paths), cmocka_unit_test(aliases),
		cmocka_unit_test(errors),    cmocka_unit_test(bombs),
		cmocka_unit_test(procfiles), cmocka_unit_test(defaults),
		cmocka_unit_test(places),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
