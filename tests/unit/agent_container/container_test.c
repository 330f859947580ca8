// Containers from end to end, with the real crun.
#include "stage.h"

#include "base/clock.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

static const char *probe;

static void runs_and_tells_its_exit_status(void **state)
{
	(void)state;
	struct stage stage;
	stage_open(&stage, "one", "100.64.16.0/20", probe);
	for (int i = 0; i < 5; i++) {
	struct instance instance;
	static const char *const words[] = { "probe", "exit", "42", NULL };
	instance_init(&instance, &stage, "a-1", words);
	uint64_t t = monotonic_ns();
	instance_start(&instance, &stage);
	printf("started in %.1f ms\n", (double)(monotonic_ns() - t) / 1e6);
	int status = instance_wait(&instance);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
	t = monotonic_ns();
	instance_clear(&instance, &stage);
	printf("deleted in %.1f ms\n", (double)(monotonic_ns() - t) / 1e6);
	}
	stage_close(&stage);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(runs_and_tells_its_exit_status) };
	int r = stage_enter();
	if (r || argc < 2)
		return r ? r : 1;
	probe = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
