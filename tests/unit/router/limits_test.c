#include "base/str.h"
#include "router/limits.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_defaults(UNUSED void **state)
{
	struct limits limits, same;
	assert_int_equal(limits_parse(NULL, &limits, NULL), 0);
	assert_int_equal(limits_parse("", &same, NULL), 0);
	assert_memory_equal(&limits, &same, sizeof(limits));
	assert_int_equal(limits.head_ms, 10000);
	assert_int_equal(limits.drain_ms, 30000);
}

static void test_changes(UNUSED void **state)
{
	struct limits limits, defaults;
	limits_parse(NULL, &defaults, NULL);
	assert_int_equal(limits_parse("tunnel_ms=1,idle_ms=604800000", &limits, NULL), 0);
	assert_int_equal(limits.tunnel_ms, 1);
	assert_int_equal(limits.idle_ms, 604800000);
	assert_int_equal(limits.head_ms, defaults.head_ms);
}

static void test_refused(UNUSED void **state)
{
	static const char *const texts[] = { "head",       "head_ms",       "head_ms=",          "head_ms=x",
					     "head_ms=-1", "head_ms=0",     "head_ms=604800001", "=1",
					     "Head_ms=1",  "idle_ms=5,,",   " idle_ms=5",        "idle_ms=5;head_ms=5",
					     ",",          "idle_ms=5,x=1", "idle_ms=1.5" };
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct limits limits = { .head_ms = 7 };
		struct err err = { 0 };
		assert_int_equal(limits_parse(texts[i], &limits, &err), -EINVAL);
		assert_int_equal(limits.head_ms, 7);
		assert_true(str_starts(err.text, LIMITS_VARIABLE) && *err.hint);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
