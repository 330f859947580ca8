#include "check.h"

#include "model/diff.h"
#include "model/manifest.h"

static void parse(const char *text, struct spec *ret)
{
	const struct manifest_source source = { .file = "f", .text = text, .len = strlen(text) };
	struct err err = { 0 };
	if (manifest_parse(&source, ret, &err) < 0)
		fail_msg("%s", err.text);
}

// "path: before > after" a line; '-' for nothing.
static char *differences(const struct spec *before, const struct spec *after)
{
	CLEANUP(changes_clear) struct changes changes = { 0 };
	spec_diff(before, after, &changes);
	char *all = xstrdup("");
	for (uint32_t i = 0; i < changes.count; i++) {
		const struct change *change = &changes.items[i];
		AUTO_FREE char *so_far = all;
		all = xasprintf("%s%s: %s > %s\n", so_far, change->path, change->before ? change->before : "-",
				change->after ? change->after : "-");
	}
	return all;
}

static void what_changes(void **state UNUSED)
{
	CLEANUP(spec_clear) struct spec before = { 0 }, after = { 0 };
	parse("name: a\nruntime: node@20\nbuild: npm ci\nprocesses: {web: {command: x}, job: {command: y}}\n"
	      "env: {A: 1, B: 2}\nroutes: [a, b/c]\n",
	      &before);
	parse("name: a\nruntime: node@22\nprocesses: {web: {command: x, memory: 512M, instances: 3, drain: 90s}}\n"
	      "env: {A: 1, B: 3, C: ''}\nroutes: [d, a]\n",
	      &after);
	AUTO_FREE char *all = differences(&before, &after);
	assert_string_equal(all, "build.command: npm ci > -\n"
				 "build.memory: 1G > -\n"
				 "build.timeout: 15m > -\n"
				 "env.B: 2 > 3\n"
				 "env.C: - > \n"
				 "processes.job.command: y > -\n"
				 "processes.job.cpu: 0.5 > -\n"
				 "processes.job.disk: 256M > -\n"
				 "processes.job.drain: 10s > -\n"
				 "processes.job.health.grace: 1m > -\n"
				 "processes.job.health.interval: 5s > -\n"
				 "processes.job.health.timeout: 2s > -\n"
				 "processes.job.health.type: process > -\n"
				 "processes.job.instances: 1 > -\n"
				 "processes.job.memory: 256M > -\n"
				 "processes.job.port: 0 > -\n"
				 "processes.job.restart.backoff: 1s > -\n"
				 "processes.job.restart.cap: 1m > -\n"
				 "processes.job.restart.policy: always > -\n"
				 "processes.job.restart.reset: 1m > -\n"
				 "processes.web.drain: 10s > 90s\n"
				 "processes.web.instances: 1 > 3\n"
				 "processes.web.memory: 256M > 512M\n"
				 "routes[b/c]: b/c > -\n"
				 "routes[d/]: - > d/\n"
				 "runtime: node@20 > node@22\n");
	AUTO_FREE char *none = differences(&after, &after);
	assert_string_equal(none, "");
}

static void from_nothing(void **state UNUSED)
{
	CLEANUP(spec_clear) struct spec after = { 0 };
	parse("name: a\n", &after);
	CLEANUP(changes_clear) struct changes changes = { 0 };
	spec_diff(NULL, &after, &changes);
	assert_true(changes.count > 10);
	for (uint32_t i = 0; i < changes.count; i++)
		assert_null(changes.items[i].before);
	changes_add(&changes, "artifact", "x", NULL);
	AUTO_FREE char *text = changes_text(&changes);
	assert_has(text, "{\"before\":\"x\",\"path\":\"artifact\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(what_changes), cmocka_unit_test(from_nothing) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
