// Writers killed by SIGKILL at random moments, again and again on one store. STORE_KILLS says how often (50 unless
// set).
#include "workload.h"

#include "base/rng.h"
#include "base/str.h"
#include "io/file.h"

static unsigned from_env(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);
	uint64_t n = 0;
	return text && parse_u64(text, 1000000, &n) == 0 ? (unsigned)n : otherwise;
}

static void test_kills(UNUSED void **state)
{
	unsigned kills = from_env("STORE_KILLS", 50);
	struct rng rng = { .state = from_env("STORE_SEED", 1) };
	// Checkpoints and compactions are to be hit as well.
	struct revlog_options options = { .checkpoint_frames = 100, .keep_rows = 200 };
	struct promises promises = { 0 };
	AUTO_FREE char *dir = bed_temp_dir();
	unsigned checks = 0;
	for (unsigned i = 0; i < kills; i++) {
		struct child child = workload_start(dir, &options, NULL, NULL);
		int ms =
			rng_below(&rng, 4) ? (int)rng_below(&rng, 80) : (int)rng_below(&rng, 10); // also while it opens
		assert_true(workload_listen(&child, &promises, ms));
		workload_kill(&child, &promises);
		// Crashes follow crashes too: a check closes the store in order.
		if (rng_below(&rng, 3) == 0 && i + 1 < kills)
			continue;
		AUTO_FREE char *wrong = workload_check(dir, &promises);
		checks++;
		if (wrong)
			fail_msg("after kill %u in '%s': %s", i + 1, dir, wrong);
	}
	print_message("%u kills, %u checks, %llu acknowledged transactions, none lost\n", kills, checks,
		      (unsigned long long)promises.all);
	assert_true(promises.all > 10 * kills); // it was under load
	assert_int_equal(tree_remove(dir, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_kills) };
	return cmocka_run_group_tests_name("kill", tests, NULL, NULL);
}
