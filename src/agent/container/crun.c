#include "agent/container/crun.h"

#include "base/buf.h"
#include "base/id.h"
#include "base/str.h"
#include "io/process.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { CRUN_MS = 120000, INIT_GONE_MS = 500, CONSOLE_MS = 5000, OPTIONS = 5, LOG_SIZE = 1024 };

int crun_spawn(const struct container_host *host, struct crun *crun, struct err *err)
{
	static const char *const env[] = { "PATH=" CRUN_PATH, NULL };
	AUTO_CLOSE int log_fd = memfd_create("crun", MFD_CLOEXEC);
	if (log_fd < 0)
		return err_set_errno(err, -errno, "cannot run crun");

	AUTO_FREE char *log = xasprintf("--log=/proc/self/fd/%d", log_fd);
	const char *argv[OPTIONS + CRUN_WORDS + 1] = { "crun", "--root", host->crun_root, "--cgroup-manager=cgroupfs",
						       log };
	for (size_t i = 0; i < CRUN_WORDS && crun->words[i]; i++)
		argv[OPTIONS + i] = crun->words[i];

	int pass[] = { log_fd, crun->pass_fd };
	struct process_spec spec = {
		.argv = argv,
		.env = env,
		.stdin_fd = crun->stdin_fd,
		.stdout_fd = crun->stdout_fd,
		.stderr_fd = crun->stderr_fd,
		.pass_fds = pass,
		.n_pass_fds = crun->pass_fd < 0 ? 1 : 2,
	};
	int r = process_spawn(&spec, &crun->pid, &crun->pidfd, err);
	if (r == -ENOENT)
		err_hint(err, "install it: apt-get install crun");
	if (r < 0)
		return r;
	crun->log_fd = TAKE_FD(log_fd);
	return 0;
}

// crun's last words, without what it puts before a message.
static void read_log(int fd, char text[LOG_SIZE])
{
	ssize_t n = pread(fd, text, LOG_SIZE - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
}

static bool ended_within(int pidfd, int other_fd, int ms)
{
	struct pollfd ended[] = { { .fd = pidfd, .events = POLLIN }, { .fd = other_fd, .events = POLLIN } };
	int n;
	while ((n = poll(ended, ARRAY_LEN(ended), ms)) < 0 && errno == EINTR)
		;
	return n > 0;
}

int crun_wait(struct crun *crun, struct err *err)
{
	bool any = ended_within(crun->pidfd, crun->init_fd, CRUN_MS);
	bool ended = any && ended_within(crun->pidfd, -1, crun->init_fd < 0 ? 0 : INIT_GONE_MS);
	if (!ended)
		pidfd_signal(crun->pidfd, SIGKILL);

	int status = 0;
	while (waitpid(crun->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (any && !ended)
		return err_set(err, -ESRCH, "crun %s: the container's first process has ended", crun->words[0]);
	if (!any)
		return err_set(err, -ETIMEDOUT, "crun %s did not end within %d s", crun->words[0], CRUN_MS / 1000);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	char log[LOG_SIZE];
	read_log(crun->log_fd, log);
	return err_set(err, -EIO, "crun %s: %s", crun->words[0], log[0] ? log : "ended without a reason");
}

int crun_run(const struct container_host *host, struct crun *crun, struct err *err)
{
	int r = crun_spawn(host, crun, err);
	return r < 0 ? r : crun_wait(crun, err);
}

void crun_clear(struct crun *crun)
{
	cleanup_close(&crun->pidfd);
	cleanup_close(&crun->log_fd);
}

int crun_state(const struct container_host *host, const char *id, struct crun_state *ret)
{
	AUTO_FREE char *path = xasprintf("%s/%s/status", host->crun_root, id);
	json_t *status = json_load_file(path, 0, NULL);
	if (!status)
		return access(path, F_OK) < 0 ? -errno : -EINVAL;

	json_int_t pid = json_integer_value(json_object_get(status, "pid"));
	json_int_t start_time = json_integer_value(json_object_get(status, "process-start-time"));
	json_decref(status);
	if (pid <= 0)
		return -EINVAL;
	*ret = (struct crun_state){ .pid = (pid_t)pid, .start_time = (unsigned long long)start_time };
	return 0;
}

int crun_open_init(const struct container_host *host, const char *id)
{
	struct crun_state state;
	int r = crun_state(host, id, &state);
	if (r < 0)
		return r;

	AUTO_CLOSE int pidfd = pidfd_open_cloexec(state.pid);
	if (pidfd < 0)
		return pidfd;
	unsigned long long start_time;
	r = process_start_time(state.pid, &start_time);
	if (r < 0 || start_time != state.start_time) // another process has the number now
		return -ESRCH;
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	if (poll(&ended, 1, 0) == 1)
		return -ESRCH;
	return TAKE_FD(pidfd);
}

void pipes_give(const int fds[3], uint32_t uid, uint32_t gid)
{
	struct stat st;
	for (int i = 0; i < 3; i++) {
		if (fds[i] >= 0 && fstat(fds[i], &st) == 0 && S_ISFIFO(st.st_mode) && fchown(fds[i], uid, gid) < 0)
			continue; // it stays usable through the descriptor
	}
}

int console_open(const struct container_host *host, struct console *ret, struct err *err)
{
	char name[UID_SIZE];
	uid_new(name);
	AUTO_FREE char *path = xasprintf("%s/.tty-%.10s", host->crun_root, name);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address.sun_path)) {
		err_set(err, -ENAMETOOLONG, "'%s' is too long for a socket's name", path);
		return err_hint(err, "use a data directory with a shorter path");
	}
	memcpy(address.sun_path, path, strlen(path));

	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
		return err_set_errno(err, -errno, "cannot listen for the terminal at '%s'", path);
	*ret = (struct console){ .fd = TAKE_FD(fd), .path = TAKE_PTR(path) };
	return 0;
}

static int receive_fd(int sock)
{
	char byte[256];
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = { byte, sizeof(byte) };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	if (recvmsg(sock, &message, MSG_CMSG_CLOEXEC) < 0)
		return -errno;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPROTO;
	int fd;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

int console_receive(struct console *console, int *ret_tty_fd, struct err *err)
{
	struct pollfd ready = { .fd = console->fd, .events = POLLIN };
	int n;
	while ((n = poll(&ready, 1, CONSOLE_MS)) < 0 && errno == EINTR)
		;
	if (n != 1)
		return err_set(err, -ETIMEDOUT, "crun gave no terminal");
	AUTO_CLOSE int sock = accept4(console->fd, NULL, NULL, SOCK_CLOEXEC);
	int fd = sock < 0 ? -errno : receive_fd(sock);
	if (fd < 0)
		return err_set_errno(err, fd, "cannot receive the terminal");
	*ret_tty_fd = fd;
	return 0;
}

void console_clear(struct console *console)
{
	if (console->path)
		unlink(console->path);
	free(console->path);
	cleanup_close(&console->fd);
	*console = CONSOLE_INIT;
}
