#include "main/checks.h"

#include "agent/container/container.h"
#include "base/buf.h"
#include "base/str.h"
#include "io/file.h"
#include "io/process.h"
#include "io/socket.h"

#include <errno.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

int check_root(const char *command, struct err *err)
{
	if (geteuid() == 0)
		return 0;
	err_set(err, -EPERM, "'dialtone %s' needs root: it makes containers and their network", command);
	return err_hint(err, "sudo --preserve-env=HOME dialtone %s …", command);
}

bool program_on_path(const char *program)
{
	AUTO_FREE char *path = xstrdup(getenv("PATH") ? getenv("PATH") : "/usr/sbin:/usr/bin:/sbin:/bin");
	char *rest = NULL;
	for (char *dir = strtok_r(path, ":", &rest); dir; dir = strtok_r(NULL, ":", &rest)) {
		AUTO_FREE char *file = xasprintf("%s/%s", dir, program);
		if (access(file, X_OK) == 0)
			return true;
	}
	return false;
}

static int check_programs(struct err *err)
{
	static const char *const programs[] = { "crun", "catatonit" };
	for (size_t n = 0; n < ARRAY_LEN(programs); n++) {
		if (program_on_path(programs[n]))
			continue;
		err_set(err, -ENOENT, "the program '%s' is not on PATH", programs[n]);
		return err_hint(err, "apt-get install -y %s", programs[n]);
	}
	return 0;
}

// Idmapped lower layers of an overlay came with Linux 5.19.
static int check_kernel(struct err *err)
{
	struct utsname name;
	unsigned major = 0, minor = 0;
	if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return err_set(err, -EIO, "cannot tell which kernel this is");
	if (major > 5 || (major == 5 && minor >= 19))
		return 0;
	err_set(err, -ENOSYS, "Linux %s is too old: 5.19 is needed for id-mapped layers", name.release);
	return err_hint(err, "Debian 12 has 6.1");
}

static bool has_overlay(void)
{
	AUTO_BUF struct buf text = BUF_INIT(65536);
	return file_read("/proc/filesystems", &text, NULL) == 0 && strstr(buf_str(&text), "\toverlay\n");
}

static int check_overlay(struct err *err)
{
	const char *const load[] = { "modprobe", "overlay", NULL };
	int status;
	if (has_overlay() || (process_run(load, NULL, 10000, &status, NULL) == 0 && has_overlay()))
		return 0;
	err_set(err, -ENOSYS, "this kernel has no overlay file system");
	return err_hint(err, "'modprobe overlay' did not help: use a kernel with CONFIG_OVERLAY_FS, as Debian's");
}

static int check_user_namespaces(struct err *err)
{
	AUTO_BUF struct buf text = BUF_INIT(64);
	if (file_read("/proc/sys/user/max_user_namespaces", &text, NULL) == 0 && atol(buf_str(&text)) > 0)
		return 0;
	err_set(err, -ENOSYS, "user namespaces are off on this machine");
	return err_hint(err, "sysctl -w user.max_user_namespaces=65536");
}

static int check_nftables(struct err *err)
{
	AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (fd >= 0)
		return 0;
	err_set_errno(err, -errno, "this kernel has no nftables");
	return err_hint(err, "modprobe nf_tables");
}

// Either v2 with what we need, or v1 controllers (alone or in a hybrid).
static int check_cgroups(struct err *err)
{
	static const char *const needed[] = { "memory", "cpu", "pids" };
	struct statfs top;
	if (statfs("/sys/fs/cgroup", &top) < 0)
		return err_set_errno(err, -errno, "there are no control groups at /sys/fs/cgroup");
	AUTO_BUF struct buf controllers = BUF_INIT(4096);
	bool v2 = top.f_type == CGROUP2_SUPER_MAGIC;
	if (v2 && file_read("/sys/fs/cgroup/cgroup.controllers", &controllers, err) < 0)
		return err->code;
	for (size_t n = 0; n < ARRAY_LEN(needed); n++) {
		AUTO_FREE char *v1 = xasprintf("/sys/fs/cgroup/%s", needed[n]);
		if (v2 ? strstr(buf_str(&controllers), needed[n]) != NULL : access(v1, F_OK) == 0)
			continue;
		err_set(err, -ENOSYS, "the control group controller '%s' is not there", needed[n]);
		return err_hint(err,
				v2 ? "in a container, run it with its controllers delegated"
				   : "mount control groups: systemd does, or 'mount -t cgroup2 none /sys/fs/cgroup'");
	}
	return 0;
}

const struct machine_check machine_checks[] = {
	{ "programs", "crun runs containers, catatonit is their first process", check_programs },
	{ "kernel", "5.19 or newer", check_kernel },
	{ "overlayfs", "the kernel has it", check_overlay },
	{ "user namespaces", "containers can have their own users", check_user_namespaces },
	{ "nftables", "keeps environments apart", check_nftables },
	{ "control groups", "memory, cpu and pids can be limited", check_cgroups },
	{ 0 },
};

int check_machine(struct err *err)
{
	for (const struct machine_check *c = machine_checks; c->what; c++) {
		int r = c->run(err);
		if (r < 0)
			return r;
	}
	return 0;
}

int check_folder(const char *folder, const char *option, struct err *err)
{
	int r = container_check_folder(folder, err);
	return r < 0 ? err_wrap(err, "%s %s cannot hold what containers are made of", option, folder) : 0;
}

int check_port(const char *address, const char *option, struct err *err)
{
	struct address a;
	int r = address_parse(address, &a, err);
	if (r < 0)
		return err_wrap(err, "%s", option);
	AUTO_CLOSE int fd = -1;
	r = socket_listen(&a, 1, &fd, err);
	if (r == -EADDRINUSE)
		err_hint(err, "stop that program ('ss -ltnp' names it), or choose another address with %s ADDR:PORT",
			 option);
	return r;
}
