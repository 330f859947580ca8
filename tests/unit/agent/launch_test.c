// What a process starts with, what comes out of it, and when it starts again.
#include "agent/launch.h"
#include "agent/restart.h"
#include "agent/text.h"
#include "base/str.h"
#include "model/injected.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

static const char *value(const struct launch *launch, const char *name)
{
	for (char **e = launch->env; *e; e++) {
		if (str_starts(*e, name) && (*e)[strlen(name)] == '=')
			return *e + strlen(name) + 1;
	}
	return NULL;
}

static struct pair env[] = { { (char *)"COLOR", (char *)"red" }, { (char *)"PORT", (char *)"1" } };
static char *command[] = { (char *)"/app/web", (char *)"--port=$PORT", (char *)"${COLOR}/$$", NULL };
static const struct assignment shop = {
	.instance = (char *)"shop-1",	.tenant = (char *)"default", .environment = (char *)"dev", .app = (char *)"shop",
	.process = (char *)"web",	.index = 2,		     .port = 8080,
	.command = command,		.command_count = 3,	     .env = env,
	.env_count = 2,
};

static void environment(void **state UNUSED)
{
	AUTO_LAUNCH struct launch launch = { 0 };
	assert_int_equal(launch_prepare(&shop, "100.64.0.2", NULL, 0, NULL, &launch, NULL), 0);
	assert_string_equal(value(&launch, "PORT"), "8080"); // the platform's word goes first
	assert_string_equal(value(&launch, "COLOR"), "red");
	assert_string_equal(value(&launch, "INSTANCE_INDEX"), "2");
	assert_string_equal(value(&launch, "CF_INSTANCE_INDEX"), "2");
	assert_string_equal(value(&launch, "DIALTONE_INSTANCE"), "shop-1");
	assert_string_equal(value(&launch, "DIALTONE_ADDRESS"), "100.64.0.2");
	assert_string_equal(value(&launch, "DIALTONE_ENVIRONMENT"), "dev");
	assert_string_equal(launch.words[1], "--port=8080");
	assert_string_equal(launch.words[2], "red/$");
	assert_null(launch.words[3]);
}

// What is promised before a deployment is what is there after it.
static void injected_is_what_is_given(void **state UNUSED)
{
	for (uint16_t port = 0; port <= 8080; port += 8080) {
		AUTO_LAUNCH struct launch launch = { 0 };
		struct assignment bare = shop;
		bare.env_count = bare.command_count = 0;
		bare.port = port;
		bare.memory_bytes = 64 << 20;
		static const char *const words[] = { "true", NULL };
		assert_int_equal(launch_prepare(&bare, "100.64.0.2", NULL, 0, words, &launch, NULL), 0);
		size_t given = 0;
		for (char **e = launch.env; *e; e++, given++) {
			AUTO_FREE char *name = xstrndup(*e, strcspn(*e, "="));
			if (!injected_has(name, port))
				fail_msg("%s is given, but not known before", name);
		}
		assert_int_equal(given, port ? 21 : 18);
	}
	assert_false(injected_has("PORT", false));
}

static void extra_goes_before_the_apps_own(void **state UNUSED)
{
	AUTO_LAUNCH struct launch launch = { 0 };
	struct pair extra[] = { { (char *)"COLOR", (char *)"blue" }, { (char *)"DIALTONE_APP", (char *)"other" } };
	static const char *const words[] = { "echo", "$COLOR", NULL };
	assert_int_equal(launch_prepare(&shop, "100.64.0.2", extra, 2, words, &launch, NULL), 0);
	assert_string_equal(launch.words[1], "blue");
	assert_string_equal(value(&launch, "DIALTONE_APP"), "shop");
}

static void unset_variable_is_named(void **state UNUSED)
{
	AUTO_LAUNCH struct launch launch = { 0 };
	struct err err = { 0 };
	static const char *const words[] = { "echo", "$NO_SUCH", NULL };
	assert_int_equal(launch_prepare(&shop, "100.64.0.2", NULL, 0, words, &launch, &err), -ENOENT);
	assert_non_null(strstr(err.text, "NO_SUCH"));
	struct assignment none = shop;
	none.command_count = 0;
	assert_int_equal(launch_prepare(&none, "100.64.0.2", NULL, 0, NULL, &launch, &err), -EINVAL);
}

static void text_becomes_utf8(void **state UNUSED)
{
	static const struct {
		const char *in;
		size_t n;
		const char *out;
	} cases[] = {
		{ "plain", 5, "plain" },
		{ "gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f" },
		{ "\xe2\x82\xac \xf0\x9f\x98\x80", 8, "\xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "a\0b", 3, "a\xef\xbf\xbd" "b" },
		{ "\xff\xc3", 2, "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xc0\xaf", 2, "\xef\xbf\xbd\xef\xbf\xbd" },	     // overlong
		{ "\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, // surrogate
		{ "\xe2\x82", 2, "\xef\xbf\xbd\xef\xbf\xbd" },	     // cut
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_FREE char *out = text_clean(cases[i].in, cases[i].n);
		assert_string_equal(out, cases[i].out);
	}
}

static void delays_double_up_to_the_cap(void **state UNUSED)
{
	struct restart restart = { .backoff_ms = 100, .cap_ms = 1000, .reset_ms = 60000 };
	static const uint64_t most[] = { 0, 100, 200, 400, 800, 1000, 1000 };
	struct restart_count count = { 0 };
	struct rng rng = { 7 };
	for (size_t i = 0; i < ARRAY_LEN(most); i++) {
		uint64_t delay = restart_delay_ms(&count, &restart, 10, &rng);
		assert_true(delay <= most[i]);
		assert_true(delay >= most[i] * 4 / 5);
	}
	assert_int_equal(restart_delay_ms(&count, &restart, 60000, &rng), 0); // a clean run
	assert_true(restart_delay_ms(&count, &restart, 10, &rng) >= 80);
}

static void policies(void **state UNUSED)
{
	static const struct {
		enum restart_policy policy;
		bool after_clean, after_crash;
	} cases[] = { { RESTART_ALWAYS, true, true }, { RESTART_ON_FAILURE, false, true }, { RESTART_NEVER, false, false } };
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct restart restart = { .policy = cases[i].policy };
		assert_int_equal(restart_wanted(&restart, true), cases[i].after_clean);
		assert_int_equal(restart_wanted(&restart, false), cases[i].after_crash);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(injected_is_what_is_given), cmocka_unit_test(environment),		   cmocka_unit_test(extra_goes_before_the_apps_own),
		cmocka_unit_test(unset_variable_is_named), cmocka_unit_test(text_becomes_utf8),
		cmocka_unit_test(delays_double_up_to_the_cap), cmocka_unit_test(policies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
