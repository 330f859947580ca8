#include "agent/container/container.h"
#include "agent/container/crun.h"
#include "agent/container/identity.h"
#include "agent/container/oci.h"
#include "agent/container/program.h"
#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>

enum { INIT_MS = 10000 };

// The description goes to crun in memory: nothing to clean up, and secrets in the environment touch no disk.
static int write_process(const struct container_host *host, const struct container_exec *exec, int *ret_fd,
			 struct err *err)
{
	AUTO_FREE char *json = NULL;
	int r = oci_process(exec, host->files_limit, &json, err);
	if (r < 0)
		return r;
	AUTO_CLOSE int fd = memfd_create("process", MFD_CLOEXEC);
	r = fd < 0 ? -errno : write_all(fd, json, strlen(json));
	if (r < 0)
		return err_set_errno(err, r, "cannot describe the command");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static void give_pipes(const struct container_host *host, const char *id, const struct container_exec *exec)
{
	const int fds[3] = { exec->stdin_fd, exec->stdout_fd, exec->stderr_fd };
	struct crun_state state;
	uint32_t uid, gid;
	if (crun_state(host, id, &state) == 0 && identity_of_process(state.pid, exec->uid, exec->gid, &uid, &gid) == 0)
		pipes_give(fds, uid, gid);
}

static int spawn(const struct container_host *host, const char *id, const struct container_exec *exec,
		 const char *console, struct crun *crun, struct err *err)
{
	AUTO_CLOSE int process = -1;
	int r = write_process(host, exec, &process, err);
	if (r < 0)
		return r;

	AUTO_FREE char *path = xasprintf("/proc/self/fd/%d", process);
	size_t n = 0;
	crun->words[n++] = "exec";
	crun->words[n++] = "--process";
	crun->words[n++] = path;
	if (console) {
		crun->words[n++] = "--console-socket";
		crun->words[n++] = console;
	} else {
		give_pipes(host, id, exec);
		crun->stdin_fd = exec->stdin_fd;
		crun->stdout_fd = exec->stdout_fd;
		crun->stderr_fd = exec->stderr_fd;
	}
	crun->words[n++] = id;
	crun->pass_fd = process;
	return crun_spawn(host, crun, err);
}

static int exec_with_terminal(const struct container_host *host, const char *id, const struct container_exec *exec,
			      struct crun *crun, int *ret_tty_fd, struct err *err)
{
	if (!exec->tty)
		return spawn(host, id, exec, NULL, crun, err);

	CLEANUP(console_clear) struct console console = CONSOLE_INIT;
	int r = console_open(host, &console, err);
	if (r == 0)
		r = spawn(host, id, exec, console.path, crun, err);
	if (r < 0)
		return r;
	if (console_receive(&console, ret_tty_fd, NULL) == 0)
		return 0;
	r = crun_wait(crun, err); // it has a better reason than "no terminal"
	return r < 0 ? r : err_set(err, -EIO, "crun exec ended without a terminal");
}

// crun before 1.8.7 cannot join a container whose first process is still crun itself, on its way to exec the init
// (containers/crun issue 1264): EPERM, now and then, in the first milliseconds after a start.
static int wait_for_init(const struct container_host *host, const char *id, int init, struct err *err)
{
	struct crun_state state;
	int r = crun_state(host, id, &state);
	if (r < 0)
		return err_set_errno(err, r, "crun has no state of '%s'", id);
	AUTO_FREE char *link = xasprintf("/proc/%d/exe", state.pid);
	struct pollfd ended = { .fd = init, .events = POLLIN };
	for (uint64_t deadline_ms = monotonic_ms() + INIT_MS; monotonic_ms() < deadline_ms;) {
		char program[256] = "";
		if (readlink(link, program, sizeof(program) - 1) > 0 && str_ends(program, OCI_INIT))
			return 0;
		if (poll(&ended, 1, 1) == 1)
			break;
	}
	return err_set(err, -ESRCH, "'%s' has not started", id);
}

static int check_program(const struct container_host *host, const char *id, const struct container_exec *exec,
			 struct err *err)
{
	struct crun_state state;
	int r = crun_state(host, id, &state);
	if (r < 0)
		return err_set_errno(err, r, "crun has no state of '%s'", id);
	char root[64];
	snprintf(root, sizeof(root), "/proc/%d/root", state.pid);
	return program_check(root, exec->cwd, exec->env, exec->words[0], err);
}

int container_exec(struct container_host *host, const char *id, const struct container_exec *exec, pid_t *ret_pid,
		   int *ret_pidfd, int *ret_tty_fd, struct err *err)
{
	if (!exec->words || !exec->words[0])
		return err_set(err, -EINVAL, "no command");
	AUTO_CLOSE int init = crun_open_init(host, id);
	if (init < 0)
		return err_set(err, -ESRCH, "'%s' does not run", id);

	int r = wait_for_init(host, id, init, err);
	if (r == 0)
		r = check_program(host, id, exec, err);
	if (r < 0)
		return r;
	CLEANUP(crun_clear) struct crun crun = CRUN_INIT;
	AUTO_CLOSE int tty_fd = -1;
	r = exec_with_terminal(host, id, exec, &crun, &tty_fd, err);
	if (r < 0)
		return err_wrap(err, "cannot run a command in '%s'", id);
	*ret_pid = crun.pid;
	*ret_pidfd = TAKE_FD(crun.pidfd);
	if (ret_tty_fd)
		*ret_tty_fd = TAKE_FD(tty_fd);
	return 0;
}
