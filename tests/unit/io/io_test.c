// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "base/str.h"
#include "io/file.h"
#include "io/loop.h"
#include "io/process.h"
#include "io/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char folder[64];

static char *in_folder(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/dialtone-io-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return tree_remove(folder, NULL);
}

static void a_file_is_replaced_whole(void **state)
{
	(void)state;
	AUTO_FREE char *path = in_folder("f");
	assert_int_equal(file_write_durable(path, "one", 3, 0600, NULL), 0);
	assert_int_equal(file_write_atomic(path, "two!", 4, 0644, NULL), 0);
	AUTO_BUF struct buf b = BUF_INIT(4);
	assert_int_equal(file_read(path, &b, NULL), 0);
	assert_string_equal(buf_str(&b), "two!");
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	struct err err = { 0 };
	AUTO_BUF struct buf small = BUF_INIT(3);
	assert_int_equal(file_read(path, &small, &err), -EFBIG);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(file_read("/nowhere/x", &small, &err), -ENOENT);
	assert_int_equal(file_write_durable("/nowhere/x", "", 0, 0600, &err), -ENOENT);
}

static void removing_a_tree_follows_no_link(void **state)
{
	(void)state;
	AUTO_FREE char *deep = in_folder("tree/a/b/c");
	AUTO_FREE char *kept = in_folder("kept");
	AUTO_FREE char *link = in_folder("tree/a/link");
	AUTO_FREE char *inside = in_folder("kept/file");
	AUTO_FREE char *top = in_folder("tree");
	assert_int_equal(dir_make(deep, 0755, NULL), 0);
	assert_int_equal(dir_make(kept, 0755, NULL), 0);
	assert_int_equal(file_write_atomic(inside, "x", 1, 0600, NULL), 0);
	assert_int_equal(symlink(kept, link), 0);
	assert_int_equal(tree_remove(top, NULL), 0);
	assert_int_equal(file_exists(top), 0);
	assert_int_equal(file_exists(inside), 1);
	assert_int_equal(tree_remove(top, NULL), 0); // already gone
	struct err err = { 0 };
	assert_int_equal(dir_make(inside, 0755, &err), -ENOTDIR);
}

static void a_command_gives_its_output_and_status(void **state)
{
	(void)state;
	AUTO_BUF struct buf out = BUF_INIT(5);
	int status = -1;
	const char *const argv[] = { "sh", "-c", "echo out; echo err >&2; exit 3", NULL };
	assert_int_equal(process_run(argv, &out, 10000, &status, NULL), 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	assert_string_equal(buf_str(&out), "out\ne"); // as far as there was room
	struct err err = { 0 };
	assert_int_equal(process_check(argv, 10000, &err), -EIO);
	assert_non_null(strstr(err.text, "status 3"));
	const char *const missing[] = { "dialtone-no-such-program", NULL };
	assert_int_equal(process_run(missing, NULL, 10000, &status, &err), -ENOENT);
}

static void a_command_that_takes_too_long_is_killed(void **state)
{
	(void)state;
	int status = 0;
	struct err err = { 0 };
	const char *const argv[] = { "sh", "-c", "sleep 1000 & wait", NULL };
	assert_int_equal(process_run(argv, NULL, 100, &status, &err), -ETIMEDOUT);
}

static void a_child_gets_only_the_descriptors_named(void **state)
{
	(void)state;
	int pipes[2];
	assert_int_equal(pipe(pipes), 0); // without close-on-exec
	int pass = fcntl(pipes[1], F_DUPFD_CLOEXEC, 20);
	AUTO_FREE char *script = xasprintf("ls /proc/self/fd | tr '\\n' ' ' >&%d", pass);
	const char *const argv[] = { "bash", "-c", script, NULL };
	struct process_spec spec = PROCESS_SPEC_INIT;
	spec.argv = argv;
	spec.pass_fds = &pass;
	spec.n_pass_fds = 1;
	pid_t pid;
	AUTO_CLOSE int pidfd = -1;
	assert_int_equal(process_spawn(&spec, &pid, &pidfd, NULL), 0);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	char text[64] = "";
	assert_true(read(pipes[0], text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "0 1 2 20 3 "); // 3 is ls's own
	close(pipes[0]);
	close(pipes[1]);
	close(pass);
}

static void start_times_tell_processes_apart(void **state)
{
	(void)state;
	unsigned long long mine = 0, again = 0;
	assert_int_equal(process_start_time(getpid(), &mine), 0);
	assert_int_equal(process_start_time(getpid(), &again), 0);
	assert_true(mine && mine == again);
	assert_int_equal(process_start_time(INT32_MAX, &mine), -ESRCH);
	char id[BOOT_ID_SIZE];
	assert_int_equal(boot_id(id, NULL), 0);
	assert_int_equal(strlen(id), BOOT_ID_SIZE - 1);
}

static void addresses_are_parsed_and_written(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} good[] = { { "127.0.0.1:80", "127.0.0.1:80" },
		     { ":8080", "0.0.0.0:8080" },
		     { "[::1]:443", "[::1]:443" },
		     { "unix:/run/x.sock", "unix:/run/x.sock" } };
	struct address a;
	char text[ADDRESS_TEXT_SIZE];
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(address_parse(good[i].in, &a, NULL), 0);
		address_write(&a, text);
		assert_string_equal(text, good[i].out);
	}
	const char *const bad[] = { "", "80", "localhost:80", "1.2.3:80", "1.2.3.4:", "1.2.3.4:65536", "::1:80", "unix:" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(address_parse(bad[i], &a, NULL), -EINVAL);
}

static void a_taken_port_is_said_so(void **state)
{
	(void)state;
	struct address a;
	struct err err = { 0 };
	AUTO_CLOSE int first = -1;
	int second = -1;
	assert_int_equal(address_parse("127.0.0.1:0", &a, NULL), 0);
	assert_int_equal(socket_listen(&a, 1, &first, NULL), 0);
	a.len = sizeof(a.sa);
	assert_int_equal(getsockname(first, (struct sockaddr *)&a.sa, &a.len), 0);
	assert_int_equal(socket_listen(&a, 1, &second, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "another program"));
}

static void descriptors_travel_with_messages(void **state)
{
	(void)state;
	AUTO_FREE char *path = in_folder("packet.sock");
	AUTO_CLOSE int listener = -1;
	AUTO_CLOSE int left = -1;
	AUTO_CLOSE int right = -1;
	assert_int_equal(packet_listen(path, &listener, NULL), 0);
	assert_int_equal(packet_connect(path, &left, NULL), 0);
	assert_int_equal(socket_accept(listener, NULL, &right), 0);
	int pipes[2];
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(packet_send(left, "hello", 5, pipes, 2), 0);
	char text[16];
	int fds[1];
	size_t n = 1; // room for one only: the other must be closed, not leaked
	assert_int_equal(packet_recv(right, text, sizeof(text), fds, &n), 5);
	assert_int_equal(n, 1);
	close(pipes[0]);
	close(pipes[1]);
	assert_int_equal(read(fds[0], text, 1), 0); // no write end is left anywhere
	close(fds[0]);
}

struct bench {
	struct loop *loop;
	struct task task;
	struct timer timer;
	struct poll poll;
	struct signal signal;
	int runs, fd;
	bool worked;
};

static void run_task(struct task *task)
{
	struct bench *b = CONTAINER_OF(task, struct bench, task);
	if (++b->runs < 3)
		task_wake(task);
	else
		loop_stop(b->loop);
}

static void a_task_runs_once_per_wake(void **state)
{
	(void)state;
	struct bench b = { .loop = loop_new() };
	task_init(&b.task, b.loop, "test", run_task);
	task_wake(&b.task);
	task_wake(&b.task);
	loop_run(b.loop);
	assert_int_equal(b.runs, 3);
	task_wake(&b.task);
	task_clear(&b.task); // a woken task may go
	loop_free(b.loop);
}

static void on_timer(struct timer *timer)
{
	struct bench *b = CONTAINER_OF(timer, struct bench, timer);
	b->runs++;
	timer_clear(timer); // from inside its own callback
	loop_stop(b->loop);
}

static void a_timer_fires_once_and_may_go_in_its_callback(void **state)
{
	(void)state;
	struct bench b = { .loop = loop_new() };
	timer_init(&b.timer, b.loop, on_timer);
	assert_false(timer_is_set(&b.timer));
	timer_set(&b.timer, 100000);
	timer_set(&b.timer, 1);
	assert_true(timer_is_set(&b.timer));
	loop_run(b.loop);
	assert_int_equal(b.runs, 1);
	loop_free(b.loop);
}

static void on_ready(struct poll *poll, int events)
{
	struct bench *b = CONTAINER_OF(poll, struct bench, poll);
	assert_true(events & POLL_READ);
	poll_stop(poll);
	close(b->fd);
	loop_stop(b->loop);
	b->runs++;
}

static void work(void *arg)
{
	((struct bench *)arg)->worked = true;
}

static void work_done(void *arg)
{
	struct bench *b = arg;
	assert_true(b->worked);
	loop_stop(b->loop);
}

static void on_signal(struct signal *signal)
{
	struct bench *b = CONTAINER_OF(signal, struct bench, signal);
	signal_stop(signal);
	loop_stop(b->loop);
	b->runs++;
}

static void readiness_work_and_signals_reach_the_loop(void **state)
{
	(void)state;
	int pipes[2];
	struct bench b = { .loop = loop_new() };
	assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	b.fd = pipes[0];
	assert_int_equal(poll_start(&b.poll, b.loop, pipes[0], POLL_READ, on_ready), 0);
	close(pipes[1]); // a hang-up shows as readable
	loop_run(b.loop);
	assert_int_equal(b.runs, 1);
	loop_work(b.loop, work, work_done, &b);
	loop_run(b.loop);
	assert_int_equal(signal_start(&b.signal, b.loop, SIGUSR1, on_signal), 0);
	raise(SIGUSR1);
	loop_run(b.loop);
	assert_int_equal(b.runs, 2);
	loop_free(b.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_replaced_whole),
		cmocka_unit_test(removing_a_tree_follows_no_link),
		cmocka_unit_test(a_command_gives_its_output_and_status),
		cmocka_unit_test(a_command_that_takes_too_long_is_killed),
		cmocka_unit_test(a_child_gets_only_the_descriptors_named),
		cmocka_unit_test(start_times_tell_processes_apart),
		cmocka_unit_test(addresses_are_parsed_and_written),
		cmocka_unit_test(a_taken_port_is_said_so),
		cmocka_unit_test(descriptors_travel_with_messages),
		cmocka_unit_test(a_task_runs_once_per_wake),
		cmocka_unit_test(a_timer_fires_once_and_may_go_in_its_callback),
		cmocka_unit_test(readiness_work_and_signals_reach_the_loop),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
