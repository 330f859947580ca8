// What the agent keeps on disk: past instances, unused artifacts, one agent at a time.
#include "agent/core.h"
#include "agent/sole.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>

static char folder[64];

static int prepare(void **state UNUSED)
{
	snprintf(folder, sizeof(folder), "/tmp/dialtone-agent-XXXXXX");
	assert_non_null(mkdtemp(folder));
	return 0;
}

static int cleanup(void **state UNUSED)
{
	return tree_remove(folder, NULL);
}

static char *make(const char *name)
{
	char *path = xasprintf("%s/%s", folder, name);
	assert_int_equal(dir_make(path, 0700, NULL), 0);
	return path;
}

static void past_is_read_again(void **state UNUSED)
{
	AUTO_FREE char *dir = make("instances/one");
	struct assignment a = {
		.instance = (char *)"one", .tenant = (char *)"default", .environment = (char *)"dev", .app = (char *)"shop",
		.app_uid = (char *)"u1",   .process = (char *)"web",	.index = 4,
	};
	struct assignment read = { 0 };
	uint64_t ended_ms = 0;
	assert_int_equal(past_read(dir, &read, &ended_ms, NULL), -ENOENT);
	assert_int_equal(past_write(dir, &a, NULL), 0);
	assert_int_equal(past_read(dir, &read, &ended_ms, NULL), 0);
	assert_string_equal(read.app_uid, "u1");
	assert_int_equal(read.index, 4);
	assert_true(realtime_ms() - ended_ms < 10000);
	assignment_clear(&read);
}

static void only_the_newest_stay(void **state UNUSED)
{
	AUTO_FREE char *instances = make("instances");
	struct loop *loop = loop_new();
	struct history history;
	history_init(&history, loop, instances);
	for (unsigned i = 0; i < HISTORY_PER_APP + 5; i++) {
		char id[32], name[48];
		snprintf(id, sizeof(id), "p%02u", i);
		snprintf(name, sizeof(name), "instances/%s/log", id);
		free(make(name));
		struct assignment a = { .instance = id, .tenant = (char *)"t", .environment = (char *)"e",
					.app = (char *)"a", .app_uid = (char *)"u", .process = (char *)"web" };
		history_add(&history, &a, 1000 + i);
		a.app_uid = (char *)"other";
		a.instance = (char *)"kept";
		if (i == 0)
			history_add(&history, &a, 1);
	}
	assert_false(history_has(&history, "p04"));
	assert_true(history_has(&history, "p05"));
	assert_true(history_has(&history, "kept"));
	size_t n;
	AUTO_FREE struct past_app *apps = history_apps(&history, &n);
	assert_int_equal(n, 2);
	assert_string_equal(apps[0].app_uid, "other");
	history_drop_app(&history, "other");
	assert_false(history_has(&history, "kept"));
	assert_true(history_has(&history, "p05"));
	history_clear(&history);
	loop_free(loop); // after the removals
	AUTO_FREE char *old = xasprintf("%s/p04", instances);
	AUTO_FREE char *young = xasprintf("%s/p05", instances);
	assert_int_equal(file_exists(old), 0);
	assert_int_equal(file_exists(young), 1);
}

static void unused_artifacts_go_after_two_rounds(void **state UNUSED)
{
	static const char digest[] = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
	AUTO_FREE char *used = make("artifacts/sha256-00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
	AUTO_FREE char *unused = make("artifacts/sha256-11112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
	AUTO_FREE char *dir = make("artifacts");
	struct agent agent = { .loop = loop_new(), .artifacts = { .dir = dir } };
	struct order order = { .assignment = { .artifact = (char *)digest } };
	struct instance instance = { .order = &order };
	list_init(&agent.streams);
	map_set(&agent.instances, "i", &instance);
	sweep_init(&agent.sweep, &agent);
	assert_int_equal(sweep_round(&agent.sweep), 0);
	assert_int_equal(sweep_round(&agent.sweep), 1);
	timer_clear(&agent.sweep.timer);
	map_clear(&agent.sweep.unused);
	map_clear(&agent.instances);
	loop_free(agent.loop); // after the removals
	assert_int_equal(file_exists(used), 1);
	assert_int_equal(file_exists(unused), 0);
}

static void fetch_ended(void *arg)
{
	loop_stop(arg);
}

// Lets loop_run return now and then.
struct waker {
	struct timer timer;
	struct loop *loop;
};

static void wake_up(struct timer *timer)
{
	timer_set(timer, 10);
	loop_stop(CONTAINER_OF(timer, struct waker, timer)->loop);
}

static char *nobody(void *arg UNUSED)
{
	return xstrdup("http://127.0.0.1:1");
}

// Told for a moment, so that all who wait hear it, then forgotten: the artifact may never be asked for again.
static void failed_fetch_is_forgotten(void **state UNUSED)
{
	struct waker waker = { .loop = loop_new() };
	struct artifacts artifacts;
	artifacts_init(&artifacts, &(struct artifacts_spec){
					   .loop = waker.loop,
					   .addresses = nobody,
					   .token = "none",
					   .dir = folder,
					   .cache = folder,
					   .on_end = fetch_ended,
					   .arg = waker.loop,
				   });
	struct assignment a = {
		.tenant = (char *)"default",
		.artifact = (char *)"sha256:22112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
	};
	struct err err = { 0 };
	assert_int_equal(artifacts_pull(&artifacts, &a, &err), -EINPROGRESS);
	loop_run(waker.loop);
	assert_int_equal(artifacts_pull(&artifacts, &a, &err), -EAGAIN);
	assert_non_null(strstr(err.text, "sha256:2211"));

	timer_init(&waker.timer, waker.loop, wake_up);
	timer_set(&waker.timer, 10);
	uint64_t deadline_ms = monotonic_ms() + 20000;
	while (artifacts.fetches.count && monotonic_ms() < deadline_ms)
		loop_run(waker.loop);
	assert_int_equal(artifacts.fetches.count, 0);
	timer_clear(&waker.timer);
	assert_int_equal(artifacts_pull(&artifacts, &a, &err), -EINPROGRESS); // anew
	loop_run(waker.loop); // until its end is told: nothing may be under way when the loop goes
	artifacts_clear(&artifacts);
	loop_free(waker.loop);
}

static void second_agent_ends_the_first(void **state UNUSED)
{
	free(make("run"));
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t first = fork();
	if (first == 0) {
		char ok = sole_agent(folder, NULL) == 0;
		if (write(ready[1], &ok, 1) == 1)
			pause();
		_exit(1);
	}
	char ok = 0;
	assert_int_equal(read(ready[0], &ok, 1), 1);
	assert_int_equal(ok, 1);
	assert_int_equal(sole_agent(folder, NULL), 0);
	int status;
	assert_int_equal(waitpid(first, &status, 0), first);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(ready[0]);
	close(ready[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(past_is_read_again),
		cmocka_unit_test(only_the_newest_stay),
		cmocka_unit_test(unused_artifacts_go_after_two_rounds),
		cmocka_unit_test(failed_fetch_is_forgotten),
		cmocka_unit_test(second_agent_ends_the_first),
	};
	return cmocka_run_group_tests(tests, prepare, cleanup);
}
