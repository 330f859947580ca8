// The keeper as a process: what it starts, adopts, drains and records, with kill -9 in the middle.
#include "bench.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"
#include "io/socket.h"
#include "keeper/part_log.h"
#include "keeper/state.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static int setup(void **state)
{
	if (geteuid() != 0)
		return 0;
	struct bench *b = xcalloc(1, sizeof(*b));
	bench_init(b);
	bench_start_keeper(b);
	bench_connect(b);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	if (*state)
		bench_clear(*state);
	free(*state);
	return 0;
}

static struct bench *need_root(void **state)
{
	if (!*state)
		skip(); // mount namespaces are root's
	return *state;
}

static bool started_times(struct bench *b, const void *arg)
{
	return bench_starts(b, "server", NULL) == *(const unsigned *)arg;
}

static void restarts_a_killed_part(void **state)
{
	struct bench *b = need_root(state);
	pid_t first = 0, second = 0;
	assert_int_equal(bench_starts(b, "server", &first), 1);
	uint64_t before = monotonic_ms();
	kill(first, SIGKILL);
	bench_wait(b, started_times, &(unsigned){ 2 }, "server is started again");
	assert_true(monotonic_ms() - before < 1000);
	bench_starts(b, "server", &second);
	assert_int_not_equal(first, second);
	assert_int_equal(bench_starts(b, "agent", NULL), 1);
	assert_int_equal(bench_starts(b, "router", NULL), 1);
}

static pid_t ask_router(struct bench *b)
{
	struct address address;
	assert_int_equal(address_parse(b->http, &address, NULL), 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address.sa, address.len), 0);
	char text[32] = "";
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	assert_true(n > 0);
	return atoi(text);
}

static void hands_the_router_its_socket(void **state)
{
	struct bench *b = need_root(state);
	pid_t router = 0;
	bench_starts(b, "router", &router);
	assert_int_equal(ask_router(b), router);
	// The socket stays open while no router runs: a connection waits, it is not refused.
	kill(router, SIGKILL);
	assert_int_not_equal(ask_router(b), router);
}

static void assert_log(struct bench *b, const char *id, const char *stream, const char *want)
{
	AUTO_FREE char *text = NULL;
	size_t n = bench_log(b, id, stream, &text);
	assert_int_equal(n, strlen(want));
	assert_memory_equal(text, want, n);
}

static bool has_said(struct bench *b, const void *id)
{
	AUTO_FREE char *out = NULL, *err = NULL;
	return bench_log(b, id, "out", &out) > 0 && bench_log(b, id, "err", &err) > 0;
}

static bool log_begins(struct bench *b, const void *arg)
{
	const char *const *id_and_text = arg;
	AUTO_FREE char *text = NULL;
	size_t n = bench_log(b, id_and_text[0], "out", &text);
	return n >= strlen(id_and_text[1]) && strncmp(text, id_and_text[1], strlen(id_and_text[1])) == 0;
}

static void wait_for_log(struct bench *b, const char *id, const char *text)
{
	bench_wait(b, log_begins, (const char *const[]){ id, text }, text);
}

static int watch(struct bench *b, const char *id, pid_t pid)
{
	keeper_watch(b->client, id, pid, 0, bench_done, b);
	return bench_result(b);
}

static int output(struct bench *b, const char *id)
{
	keeper_output(b->client, id, bench_done, b);
	return bench_result(b);
}

static void records_an_exit_and_its_output(void **state)
{
	struct bench *b = need_root(state);
	bench_make_instance(b, "one");
	assert_int_equal(output(b, "one"), 0);
	pid_t pid = bench_run(b, "one", "echo oops >&2; echo hello; exec sleep 100");
	assert_int_equal(watch(b, "one", pid), 0);

	AUTO_FREE char *path = xasprintf("%s/node/instances/one/keeper", b->data);
	AUTO_FREE char *dir = xasprintf("%s/node/instances/one", b->data);
	struct process_identity identity;
	assert_int_equal(identity_read(path, &identity), 0);
	assert_int_equal(identity.pid, pid);
	assert_int_equal(b->exits, 0);

	bench_wait(b, has_said, "one", "it says something");
	wait_for_log(b, "one", "hello\n");
	kill(pid, SIGTERM);
	bench_wait(b, bench_has_exit, NULL, "the exit is told");
	struct keeper_exit record;
	assert_int_equal(exit_record_read(dir, &record), 0);
	assert_string_equal(record.id, "one");
	assert_int_equal(record.pid, pid);
	assert_true(record.known && WIFSIGNALED(record.status));
	assert_int_equal(WTERMSIG(record.status), SIGTERM);
	assert_int_equal(b->last_exit.status, record.status);
	assert_true(realtime_ms() - record.time_ms < 10000);
	assert_log(b, "one", "out", "hello\n");
	assert_log(b, "one", "err", "oops\n");

	keeper_forget(b->client, "one", bench_done, b);
	assert_int_equal(bench_result(b), 0);
	assert_int_equal(exit_record_read(dir, &record), -ENOENT);
	assert_int_equal(file_exists(path), 0);
}

static void knows_an_exit_before_its_watch(void **state)
{
	struct bench *b = need_root(state);
	bench_make_instance(b, "early");
	assert_int_equal(output(b, "early"), 0);
	pid_t pid = bench_run(b, "early", "exit 7");
	while (kill(pid, 0) == 0)
		usleep(1000);
	assert_int_equal(watch(b, "early", pid), 0);
	bench_wait(b, bench_has_exit, NULL, "the exit is told");
	assert_true(b->last_exit.known && WIFEXITED(b->last_exit.status));
	assert_int_equal(WEXITSTATUS(b->last_exit.status), 7);
}

static void repeats_exits_to_a_new_agent(void **state)
{
	struct bench *b = need_root(state);
	bench_make_instance(b, "again");
	assert_int_equal(output(b, "again"), 0);
	assert_int_equal(watch(b, "again", bench_run(b, "again", "exit 0")), 0);
	bench_wait(b, bench_has_exit, NULL, "the exit is told");
	keeper_client_free(b->client);
	b->exits = 0;
	bench_connect(b);
	bench_wait(b, bench_has_exit, NULL, "the exit is told again");
	assert_string_equal(b->last_exit.id, "again");
	// Watched anew, the old record is void.
	AUTO_FREE char *dir = xasprintf("%s/node/instances/again", b->data);
	struct keeper_exit record;
	assert_int_equal(watch(b, "again", bench_run(b, "again", "sleep 60")), 0);
	assert_int_equal(exit_record_read(dir, &record), -ENOENT);
}

static void refuses_what_is_wrong(void **state)
{
	struct bench *b = need_root(state);
	assert_int_equal(output(b, "nowhere"), -ENOENT);
	assert_int_equal(output(b, "../x"), -EINVAL);
	assert_int_equal(output(b, ""), -EINVAL);
	assert_int_equal(watch(b, "x", 0), -EINVAL);
	AUTO_FREE char *dir = xasprintf("%s/node/instances/plain", b->data);
	AUTO_FREE char *path = xasprintf("%s/out.fifo", dir);
	assert_int_equal(dir_make(dir, 0700, NULL), 0);
	assert_int_equal(file_write_atomic(path, "", 0, 0600, NULL), 0);
	assert_int_equal(output(b, "plain"), -EINVAL);
}

#define WRITER_LINES 300000

// Numbered lines; the shell's printf makes one write each.
static const char writer[] =
	"i=0; while [ $i -lt 300000 ]; do printf 'line %06d ................\\n' $i; i=$((i+1)); done; "
	"printf 'end\\n'; exit 5";

static void assert_all_lines(struct bench *b, const char *id)
{
	AUTO_FREE char *text = NULL;
	bench_log(b, id, "out", &text);
	const char *at = text;
	for (int i = 0; i < WRITER_LINES; i++) {
		char want[64];
		int n = snprintf(want, sizeof(want), "line %06d ................\n", i);
		if (strncmp(at, want, (size_t)n) != 0)
			fail_msg("line %d is wrong or missing: '%.40s'", i, at);
		at += n;
	}
	assert_string_equal(at, "end\n");
}

static void loses_nothing_when_killed(void **state)
{
	struct bench *b = need_root(state);
	pid_t router = 0;
	bench_starts(b, "router", &router);
	bench_make_instance(b, "loud");
	assert_int_equal(output(b, "loud"), 0);
	pid_t pid = bench_run(b, "loud", writer);
	assert_int_equal(watch(b, "loud", pid), 0);
	unsigned kills = 0;
	for (; kills < 40 && b->exits == 0; kills++) {
		bench_kill_keeper(b);
		bench_start_keeper(b);
		usleep(1000 * (kills % 7)); // at different moments of its life
	}
	bench_wait(b, bench_has_exit, NULL, "the writer ends");
	assert_true(kills > 1);
	assert_true(b->last_exit.known);
	assert_int_equal(WEXITSTATUS(b->last_exit.status), 5);
	assert_all_lines(b, "loud");
	// Adopted, all of them: nothing was started twice.
	assert_int_equal(bench_starts(b, "server", NULL), 1);
	assert_int_equal(bench_starts(b, "agent", NULL), 1);
	assert_int_equal(bench_starts(b, "router", NULL), 1);
	assert_int_equal(ask_router(b), router);
}

// The child of a killed keeper is reaped by somebody else at once: the kernel still tells the status (Linux 6.15).
static void knows_the_status_of_an_adopted_process(void **state)
{
	struct bench *b = need_root(state);
	bench_make_instance(b, "adopted");
	assert_int_equal(output(b, "adopted"), 0);
	pid_t pid = bench_run(b, "adopted", "echo a; exec sleep 100");
	assert_int_equal(watch(b, "adopted", pid), 0);
	wait_for_log(b, "adopted", "a\n");
	bench_kill_keeper(b);
	bench_start_keeper(b);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	bench_wait(b, bench_has_exit, NULL, "the exit is told");
	if (b->last_exit.known)
		assert_true(WIFSIGNALED(b->last_exit.status) && WTERMSIG(b->last_exit.status) == SIGKILL);
	else
		print_message("this kernel does not tell: unknown\n");
	assert_log(b, "adopted", "out", "a\n");
}

static void an_end_in_between_is_unknown(void **state)
{
	struct bench *b = need_root(state);
	bench_make_instance(b, "between");
	assert_int_equal(output(b, "between"), 0);
	pid_t pid = bench_run(b, "between", "echo before; exec sleep 100");
	assert_int_equal(watch(b, "between", pid), 0);
	wait_for_log(b, "between", "before\n");
	bench_kill_keeper(b);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	bench_start_keeper(b);
	bench_wait(b, bench_has_exit, NULL, "the exit is told");
	assert_string_equal(b->last_exit.id, "between");
	assert_false(b->last_exit.known);
	assert_log(b, "between", "out", "before\n");
}

static bool is_reaped(UNUSED struct bench *b, const void *arg)
{
	return waitpid(*(const pid_t *)arg, NULL, WNOHANG) == *(const pid_t *)arg;
}

// The agent's client holds the FIFOs too, so that last words without a keeper and without a writer are not lost.
static void keeps_last_words_without_a_keeper(void **state)
{
	struct bench *b = need_root(state);
	bench_make_instance(b, "words");
	assert_int_equal(output(b, "words"), 0);
	pid_t agent = 0;
	bench_starts(b, "agent", &agent);
	bench_kill_keeper(b);
	pid_t pid = bench_run(b, "words", "echo last words; exit 1");
	bench_wait(b, is_reaped, &pid, "the job ends"); // ours only once the process between is gone
	bench_start_keeper(b);
	keeper_forget(b->client, "words", bench_done, b);
	assert_int_equal(bench_result(b), 0);
	assert_log(b, "words", "out", "last words\n");
}

static bool is_holding(struct bench *b, UNUSED const void *arg)
{
	return keeper_holding(b->data) == b->keeper;
}

static bool keeper_ended(struct bench *b, const void *arg)
{
	(void)arg;
	int status = -1;
	if (waitpid(b->keeper, &status, WNOHANG) != b->keeper)
		return false;
	assert_int_equal(status, 0);
	b->keeper = 0;
	return true;
}

static pid_t run_watched(struct bench *b, const char *id, const char *script)
{
	bench_make_instance(b, id);
	assert_int_equal(output(b, id), 0);
	pid_t pid = bench_run(b, id, script);
	assert_int_equal(watch(b, id, pid), 0);
	return pid;
}

static bool router_refuses(struct bench *b)
{
	struct address address;
	assert_int_equal(address_parse(b->http, &address, NULL), 0);
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return connect(fd, (struct sockaddr *)&address.sa, address.len) < 0 && errno == ECONNREFUSED;
}

static void stops_the_platform_and_no_instance(void **state)
{
	struct bench *b = need_root(state);
	pid_t pid = run_watched(b, "stays", "sleep 100");
	assert_int_equal(keeper_stop(b->data, 5000, NULL), 0);
	bench_wait(b, is_holding, NULL, "the keeper holds");
	AUTO_FREE char *path = xasprintf("%s/stops", b->data);
	AUTO_BUF struct buf stops = BUF_INIT(4096);
	assert_int_equal(file_read(path, &stops, NULL), 0);
	const char *router = strstr(buf_str(&stops), "router");
	assert_non_null(router);
	assert_non_null(strstr(buf_str(&stops), "agent"));
	assert_null(strstr(router, "agent")); // the router was last
	assert_null(strstr(router, "server"));
	assert_int_equal(kill(pid, 0), 0);
	assert_true(router_refuses(b));
	assert_int_equal(keeper_stop(b->data, 5000, NULL), 0); // once more changes nothing
	assert_int_equal(keeper_holding(b->data), b->keeper);

	kill(pid, SIGTERM);
	bench_wait(b, keeper_ended, NULL, "the keeper ends with the last instance");
	AUTO_FREE char *dir = xasprintf("%s/node/instances/stays", b->data);
	struct keeper_exit record;
	assert_int_equal(exit_record_read(dir, &record), 0);
	assert_true(record.known && WIFSIGNALED(record.status));
	AUTO_FREE char *socket = xasprintf("%s/run/keeper.sock", b->data);
	assert_int_equal(file_exists(socket), 0);
}

static void without_an_instance_stop_ends_the_keeper(void **state)
{
	struct bench *b = need_root(state);
	assert_int_equal(keeper_stop(b->data, 5000, NULL), 0);
	bench_wait(b, keeper_ended, NULL, "the keeper ends");
	assert_int_equal(keeper_holding(b->data), 0);
}

static int resume(struct bench *b, const char *program)
{
	const char *argv[] = { program, "keeper", "--data", b->data, "--http", b->http, "--resume", NULL };
	return keeper_resume(b->data, argv, 5000, NULL);
}

static bool router_started_twice(struct bench *b, UNUSED const void *arg)
{
	return bench_starts(b, "router", NULL) == 2;
}

// Stopped, held, resumed and stopped again while an instance writes: it never waits, and no byte is lost.
static void holds_and_is_resumed_without_a_loss(void **state)
{
	struct bench *b = need_root(state);
	run_watched(b, "loud", writer);
	pid_t quiet = run_watched(b, "quiet", "sleep 100; exit 9");
	assert_int_equal(resume(b, "/proc/self/exe"), -EBUSY);
	kill(b->keeper, SIGTERM);
	bench_wait(b, is_holding, NULL, "the keeper holds");
	assert_int_equal(resume(b, "/nowhere"), -ENOENT);
	assert_int_equal(keeper_holding(b->data), b->keeper);

	for (unsigned n = 2; n < 5; n++) {
		assert_int_equal(resume(b, "/proc/self/exe"), 0);
		bench_wait(b, started_times, &n, "server is started again");
		usleep(1000 * n * n);
		kill(b->keeper, SIGTERM);
		bench_wait(b, is_holding, NULL, "the keeper holds again");
	}
	kill(quiet, SIGKILL);
	AUTO_FREE char *dir = xasprintf("%s/node/instances/loud", b->data);
	struct keeper_exit record;
	while (exit_record_read(dir, &record) < 0) // while nobody but the keeper is there
		usleep(5000);
	bench_wait(b, keeper_ended, NULL, "the keeper ends");
	assert_true(record.known && WIFEXITED(record.status));
	assert_int_equal(WEXITSTATUS(record.status), 5);
	assert_all_lines(b, "loud");

	bench_start_keeper(b);
	bench_wait(b, bench_has_exit, NULL, "the exits are told to the next agent");
	assert_true(b->last_exit.known);
}

// The keeper stays the parent over a resumption, so the status is known on every kernel.
static void a_resumed_keeper_serves_and_knows_the_status(void **state)
{
	struct bench *b = need_root(state);
	pid_t pid = run_watched(b, "one", "echo before; sleep 100");
	wait_for_log(b, "one", "before\n");
	kill(b->keeper, SIGTERM);
	bench_wait(b, is_holding, NULL, "the keeper holds");
	AUTO_FREE char *fds = xasprintf("/proc/%d/fd", (int)b->keeper);
	unsigned before = bench_entries(fds);
	assert_int_equal(resume(b, "/proc/self/exe"), 0);
	bench_wait(b, router_started_twice, NULL, "the router is started again");
	pid_t router = 0;
	bench_starts(b, "router", &router);
	assert_int_equal(ask_router(b), router);
	assert_int_equal(keeper_holding(b->data), 0);
	kill(pid, SIGKILL);
	bench_wait(b, bench_has_exit, NULL, "the exit is told");
	assert_true(b->last_exit.known && WIFSIGNALED(b->last_exit.status));
	assert_log(b, "one", "out", "before\n");
	// Nothing that was passed on has stayed open: three more pidfds and a client at most.
	assert_true(bench_entries(fds) <= before + 8);
}

static void a_killed_holder_is_followed(void **state)
{
	struct bench *b = need_root(state);
	pid_t pid = run_watched(b, "one", "echo before; sleep 100");
	kill(b->keeper, SIGTERM);
	bench_wait(b, is_holding, NULL, "the keeper holds");
	bench_kill_keeper(b);
	assert_int_equal(keeper_holding(b->data), 0);
	bench_spawn_keeper(b, "--hold");
	bench_wait(b, is_holding, NULL, "another holds");
	assert_int_equal(bench_starts(b, "server", NULL), 1);
	kill(b->keeper, SIGTERM); // once is enough: it is down already
	bench_wait(b, keeper_ended, NULL, "it ends");
	assert_int_equal(kill(pid, 0), 0);
	bench_start_keeper(b);
	kill(pid, SIGKILL);
	bench_wait(b, bench_has_exit, NULL, "the instance is adopted and its exit told");
	assert_int_equal(b->last_exit.pid, pid);
}

static void a_second_keeper_does_not_start(void **state)
{
	struct bench *b = need_root(state);
	const char *argv[] = { "/proc/self/exe", "keeper", "--data", b->data, "--http", b->http, NULL };
	AUTO_BUF struct buf output_text = BUF_INIT(4096);
	int status = 0;
	assert_int_equal(process_run(argv, &output_text, 5000, &status, NULL), 0);
	assert_int_equal(WEXITSTATUS(status), 1);
	assert_non_null(strstr(buf_str(&output_text), "keeper.lock' is held by process"));
}

static void adopts_a_part_that_was_not_written_down(void **state)
{
	struct bench *b = need_root(state);
	bench_kill_keeper(b);
	AUTO_FREE char *path = xasprintf("%s/run/keeper.state", b->data);
	assert_int_equal(unlink(path), 0);
	bench_start_keeper(b);
	assert_int_equal(bench_starts(b, "server", NULL), 1);
	assert_int_equal(bench_starts(b, "router", NULL), 1);
	struct keeper_state found;
	assert_int_equal(keeper_state_read(b->data, &found), 0);
	assert_int_equal(found.n_parts, 3);
}

static void mounts_stay_in_sight_of_a_successor(void **state)
{
	struct bench *b = need_root(state);
	pid_t server = 0;
	bench_starts(b, "server", &server);
	char path[64];
	struct stat before, after, ours;
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)b->keeper);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(stat("/proc/self/ns/mnt", &ours), 0);
	assert_int_not_equal(before.st_ino, ours.st_ino);
	bench_kill_keeper(b);
	bench_start_keeper(b);
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)b->keeper);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
}

static void bounds_the_logs_of_its_parts(UNUSED void **state)
{
	char data[] = "/tmp/part-log-XXXXXX";
	assert_non_null(mkdtemp(data));
	AUTO_FREE char *dir = xasprintf("%s/log", data);
	AUTO_FREE char *path = xasprintf("%s/x.log", dir);
	AUTO_FREE char *old = xasprintf("%s.1", path);
	assert_int_equal(mkdir(dir, 0700), 0);
	AUTO_CLOSE int fd = part_log_open(data, "x");
	assert_true(fd >= 0);
	struct stat st;
	part_log_limit(data, "x");
	assert_int_equal(ftruncate(fd, 65 << 20), 0);
	assert_int_equal(write_all(fd, "last\n", 5), 0);
	part_log_limit(data, "x");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(stat(old, &st), 0);
	assert_int_equal(st.st_size, 16 << 20);
	// Whoever has it open goes on at its new beginning.
	assert_int_equal(write_all(fd, "next\n", 5), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(ftruncate(fd, 17 << 20), 0);
	AUTO_CLOSE int again = part_log_open(data, "x"); // at a start
	assert_int_equal(fstat(again, &st), 0);
	assert_int_equal(st.st_size, 0);
	tree_remove(data, NULL);
}

#define KEEPER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	int status = bench_part(argc, argv);
	if (status >= 0)
		return status;
	const struct CMUnitTest tests[] = {
		KEEPER_TEST(restarts_a_killed_part),
		KEEPER_TEST(hands_the_router_its_socket),
		KEEPER_TEST(records_an_exit_and_its_output),
		KEEPER_TEST(knows_an_exit_before_its_watch),
		KEEPER_TEST(repeats_exits_to_a_new_agent),
		KEEPER_TEST(refuses_what_is_wrong),
		KEEPER_TEST(loses_nothing_when_killed),
		KEEPER_TEST(knows_the_status_of_an_adopted_process),
		KEEPER_TEST(an_end_in_between_is_unknown),
		KEEPER_TEST(keeps_last_words_without_a_keeper),
		KEEPER_TEST(stops_the_platform_and_no_instance),
		KEEPER_TEST(without_an_instance_stop_ends_the_keeper),
		KEEPER_TEST(holds_and_is_resumed_without_a_loss),
		KEEPER_TEST(a_resumed_keeper_serves_and_knows_the_status),
		KEEPER_TEST(a_killed_holder_is_followed),
		KEEPER_TEST(a_second_keeper_does_not_start),
		KEEPER_TEST(adopts_a_part_that_was_not_written_down),
		KEEPER_TEST(mounts_stay_in_sight_of_a_successor),
		cmocka_unit_test(bounds_the_logs_of_its_parts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
