// The life cycle's world as it is: directories, crun, keeper, layers.
#include "agent/launch.h"
#include "agent/core.h"
#include "agent/reserve.h"
#include "base/log.h"
#include "base/str.h"
#include "io/file.h"
#include "telemetry/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum { LAST_LINES = 20, LAST_BYTES = 32 << 10, COMPLAINT_MAX = 16 << 10 };

char *agent_instance_dir(const struct agent *agent, const char *id)
{
	return xasprintf("%s/node/instances/%s", agent->platform.data, id);
}

char *agent_log_dir(const struct agent *agent, const char *id)
{
	return xasprintf("%s/node/instances/%s/log", agent->platform.data, id);
}

static int make_instance_dir(const struct agent *agent, const char *dir, struct err *err)
{
	int r = dir_make(dir, 0700, err);
	AUTO_FREE char *parent = xasprintf("%s/node/instances", agent->platform.data);
	return r < 0 ? r : dir_sync(parent, err);
}

static int host_store(struct world *world, const struct assignment *a, struct err *err)
{
	struct agent *agent = agent_of(world);
	AUTO_FREE char *dir = agent_instance_dir(agent, a->instance);
	AUTO_FREE char *path = xasprintf("%s/spec.json", dir);
	AUTO_FREE char *past = xasprintf("%s/past", dir);
	AUTO_FREE char *text = assignment_text(a);
	int r = file_exists(path) == 1 ? 0 : make_instance_dir(agent, dir, err);
	if (r == 0)
		r = file_write_durable(path, text, strlen(text), 0600, err);
	if (r == 0 && unlink(past) < 0 && errno != ENOENT)
		r = err_set_errno(err, -errno, "cannot remove %s", past);
	return r < 0 ? err_wrap(err, "cannot store the assignment") : 0;
}

static int host_note(struct world *world, const char *id, const char *text, struct err *err)
{
	AUTO_FREE char *dir = agent_instance_dir(agent_of(world), id);
	AUTO_FREE char *path = xasprintf("%s/state", dir);
	return file_write_atomic_or_over(path, text, strlen(text), 0600, err);
}

// A new FIFO, which the keeper does not read yet. Open both ways, so that it never breaks while the container lives.
static int make_fifo(int folder, const char *name, int *ret_fd, struct err *err)
{
	if (unlinkat(folder, name, 0) < 0 && errno != ENOENT)
		return err_set_errno(err, -errno, "cannot remove the old %s", name);
	if (mkfifoat(folder, name, 0600) < 0)
		return err_set_errno(err, -errno, "cannot make %s", name);
	*ret_fd = openat(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	return *ret_fd < 0 ? err_set_errno(err, -errno, "cannot open %s", name) : 0;
}

// Made through a mount that has no place in the file system: the links in /proc of the application then end at its root
// and do not tell where on this machine its output goes.
static int make_outputs(const char *dir, int *ret_out, int *ret_errors, struct err *err)
{
	AUTO_CLOSE int folder = open_tree(AT_FDCWD, dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (folder < 0)
		return err_set_errno(err, -errno, "cannot open %s", dir);
	int r = make_fifo(folder, "out.fifo", ret_out, err);
	if (r == 0)
		r = make_fifo(folder, "err.fifo", ret_errors, err);
	return r < 0 ? err_wrap(err, "%s", dir) : 0;
}

// What is in the FIFO before the application runs is crun's, and does not belong into the application's log.
static void take_back(int fd, struct buf *text)
{
	char bytes[1024];
	for (int ready; ioctl(fd, FIONREAD, &ready) == 0 && ready > 0;) {
		ssize_t n = read(fd, bytes, sizeof(bytes));
		if (n <= 0)
			return;
		buf_add(text, bytes, (size_t)n);
	}
}

static void note_complaint(const char *id, int out, int errors, int result, struct err *err)
{
	AUTO_BUF struct buf text = BUF_INIT(COMPLAINT_MAX);
	take_back(out, &text);
	take_back(errors, &text);
	AUTO_FREE char *words = xstrndup(buf_str(&text), strcspn(buf_str(&text), "\n"));
	if (!words[0])
		return;
	if (result == 0)
		log_warn("instance=%s crun says: %s", id, words);
	else if (!strstr(err->text, words))
		err_wrap(err, "%s", words);
}

static int create_once(struct world *world, const struct assignment *a, uint32_t address, struct running *ret,
		       struct err *err)
{
	struct agent *agent = agent_of(world);
	AUTO_FREE char *dir = agent_instance_dir(agent, a->instance);
	AUTO_FREE char *environment = xasprintf("%s/%s", a->tenant, a->environment);
	AUTO_CLOSE int out = -1;
	AUTO_CLOSE int errors = -1;
	AUTO_LAUNCH struct launch launch = { 0 };
	char ip[IPV4_TEXT_SIZE];
	ipv4_write(address, ip);
	int r = launch_prepare(a, ip, NULL, 0, NULL, &launch, err);
	if (r == 0)
		r = make_outputs(dir, &out, &errors, err);
	if (r < 0)
		return r;

	size_t n_layers;
	char **layers = artifacts_layers(&agent->artifacts, a, &n_layers);
	struct container_spec spec = CONTAINER_SPEC_INIT;
	spec.id = a->instance;
	spec.dir = dir;
	spec.environment = environment;
	spec.address = address;
	spec.layers = (const char *const *)layers;
	spec.n_layers = n_layers;
	spec.words = (const char *const *)launch.words;
	spec.env = (const char *const *)launch.env;
	spec.cwd = APP_DIR;
	spec.uid = APP_UID;
	spec.gid = APP_GID;
	spec.memory_bytes = a->memory_bytes;
	spec.disk_bytes = a->disk_bytes;
	spec.cpu_millis = a->cpu_millis;
	spec.pids = a->pids;
	spec.dns = (const char *const *)launch.dns;
	spec.stdout_fd = out;
	spec.stderr_fd = errors;
	r = container_create(agent->host, &spec, &ret->pid, NULL, err);
	texts_free(layers, n_layers);
	note_complaint(a->instance, out, errors, r, err);
	if (r == 0)
		r = process_start_time(ret->pid, &ret->start_ticks);
	return r == -ESRCH ? err_set(err, r, "the container's init ended before it was started") : r;
}

static int host_create(struct world *world, const struct assignment *a, uint32_t address, struct running *ret,
		       struct err *err)
{
	const char *data = agent_of(world)->platform.data;
	int r = create_once(world, a, address, ret, err);
	bool full = r < 0 && reserve_give(data);
	if (full)
		r = create_once(world, a, address, ret, err);
	reserve_keep(data);
	if (full && r < 0) {
		err_wrap(err, "the disk of '%s' is full", data);
		err_hint(err, "make room there: it is tried again until it works");
	}
	return r;
}

static int host_start(struct world *world, const char *id, struct err *err)
{
	return container_start(agent_of(world)->host, id, err);
}

static int host_kill(struct world *world, const char *id, int signum, struct err *err)
{
	return container_kill(agent_of(world)->host, id, signum, err);
}

static int host_delete(struct world *world, const char *id, uint32_t address, struct remains *ret, struct err *err)
{
	struct agent *agent = agent_of(world);
	AUTO_FREE char *dir = agent_instance_dir(agent, id);
	AUTO_FREE char *log = agent_log_dir(agent, id);
	ret->oom = container_oom(agent->host, id) == 1;
	int r = container_delete(agent->host, id, dir, address, err);
	// After the removal: the keeper has had that time to drain the last of the output.
	AUTO_BUF struct buf lines = BUF_INIT(LAST_BYTES);
	if (logs_tail(log, LAST_LINES, &lines, NULL) == 0 && buf_len(&lines) > 0)
		ret->lines = buf_take(&lines);
	return r;
}

static int host_retire(struct world *world, const struct assignment *a, struct err *err)
{
	static const char *const needless[] = { "spec.json", "state", "out.fifo", "err.fifo" };
	struct agent *agent = agent_of(world);
	AUTO_FREE char *dir = agent_instance_dir(agent, a->instance);
	int r = past_write(dir, a, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(needless); i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", dir, needless[i]);
		if (unlink(path) < 0 && errno != ENOENT)
			return err_set_errno(err, -errno, "cannot remove %s", path);
	}
	return 0;
}

static int host_pull(struct world *world, const struct assignment *a, struct err *err)
{
	return artifacts_pull(&agent_of(world)->artifacts, a, err);
}

static int host_address_take(struct world *world, uint32_t *ret_address, struct err *err)
{
	return addresses_take(&agent_of(world)->addresses, ret_address, err);
}

static void host_address_release(struct world *world, uint32_t address)
{
	addresses_release(&agent_of(world)->addresses, address);
}

static void host_output(struct world *world, const char *id, keeper_done *done, void *arg)
{
	keeper_output(agent_of(world)->keeper, id, done, arg);
}

static void host_watch(struct world *world, const char *id, const struct running *running, keeper_done *done, void *arg)
{
	keeper_watch(agent_of(world)->keeper, id, running->pid, running->start_ticks, done, arg);
}

static void host_forget(struct world *world, const char *id, keeper_done *done, void *arg)
{
	keeper_forget(agent_of(world)->keeper, id, done, arg);
}

static void host_cancel(struct world *world, void *arg)
{
	keeper_cancel(agent_of(world)->keeper, arg);
}

const struct world_ops host_world_ops = {
	.store = host_store,
	.note = host_note,
	.create = host_create,
	.start = host_start,
	.kill = host_kill,
	.delete = host_delete,
	.retire = host_retire,
	.pull = host_pull,
	.address_take = host_address_take,
	.address_release = host_address_release,
	.output = host_output,
	.watch = host_watch,
	.forget = host_forget,
	.cancel = host_cancel,
};
