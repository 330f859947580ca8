#include "io/process.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

int pidfd_open_cloexec(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0); // always close-on-exec (pidfd_open(2))
	return fd < 0 ? -errno : fd;
}

int pidfd_signal(int pidfd, int signum)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signum, NULL, 0) < 0 ? -errno : 0;
}

// Puts fd (or /dev/null) at the child's descriptor `to`.
static void place_fd(posix_spawn_file_actions_t *actions, int fd, int to)
{
	if (fd < 0)
		posix_spawn_file_actions_addopen(actions, to, "/dev/null", to ? O_WRONLY : O_RDONLY, 0);
	else
		posix_spawn_file_actions_adddup2(actions, fd, to); // clears close-on-exec also for fd == to
}

static int highest(const struct process_spec *spec)
{
	int max = STDERR_FILENO;
	for (size_t i = 0; i < spec->n_pass_fds; i++)
		if (spec->pass_fds[i] > max)
			max = spec->pass_fds[i];
	return max;
}

static bool passed(const struct process_spec *spec, int fd)
{
	for (size_t i = 0; i < spec->n_pass_fds; i++)
		if (spec->pass_fds[i] == fd)
			return true;
	return false;
}

static void add_actions(posix_spawn_file_actions_t *actions, const struct process_spec *spec)
{
	place_fd(actions, spec->stdin_fd, STDIN_FILENO);
	place_fd(actions, spec->stdout_fd, STDOUT_FILENO);
	place_fd(actions, spec->stderr_fd, STDERR_FILENO);
	int last = highest(spec);
	for (int fd = STDERR_FILENO + 1; fd <= last; fd++)
		if (passed(spec, fd))
			posix_spawn_file_actions_adddup2(actions, fd, fd);
		else
			posix_spawn_file_actions_addclose(actions, fd); // an unused number is no error in glibc
	posix_spawn_file_actions_addclosefrom_np(actions, last + 1);
	if (spec->cwd)
		posix_spawn_file_actions_addchdir_np(actions, spec->cwd);
}

static void add_attributes(posix_spawnattr_t *attributes, bool new_session)
{
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(attributes, &none);
	posix_spawnattr_setsigdefault(attributes, &all);
	int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | (new_session ? POSIX_SPAWN_SETSID : 0);
	posix_spawnattr_setflags(attributes, (short)flags);
}

int process_spawn(const struct process_spec *spec, pid_t *ret_pid, int *ret_pidfd, struct err *err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	add_actions(&actions, spec);
	add_attributes(&attributes, spec->new_session);

	pid_t pid;
	char *const *env = spec->env ? (char *const *)spec->env : environ;
	int r = -posix_spawnp(&pid, spec->argv[0], &actions, &attributes, (char *const *)spec->argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	if (r < 0)
		return err_set_errno(err, r, "cannot run '%s'", spec->argv[0]);

	if (ret_pidfd) {
		int fd = pidfd_open_cloexec(pid);
		if (fd < 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			return err_set_errno(err, fd, "cannot watch '%s'", spec->argv[0]);
		}
		*ret_pidfd = fd;
	}
	*ret_pid = pid;
	return 0;
}

static void collect(struct buf *output, const char *bytes, size_t n)
{
	size_t room = output ? output->max - buf_len(output) : 0;
	if (room)
		buf_add(output, bytes, n < room ? n : room);
}

// Reads until the end of output and of the process; 0, or -ETIMEDOUT.
static int drain_until(int fd, int pidfd, struct buf *output, uint64_t deadline_ms)
{
	bool open = true;
	for (;;) {
		struct pollfd fds[] = { { .fd = open ? fd : -1, .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };
		uint64_t now = monotonic_ms();
		int n = poll(fds, ARRAY_LEN(fds), now < deadline_ms ? (int)(deadline_ms - now) : 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			return -ETIMEDOUT;
		if (fds[0].revents) {
			char bytes[65536];
			ssize_t got = read(fd, bytes, sizeof(bytes));
			if (got > 0)
				collect(output, bytes, (size_t)got);
			else if (got == 0)
				open = false;
			continue;
		}
		if (fds[1].revents)
			return 0; // what a grandchild still writes is not waited for
	}
}

int process_run(const char *const *argv, struct buf *output, unsigned timeout_ms, int *ret_status, struct err *err)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set_errno(err, -errno, "cannot run '%s'", argv[0]);
	AUTO_CLOSE int out = fds[0];
	struct process_spec spec = PROCESS_SPEC_INIT;
	spec.argv = argv;
	spec.stdout_fd = spec.stderr_fd = fds[1];
	spec.new_session = true;

	pid_t pid;
	AUTO_CLOSE int pidfd = -1;
	int r = process_spawn(&spec, &pid, &pidfd, err);
	close(fds[1]);
	if (r < 0)
		return r;

	r = drain_until(out, pidfd, output, monotonic_ms() + timeout_ms);
	if (r < 0)
		kill(-pid, SIGKILL); // its whole session
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return err_set(err, r, "'%s' did not end within %u ms and was killed", argv[0], timeout_ms);
	*ret_status = status;
	return 0;
}

// The last few lines of a command's output, for an error message.
static const char *last_lines(struct buf *output, size_t max)
{
	const char *text = buf_str(output);
	size_t n = strlen(text);
	while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
		((char *)text)[--n] = '\0';
	return n > max ? text + n - max : text;
}

int process_check(const char *const *argv, unsigned timeout_ms, struct err *err)
{
	AUTO_BUF struct buf output = BUF_INIT(1 << 20);
	int status;
	int r = process_run(argv, &output, timeout_ms, &status, err);
	if (r < 0)
		return r;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	const char *said = last_lines(&output, 600);
	if (WIFSIGNALED(status))
		return err_set(err, -EIO, "'%s' was killed by signal %d: %s", argv[0], WTERMSIG(status), said);
	return err_set(err, -EIO, "'%s' ended with status %d: %s", argv[0], WEXITSTATUS(status), said);
}

int process_start_time(pid_t pid, unsigned long long *ret_ticks)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ESRCH;
	char text[1024];
	ssize_t n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -ESRCH;
	text[n] = '\0';
	const char *rest = strrchr(text, ')'); // the name may hold anything, also ')'
	if (!rest)
		return -EIO;
	unsigned long long ticks;
	if (sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks) != 1)
		return -EIO;
	*ret_ticks = ticks;
	return 0;
}

int boot_id(char id[BOOT_ID_SIZE], struct err *err)
{
	AUTO_BUF struct buf text = BUF_INIT(256);
	int r = file_read("/proc/sys/kernel/random/boot_id", &text, err);
	if (r < 0)
		return r;
	if (buf_len(&text) < BOOT_ID_SIZE - 1)
		return err_set(err, -EIO, "the kernel's boot id is too short");
	memcpy(id, buf_data(&text), BOOT_ID_SIZE - 1);
	id[BOOT_ID_SIZE - 1] = '\0';
	return 0;
}
