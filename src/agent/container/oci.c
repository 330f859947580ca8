#include "agent/container/oci.h"

#include "agent/container/identity.h"
#include "agent/container/scratch.h"
#include "base/str.h"

#include <errno.h>
#include <jansson.h>

enum { DEFAULT_PIDS = 512, CPU_PERIOD_US = 100000, FILE_BLOCK = 4096, SPARE_INODES = 1024 };

// clang-format off
static const char *const masked[] = {
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/powercap", "/sys/firmware",
};
// clang-format on

static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };

// Adds a string to an array; NULL stands for text that JSON cannot carry.
static int add_text(json_t *array, const char *text)
{
	return json_array_append_new(array, json_string(text)) < 0 ? -EINVAL : 0;
}

static json_t *texts(const char *const *list, size_t n)
{
	json_t *array = json_array();
	for (size_t i = 0; i < n; i++)
		add_text(array, list[i]);
	return array;
}

static int add_all(json_t *array, const char *const *list, const char *what, struct err *err)
{
	for (size_t i = 0; list && list[i]; i++) {
		if (add_text(array, list[i]) < 0)
			return err_set(err, -EINVAL, "%s number %zu is not UTF-8 text", what, i + 1);
	}
	return 0;
}

static json_t *limit(const char *type, uint64_t value)
{
	return json_pack("{s:s, s:I, s:I}", "type", type, "soft", (json_int_t)value, "hard", (json_int_t)value);
}

// What application and exec have in common: no capability, no way to gain one.
static json_t *hardened_process(uint32_t uid, uint32_t gid, const char *cwd, bool tty, uint64_t files_limit)
{
	// clang-format off
	json_t *process = json_pack("{s:b, s:{s:i, s:i, s:i}, s:s, s:b, s:{s:[], s:[], s:[], s:[], s:[]}}",
		"terminal", tty,
		"user", "uid", (int)uid, "gid", (int)gid, "umask", 022,
		"cwd", str_empty(cwd) ? "/" : cwd,
		"noNewPrivileges", true,
		"capabilities", "bounding", "effective", "inheritable", "permitted", "ambient");
	// clang-format on
	if (process)
		json_object_set_new(process, "rlimits",
				    json_pack("[o, o]", limit("RLIMIT_NOFILE", files_limit), limit("RLIMIT_CORE", 0)));
	return process;
}

static void add_terminal_size(json_t *process, uint16_t cols, uint16_t rows)
{
	if (cols && rows)
		json_object_set_new(process, "consoleSize", json_pack("{s:i, s:i}", "width", cols, "height", rows));
}

static int add_words(json_t *process, json_t *args, const char *const *words, const char *const *env, struct err *err)
{
	json_t *environment = json_array();
	json_object_set_new(process, "args", args);
	json_object_set_new(process, "env", environment);
	int r = add_all(args, words, "word of the command", err);
	if (r < 0)
		return r;
	return add_all(environment, env, "environment variable", err);
}

static int add_process(json_t *config, const struct container_spec *spec, const struct oci_setting *setting,
		       struct err *err)
{
	json_t *process = hardened_process(spec->uid, spec->gid, spec->cwd, spec->tty, setting->files_limit);
	if (!process)
		return err_set(err, -EINVAL, "working directory is not UTF-8 text");
	json_object_set_new(config, "process", process);
	if (spec->tty)
		add_terminal_size(process, spec->cols, spec->rows);
	return add_words(process, json_pack("[s, s]", OCI_INIT, "--"), spec->words, spec->env, err);
}

static void add_mount(json_t *mounts, const char *target, const char *type, const char *options)
{
	AUTO_FREE char *copy = xstrdup(options);
	json_t *list = json_array();
	char *at = copy;
	for (char *option; (option = strsep(&at, ","));)
		add_text(list, option);
	json_array_append_new(mounts, json_pack("{s:s, s:s, s:s, s:o}", "destination", target, "type", type, "source",
						type, "options", list));
}

uint64_t oci_scratch_bytes(const struct container_spec *spec)
{
	static const uint64_t preset = 64ull << 20;
	return spec->disk_bytes ? spec->disk_bytes : preset;
}

// A file system in memory with a bound on bytes and on files.
static void add_memory(json_t *mounts, const char *target, const char *flags, uint64_t bytes)
{
	AUTO_FREE char *options =
		xasprintf("nosuid,nodev,%s,size=%llu,nr_inodes=%llu", flags, (unsigned long long)bytes,
			  (unsigned long long)(bytes / FILE_BLOCK + SPARE_INODES));
	add_mount(mounts, target, "tmpfs", options);
}

static int add_binds(json_t *mounts, const struct container_spec *spec, struct err *err)
{
	for (size_t i = 0; i < spec->n_binds; i++) {
		const struct container_bind *bind = &spec->binds[i];
		json_t *mount = json_pack("{s:s, s:s, s:s, s:[s, s, s, s]}", "destination", bind->target, "type",
					  "bind", "source", bind->source, "options", "rbind",
					  bind->writable ? "rw" : "ro", "nosuid", "nodev");
		if (!mount)
			return err_set(err, -EINVAL, "path of a bind mount is not UTF-8 text");
		json_array_append_new(mounts, mount);
	}
	return 0;
}

static int add_bind(json_t *mounts, const char *source, const char *target, const char *noexec)
{
	json_t *mount = json_pack("{s:s, s:s, s:s, s:[s, s, s, s, s*]}", "destination", target, "type", "bind",
				  "source", source, "options", "bind", "nosuid", "nodev", "noatime", noexec);
	return mount ? json_array_append_new(mounts, mount) : -EINVAL;
}

static int add_scratch_on_disk(json_t *mounts, const char *scratch, struct err *err)
{
	AUTO_FREE char *tmp = xasprintf("%s/%s", scratch, SCRATCH_TMP);
	AUTO_FREE char *run = xasprintf("%s/%s", scratch, SCRATCH_RUN);
	if (add_bind(mounts, tmp, "/tmp", NULL) < 0 || add_bind(mounts, run, "/run", "noexec") < 0)
		return err_set(err, -EINVAL, "path of the instance's folder is not UTF-8 text");
	return 0;
}

static void add_scratch_in_memory(json_t *mounts, const struct container_spec *spec)
{
	add_memory(mounts, "/tmp", "mode=1777", oci_scratch_bytes(spec));
	AUTO_FREE char *owned = xasprintf("noexec,mode=755,uid=%u,gid=%u", spec->uid, spec->gid);
	add_memory(mounts, "/run", owned, 4 << 20);
}

static int add_mounts(json_t *config, const struct container_spec *spec, const char *scratch, struct err *err)
{
	json_t *mounts = json_array();
	json_object_set_new(config, "mounts", mounts);

	add_mount(mounts, "/proc", "proc", "nosuid,noexec,nodev");
	add_mount(mounts, "/dev", "tmpfs", "nosuid,noexec,strictatime,mode=755,size=64k,nr_inodes=256");
	add_mount(mounts, "/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620");
	add_memory(mounts, "/dev/shm", "noexec,mode=1777", 64 << 20);
	// Without a network namespace of its own a container gets no sysfs: only the machine's would be there.
	if (!spec->host_network)
		add_mount(mounts, "/sys", "sysfs", "nosuid,noexec,nodev,ro");
	int r = 0;
	if (scratch)
		r = add_scratch_on_disk(mounts, scratch, err);
	else
		add_scratch_in_memory(mounts, spec);
	return r < 0 ? r : add_binds(mounts, spec, err);
}

static json_t *mapping(uint32_t base, uint32_t id)
{
	struct identity_extent extents[IDENTITY_EXTENTS];
	unsigned n = identity_map(base, id, extents);
	json_t *array = json_array();
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(array, json_pack("{s:I, s:I, s:I}", "containerID", (json_int_t)extents[i].inside,
						       "hostID", (json_int_t)extents[i].outside, "size",
						       (json_int_t)extents[i].count));
	return array;
}

static json_t *namespaces(bool host_network)
{
	static const char *const names[] = { "pid", "ipc", "uts", "mount", "user", "cgroup", "network" };
	json_t *array = json_array();
	for (size_t i = 0; i < ARRAY_LEN(names) - host_network; i++)
		json_array_append_new(array, json_pack("{s:s}", "type", names[i]));
	return array;
}

static json_t *memory_limits(uint64_t bytes, bool swap)
{
	json_t *memory = json_pack("{s:I}", "limit", (json_int_t)bytes);
	if (swap) // memory and swap together: none of the latter
		json_object_set_new(memory, "swap", json_integer((json_int_t)bytes));
	return memory;
}

// A share for when the machine is full (1024 a core), and a ceiling.
static json_t *cpu_limits(const struct container_spec *spec, bool quota_works)
{
	json_int_t shares = spec->cpu_millis * 1024ll / 1000;
	json_t *cpu = json_pack("{s:I}", "shares", shares < 2 ? 2 : shares);
	if (quota_works) {
		json_int_t quota = (json_int_t)spec->cpu_millis * CPU_PERIOD_US / 1000;
		json_object_set_new(cpu, "quota", json_integer(quota < 1000 ? 1000 : quota));
		json_object_set_new(cpu, "period", json_integer(CPU_PERIOD_US));
	}
	return cpu;
}

static json_t *resources(const struct container_spec *spec, const struct cgroup_limits *possible)
{
	uint32_t pids = spec->pids ? spec->pids : DEFAULT_PIDS;
	json_t *limits = json_pack("{s:{s:i}}", "pids", "limit", (int)pids);
	if (spec->memory_bytes)
		json_object_set_new(limits, "memory", memory_limits(spec->memory_bytes, possible->swap));
	if (spec->cpu_millis)
		json_object_set_new(limits, "cpu", cpu_limits(spec, possible->cpu_quota));
	return limits;
}

static void add_linux(json_t *config, const struct container_spec *spec, const struct oci_setting *setting)
{
	uint32_t base = identity_base(spec->address);
	// clang-format off
	json_object_set_new(config, "linux", json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}",
		"cgroupsPath", setting->cgroup,
		"uidMappings", mapping(base, spec->uid),
		"gidMappings", mapping(base, spec->gid),
		"namespaces", namespaces(spec->host_network),
		"resources", resources(spec, &setting->limits),
		"maskedPaths", texts(masked, ARRAY_LEN(masked)),
		"readonlyPaths", texts(readonly, ARRAY_LEN(readonly))));
	// clang-format on
}

static int finish(json_t *value, char **ret_json, struct err *err)
{
	char *text = json_dumps(value, JSON_COMPACT);
	if (!text)
		return err_set(err, -EINVAL, "cannot write the container's configuration");
	*ret_json = text;
	return 0;
}

static void json_clear(json_t **value)
{
	json_decref(*value);
}

int oci_config(const struct container_spec *spec, const struct oci_setting *setting, char **ret_json, struct err *err)
{
	// clang-format off
	CLEANUP(json_clear) json_t *config = json_pack("{s:s, s:{s:s, s:b}, s:s, s:{s:s}}",
		"ociVersion", "1.0.2",
		"root", "path", "rootfs", "readonly", spec->writable == NULL,
		"hostname", str_empty(spec->hostname) ? spec->id : spec->hostname,
		"annotations", "run.oci.seccomp_bpf_data", setting->filter);
	// clang-format on
	if (!config)
		return err_set(err, -EINVAL, "host name is not UTF-8 text");

	int r = add_process(config, spec, setting, err);
	if (r < 0)
		return r;
	r = add_mounts(config, spec, setting->scratch, err);
	if (r < 0)
		return r;
	add_linux(config, spec, setting);
	return finish(config, ret_json, err);
}

int oci_process(const struct container_exec *exec, uint64_t files_limit, char **ret_json, struct err *err)
{
	CLEANUP(json_clear) json_t *process = hardened_process(exec->uid, exec->gid, exec->cwd, exec->tty, files_limit);
	if (!process)
		return err_set(err, -EINVAL, "working directory is not UTF-8 text");
	if (exec->tty)
		add_terminal_size(process, exec->cols, exec->rows);
	int r = add_words(process, json_array(), exec->words, exec->env, err);
	if (r < 0)
		return r;
	return finish(process, ret_json, err);
}
