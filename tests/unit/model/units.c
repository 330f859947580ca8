#include "check.h"

#include "model/units.h"

static void bytes(void **state UNUSED)
{
	static const struct {
		const char *text;
		uint64_t value;
	} good[] = {
		{ "0", 0 },
		{ "1B", 1 },
		{ "64K", 64 << 10 },
		{ "256M", 256 << 20 },
		{ "256MiB", 256 << 20 },
		{ "256MB", 256 << 20 },
		{ "2G", 2ULL << 30 },
		{ "1T", 1ULL << 40 },
	};
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		uint64_t value = 7;
		assert_int_equal(parse_bytes(good[i].text, &value, NULL), 0);
		assert_int_equal(value, good[i].value);
	}
	static const char *const bad[] = {
		"",   "M", "256", "256 M", "-1M", "1.5G", "256m", "256Mb", "1Q", "99999999999999999999M", "9999999999G",
		"1MM"
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint64_t value = 7;
		struct err err = { 0 };
		assert_true(parse_bytes(bad[i], &value, &err) < 0);
		assert_int_equal(value, 7);
		assert_true(*err.text);
	}
	struct err err = { 0 };
	uint64_t value;
	assert_int_equal(parse_bytes("256", &value, &err), -EINVAL);
	assert_has(err.hint, "256M");
	assert_int_equal(parse_bytes("1.5G", &value, &err), -EINVAL);
	assert_string_equal(err.text, "'1.5G': a size is a whole number and a unit, as 1536M");
}

static void durations(void **state UNUSED)
{
	uint32_t ms = 0;
	assert_int_equal(parse_duration("250ms", &ms, NULL), 0);
	assert_int_equal(ms, 250);
	assert_int_equal(parse_duration("5s", &ms, NULL), 0);
	assert_int_equal(ms, 5000);
	assert_int_equal(parse_duration("10m", &ms, NULL), 0);
	assert_int_equal(ms, 600000);
	assert_int_equal(parse_duration("1h", &ms, NULL), 0);
	assert_int_equal(ms, 3600000);
	struct err err = { 0 };
	assert_int_equal(parse_duration("5", &ms, &err), -EINVAL);
	assert_has(err.hint, "5s");
	assert_int_equal(parse_duration("2000h", &ms, &err), -ERANGE);
	assert_int_equal(parse_duration("5 s", &ms, &err), -EINVAL);
}

static void cpu(void **state UNUSED)
{
	static const struct {
		const char *text;
		uint32_t millis;
	} good[] = { { "2", 2000 }, { "0.5", 500 }, { "500m", 500 }, { "0.125", 125 }, { "1.05", 1050 }, { "0", 0 } };
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		uint32_t millis = 7;
		assert_int_equal(parse_cpu(good[i].text, &millis, NULL), 0);
		assert_int_equal(millis, good[i].millis);
	}
	static const char *const bad[] = { "",       ".5",   "1.",
					   "1.2345", "half", "0.5m",
					   "-1",     "1 ",   "99999999999999999999999999" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint32_t millis;
		assert_int_equal(parse_cpu(bad[i], &millis, NULL), -EINVAL);
	}
}

// Whatever is written reads back as itself.
static void round_trips(void **state UNUSED)
{
	for (uint64_t n = 1; n < (1ULL << 45); n = n * 3 + 1) {
		char text[UNIT_TEXT_SIZE];
		uint64_t back = 0;
		bytes_text(n, text);
		assert_int_equal(parse_bytes(text, &back, NULL), 0);
		assert_int_equal(back, n);
		uint32_t small = (uint32_t)(n % 100000000), small_back = 0;
		duration_text(small, text);
		assert_int_equal(parse_duration(text, &small_back, NULL), 0);
		assert_int_equal(small_back, small);
		cpu_text(small, text);
		assert_int_equal(parse_cpu(text, &small_back, NULL), 0);
		assert_int_equal(small_back, small);
	}
	char text[UNIT_TEXT_SIZE];
	bytes_text(256 << 20, text);
	assert_string_equal(text, "256M");
	duration_text(90000, text);
	assert_string_equal(text, "90s");
	cpu_text(500, text);
	assert_string_equal(text, "0.5");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(bytes), cmocka_unit_test(durations), cmocka_unit_test(cpu),
					    cmocka_unit_test(round_trips) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
