#include "bench.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"
#include "io/process.h"
#include "io/socket.h"
#include "io/spool.h"
#include "keeper/keeper.h"
#include "keeper/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define DEADLINE_MS 60000 // an emulated machine (tests/vm) is slow

static void append_line(const char *path, const char *line)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (write(fd, line, strlen(line)) < 0)
		abort();
	close(fd);
}

// Starts what the file `job` says, so that its parent is gone at once, as crun does with a container's init. The file
// is read before the pid is told: the next job may be in it then.
static void run_job(const char *data)
{
	AUTO_FREE char *job = xasprintf("%s/job", data);
	AUTO_BUF struct buf script = BUF_INIT(65536);
	file_read(job, &script, NULL);
	pid_t middle = fork();
	if (middle == 0) {
		pid_t pid = fork();
		if (pid == 0) {
			sigset_t none;
			sigemptyset(&none);
			sigprocmask(SIG_SETMASK, &none, NULL);
			execl("/bin/sh", "sh", "-c", buf_str(&script), NULL);
			_exit(127);
		}
		AUTO_FREE char *path = xasprintf("%s/job.pid", data);
		AUTO_FREE char *text = xasprintf("%d\n", (int)pid);
		file_write_atomic(path, text, strlen(text), 0600, NULL);
		_exit(0);
	}
	waitpid(middle, NULL, 0);
}

static void serve_one(int listen_fd)
{
	int fd = accept(listen_fd, NULL, NULL);
	char text[32];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (fd >= 0 && write(fd, text, (size_t)n) < 0)
		abort();
	close(fd);
}

static int play_part(const char *name, const char *data)
{
	AUTO_FREE char *starts = xasprintf("%s/starts", data);
	AUTO_FREE char *line = xasprintf("%s %d\n", name, (int)getpid());
	AUTO_FREE char *stops = xasprintf("%s/stops", data);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	append_line(starts, line);
	bool serves = getenv("DIALTONE_LISTEN_FD") != NULL;
	if (serves)
		fcntl(KEEPER_LISTEN_FD, F_SETFL, O_NONBLOCK);
	for (;;) {
		struct timespec soon = { .tv_nsec = 5000000 };
		int got = sigtimedwait(&set, NULL, &soon);
		if (got == SIGTERM)
			break;
		if (got == SIGUSR1)
			run_job(data);
		if (serves)
			serve_one(KEEPER_LISTEN_FD);
	}
	append_line(stops, line);
	return 0;
}

int bench_part(int argc, char **argv)
{
	if (argc >= 2 && str_eq(argv[1], "keeper"))
		return keeper_main(argc, argv);
	if (argc == 4 && str_eq(argv[2], "--data"))
		return play_part(argv[1], argv[3]);
	return -1;
}

static unsigned free_port(void)
{
	struct address any;
	int fd;
	assert_int_equal(address_parse("127.0.0.1:0", &any, NULL), 0);
	assert_int_equal(socket_listen(&any, 1, &fd, NULL), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&any.sa, &any.len), 0);
	close(fd);
	char text[ADDRESS_TEXT_SIZE];
	address_write(&any, text);
	return (unsigned)atoi(strrchr(text, ':') + 1);
}

static void tick(struct timer *timer)
{
	loop_stop(timer->loop);
}

void bench_wait(struct bench *b, bool (*holds)(struct bench *b, const void *arg), const void *arg, const char *what)
{
	uint64_t deadline = monotonic_ms() + DEADLINE_MS;
	struct timer timer;
	timer_init(&timer, b->loop, tick);
	while (!holds(b, arg)) {
		if (monotonic_ms() > deadline)
			fail_msg("not within %d ms: %s", DEADLINE_MS, what);
		timer_set(&timer, 5);
		loop_run(b->loop);
	}
	timer_clear(&timer);
}

static bool socket_there(struct bench *b, UNUSED const void *arg)
{
	AUTO_FREE char *path = xasprintf("%s/run/keeper.sock", b->data);
	int fd;
	if (packet_connect(path, &fd, NULL) < 0)
		return false;
	close(fd);
	return true;
}

static bool state_there(struct bench *b, UNUSED const void *arg)
{
	struct keeper_state state;
	return keeper_state_read(b->data, &state) == 0;
}

static bool all_run(struct bench *b, UNUSED const void *arg)
{
	return bench_starts(b, "server", NULL) && bench_starts(b, "agent", NULL) && bench_starts(b, "router", NULL);
}

void bench_spawn_keeper(struct bench *b, const char *option)
{
	const char *argv[] = { "/proc/self/exe", "keeper", "--data", b->data, "--http", b->http, option, NULL };
	AUTO_FREE char *path = xasprintf("%s/keeper.log", b->data);
	AUTO_CLOSE int log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	struct process_spec spec = PROCESS_SPEC_INIT;
	spec.argv = argv;
	spec.stdout_fd = spec.stderr_fd = log;
	struct err err = { 0 };
	if (process_spawn(&spec, &b->keeper, NULL, &err) < 0)
		fail_msg("%s", err.text);
}

void bench_start_keeper(struct bench *b)
{
	bench_spawn_keeper(b, NULL);
	bench_wait(b, socket_there, NULL, "keeper listens");
	bench_wait(b, all_run, NULL, "parts run");
	bench_wait(b, state_there, NULL, "the keeper has written down what it started");
}

void bench_kill_keeper(struct bench *b)
{
	kill(b->keeper, SIGKILL);
	assert_int_equal(waitpid(b->keeper, NULL, 0), b->keeper);
	b->keeper = 0;
}

void bench_init(struct bench *b)
{
	*b = (struct bench){ .data = "/tmp/keeper-XXXXXX" };
	assert_non_null(mkdtemp(b->data));
	snprintf(b->http, sizeof(b->http), "127.0.0.1:%u", free_port());
	// Orphans of a killed keeper come here, as they come to `up`.
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	b->loop = loop_new();
}

static void on_exit_record(void *arg, const struct keeper_exit *record)
{
	struct bench *b = arg;
	b->last_exit = *record;
	b->exits++;
}

void bench_connect(struct bench *b)
{
	struct keeper_client_spec spec = { .loop = b->loop, .data = b->data, .on_exit = on_exit_record, .arg = b };
	b->client = keeper_client_new(&spec);
}

// Every process of this test is a descendant of it; those that are left are ended here.
static void end_children(void)
{
	for (;;) {
		AUTO_BUF struct buf text = BUF_INIT(65536);
		AUTO_FREE char *path = xasprintf("/proc/self/task/%d/children", (int)getpid());
		file_read(path, &text, NULL);
		char *rest = NULL;
		for (char *pid = strtok_r((char *)buf_str(&text), " ", &rest); pid; pid = strtok_r(NULL, " ", &rest))
			kill(atoi(pid), SIGKILL);
		if (waitpid(-1, NULL, 0) < 0)
			return;
	}
}

void bench_clear(struct bench *b)
{
	keeper_client_free(b->client);
	loop_free(b->loop);
	while (b->keeper > 0 && waitpid(b->keeper, NULL, WNOHANG) == 0) {
		kill(b->keeper, SIGTERM); // once more if it holds
		usleep(5000);
	}
	end_children();
	tree_remove(b->data, NULL);
}

void bench_done(void *arg, int result)
{
	struct bench *b = arg;
	b->result = result;
	b->answered = true;
}

static bool is_answered(struct bench *b, UNUSED const void *arg)
{
	return b->answered;
}

int bench_result(struct bench *b)
{
	bench_wait(b, is_answered, NULL, "an answer of the keeper");
	b->answered = false;
	return b->result;
}

bool bench_has_exit(struct bench *b, UNUSED const void *unused)
{
	return b->exits > 0;
}

void bench_make_instance(struct bench *b, const char *id)
{
	AUTO_FREE char *dir = xasprintf("%s/node/instances/%s", b->data, id);
	AUTO_FREE char *out = xasprintf("%s/out.fifo", dir);
	AUTO_FREE char *err = xasprintf("%s/err.fifo", dir);
	assert_int_equal(dir_make(dir, 0700, NULL), 0);
	assert_int_equal(mkfifo(out, 0600), 0);
	assert_int_equal(mkfifo(err, 0600), 0);
}

static bool job_runs(struct bench *b, UNUSED const void *arg)
{
	AUTO_FREE char *path = xasprintf("%s/job.pid", b->data);
	return file_exists(path) == 1;
}

pid_t bench_run(struct bench *b, const char *id, const char *script)
{
	AUTO_FREE char *path = xasprintf("%s/job", b->data);
	AUTO_FREE char *pid_path = xasprintf("%s/job.pid", b->data);
	AUTO_FREE char *dir = xasprintf("%s/node/instances/%s", b->data, id);
	AUTO_FREE char *text = xasprintf("exec 1<>%s/out.fifo 2<>%s/err.fifo\n%s\n", dir, dir, script);
	unlink(pid_path);
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, NULL), 0);
	pid_t agent = 0;
	bench_starts(b, "agent", &agent);
	assert_int_equal(kill(agent, SIGUSR1), 0);
	bench_wait(b, job_runs, NULL, "the job starts");
	AUTO_BUF struct buf pid = BUF_INIT(64);
	assert_int_equal(file_read(pid_path, &pid, NULL), 0);
	return atoi(buf_str(&pid));
}

unsigned bench_starts(struct bench *b, const char *part, pid_t *ret_last)
{
	AUTO_FREE char *path = xasprintf("%s/starts", b->data);
	AUTO_FCLOSE FILE *f = fopen(path, "r");
	unsigned n = 0;
	char name[16];
	int pid;
	while (f && fscanf(f, "%15s %d", name, &pid) == 2) {
		if (!str_eq(name, part))
			continue;
		n++;
		if (ret_last)
			*ret_last = pid;
	}
	return n;
}

unsigned bench_entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned n = 0;
	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

size_t bench_log(struct bench *b, const char *id, const char *stream, char **ret)
{
	AUTO_BUF struct buf all = BUF_INIT(64 << 20);
	for (uint32_t number = 0;; number++) {
		char name[SPOOL_NAME_SIZE];
		spool_segment_name(stream, number, name);
		AUTO_FREE char *path = xasprintf("%s/node/instances/%s/log/%s", b->data, id, name);
		if (file_exists(path) != 1)
			break;
		assert_int_equal(file_read(path, &all, NULL), 0);
	}
	size_t n = buf_len(&all);
	*ret = buf_take(&all);
	return n;
}
