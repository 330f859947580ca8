// Power cuts under writers: whatever was not synced is lost, in part or whole. Nothing acknowledged may be missing. The
// same with synchronous=OFF must lose something, or this test shows nothing. STORE_CUTS says how many (20 unless set).
#include "faultvfs.h"
#include "workload.h"

#include "base/rng.h"
#include "base/str.h"
#include "io/file.h"

struct cut {
	uint64_t seed, after;
};

static unsigned cuts_wanted(void)
{
	const char *text = getenv("STORE_CUTS");
	uint64_t n = 0;
	return text && parse_u64(text, 1000000, &n) == 0 ? (unsigned)n : 20;
}

static void set_cut(void *arg)
{
	const struct cut *cut = arg;
	faultvfs_register();
	faultvfs_reset(cut->seed);
	faultvfs_cut_at(cut->after);
}

// Returns what was found wrong.
static char *one_cut(const char *dir, const struct revlog_options *options, struct cut cut, struct promises *promises)
{
	struct child child = workload_start(dir, options, set_cut, &cut);
	workload_listen(&child, promises, -1);
	workload_reap(&child);
	return workload_check(dir, promises);
}

static void test_power_cuts(UNUSED void **state)
{
	unsigned cuts = cuts_wanted();
	struct revlog_options options = { .vfs = "fault", .checkpoint_frames = 100, .keep_rows = 200 };
	struct promises promises = { 0 };
	struct rng rng = { .state = 5 };
	AUTO_FREE char *dir = bed_temp_dir();
	for (unsigned i = 0; i < cuts; i++) {
		// In every stretch of its life: while it opens, in commits, in checkpoints, in compactions.
		struct cut cut = { .seed = rng_next(&rng), .after = 1 + rng_below(&rng, i % 3 ? 4000 : 60) };
		AUTO_FREE char *wrong = one_cut(dir, &options, cut, &promises);
		if (wrong)
			fail_msg("after cut %u in '%s': %s", i + 1, dir, wrong);
	}
	print_message("%u power cuts, %llu acknowledged transactions, none lost\n", cuts,
		      (unsigned long long)promises.all);
	assert_true(promises.all > 5 * cuts);
	assert_int_equal(tree_remove(dir, NULL), 0);
}

static void test_without_sync(UNUSED void **state)
{
	unsigned cuts = cuts_wanted(), lost = 0;
	struct revlog_options options = { .vfs = "fault", .no_sync = true };
	struct rng rng = { .state = 6 };
	for (unsigned i = 0; i < cuts; i++) {
		struct promises promises = { 0 };
		struct cut cut = { .seed = rng_next(&rng), .after = 500 + rng_below(&rng, 1500) };
		AUTO_FREE char *dir = bed_temp_dir();
		AUTO_FREE char *wrong = one_cut(dir, &options, cut, &promises);
		assert_true(promises.all > 0);
		lost += wrong != NULL;
		assert_int_equal(tree_remove(dir, NULL), 0);
	}
	print_message("synchronous=OFF: %u of %u power cuts lost what was acknowledged\n", lost, cuts);
	assert_true(lost > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_cuts),
		cmocka_unit_test(test_without_sync),
	};
	bed_use_memory();
	return cmocka_run_group_tests_name("powercut", tests, NULL, NULL);
}
