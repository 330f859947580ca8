#include "base/str.h"
#include "http/message.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_tokens(UNUSED void **state)
{
	struct http_header items[] = { { "connection", "keep-alive ,Upgrade,, x" },
				       { "b", "upgraded" },
				       { "connection", "close" } };
	struct http_headers h = { .items = items, .n = ARRAY_LEN(items) };
	assert_true(http_header_has_token(&h, "connection", "upgrade"));
	assert_true(http_header_has_token(&h, "connection", "keep-alive"));
	assert_true(http_header_has_token(&h, "connection", "x"));
	assert_true(http_header_has_token(&h, "connection", "close"));
	assert_false(http_header_has_token(&h, "connection", "keep"));
	assert_false(http_header_has_token(&h, "b", "upgrade"));
	assert_false(http_header_has_token(&h, "none", "x"));
	assert_string_equal(http_header_get(&h, "connection"), "keep-alive ,Upgrade,, x");
	assert_null(http_header_get(&h, "Connection"));
}

static void test_status(UNUSED void **state)
{
	assert_string_equal(http_status_text(404), "Not Found");
	assert_string_equal(http_status_text(299), "");
}

static void decoded(const char *text, const char *expected)
{
	AUTO_FREE char *got = http_percent_decode(text, strlen(text));
	assert_int_equal(got == NULL, expected == NULL);
	if (expected)
		assert_string_equal(got, expected);
}

static void test_percent(UNUSED void **state)
{
	decoded("", "");
	decoded("a%20b+c%2Fd%c3%A9", "a b+c/d\xc3\xa9");
	decoded("%41", "A");
	decoded("%", NULL);
	decoded("%4", NULL);
	decoded("%4g", NULL);
	decoded("%g4", NULL);
	decoded("a%00b", NULL);
	decoded("%%41", NULL);
}

static void queried(const char *query, const char *name, const char *expected)
{
	AUTO_FREE char *got = http_query_get(query, name);
	assert_int_equal(got == NULL, expected == NULL);
	if (expected)
		assert_string_equal(got, expected);
}

static void test_query(UNUSED void **state)
{
	queried("", "a", NULL);
	queried("a=1&b", "a", "1");
	queried("a=1&b", "b", "");
	queried("a=1&b=", "b", "");
	queried("a=1&a=2", "a", "1");
	queried("aa=1&a=x=y", "a", "x=y");
	queried("&&a=b+c%2b", "a", "b c+");
	queried("%61=1", "a", "1");
	queried("a=%zz", "a", NULL);
	queried("b=%zz&a=1", "a", "1");
	queried("abc=1", "a", NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_percent),
		cmocka_unit_test(test_query),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
