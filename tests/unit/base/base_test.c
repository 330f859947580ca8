// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/str.h"

#include <errno.h>

static void err_layers_read_from_the_outside_in(void **state)
{
	(void)state;
	struct err err = { 0 };
	assert_int_equal(err_set_errno(&err, -ENOENT, "cannot open '%s'", "x"), -ENOENT);
	err_hint(&err, "make it");
	assert_int_equal(err_wrap(&err, "bundle '%s'", "b"), -ENOENT);
	assert_string_equal(err.text, "bundle 'b': cannot open 'x': No such file or directory");
	assert_string_equal(err.hint, "make it");
	assert_int_equal(err_set(NULL, -EINVAL, "nobody reads this"), -EINVAL);
}

static void err_too_long_is_cut_with_an_ellipsis(void **state)
{
	(void)state;
	struct err err = { 0 };
	char text[3000];
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	err_set(&err, -EINVAL, "%s", text);
	err_wrap(&err, "outside");
	assert_true(str_starts(err.text, "outside: aaa"));
	assert_true(str_ends(err.text, "..."));
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static void numbers_are_parsed_strictly(void **state)
{
	(void)state;
	uint64_t n = 7;
	assert_int_equal(parse_u64("18446744073709551615", UINT64_MAX, &n), 0);
	assert_true(n == UINT64_MAX);
	assert_int_equal(parse_u64("18446744073709551616", UINT64_MAX, &n), -ERANGE);
	assert_int_equal(parse_u64("256", 255, &n), -ERANGE);
	const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "0x1", "1.0" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(parse_u64(bad[i], UINT64_MAX, &n), -EINVAL);
	assert_true(n == UINT64_MAX); // untouched by failures
}

static void labels(void **state)
{
	(void)state;
	assert_true(str_is_label("a"));
	assert_true(str_is_label("shop-2"));
	const char *const bad[] = { "", "-a", "a-", "A", "a_b", "a.b", "ä" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(str_is_label(bad[i]));
	char long_one[65];
	memset(long_one, 'a', 64);
	long_one[64] = '\0';
	assert_false(str_is_label(long_one));
	assert_true(str_is_label(long_one + 1));
}

static void suggestions(void **state)
{
	(void)state;
	const char *const keys[] = { "memory", "instances", "command", "cpu" };
	assert_string_equal(str_nearest("memmory", keys, ARRAY_LEN(keys)), "memory");
	assert_string_equal(str_nearest("intsances", keys, ARRAY_LEN(keys)), "instances");
	assert_string_equal(str_nearest("cpus", keys, ARRAY_LEN(keys)), "cpu");
	assert_null(str_nearest("network", keys, ARRAY_LEN(keys)));
	assert_int_equal(str_distance("ab", "ba"), 1); // swapped neighbours count once
	assert_int_equal(str_distance("", "abc"), 3);
}

static void a_buffer_keeps_its_maximum(void **state)
{
	(void)state;
	AUTO_BUF struct buf b = BUF_INIT(10);
	assert_int_equal(buf_add(&b, "0123456789", 10), 0);
	assert_int_equal(buf_add(&b, "x", 1), -ENOBUFS);
	assert_string_equal(buf_str(&b), "0123456789");
	buf_consume(&b, 4);
	assert_int_equal(buf_addf(&b, "%s", "abcd"), 0);
	assert_string_equal(buf_str(&b), "456789abcd");
	assert_int_equal(buf_addf(&b, "%d", 1), -ENOBUFS);
	AUTO_FREE char *taken = buf_take(&b);
	assert_string_equal(taken, "456789abcd");
	assert_int_equal(buf_len(&b), 0);
}

// Against a plain array, over many random appends and takes.
static void a_buffer_is_a_queue_of_bytes(void **state)
{
	(void)state;
	AUTO_BUF struct buf b = BUF_INIT(1 << 16);
	struct rng rng = { 42 };
	unsigned char next_in = 0, next_out = 0;
	for (int i = 0; i < 20000; i++) {
		unsigned char bytes[200];
		size_t n = rng_below(&rng, sizeof(bytes));
		if (rng_below(&rng, 2)) {
			for (size_t k = 0; k < n; k++)
				bytes[k] = (unsigned char)(next_in + k);
			if (buf_add(&b, bytes, n) == 0)
				next_in = (unsigned char)(next_in + n);
		} else {
			n = n < buf_len(&b) ? n : buf_len(&b);
			for (size_t k = 0; k < n; k++)
				assert_int_equal((unsigned char)buf_data(&b)[k], next_out++);
			buf_consume(&b, n);
		}
	}
	assert_int_equal((unsigned char)(next_in - next_out), (unsigned char)buf_len(&b));
}

static void a_map_agrees_with_an_array(void **state)
{
	(void)state;
	struct map m = { 0 };
	uintptr_t values[500] = { 0 };
	struct rng rng = { 7 };
	for (int i = 0; i < 50000; i++) {
		size_t k = rng_below(&rng, ARRAY_LEN(values));
		char key[16];
		snprintf(key, sizeof(key), "key%zu", k);
		assert_true((uintptr_t)map_get(&m, key) == values[k]);
		if (rng_below(&rng, 3)) {
			values[k] = (uintptr_t)i + 1;
			map_set(&m, key, (void *)values[k]);
		} else {
			assert_true((uintptr_t)map_remove(&m, key) == values[k]);
			values[k] = 0;
		}
	}
	size_t at = 0, seen = 0;
	const char *key;
	void *value;
	while (map_next(&m, &at, &key, &value)) {
		assert_true((uintptr_t)value == values[atoi(key + 3)]);
		seen++;
	}
	assert_int_equal(seen, m.count);
	map_clear(&m);
}

static void times_are_written(void **state)
{
	(void)state;
	char text[TIME_TEXT_SIZE];
	time_text(1767323045678, text);
	assert_string_equal(text, "2026-01-02T03:04:05.678Z");
}

static void digests(void **state)
{
	(void)state;
	char whole[DIGEST_SIZE], pieces[DIGEST_SIZE];
	digest_of("abc", 3, whole); // FIPS 180-4's example
	assert_string_equal(whole, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	struct digest *d = digest_new();
	digest_add(d, "a", 1);
	digest_add(d, "bc", 2);
	digest_finish(d, pieces);
	assert_string_equal(whole, pieces);
	assert_true(digest_valid(whole));
	whole[8] = 'G';
	assert_false(digest_valid(whole));
	assert_false(digest_valid("sha256:abc"));
}

static void uids_differ(void **state)
{
	(void)state;
	char a[UID_SIZE], b[UID_SIZE];
	uid_new(a);
	uid_new(b);
	assert_int_equal(strlen(a), UID_SIZE - 1);
	assert_true(str_is_label(a));
	assert_string_not_equal(a, b);
}

static void below_is_below(void **state)
{
	(void)state;
	struct rng rng = { 1 };
	unsigned seen[5] = { 0 };
	for (int i = 0; i < 10000; i++)
		seen[rng_below(&rng, 5)]++;
	for (size_t i = 0; i < ARRAY_LEN(seen); i++)
		assert_in_range(seen[i], 1800, 2200);
}

struct item {
	int value;
	struct list link;
};

static void a_list_may_change_while_it_is_walked(void **state)
{
	(void)state;
	struct list head;
	list_init(&head);
	struct item items[4];
	for (int i = 0; i < 4; i++) {
		items[i].value = i;
		list_append(&head, &items[i].link);
	}
	int sum = 0;
	struct item *item;
	LIST_EACH (item, &head, link) {
		sum = sum * 10 + item->value;
		list_remove(&item->link);
	}
	assert_int_equal(sum, 123);
	assert_true(list_empty(&head));
	assert_true(list_empty(&items[2].link));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(err_layers_read_from_the_outside_in),
		cmocka_unit_test(err_too_long_is_cut_with_an_ellipsis),
		cmocka_unit_test(numbers_are_parsed_strictly),
		cmocka_unit_test(labels),
		cmocka_unit_test(suggestions),
		cmocka_unit_test(a_buffer_keeps_its_maximum),
		cmocka_unit_test(a_buffer_is_a_queue_of_bytes),
		cmocka_unit_test(a_map_agrees_with_an_array),
		cmocka_unit_test(times_are_written),
		cmocka_unit_test(digests),
		cmocka_unit_test(uids_differ),
		cmocka_unit_test(below_is_below),
		cmocka_unit_test(a_list_may_change_while_it_is_walked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
