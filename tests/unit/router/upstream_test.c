// Which instance a request goes to.
#include "base/str.h"
#include "router/upstream.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define N 4
#define ROUNDS 4000

struct bed {
	struct upstreams set;
	struct upstream *some[N];
	uint32_t chosen[N];
};

static int set_up(void **state)
{
	struct bed *bed = xcalloc(1, sizeof(*bed));
	bed->set.loop = loop_new();
	bed->set.rng.state = 42;
	for (int i = 0; i < N; i++) {
		AUTO_FREE char *id = xasprintf("i%d", i);
		bed->some[i] = upstreams_get(&bed->set, id, "127.0.0.1:1");
	}
	*state = bed;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;
	for (int i = 0; i < N; i++)
		upstream_unref(bed->some[i]);
	map_clear(&bed->set.by_id);
	loop_free(bed->set.loop);
	free(bed);
	return 0;
}

static void choose_often(struct bed *bed, uint32_t n, struct upstream *const *tried, uint32_t n_tried)
{
	memset(bed->chosen, 0, sizeof(bed->chosen));
	for (int round = 0; round < ROUNDS; round++) {
		const struct upstream *u = upstream_choose(bed->some, n, tried, n_tried);
		for (int i = 0; i < N; i++)
			bed->chosen[i] += bed->some[i] == u;
	}
}

static void test_alike_are_chosen_alike(void **state)
{
	struct bed *bed = *state;
	choose_often(bed, N, NULL, 0);
	for (int i = 0; i < N; i++)
		assert_in_range(bed->chosen[i], ROUNDS / N * 8 / 10, ROUNDS / N * 12 / 10);
}

// Of two random ones the less loaded: the busiest of all is never chosen, the idlest in half of the cases.
static void test_the_less_loaded_of_two(void **state)
{
	struct bed *bed = *state;
	for (uint32_t i = 0; i < N; i++)
		bed->some[i]->outstanding = i;
	choose_often(bed, N, NULL, 0);
	assert_in_range(bed->chosen[0], ROUNDS * 45 / 100, ROUNDS * 55 / 100); // 3 of 6 pairs
	assert_in_range(bed->chosen[1], ROUNDS * 28 / 100, ROUNDS * 38 / 100); // 2
	assert_in_range(bed->chosen[2], ROUNDS * 12 / 100, ROUNDS * 21 / 100); // 1
	assert_int_equal(bed->chosen[3], 0);
}

static void test_tried_ones_are_left_out(void **state)
{
	struct bed *bed = *state;
	struct upstream *const tried[] = { bed->some[0], bed->some[2] };
	choose_often(bed, N, tried, 2);
	assert_int_equal(bed->chosen[0] + bed->chosen[2], 0);
	assert_int_equal(bed->chosen[1] + bed->chosen[3], ROUNDS);
	assert_null(upstream_choose(bed->some, 1, tried, 1));
	assert_null(upstream_choose(bed->some, 0, NULL, 0));
	assert_ptr_equal(upstream_choose(bed->some, 2, tried, 1), bed->some[1]);
}

static void test_failed_ones_only_if_there_is_no_other(void **state)
{
	struct bed *bed = *state;
	upstream_note_failure(bed->some[0]);
	upstream_note_failure(bed->some[1]);
	bed->some[2]->outstanding = bed->some[3]->outstanding = 100; // busy is better than broken
	choose_often(bed, N, NULL, 0);
	assert_int_equal(bed->chosen[0] + bed->chosen[1], 0);
	choose_often(bed, 2, NULL, 0);
	assert_int_equal(bed->chosen[0] + bed->chosen[1], ROUNDS);
	bed->some[0]->failed_ms -= 1000; // for a second
	choose_often(bed, 2, NULL, 0);
	assert_int_equal(bed->chosen[0], ROUNDS);
}

static void test_one_instance_is_one(void **state)
{
	struct bed *bed = *state;
	struct upstream *again = upstreams_get(&bed->set, "i0", "127.0.0.1:1");
	struct upstream *moved = upstreams_get(&bed->set, "i0", "127.0.0.1:2");
	assert_ptr_equal(again, bed->some[0]);
	assert_ptr_not_equal(moved, again);
	assert_null(upstreams_get(&bed->set, "i0", "nowhere"));
	upstream_unref(again);
	upstream_unref(moved);
	assert_int_equal(bed->set.by_id.count, N);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_alike_are_chosen_alike, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_less_loaded_of_two, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_tried_ones_are_left_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_failed_ones_only_if_there_is_no_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_instance_is_one, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
