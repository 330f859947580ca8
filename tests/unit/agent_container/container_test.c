// Containers from end to end, with the real crun.
#include "stage.h"

#include "agent/container/crun.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"
#include "io/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static const char *probe;
static struct stage stage;

static int open_stage(void **state)
{
	(void)state;
	stage_open(&stage, "life", "100.64.16.0/20", probe);
	return 0;
}

static int close_stage(void **state)
{
	(void)state;
	stage_close(&stage);
	return 0;
}

static const char *const wait_words[] = { "probe", "wait", NULL };

// Runs an instance to its end; output as text.
static int run(struct instance *instance, struct buf *output)
{
	instance_start(instance, &stage);
	int status = instance_wait(instance);
	instance_output(instance, output);
	return status;
}

static void exit_status(void **state)
{
	(void)state;
	static const char *const words[] = { "probe", "exit", "42", NULL };
	struct instance instance;
	AUTO_BUF struct buf output = BUF_INIT(1 << 16);
	instance_init(&instance, &stage, "exit", words);
	int status = run(&instance, &output);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
	instance_clear(&instance, &stage);
}

static void environment(void **state)
{
	(void)state;
	static const char *const words[] = { "probe", "env", NULL };
	static const char *const env[] = { "PATH=/bin", "GREETING=good morning", "EMPTY=", NULL };
	struct instance instance;
	AUTO_BUF struct buf output = BUF_INIT(1 << 16);
	instance_init(&instance, &stage, "env", words);
	instance.spec.env = env;
	instance.spec.cwd = "/tmp";
	instance.spec.hostname = "web-1";
	instance.spec.uid = 4000; // outside the first extent
	instance.spec.gid = 4001;
	assert_int_equal(run(&instance, &output), 0);
	assert_non_null(strstr(buf_str(&output), "GREETING=good morning\n"));
	assert_non_null(strstr(buf_str(&output), "EMPTY=\n"));
	assert_non_null(strstr(buf_str(&output), "cwd /tmp host web-1 uid 4000 gid 4001 tty 0\n"));
	instance_clear(&instance, &stage);
}

static void words_arrive_as_they_are(void **state)
{
	(void)state;
	static const char *const words[] = { "/bin/probe", "echo",    "two words", "\"quoted\"", "$HOME",
					     "--",         "ünïcode", "",          NULL };
	struct instance instance;
	AUTO_BUF struct buf output = BUF_INIT(1 << 16);
	instance_init(&instance, &stage, "words", words);
	assert_int_equal(run(&instance, &output), 0);
	assert_string_equal(buf_str(&output), "two words\n\"quoted\"\n$HOME\n--\nünïcode\n\n");
	instance_clear(&instance, &stage);
}

static void stdout_by_name(void **state)
{
	(void)state;
	static const char *const words[] = { "probe", "open-stdout", NULL };
	struct instance instance;
	AUTO_BUF struct buf output = BUF_INIT(1 << 16);
	instance_init(&instance, &stage, "stdout", words);
	assert_int_equal(run(&instance, &output), 0);
	assert_non_null(strstr(buf_str(&output), "by name"));
	instance_clear(&instance, &stage);
}

static void orphans_are_reaped(void **state)
{
	(void)state;
	static const char *const words[] = { "probe", "orphan", NULL };
	struct instance instance;
	AUTO_BUF struct buf output = BUF_INIT(1 << 16);
	instance_init(&instance, &stage, "orphan", words);
	assert_int_equal(run(&instance, &output), 0);
	instance_clear(&instance, &stage);
}

static void signals_reach_the_application(void **state)
{
	(void)state;
	struct instance instance;
	instance_init(&instance, &stage, "term", wait_words);
	instance_start(&instance, &stage);
	assert_true(instance_expect(&instance, "waiting"));
	assert_int_equal(container_kill(stage.host, "term", SIGTERM, NULL), 0);
	int status = instance_wait(&instance);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
	assert_int_equal(container_kill(stage.host, "term", SIGTERM, NULL), -ESRCH);
	instance_clear(&instance, &stage);
	assert_int_equal(container_kill(stage.host, "term", SIGTERM, NULL), -ESRCH);
}

static void kill_ends_everything(void **state)
{
	(void)state;
	struct instance instance;
	instance_init(&instance, &stage, "kill", wait_words);
	instance_start(&instance, &stage);
	assert_true(instance_expect(&instance, "waiting"));
	assert_int_equal(container_kill(stage.host, "kill", SIGKILL, NULL), 0);
	int status = instance_wait(&instance);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	assert_int_equal(container_oom(stage.host, "kill"), 0);
	instance_clear(&instance, &stage);
}

static void is_listed_and_counted(void **state)
{
	(void)state;
	struct instance instance;
	instance_init(&instance, &stage, "listed", wait_words);
	instance.spec.cpu_millis = 500;
	instance_start(&instance, &stage);
	assert_true(instance_expect(&instance, "waiting"));

	struct container_entry *entries = NULL;
	size_t n = 0;
	assert_int_equal(container_list(stage.host, &entries, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_string_equal(entries[0].id, "listed");
	assert_int_equal(entries[0].pid, instance.pid);
	assert_true(entries[0].running);
	free(entries);

	kill(instance.pid, SIGKILL);
	instance_wait(&instance);
	assert_int_equal(container_list(stage.host, &entries, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_false(entries[0].running);
	free(entries);
	instance_clear(&instance, &stage);
	assert_int_equal(container_list(stage.host, &entries, &n, NULL), 0);
	assert_int_equal(n, 0);
	free(entries);
}

static void delete_ends_and_repeats(void **state)
{
	(void)state;
	struct instance instance;
	instance_init(&instance, &stage, "deleted", wait_words);
	instance_start(&instance, &stage);
	assert_int_equal(container_delete(stage.host, "deleted", instance.dir, instance.spec.address, NULL), 0);
	assert_true(WIFSIGNALED(instance_wait(&instance)));
	assert_int_equal(container_delete(stage.host, "deleted", instance.dir, instance.spec.address, NULL), 0);
	instance_clear(&instance, &stage);
}

// A create that was cut short anywhere is undone by delete, and create works again.
static void half_made_is_cleaned(void **state)
{
	(void)state;
	struct instance instance;
	instance_init(&instance, &stage, "half", wait_words);
	struct err err = { 0 };
	assert_int_equal(container_create(stage.host, &instance.spec, &instance.pid, NULL, &err), 0);
	AUTO_FREE char *status = xasprintf("%s/node/crun/half/status", stage.data);
	assert_int_equal(unlink(status), 0); // crun was killed before it wrote this
	assert_int_equal(container_delete(stage.host, "half", instance.dir, instance.spec.address, &err), 0);
	assert_true(WIFSIGNALED(instance_wait(&instance)));
	assert_int_equal(container_create(stage.host, &instance.spec, &instance.pid, NULL, &err), 0);
	kill(instance.pid, SIGKILL); // the machine's power failed here, say: only files are left
	instance_wait(&instance);
	instance_start(&instance, &stage);
	assert_true(instance_expect(&instance, "waiting"));
	assert_int_equal(container_create(stage.host, &instance.spec, &instance.pid, NULL, &err), -EEXIST);
	assert_int_equal(container_kill(stage.host, "half", SIGTERM, NULL), 0); // it was left alone
	instance_clear(&instance, &stage);
}

static void failed_create_says_why(void **state)
{
	(void)state;
	struct instance instance;
	struct err err = { 0 };
	instance_init(&instance, &stage, "bad", wait_words);
	instance.layers[0] = "/nowhere";
	assert_int_equal(container_create(stage.host, &instance.spec, &instance.pid, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, "'/nowhere'"));

	instance.layers[0] = instance.layer;
	instance.spec.cwd = "/not-there";
	assert_true(container_create(stage.host, &instance.spec, &instance.pid, NULL, &err) < 0);
	assert_non_null(strstr(err.text, "/not-there"));

	static const char *const env[] = { "BAD=\xff\xfe", NULL };
	instance.spec.cwd = NULL;
	instance.spec.env = env;
	assert_int_equal(container_create(stage.host, &instance.spec, &instance.pid, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "UTF-8"));

	AUTO_FREE char *bundle = xasprintf("%s/bundle", instance.dir);
	assert_int_equal(file_exists(bundle), 0);
	instance_clear(&instance, &stage);
}

static void missing_command_is_named(void **state)
{
	(void)state;
	static const char *const words[] = { "no-such-program", NULL };
	struct instance instance;
	struct err err = { 0 };
	instance_init(&instance, &stage, "missing", words);
	assert_int_equal(container_create(stage.host, &instance.spec, &instance.pid, NULL, &err), -ENOEXEC);
	assert_non_null(strstr(err.text, "'no-such-program'"));
	instance_clear(&instance, &stage);
}

static int exec_wait(pid_t pid, int pidfd)
{
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	int status;
	assert_int_equal(poll(&ended, 1, 20000), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(pidfd);
	return status;
}

// Runs words in the container, input to its stdin; output as text, status returned.
static int exec(const char *id, const char *const *words, uint32_t uid, const char *input, struct buf *output)
{
	static const char *const env[] = { "PATH=/bin", "EXTRA=yes", NULL };
	int in[2], out[2];
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	struct container_exec spec = { .words = words,
				       .env = env,
				       .uid = uid,
				       .gid = uid,
				       .stdin_fd = in[0],
				       .stdout_fd = out[1],
				       .stderr_fd = out[1] };
	pid_t pid;
	int pidfd;
	struct err err = { 0 };
	if (container_exec(stage.host, id, &spec, &pid, &pidfd, NULL, &err) < 0)
		fail_msg("%s", err.text);
	close(in[0]);
	close(out[1]);
	assert_int_equal(write_all(in[1], input, strlen(input)), 0);
	close(in[1]);
	char bytes[4096];
	ssize_t n;
	while ((n = read(out[0], bytes, sizeof(bytes))) > 0)
		buf_add(output, bytes, (size_t)n);
	close(out[0]);
	return exec_wait(pid, pidfd);
}

static void exec_runs_beside(void **state)
{
	(void)state;
	static const char *const cat[] = { "probe", "cat", NULL }, *const fail[] = { "probe", "exit", "7", NULL };
	static const char *const env[] = { "probe", "env", NULL };
	static const char *const by_name[] = { "probe", "open-stdout", NULL };
	struct instance instance;
	instance_init(&instance, &stage, "exec", wait_words);
	instance_start(&instance, &stage);
	assert_true(instance_expect(&instance, "waiting"));

	AUTO_BUF struct buf output = BUF_INIT(1 << 20);
	assert_int_equal(exec("exec", cat, 1000, "through the pipe", &output), 0);
	assert_string_equal(buf_str(&output), "through the pipe");
	assert_int_equal(WEXITSTATUS(exec("exec", fail, 1000, "", &output)), 7);
	buf_reset(&output);
	assert_int_equal(exec("exec", env, 1000, "", &output), 0);
	assert_non_null(strstr(buf_str(&output), "EXTRA=yes"));
	assert_non_null(strstr(buf_str(&output), "uid 1000 gid 1000"));
	assert_int_equal(exec("exec", by_name, 1000, "", &output), 0);

	static const char *const missing[] = { "nothing", NULL };
	struct container_exec spec = { .words = missing,
				       .env = (const char *const[]){ "PATH=/bin", NULL },
				       .uid = 1000,
				       .gid = 1000,
				       .stdin_fd = -1,
				       .stdout_fd = -1,
				       .stderr_fd = -1 };
	pid_t pid;
	int pidfd;
	struct err err = { 0 };
	assert_int_equal(container_exec(stage.host, "exec", &spec, &pid, &pidfd, NULL, &err), -ENOEXEC);
	assert_non_null(strstr(err.text, "'nothing'"));
	instance_clear(&instance, &stage);

	spec.words = cat;
	assert_int_equal(container_exec(stage.host, "exec", &spec, &pid, &pidfd, NULL, NULL), -ESRCH);
}

// The container's first process may still be on its way to its own exec.
static void exec_right_after_start(void **state)
{
	(void)state;
	static const char *const words[] = { "probe", "exit", "0", NULL };
	AUTO_BUF struct buf output = BUF_INIT(1 << 16);
	for (int i = 0; i < 20; i++) {
		struct instance instance;
		instance_init(&instance, &stage, "soon", wait_words);
		instance_start(&instance, &stage);
		if (exec("soon", words, 1000, "", &output) != 0)
			fail_msg("%s", buf_str(&output));
		instance_clear(&instance, &stage);
	}
}

// What the application may not, a command beside it may not either.
static void exec_is_as_hard(void **state)
{
	(void)state;
	static const char *const kernel[] = { "probe", "kernel", NULL };
	struct instance instance;
	instance_init(&instance, &stage, "hard", wait_words);
	instance_start(&instance, &stage);
	AUTO_BUF struct buf output = BUF_INIT(1 << 20);
	for (uint32_t uid = 0; uid <= 1000; uid += 1000) {
		buf_reset(&output);
		if (exec("hard", kernel, uid, "", &output) != 0)
			fail_msg("%s", buf_str(&output));
		assert_non_null(strstr(buf_str(&output), "unshare_user refused"));
	}
	instance_clear(&instance, &stage);
}

static bool tty_expect(int fd, const char *text)
{
	AUTO_BUF struct buf output = BUF_INIT(1 << 16);
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	char bytes[256];
	ssize_t n;
	while (!strstr(buf_str(&output), text)) {
		if (poll(&readable, 1, 10000) != 1 || (n = read(fd, bytes, sizeof(bytes))) <= 0) {
			print_error("expected '%s', got '%s'\n", text, buf_str(&output));
			return false;
		}
		buf_add(&output, bytes, (size_t)n);
	}
	return true;
}

static void exec_on_a_terminal(void **state)
{
	(void)state;
	static const char *const env_words[] = { "probe", "env", NULL }, *const wait_there[] = { "probe", "wait",
												 NULL };
	struct instance instance;
	instance_init(&instance, &stage, "tty", wait_words);
	instance_start(&instance, &stage);
	struct container_exec spec = { .words = env_words,
				       .env = (const char *const[]){ "PATH=/bin", NULL },
				       .uid = 1000,
				       .gid = 1000,
				       .tty = true,
				       .cols = 100,
				       .rows = 30 };
	pid_t pid;
	int pidfd, tty_fd = -1;
	struct err err = { 0 };
	if (container_exec(stage.host, "tty", &spec, &pid, &pidfd, &tty_fd, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(tty_expect(tty_fd, "tty 1"));
	assert_int_equal(exec_wait(pid, pidfd), 0);
	close(tty_fd);

	spec.words = wait_there;
	assert_int_equal(container_exec(stage.host, "tty", &spec, &pid, &pidfd, &tty_fd, &err), 0);
	assert_true(tty_expect(tty_fd, "waiting"));
	assert_int_equal(write_all(tty_fd, "\x03", 1), 0); // interrupt
	int status = exec_wait(pid, pidfd);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGINT);
	close(tty_fd);
	instance_clear(&instance, &stage);
}

static void exec_is_signalled(void **state)
{
	(void)state;
	struct instance instance;
	instance_init(&instance, &stage, "sig", wait_words);
	instance_start(&instance, &stage);
	int out[2];
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	struct container_exec spec = { .words = wait_words,
				       .env = (const char *const[]){ "PATH=/bin", NULL },
				       .uid = 1000,
				       .gid = 1000,
				       .stdin_fd = -1,
				       .stdout_fd = out[1],
				       .stderr_fd = out[1] };
	pid_t pid;
	int pidfd;
	assert_int_equal(container_exec(stage.host, "sig", &spec, &pid, &pidfd, NULL, NULL), 0);
	close(out[1]);
	assert_true(tty_expect(out[0], "waiting"));
	assert_int_equal(kill(pid, SIGTERM), 0);
	int status = exec_wait(pid, pidfd);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
	close(out[0]);
	instance_clear(&instance, &stage);
}

static pid_t sleeper(int *ret_pidfd)
{
	pid_t pid = fork();
	if (pid == 0) {
		for (;;)
			pause();
	}
	*ret_pidfd = pidfd_open_cloexec(pid);
	assert_true(*ret_pidfd >= 0);
	return pid;
}

// crun start by itself waits for ever for an init that is killed while it opens its FIFO.
static void crun_is_not_waited_for_when_the_init_is_dead(void **state)
{
	(void)state;
	CLEANUP(crun_clear) struct crun crun = CRUN_INIT;
	AUTO_CLOSE int init_fd = -1;
	struct err err = { 0 };
	pid_t init = sleeper(&init_fd);
	crun.words[0] = "start";
	crun.pid = sleeper(&crun.pidfd);
	crun.init_fd = init_fd;
	assert_int_equal(kill(init, SIGKILL), 0);
	uint64_t began_ms = monotonic_ms();
	assert_int_equal(crun_wait(&crun, &err), -ESRCH);
	assert_true(monotonic_ms() - began_ms < 10000);
	assert_int_equal(waitpid(init, NULL, 0), init);
}

static void one_off_on_a_terminal(void **state)
{
	(void)state;
	static const char *const words[] = { "probe", "env", NULL };
	struct instance instance;
	instance_init(&instance, &stage, "oneoff", words);
	instance.spec.tty = true;
	int tty_fd = -1;
	struct err err = { 0 };
	if (container_create(stage.host, &instance.spec, &instance.pid, &tty_fd, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(container_start(stage.host, "oneoff", &err), 0);
	assert_true(tty_expect(tty_fd, "tty 1"));
	assert_int_equal(instance_wait(&instance), 0);
	close(tty_fd);
	instance_clear(&instance, &stage);
}

// A build container: the machine's network, changes to the root file system kept.
static void build_container(void **state)
{
	(void)state;
	static const char *const words[] = { "probe", "write", "/made", "/cache/kept", NULL };
	struct instance instance;
	AUTO_BUF struct buf output = BUF_INIT(1 << 16);
	instance_init(&instance, &stage, "build", words);
	AUTO_FREE char *writable = xasprintf("%s/writable", instance.dir);
	AUTO_FREE char *cache = xasprintf("%s/cache", instance.dir);
	AUTO_FREE char *made = xasprintf("%s/upper/made", writable);
	AUTO_FREE char *kept = xasprintf("%s/kept", cache);
	assert_int_equal(dir_make(cache, 0777, NULL), 0);
	assert_int_equal(chmod(cache, 0777), 0);
	struct container_bind binds[] = { { cache, "/cache", true } };
	instance.spec.uid = instance.spec.gid = 0;
	instance.spec.host_network = true;
	instance.spec.writable = writable;
	instance.spec.binds = binds;
	instance.spec.n_binds = 1;
	int status = run(&instance, &output);
	if (status != 0)
		fail_msg("%#x %s", (unsigned)status, buf_str(&output));
	assert_int_equal(file_exists(made), 1);
	assert_int_equal(file_exists(kept), 1);
	instance_clear(&instance, &stage);
}

struct many {
	struct instance instance;
	pthread_t thread;
};

static void *start_one(void *arg)
{
	struct many *one = arg;
	instance_start(&one->instance, &stage);
	return NULL;
}

static void many_at_once(void **state)
{
	(void)state;
	enum { N = 12 };
	static struct many many[N];
	for (int i = 0; i < N; i++) {
		char id[16];
		snprintf(id, sizeof(id), "many-%d", i);
		instance_init(&many[i].instance, &stage, id, wait_words);
	}
	for (int i = 0; i < N; i++)
		assert_int_equal(pthread_create(&many[i].thread, NULL, start_one, &many[i]), 0);
	for (int i = 0; i < N; i++)
		pthread_join(many[i].thread, NULL);
	for (int i = 0; i < N; i++)
		assert_true(instance_expect(&many[i].instance, "waiting"));
	for (int i = 0; i < N; i++)
		instance_clear(&many[i].instance, &stage);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_status),
		cmocka_unit_test(environment),
		cmocka_unit_test(words_arrive_as_they_are),
		cmocka_unit_test(stdout_by_name),
		cmocka_unit_test(orphans_are_reaped),
		cmocka_unit_test(signals_reach_the_application),
		cmocka_unit_test(kill_ends_everything),
		cmocka_unit_test(is_listed_and_counted),
		cmocka_unit_test(delete_ends_and_repeats),
		cmocka_unit_test(half_made_is_cleaned),
		cmocka_unit_test(failed_create_says_why),
		cmocka_unit_test(missing_command_is_named),
		cmocka_unit_test(exec_runs_beside),
		cmocka_unit_test(exec_right_after_start),
		cmocka_unit_test(exec_is_as_hard),
		cmocka_unit_test(exec_on_a_terminal),
		cmocka_unit_test(exec_is_signalled),
		cmocka_unit_test(crun_is_not_waited_for_when_the_init_is_dead),
		cmocka_unit_test(one_off_on_a_terminal),
		cmocka_unit_test(build_container),
		cmocka_unit_test(many_at_once),
	};
	int r = stage_enter();
	if (r || argc < 2)
		return r ? r : 1;
	probe = argv[1];
	return cmocka_run_group_tests(tests, open_stage, close_stage);
}
