#include "check.h"

#include "model/exchange.h"

static json_t *json(const char *text)
{
	json_t *value = NULL;
	struct err err = { 0 };
	if (json_from_bytes(text, strlen(text), &value, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return value;
}

static void json_is_strict(void **state UNUSED)
{
	static const char *const bad[] = {
		"",
		"{",
		"{\"a\":1,\"a\":2}",
		"{} {}",
		"\"\xff\"",
		"\"\\u0000\"",
		"[1,]",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1"
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		json_t *value = NULL;
		struct err err = { 0 };
		assert_int_equal(json_from_bytes(bad[i], strlen(bad[i]), &value, &err), -EBADMSG);
		assert_null(value);
		assert_true(*err.text);
	}
	json_t *none = NULL;
	struct err err = { 0 };
	static const char nul[] = "{\n\"a\":\"b\\u0000\"}";
	assert_int_equal(json_from_bytes(nul, strlen(nul), &none, &err), -EBADMSG);
	assert_has(err.text, "line 2, column ");
	assert_has(err.text, "a NUL character in a string is not allowed");
	AUTO_JSON json_t *value = json("{\"b\":[1,2],\"a\":\"[[[[[[\"}");
	AUTO_FREE char *text = json_to_text(value);
	assert_string_equal(text, "{\"a\":\"[[[[[[\",\"b\":[1,2]}");
}

static void spec_defaults(void **state UNUSED)
{
	AUTO_JSON json_t *value =
		json("{\"name\":\"shop\",\"runtime\":\"node@20\",\"processes\":{\"worker\":{},\"web\":{}}}");
	CLEANUP(spec_clear) struct spec spec = { 0 };
	assert_int_equal(spec_parse(value, &spec, NULL, NULL), 0);
	assert_int_equal(spec.process_count, 2);
	const struct process *web = &spec.processes[0], *worker = &spec.processes[1];
	assert_string_equal(web->name, "web");
	assert_int_equal(web->port, 8080);
	assert_int_equal(web->instances, 1);
	assert_int_equal(web->memory_bytes, 256 << 20);
	assert_int_equal(web->cpu_millis, 500);
	assert_int_equal(web->disk_bytes, 256 << 20);
	assert_int_equal(web->drain_ms, 10000);
	assert_int_equal(web->health.type, HEALTH_TCP);
	assert_int_equal(web->health.interval_ms, 5000);
	assert_int_equal(web->health.timeout_ms, 2000);
	assert_int_equal(web->health.grace_ms, 60000);
	assert_int_equal(worker->port, 0);
	assert_int_equal(worker->health.type, HEALTH_PROCESS);
	assert_int_equal(worker->restart.policy, RESTART_ALWAYS);
}

static void canonical(void **state UNUSED)
{
	static const char text[] =
		"{\"build\":{\"command\":\"npm ci\",\"memory_bytes\":1073741824,\"timeout_ms\":900000},"
		"\"env\":{\"A\":\"1\",\"B\":\"\"},\"name\":\"shop\",\"processes\":{\"web\":{\"command\":\"node "
		"server.js\","
		"\"cpu_millis\":500,\"disk_bytes\":268435456,\"drain_ms\":10000,\"health\":{\"grace_ms\":60000,"
		"\"interval_ms\":5000,\"path\":\"/healthz\",\"timeout_ms\":2000,\"type\":\"http\"},\"instances\":2,"
		"\"memory_bytes\":268435456,\"port\":8080,\"restart\":{\"backoff_ms\":1000,\"cap_ms\":60000,"
		"\"policy\":\"always\",\"reset_ms\":60000}}},\"routes\":[{\"host\":\"shop\",\"path\":\"/\"}],"
		"\"runtime\":\"node@20\",\"stack\":\"debian-12\"}";
	CLEANUP(spec_clear) struct spec spec = { 0 };
	struct err err = { 0 };
	if (spec_parse_text(text, strlen(text), &spec, &err) < 0)
		fail_msg("%s", err.text);
	AUTO_FREE char *back = spec_text(&spec);
	assert_string_equal(back, text);

	CLEANUP(spec_clear) struct spec copy = { 0 };
	spec_copy(&spec, &copy);
	assert_true(fields_equal(&spec_fields, &spec, &copy));
	assert_ptr_not_equal(copy.processes[0].command, spec.processes[0].command);
	copy.processes[0].health.grace_ms = 1;
	assert_false(fields_equal(&spec_fields, &spec, &copy));
	assert_string_equal(pairs_get(spec.env, spec.env_count, "A"), "1");
	assert_null(pairs_get(spec.env, spec.env_count, "C"));
}

static void spec_errors(void **state UNUSED)
{
	static const struct {
		const char *text, *path, *part, *hint;
	} bad[] = {
		{ "[]", "", "must be an object", "" },
		{ "{}", "name", "is missing", "" },
		{ "{\"name\":\"Shop\"}", "name", "a-z", "" },
		{ "{\"name\":\"a\",\"proceses\":{}}", "proceses", "unknown key", "processes" },
		{ "{\"name\":\"a\",\"processes\":{\"web\":{\"prot\":1}}}", "processes.web.prot", "unknown key",
		  "port" },
		{ "{\"name\":\"a\",\"processes\":{\"web\":{\"memory\":\"12Q\"}}}", "processes.web.memory", "unknown key",
		  "'memory_bytes'" },
		{ "{\"name\":\"a\",\"build\":{\"timeout\":\"1m\"}}", "build.timeout", "unknown key", "'timeout_ms'" },
		{ "{\"name\":\"a\",\"processes\":{\"web\":{\"port\":\"80\"}}}", "processes.web.port", "whole number",
		  "" },
		{ "{\"name\":\"a\",\"processes\":{\"web\":{\"port\":65536}}}", "processes.web.port",
		  "between 0 and 65535", "" },
		{ "{\"name\":\"a\",\"processes\":{\"web\":{\"instances\":1001}}}", "processes.web.instances", "1000",
		  "" },
		{ "{\"name\":\"a\",\"processes\":{\"web\":{\"instances\":-1}}}", "processes.web.instances", "negative",
		  "" },
		{ "{\"name\":\"a\",\"processes\":{\"web\":{\"memory_bytes\":1}}}", "processes.web.memory_bytes", "4M",
		  "" },
		{ "{\"name\":\"a\",\"processes\":{\"W\":{}}}", "processes.W", "name must", "" },
		{ "{\"name\":\"a\",\"processes\":{\"web\":{\"health\":{\"type\":\"htp\"}}}}",
		  "processes.web.health.type", "must be one of", "http" },
		{ "{\"name\":\"a\",\"processes\":{\"job\":{\"health\":{\"type\":\"http\"}}}}", "processes.job.health",
		  "needs a port", "" },
		{ "{\"name\":\"a\",\"processes\":{\"web\":{\"health\":{\"type\":\"tcp\",\"path\":\"/\"}}}}",
		  "processes.web.health", "path", "" },
		{ "{\"name\":\"a\",\"processes\":{\"web\":{\"restart\":{\"backoff_ms\":5000,\"cap_ms\":1000}}}}",
		  "processes.web.restart.cap_ms", "shorter", "" },
		{ "{\"name\":\"a\",\"env\":{\"1A\":\"x\"}}", "env.1A", "digit", "" },
		{ "{\"name\":\"a\",\"env\":{\"PORT\":\"x\"}}", "env.PORT", "set by the platform", "" },
		{ "{\"name\":\"a\",\"env\":{\"A\":1}}", "env.A", "must be a text", "" },
		{ "{\"name\":\"a\",\"routes\":[{\"host\":\"x\"}]}", "routes", "'web'", "" },
		{ "{\"name\":\"a\",\"processes\":{\"web\":{}},\"routes\":[{\"host\":\"x\"},{\"host\":\"x\",\"path\":\"/"
		  "\"}]}",
		  "routes", "twice", "" },
		{ "{\"name\":\"a\",\"processes\":{\"web\":{}},\"routes\":[{\"host\":\"x..y\"}]}", "routes[0].host",
		  "host name", "" },
		{ "{\"name\":\"a\",\"runtime\":\"node 20\"}", "runtime", "NAME@VERSION", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_JSON json_t *value = json(bad[i].text);
		struct spec spec = { .name = (char *)"untouched" };
		struct field_path path = { "?" };
		struct err err = { 0 };
		if (spec_parse(value, &spec, &path, &err) != -EINVAL)
			fail_msg("accepted: %s", bad[i].text);
		assert_string_equal(spec.name, "untouched");
		assert_string_equal(path.text, bad[i].path);
		assert_has(err.text, bad[i].part);
		assert_has(err.text, bad[i].path);
		assert_has(err.hint, bad[i].hint);
	}
}

static void lenient_passes_over_unknown_keys(void **state UNUSED)
{
	static const char text[] = "{\"name\":\"a\",\"uid\":\"u\",\"created_ms\":5,\"later\":{\"x\":1}}";
	CLEANUP(tenant_clear) struct tenant tenant = { 0 };
	assert_int_equal(tenant_parse_text(text, strlen(text), &tenant, NULL), 0);
	assert_int_equal(tenant.created_ms, 5);
	AUTO_JSON json_t *value = json(text);
	struct tenant strict = { 0 };
	assert_int_equal(tenant_parse(value, &strict, NULL, NULL), -EINVAL);
}

// Each object with everything in it comes back the same from its own text and from a copy.
static void objects_round_trip(void **state UNUSED)
{
#define DIGEST "\"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""
	static const struct {
		const struct fields *fields;
		const char *text;
	} objects[] = {
		{ &app_fields,
		  "{\"tenant\":\"t\",\"environment\":\"e\",\"name\":\"a\",\"uid\":\"u\",\"release\":3,"
		  "\"counts\":{\"web\":4},\"stopped\":true,\"spec\":{\"name\":\"a\",\"processes\":{\"web\":{}}}}" },
		{ &release_fields,
		  "{\"tenant\":\"t\",\"environment\":\"e\",\"app\":\"a\",\"app_uid\":\"u\",\"number\":1,"
		  "\"artifact\":" DIGEST ",\"layers\":[" DIGEST "," DIGEST "],\"base_env\":{\"PATH\":\"/bin\","
		  "\"PORT\":\"1\"},\"shell\":true,\"spec\":{\"name\":\"a\"}}" },
		{ &placement_fields,
		  "{\"instance\":\"i\",\"node\":\"n\",\"tenant\":\"t\",\"environment\":\"e\",\"app\":\"a\","
		  "\"app_uid\":\"u\",\"process\":\"web\",\"index\":2,\"release\":1,\"want\":\"stop\","
		  "\"stop_ms\":7,\"replaces\":\"j\"}" },
		{ &node_fields, "{\"name\":\"n\",\"state\":\"lost\",\"memory_bytes\":1,\"cpu_millis\":2}" },
		{ &token_fields, "{\"name\":\"n\",\"hash\":" DIGEST ",\"role\":\"node\"}" },
		{ &event_fields, "{\"seq\":1,\"type\":\"placed\",\"release\":2,\"index\":1}" },
		{ &audit_fields, "{\"seq\":1,\"who\":\"o\",\"action\":\"PUT\",\"target\":\"k\",\"outcome\":\"done\"}" },
		{ &assignment_fields,
		  "{\"instance\":\"i\",\"generation\":1,\"want\":\"run\",\"tenant\":\"t\","
		  "\"environment\":\"e\",\"app\":\"a\",\"app_uid\":\"u\",\"process\":\"web\","
		  "\"layers\":[" DIGEST "],\"command\":[\"node\",\"\"],\"env\":{\"PORT\":\"8080\"}}" },
		{ &report_fields,
		  "{\"boot\":\"b\",\"seq\":9,\"full\":true,\"node\":{\"name\":\"n\",\"used\":{\"instances\":1}},"
		  "\"instances\":[{\"instance\":\"i\",\"state\":\"backoff\",\"exit\":{\"signal\":9,\"oom\":true,"
		  "\"lines\":[\"a\",\"b\"]},\"probe\":{\"ok\":false}},{\"instance\":\"j\",\"state\":\"ready\"}]}" },
		{ &route_table_fields,
		  "{\"version\":3,\"routes\":[{\"host\":\"a.b\",\"path\":\"/\",\"state\":\"running\","
		  "\"instances\":[{\"id\":\"i\",\"address\":\"10.0.0.1:80\"}]}]}" },
		{ &route_ack_fields, "{\"version\":3,\"busy\":[\"i\"]}" },
	};
	for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
		const struct fields *fields = objects[i].fields;
		AUTO_FREE void *first = xcalloc(1, fields->size);
		AUTO_FREE void *second = xcalloc(1, fields->size);
		struct err err = { 0 };
		if (fields_parse_text(fields, objects[i].text, strlen(objects[i].text), first, &err) < 0)
			fail_msg("%s: %s", fields->name, err.text);
		AUTO_FREE char *text = fields_text(fields, first);
		assert_int_equal(fields_parse_text(fields, text, strlen(text), second, &err), 0);
		assert_true(fields_equal(fields, first, second));
		fields_clear(fields, second);
		fields_copy(fields, first, second);
		AUTO_FREE char *copied = fields_text(fields, second);
		assert_string_equal(copied, text);
		fields_clear(fields, first);
		fields_clear(fields, second);
	}
}

static void texts_that_are_not_utf8_are_written(void **state UNUSED)
{
	struct instance_report report = { .instance = (char *)"i", .message = (char *)"caf\xe9" };
	AUTO_FREE char *text = instance_report_text(&report);
	assert_has(text, "caf?");
}

static void schema(void **state UNUSED)
{
	AUTO_JSON json_t *schemas = json_object();
	AUTO_JSON json_t *spec = fields_schema(&spec_fields, schemas);
	AUTO_FREE char *text = json_to_text(spec);
	assert_has(text, "\"required\":[\"name\"]");
	assert_has(text, "{\"additionalProperties\":{\"$ref\":\"#/components/schemas/Process\"}");
	AUTO_FREE char *process = json_to_text(json_object_get(schemas, "Process"));
	assert_has(process, "\"instances\":{\"default\":1,\"maximum\":1000,\"minimum\":0,\"type\":\"integer\"}");
	assert_null(strstr(process, "4294967295"));
	assert_non_null(json_object_get(schemas, "Health"));
}

static void wanted_counts(void **state UNUSED)
{
	static const char text[] =
		"{\"tenant\":\"t\",\"environment\":\"e\",\"name\":\"a\",\"uid\":\"u\",\"counts\":{\"web\":4},"
		"\"spec\":{\"name\":\"a\",\"processes\":{\"web\":{},\"job\":{\"instances\":2}}}}";
	CLEANUP(app_clear) struct app app = { 0 };
	assert_int_equal(app_parse_text(text, strlen(text), &app, NULL), 0);
	assert_int_equal(app_wanted(&app, "web"), 4);
	assert_int_equal(app_wanted(&app, "job"), 2);
	assert_int_equal(app_wanted(&app, "gone"), 0);
	app.stopped = true;
	assert_int_equal(app_wanted(&app, "web"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_is_strict),
		cmocka_unit_test(spec_defaults),
		cmocka_unit_test(canonical),
		cmocka_unit_test(spec_errors),
		cmocka_unit_test(lenient_passes_over_unknown_keys),
		cmocka_unit_test(objects_round_trip),
		cmocka_unit_test(texts_that_are_not_utf8_are_written),
		cmocka_unit_test(schema),
		cmocka_unit_test(wanted_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
