#include "agent/container/container.h"

#include "agent/container/bundle.h"
#include "agent/container/crun.h"
#include "agent/container/identity.h"
#include "agent/container/program.h"
#include "base/str.h"
#include "io/file.h"
#include "io/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>

enum { END_MS = 10000, ID_MAX = 64 };

static int check_spec(const struct container_host *host, const struct container_spec *spec, struct err *err)
{
	size_t length = strlen(spec->id);
	if (length < 1 || length > ID_MAX || strspn(spec->id, "abcdefghijklmnopqrstuvwxyz0123456789-") != length)
		return err_set(err, -EINVAL, "'%s' is not an instance's id", spec->id);
	if (!spec->n_layers || !spec->words || !spec->words[0])
		return err_set(err, -EINVAL, "instance '%s' has no layer or no command", spec->id);
	if ((spec->address ^ host->net.gateway) >> (32 - host->net.prefix) || spec->address == host->net.gateway)
		return err_set(err, -ERANGE, "the instance's address is not of this node's subnet");
	return 0;
}

static void give_pipes(const struct container_spec *spec)
{
	uint32_t base = identity_base(spec->address);
	const int fds[3] = { spec->stdin_fd, spec->stdout_fd, spec->stderr_fd };
	pipes_give(fds, identity_outside(base, spec->uid, spec->uid), identity_outside(base, spec->gid, spec->gid));
}

static int join_network(struct container_host *host, const struct container_spec *spec, struct err *err)
{
	if (spec->host_network)
		return 0;
	pthread_mutex_lock(&host->lock);
	int r = firewall_add(&host->firewall, spec->address, spec->environment, err);
	pthread_mutex_unlock(&host->lock);
	return r;
}

static int leave_network(struct container_host *host, uint32_t address, struct err *err)
{
	int r = link_detach(host->platform, address, err);
	if (r < 0 || !host->firewall.nft)
		return r;
	pthread_mutex_lock(&host->lock);
	r = firewall_remove(&host->firewall, address, err);
	pthread_mutex_unlock(&host->lock);
	return r;
}

// crun works on its own for most of the time that it takes; the rules are set meanwhile.
static int run_create(struct container_host *host, const struct container_spec *spec, const struct bundle *bundle,
		      const char *console, struct err *err)
{
	CLEANUP(crun_clear) struct crun crun = CRUN_INIT;
	size_t n = 0;
	crun.words[n++] = "create";
	crun.words[n++] = "--bundle";
	crun.words[n++] = bundle->path;
	if (console) {
		crun.words[n++] = "--console-socket";
		crun.words[n++] = console;
	} else {
		crun.stdin_fd = spec->stdin_fd;
		crun.stdout_fd = spec->stdout_fd;
		crun.stderr_fd = spec->stderr_fd;
	}
	crun.words[n++] = spec->id;

	int r = crun_spawn(host, &crun, err);
	if (r < 0)
		return r;
	struct err network = { 0 };
	int joined = join_network(host, spec, &network);
	r = crun_wait(&crun, err);
	if (r == 0 && joined < 0) {
		*err = network;
		r = joined;
	}
	return r;
}

static int attach_network(struct container_host *host, const struct container_spec *spec, pid_t pid, struct err *err)
{
	return spec->host_network ? 0 : link_attach(&host->net, pid, spec->address, err);
}

static int create_with_terminal(struct container_host *host, const struct container_spec *spec,
				const struct bundle *bundle, int *ret_tty_fd, struct err *err)
{
	if (!spec->tty) {
		give_pipes(spec);
		return run_create(host, spec, bundle, NULL, err);
	}
	CLEANUP(console_clear) struct console console = CONSOLE_INIT;
	int r = console_open(host, &console, err);
	if (r == 0)
		r = run_create(host, spec, bundle, console.path, err);
	if (r == 0)
		r = console_receive(&console, ret_tty_fd, err);
	return r;
}

static int create(struct container_host *host, const struct container_spec *spec, pid_t *ret_pid, int *ret_tty_fd,
		  struct err *err)
{
	CLEANUP(bundle_clear) struct bundle bundle;
	bundle_init(&bundle, spec->dir);
	int r = bundle_write(&bundle, host, spec, err);
	if (r == 0)
		r = bundle_mount(&bundle, host, spec, err);
	if (r == 0)
		r = program_check(bundle.rootfs, spec->cwd, spec->env, spec->words[0], err);
	if (r == 0)
		r = create_with_terminal(host, spec, &bundle, ret_tty_fd, err);
	if (r < 0)
		return r;

	struct crun_state state;
	r = crun_state(host, spec->id, &state);
	if (r < 0)
		return err_set_errno(err, r, "crun left no state");
	r = attach_network(host, spec, state.pid, err);
	if (r == 0)
		r = bundle_unmount(&bundle, err); // the container has its own mount of it
	*ret_pid = state.pid;
	return r;
}

// What an attempt that was cut short has left goes first; what runs stays.
static int make_way(struct container_host *host, const struct container_spec *spec, struct err *err)
{
	AUTO_CLOSE int init = crun_open_init(host, spec->id);
	if (init >= 0)
		return err_set(err, -EEXIST, "there is a container of '%s' already", spec->id);
	AUTO_FREE char *state = xasprintf("%s/%s", host->crun_root, spec->id);
	if (file_exists(state) != 1)
		return 0;
	return container_delete(host, spec->id, spec->dir, spec->host_network ? 0 : spec->address, err);
}

int container_create(struct container_host *host, const struct container_spec *spec, pid_t *ret_pid, int *ret_tty_fd,
		     struct err *err)
{
	struct err local = { 0 };
	err = err ? err : &local;
	int r = check_spec(host, spec, err);
	if (r < 0)
		return r;

	r = make_way(host, spec, err);
	if (r < 0)
		return r;
	AUTO_CLOSE int tty_fd = -1;
	pid_t pid = 0;
	r = create(host, spec, &pid, &tty_fd, err);
	if (r < 0) {
		container_delete(host, spec->id, spec->dir, spec->host_network ? 0 : spec->address, NULL);
		return r == -ENOEXEC ? r : err_wrap(err, "cannot create the container of '%s'", spec->id);
	}
	*ret_pid = pid;
	if (ret_tty_fd)
		*ret_tty_fd = TAKE_FD(tty_fd);
	return 0;
}

int container_start(struct container_host *host, const char *id, struct err *err)
{
	CLEANUP(crun_clear) struct crun crun = CRUN_INIT;
	AUTO_CLOSE int init = crun_open_init(host, id);
	crun.words[0] = "start";
	crun.words[1] = id;
	crun.init_fd = init;
	int r = crun_run(host, &crun, err);
	return r < 0 ? err_wrap(err, "cannot start '%s'", id) : 0;
}

int container_kill(struct container_host *host, const char *id, int signum, struct err *err)
{
	AUTO_CLOSE int pidfd = crun_open_init(host, id);
	int r = pidfd < 0 ? pidfd : pidfd_signal(pidfd, signum);
	if (r == -ENOENT)
		r = -ESRCH;
	return r < 0 ? err_set_errno(err, r, "cannot signal '%s'", id) : 0;
}

// Ends the init, and with it every process of its namespace.
static int end_processes(struct container_host *host, const char *id, struct err *err)
{
	AUTO_CLOSE int pidfd = crun_open_init(host, id);
	if (pidfd < 0)
		return 0;
	pidfd_signal(pidfd, SIGKILL);
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	int n;
	while ((n = poll(&ended, 1, END_MS)) < 0 && errno == EINTR)
		;
	return n == 1 ? 0 : err_set(err, -EBUSY, "'%s' does not end", id);
}

static int remove_state(struct container_host *host, const char *id, struct err *err)
{
	AUTO_FREE char *state = xasprintf("%s/%s", host->crun_root, id);
	if (file_exists(state) == 1) {
		CLEANUP(crun_clear) struct crun crun = CRUN_INIT;
		crun.words[0] = "delete";
		crun.words[1] = "--force";
		crun.words[2] = id;
		crun_run(host, &crun, NULL); // what it leaves, after a crash half-way, is removed here
	}
	char group[CGROUP_PATH_SIZE];
	cgroup_path(host->platform, id, group);
	int r = cgroup_remove(host->cgroups, group, err);
	return r < 0 ? r : tree_remove(state, err);
}

int container_delete(struct container_host *host, const char *id, const char *dir, uint32_t address, struct err *err)
{
	struct err local = { 0 };
	err = err ? err : &local;
	int r = end_processes(host, id, err);
	if (r == 0)
		r = remove_state(host, id, err);
	if (r == 0 && address)
		r = leave_network(host, address, err);
	if (r == 0 && dir) {
		CLEANUP(bundle_clear) struct bundle bundle;
		bundle_init(&bundle, dir);
		r = bundle_remove(&bundle, err);
	}
	return r < 0 ? err_wrap(err, "cannot delete the container of '%s'", id) : 0;
}

int container_oom(struct container_host *host, const char *id)
{
	char group[CGROUP_PATH_SIZE];
	uint64_t kills;
	cgroup_path(host->platform, id, group);
	int r = cgroup_oom_kills(host->cgroups, group, &kills);
	return r < 0 ? r : kills > 0;
}

static void describe(struct container_host *host, const char *id, struct container_entry *ret)
{
	struct crun_state state = { 0 };
	crun_state(host, id, &state);
	AUTO_CLOSE int pidfd = crun_open_init(host, id);
	*ret = (struct container_entry){ .pid = state.pid, .running = pidfd >= 0 };
	memcpy(ret->id, id, strlen(id) + 1);
}

int container_list(struct container_host *host, struct container_entry **ret, size_t *ret_n, struct err *err)
{
	DIR *dir = opendir(host->crun_root);
	if (!dir && errno != ENOENT)
		return err_set_errno(err, -errno, "cannot read '%s'", host->crun_root);

	struct container_entry *entries = NULL;
	size_t n = 0;
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) > ID_MAX)
			continue;
		entries = xreallocarray(entries, n + 1, sizeof(*entries));
		describe(host, entry->d_name, &entries[n++]);
	}
	if (dir)
		closedir(dir);
	*ret = entries;
	*ret_n = n;
	return 0;
}
