// The probe (tests/e2e/probe), which tries what must not be possible, run in containers: as the application's user and
// as root of the user namespace.
#include "stage.h"

#include "base/str.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

static const char *probe;
static struct stage stage;

static int open_stage(void **state)
{
	(void)state;
	stage_open(&stage, "hard", "100.64.32.0/20", probe);
	return 0;
}

static int close_stage(void **state)
{
	(void)state;
	stage_close(&stage);
	return 0;
}

// Every line of the probe's report must be a refusal or a thing that works, and there must be at least `lines`.
static void check_report(const char *report, int status, size_t lines)
{
	size_t n = 0;
	AUTO_FREE char *copy = xstrdup(report);
	char *rest = copy;
	for (char *line; (line = strsep(&rest, "\n"));) {
		if (strstr(line, " ALLOWED") || strstr(line, " BROKEN"))
			print_error("%s\n", line);
		n += strstr(line, " refused ") || strstr(line, " works");
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || n < lines)
		fail_msg("status %#x, %zu good lines of %zu", (unsigned)status, n, lines);
}

static void run_probe(const char *const *words, uint32_t uid, size_t lines)
{
	struct instance instance;
	instance_init(&instance, &stage, "probe", words);
	instance.spec.uid = instance.spec.gid = uid;
	instance.spec.disk_bytes = 1 << 20;
	instance_start(&instance, &stage);
	int status = instance_wait(&instance);
	AUTO_BUF struct buf report = BUF_INIT(1 << 20);
	instance_output(&instance, &report);
	instance_clear(&instance, &stage);
	if (getenv("SHOW_PROBE"))
		print_message("%s\n", buf_str(&report));
	check_report(buf_str(&report), status, lines);
}

static const char *const kernel_words[] = { "probe", "kernel", NULL };

static void kernel_as_user(void **state)
{
	(void)state;
	run_probe(kernel_words, 1000, 150);
}

static void kernel_as_root(void **state)
{
	(void)state;
	run_probe(kernel_words, 0, 150);
}

static void limits(void **state)
{
	(void)state;
	static const char *const words[] = { "probe", "limits", "64", "1048576", NULL };
	run_probe(words, 1000, 5);
	run_probe(words, 0, 5);
}

static void memory(void **state)
{
	(void)state;
	static const char *const words[] = { "probe", "eat", "268435456", NULL };
	struct instance instance;
	instance_init(&instance, &stage, "eater", words);
	instance_start(&instance, &stage);
	int status = instance_wait(&instance);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 128 + SIGKILL); // the init tells how its child ended
	assert_int_equal(container_oom(stage.host, "eater"), 1);
	instance_clear(&instance, &stage);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernel_as_user),
		cmocka_unit_test(kernel_as_root),
		cmocka_unit_test(limits),
		cmocka_unit_test(memory),
	};
	int r = stage_enter();
	if (r || argc < 2)
		return r ? r : 1;
	probe = argv[1];
	return cmocka_run_group_tests(tests, open_stage, close_stage);
}
