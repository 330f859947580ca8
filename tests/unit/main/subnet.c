// Choosing the instances' subnet.
#include "main/subnet.h"

#include "base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void takes_the_first_free_one(UNUSED void **state)
{
	char subnet[SUBNET_TEXT_SIZE];
	assert_int_equal(subnet_choose(NULL, 0, 0, subnet), 0);
	assert_string_equal(subnet, "100.64.0.0/20");
	assert_int_equal(subnet_choose(NULL, 0, 1023, subnet), 0);
	assert_string_equal(subnet, "100.127.240.0/20");

	// One address in the middle of the first, and a route over the next two.
	const struct ipv4_range taken[] = { { 0x64400501, 0x64400501 }, { 0x64401000, 0x64402fff } };
	assert_int_equal(subnet_choose(taken, 2, 0, subnet), 0);
	assert_string_equal(subnet, "100.64.48.0/20");
	assert_int_equal(subnet_choose(taken, 2, 4, subnet), 0);
	assert_string_equal(subnet, "100.64.64.0/20");
}

static void goes_round_and_ends(UNUSED void **state)
{
	char subnet[SUBNET_TEXT_SIZE];
	const struct ipv4_range upper[] = { { 0x64600000, 0x647fffff } };
	assert_int_equal(subnet_choose(upper, 1, 1000, subnet), 0);
	assert_string_equal(subnet, "100.64.0.0/20");
	const struct ipv4_range all[] = { { 0x64000000, 0x64ffffff } };
	assert_int_equal(subnet_choose(all, 1, 7, subnet), -EADDRNOTAVAIL);
}

static void tells_an_overlap(UNUSED void **state)
{
	const struct ipv4_range taken[] = { { 0x64401000, 0x64401fff } }; // 100.64.16.0/20
	assert_true(subnet_overlaps("100.64.16.0/20", taken, 1));
	assert_true(subnet_overlaps("100.64.0.0/16", taken, 1));
	assert_true(subnet_overlaps("100.64.31.255/32", taken, 1));
	assert_false(subnet_overlaps("100.64.32.0/20", taken, 1));
	assert_false(subnet_overlaps("100.64.0.0/20", taken, 1));
	assert_true(subnet_overlaps("nonsense", taken, 1));
}

static void knows_this_machine(UNUSED void **state)
{
	struct ipv4_range *taken = NULL;
	size_t n = 0;
	assert_int_equal(subnet_taken(NULL, &taken, &n, NULL), 0);
	assert_true(n == 0 || subnet_overlaps("127.0.0.0/8", taken, n) || subnet_overlaps("0.0.0.0/1", taken, n) ||
		    subnet_overlaps("128.0.0.0/1", taken, n));
	free(taken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_the_first_free_one),
		cmocka_unit_test(goes_round_and_ends),
		cmocka_unit_test(tells_an_overlap),
		cmocka_unit_test(knows_this_machine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
