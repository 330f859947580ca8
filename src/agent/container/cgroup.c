#include "agent/container/cgroup.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#define ROOT "/sys/fs/cgroup"

enum { FILE_MAX = 1 << 16, REMOVE_MS = 5000 };

static bool is_cgroup2(const char *path)
{
	struct statfs fs;
	return statfs(path, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static bool is_cgroup(const char *path)
{
	struct statfs fs;
	return statfs(path, &fs) == 0 && (fs.f_type == CGROUP_SUPER_MAGIC || fs.f_type == CGROUP2_SUPER_MAGIC);
}

int cgroup_detect(enum cgroup_version *ret, struct err *err)
{
	if (is_cgroup2(ROOT)) {
		*ret = CGROUP_V2;
		return 0;
	}
	if (access(ROOT "/memory/cgroup.procs", F_OK) < 0) {
		err_set(err, -EOPNOTSUPP, "no control groups with memory limits are mounted at " ROOT);
		err_hint(err, "mount them: mount -t cgroup2 cgroup2 " ROOT);
		return -EOPNOTSUPP;
	}
	if (is_cgroup2(ROOT "/unified")) {
		err_set(err, -EOPNOTSUPP, "both versions of control groups are mounted, which crun refuses");
		err_hint(err,
			 "the node's processes must run below the keeper, which detaches " ROOT "/unified for them");
		return -EOPNOTSUPP;
	}
	*ret = CGROUP_V1;
	return 0;
}

void cgroup_path(const char *platform, const char *id, char path[CGROUP_PATH_SIZE])
{
	snprintf(path, CGROUP_PATH_SIZE, "/dialtone-%s%s%s", platform, id ? "/" : "", id ? id : "");
}

// The group's file; controller is of v1, and not used in v2.
static char *file_path(enum cgroup_version version, const char *controller, const char *path, const char *file)
{
	if (version == CGROUP_V2)
		return xasprintf(ROOT "%s/%s", path, file);
	return xasprintf(ROOT "/%s%s/%s", controller, path, file);
}

char *cgroup_list_path(enum cgroup_version version, const char *platform, const char *id)
{
	char path[CGROUP_PATH_SIZE];
	cgroup_path(platform, id, path);
	return file_path(version, "memory", path, "cgroup.procs");
}

static int write_text(const char *path, const char *text)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write_all(fd, text, strlen(text));
}

int cgroup_prepare(enum cgroup_version version, const char *platform, struct cgroup_limits *ret, struct err *err)
{
	char path[CGROUP_PATH_SIZE];
	cgroup_path(platform, NULL, path);
	if (version == CGROUP_V1) {
		ret->cpu_quota = access(ROOT "/cpu/cpu.cfs_quota_us", W_OK) == 0;
		ret->swap = access(ROOT "/memory/memory.memsw.limit_in_bytes", F_OK) == 0;
		return 0;
	}

	AUTO_FREE char *group = xasprintf(ROOT "%s", path);
	int r = dir_make(group, 0755, err);
	if (r < 0)
		return r;
	static const char *const controllers[] = { "+cpu", "+memory", "+pids" };
	AUTO_FREE char *below = xasprintf("%s/cgroup.subtree_control", group);
	for (size_t i = 0; i < ARRAY_LEN(controllers); i++) {
		write_text(ROOT "/cgroup.subtree_control", controllers[i]);
		r = write_text(below, controllers[i]);
		if (r < 0)
			return err_set_errno(err, r, "cannot use control group controller '%s'", controllers[i] + 1);
	}
	AUTO_FREE char *quota = xasprintf("%s/cpu.max", group), *swap = xasprintf("%s/memory.swap.max", group);
	ret->cpu_quota = access(quota, W_OK) == 0;
	ret->swap = access(swap, W_OK) == 0;
	return 0;
}

// The number behind key in a file of "key number" lines, or the file's only number when key is NULL. "max" is
// UINT64_MAX.
static int read_number(const char *path, const char *key, uint64_t *ret)
{
	AUTO_BUF struct buf text = BUF_INIT(FILE_MAX);
	int r = file_read(path, &text, NULL);
	if (r < 0)
		return r;

	char *rest = (char *)buf_str(&text);
	for (char *line; (line = strsep(&rest, "\n"));) {
		const char *value = line;
		if (key) {
			size_t length = strlen(key);
			if (strncmp(line, key, length) != 0 || line[length] != ' ')
				continue;
			value = line + length + 1;
		}
		if (str_eq(value, "max")) {
			*ret = UINT64_MAX;
			return 0;
		}
		return parse_u64(value, UINT64_MAX, ret);
	}
	return -ENODATA;
}

static int group_number(enum cgroup_version version, const char *controller, const char *path, const char *file,
			const char *key, uint64_t *ret)
{
	AUTO_FREE char *name = file_path(version, controller, path, file);
	return read_number(name, key, ret);
}

int cgroup_oom_kills(enum cgroup_version version, const char *path, uint64_t *ret)
{
	const char *file = version == CGROUP_V2 ? "memory.events" : "memory.oom_control";
	return group_number(version, "memory", path, file, "oom_kill", ret);
}

static void kill_members(const char *directory)
{
	AUTO_FREE char *path = xasprintf("%s/cgroup.procs", directory);
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	int pid;
	while (file && fscanf(file, "%d", &pid) == 1)
		kill(pid, SIGKILL);
}

static int remove_directory(const char *directory, uint64_t deadline_ms);

static void remove_below(const char *directory, uint64_t deadline_ms)
{
	DIR *dir = opendir(directory);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		AUTO_FREE char *path = xasprintf("%s/%s", directory, entry->d_name);
		remove_directory(path, deadline_ms);
	}
	if (dir)
		closedir(dir);
}

static int remove_directory(const char *directory, uint64_t deadline_ms)
{
	while (rmdir(directory) < 0) {
		if (errno == ENOENT)
			return 0;
		if (errno != EBUSY || monotonic_ms() > deadline_ms)
			return -errno;
		kill_members(directory);
		remove_below(directory, deadline_ms);
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	return 0;
}

int cgroup_remove(enum cgroup_version version, const char *path, struct err *err)
{
	uint64_t deadline_ms = monotonic_ms() + REMOVE_MS;
	if (version == CGROUP_V2) {
		AUTO_FREE char *directory = xasprintf(ROOT "%s", path);
		int r = remove_directory(directory, deadline_ms);
		return r < 0 ? err_set_errno(err, r, "cannot remove control group '%s'", path) : 0;
	}

	DIR *hierarchies = opendir(ROOT);
	if (!hierarchies)
		return err_set_errno(err, -errno, "cannot read '" ROOT "'");
	int result = 0;
	for (struct dirent *entry; (entry = readdir(hierarchies));) {
		if (entry->d_name[0] == '.' || entry->d_type == DT_LNK)
			continue;
		AUTO_FREE char *directory = xasprintf(ROOT "/%s%s", entry->d_name, path);
		// Where a hybrid's unified hierarchy was detached, crun writes plain files into the bare mount point.
		int r = is_cgroup(directory) ? remove_directory(directory, deadline_ms) : tree_remove(directory, NULL);
		if (r < 0)
			result = err_set_errno(err, r, "cannot remove control group '%s'", directory);
	}
	closedir(hierarchies);
	return result;
}
