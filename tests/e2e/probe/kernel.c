#include "probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	long n = write(fd, text, strlen(text));
	int code = errno;
	close(fd);
	errno = code;
	return n;
}

// A file that exists must be empty or unreadable, a folder empty.
static long see(const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return -1;
	if (S_ISDIR(st.st_mode)) {
		DIR *dir = opendir(path);
		long n = 0;
		for (struct dirent *entry; dir && (entry = readdir(dir));)
			n += entry->d_name[0] != '.';
		if (dir)
			closedir(dir);
		errno = ENOENT;
		return n ? n : -1;
	}
	char byte;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	long n = fd < 0 ? -1 : read(fd, &byte, 1);
	if (fd >= 0)
		close(fd);
	if (n == 0) {
		errno = ENODATA;
		return -1;
	}
	return n;
}

static void files(void)
{
	refused("create_in_root", try_open("/probe-was-here", O_WRONLY | O_CREAT));
	refused("create_in_bin", try_open("/bin/probe-was-here", O_WRONLY | O_CREAT));
	refused("write_program", try_open("/bin/probe", O_WRONLY));
	refused("chmod_layer", chmod("/bin/probe", 0777));
	refused("chown_layer", chown("/bin/probe", getuid(), getgid()));
	refused("unlink_layer", unlink("/bin/setuid"));
	refused("rename_layer", rename("/bin/setuid", "/bin/setuid2"));
	refused("mkdir_in_root", mkdir("/probe-was-here", 0755));
	refused("write_hosts", try_open("/etc/hosts", O_WRONLY));
	refused("write_resolver", try_open("/etc/resolv.conf", O_WRONLY));
	refused("write_init", try_open("/.dialtone/init", O_WRONLY));
	refused("xattr_layer", syscall(SYS_setxattr, "/bin/probe", "user.x", "y", 1, 0));
	refused("write_core_pattern", write_to("/proc/sys/kernel/core_pattern", "|/bin/probe"));
	refused("write_ip_forward", write_to("/proc/sys/net/ipv4/ip_forward", "1"));
	refused("write_proc_hostname", write_to("/proc/sys/kernel/hostname", "other"));
	refused("write_message_limit", write_to("/proc/sys/kernel/msgmni", "1000")); // root's, in this namespace
	refused("write_sysrq", write_to("/proc/sysrq-trigger", "h"));
	refused("write_irq", write_to("/proc/irq/default_smp_affinity", "1"));
	refused("write_uid_map", write_to("/proc/self/uid_map", "0 0 1"));
	refused("write_oom_score", write_to("/proc/self/oom_score_adj", "-900"));
	refused("write_sys_mtu", write_to("/sys/class/net/eth0/mtu", "1000"));
	refused("write_sys_uevent", write_to("/sys/class/net/lo/uevent", "add"));
	refused("write_sys_power", write_to("/sys/power/state", "mem"));
	refused("see_kcore", see("/proc/kcore"));
	refused("see_keys", see("/proc/keys"));
	refused("see_timer_list", see("/proc/timer_list"));
	refused("see_sched_debug", see("/proc/sched_debug"));
	refused("see_latency_stats", see("/proc/latency_stats"));
	refused("see_scsi", see("/proc/scsi"));
	refused("see_acpi", see("/proc/acpi"));
	refused("see_firmware", see("/sys/firmware"));
	refused("see_powercap", see("/sys/devices/virtual/powercap"));
	refused("open_mem", try_open("/dev/mem", O_RDWR));
	refused("open_kmsg", try_open("/dev/kmsg", O_RDONLY));
	refused("open_disk", try_open("/dev/vda", O_RDONLY));
	refused("write_cgroup", try_open("/sys/fs/cgroup/cgroup.procs", O_WRONLY));
	refused("write_cgroup_memory", try_open("/sys/fs/cgroup/memory/memory.limit_in_bytes", O_WRONLY));
}

static void read_only(const char *path)
{
	struct statvfs fs;
	char name[64];
	snprintf(name, sizeof(name), "read_only:%s", path);
	works(name, statvfs(path, &fs) < 0 || fs.f_flag & ST_RDONLY, "can be written to");
}

static void mounts(void)
{
	static const char *const paths[] = { "/",         "/sys",     "/proc/sys",          "/proc/irq",
					     "/proc/bus", "/proc/fs", "/proc/sysrq-trigger" };
	for (size_t i = 0; i < LEN(paths); i++)
		read_only(paths[i]);
	refused("mount_tmpfs", mount("none", "/tmp", "tmpfs", 0, NULL));
	refused("mount_proc", mount("none", "/proc", "proc", 0, NULL));
	refused("mount_bind", mount("/tmp", "/etc", NULL, MS_BIND, NULL));
	refused("mount_cgroup", mount("none", "/tmp", "cgroup2", 0, NULL));
	refused("remount_root_writable", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
	refused("remount_proc_sys", mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL));
	refused("umount_proc_sys", umount2("/proc/sys", MNT_DETACH));
	refused("umount_keys", umount2("/proc/keys", MNT_DETACH));
	refused("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
	refused("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
	refused("move_mount", syscall(SYS_move_mount, AT_FDCWD, "/tmp", AT_FDCWD, "/run", 0));
	refused("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &(uint64_t[4]){ 0 }, 32));
	refused("pivot_root", syscall(SYS_pivot_root, "/tmp", "/tmp"));
	refused("chroot", chroot("/tmp"));
	refused("mknod_char", mknod("/tmp/null", S_IFCHR | 0666, makedev(1, 3)));
	refused("mknod_block", mknod("/tmp/disk", S_IFBLK | 0666, makedev(254, 0)));
	refused("swapon", swapon("/tmp/swap", 0));
	refused("quotactl", syscall(SYS_quotactl, 0, NULL, 0, NULL));
	refused("open_by_handle", syscall(SYS_open_by_handle_at, AT_FDCWD, &(uint64_t[4]){ 8 }, O_RDONLY));
	refused("name_to_handle",
		syscall(SYS_name_to_handle_at, AT_FDCWD, "/", &(uint64_t[32]){ 128 }, &(int){ 0 }, 0));
	refused("fanotify", syscall(SYS_fanotify_init, 0, 0));
}

static long clone_with(unsigned long flags)
{
	long pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, 0);
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid((pid_t)pid, NULL, 0);
	return pid;
}

static long clone3_with(uint64_t flags)
{
	uint64_t args[11] = { flags, 0, 0, 0, SIGCHLD };
	long pid = syscall(SYS_clone3, args, sizeof(args));
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid((pid_t)pid, NULL, 0);
	return pid;
}

static void namespaces(void)
{
	static const struct {
		const char *name;
		unsigned long flag;
	} kinds[] = {
		{ "user", CLONE_NEWUSER },     { "mount", CLONE_NEWNS }, { "net", CLONE_NEWNET },
		{ "pid", CLONE_NEWPID },       { "uts", CLONE_NEWUTS },  { "ipc", CLONE_NEWIPC },
		{ "cgroup", CLONE_NEWCGROUP },
	};
	char name[64];
	for (size_t i = 0; i < LEN(kinds); i++) {
		snprintf(name, sizeof(name), "unshare_%s", kinds[i].name);
		refused(name, unshare((int)kinds[i].flag));
		snprintf(name, sizeof(name), "clone_%s", kinds[i].name);
		refused(name, clone_with(kinds[i].flag));
	}
	refused("unshare_time", unshare(0x80));
	refused("unshare_files", unshare(CLONE_FILES));
	refused("clone_user_high_bits", clone_with(CLONE_NEWUSER | 0xff00000000000000));
	refused("clone3", clone3_with(0));
	refused("clone3_user", clone3_with(CLONE_NEWUSER));
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	refused("setns", setns(fd, 0));
	close(fd);
}

// System calls of another convention would pass a filter that does not look.
static long other_convention(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		long result = 20; // getpid of i386
		__asm__ volatile("int $0x80" : "+a"(result) : : "memory");
		_exit(result > 0 ? 0 : 1);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	errno = EACCES;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static long x32(void)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(syscall(0x40000000 | SYS_getpid) > 0 ? 0 : 1);
	int status = 0;
	waitpid(pid, &status, 0);
	errno = EACCES;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static void kernel_calls(void)
{
	struct timeval now = { .tv_sec = 1 };
	struct timex adjust = { .modes = ADJ_TICK, .tick = 10000 };
	struct timespec zero = { 0 };
	char page[256];
	struct iovec local = { page, 8 }, remote = { (void *)0x400000, 8 };
	refused("keyctl", syscall(SYS_keyctl, 0, -3, 0));
	refused("add_key", syscall(SYS_add_key, "user", "a", "b", 1, -3));
	refused("request_key", syscall(SYS_request_key, "user", "a", NULL, 0));
	refused("bpf", syscall(SYS_bpf, 0, page, sizeof(page)));
	refused("io_uring", syscall(SYS_io_uring_setup, 1, page));
	refused("perf_event_open", syscall(SYS_perf_event_open, page, 0, -1, -1, 0));
	refused("userfaultfd", syscall(SYS_userfaultfd, 1));
	refused("memfd_secret", syscall(447, 0));
	refused("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
	refused("init_module", syscall(SYS_init_module, page, 0, ""));
	refused("finit_module", syscall(SYS_finit_module, 0, "", 0));
	refused("delete_module", syscall(SYS_delete_module, "none", 0));
	refused("reboot", reboot(RB_DISABLE_CAD));
	refused("acct", acct(NULL));
	refused("syslog", syscall(SYS_syslog, 3, page, sizeof(page)));
	refused("settimeofday", settimeofday(&now, NULL));
	refused("clock_settime", clock_settime(CLOCK_REALTIME, &zero));
	refused("adjtimex", adjtimex(&adjust));
	refused("sethostname", sethostname("x", 1));
	refused("setdomainname", setdomainname("x", 1));
	refused("iopl", syscall(SYS_iopl, 3));
	refused("ioperm", syscall(SYS_ioperm, 0x80, 1, 1));
	refused("modify_ldt", syscall(SYS_modify_ldt, 1, page, 16));
	refused("no_randomize", personality(ADDR_NO_RANDOMIZE));
	refused("ptrace_init", ptrace(PTRACE_ATTACH, 1, NULL, NULL));
	refused("ptrace_seize", ptrace(PTRACE_SEIZE, 1, NULL, NULL));
	refused("read_init_memory", process_vm_readv(1, &local, 1, &remote, 1, 0));
	refused("pidfd_getfd", syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, 1, 0), 0, 0));
	refused("kcmp", syscall(SYS_kcmp, 1, getpid(), 0, 0, 0));
	refused("move_pages", syscall(SYS_move_pages, 1, 0, NULL, NULL, NULL, 0));
	refused("set_mempolicy", syscall(SYS_set_mempolicy, 0, NULL, 0));
	refused("i386_calls", other_convention());
	refused("x32_calls", x32());
}

static void sockets(void)
{
	refused("raw_ip", socket(AF_INET, SOCK_RAW, IPPROTO_RAW));
	refused("raw_icmp", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	refused("raw_ip_flagged", socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP));
	refused("raw_ip6", socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6));
	refused("packet", socket(AF_PACKET, SOCK_RAW, htons(0x0003)));
	refused("packet_dgram", socket(AF_PACKET, SOCK_DGRAM, htons(0x0800)));
	refused("vsock", socket(40, SOCK_STREAM, 0));
	refused("vsock_high_bits", syscall(SYS_socket, 0x100000028, SOCK_STREAM, 0));
	refused("alg", socket(38, SOCK_SEQPACKET, 0));
	refused("bluetooth", socket(31, SOCK_RAW, 1));
	refused("xdp", socket(44, SOCK_RAW, 0));
	refused("netfilter", socket(AF_NETLINK, SOCK_RAW, 12));
	refused("audit", socket(AF_NETLINK, SOCK_RAW, 9));
	refused("sctp", socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP));
	refused("socketpair_tipc", syscall(SYS_socketpair, 30, SOCK_STREAM, 0, (int[2]){ 0 }));
	int fd = socket(AF_NETLINK, SOCK_RAW, 0);
	works("netlink_route", fd >= 0, strerror(errno));
	close(fd);
	fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	works("unix_socket", fd >= 0, strerror(errno));
	close(fd);
}

static long exec_setuid(void)
{
	int fds[2];
	if (pipe(fds) < 0)
		return 0;
	pid_t pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		execl("/bin/setuid", "setuid", "whoami", NULL);
		_exit(127);
	}
	close(fds[1]);
	char text[32] = "";
	long n = read(fds[0], text, sizeof(text) - 1);
	close(fds[0]);
	waitpid(pid, NULL, 0);
	errno = EPERM;
	return n > 0 && atoi(text) == (int)getuid() ? -1 : 0;
}

static uint64_t status_field(const char *name, int base)
{
	char line[256];
	uint64_t value = UINT64_MAX;
	FILE *file = fopen("/proc/self/status", "re");
	while (file && fgets(line, sizeof(line), file)) {
		size_t length = strlen(name);
		if (strncmp(line, name, length) == 0 && line[length] == ':')
			value = strtoull(line + length + 1, NULL, base);
	}
	if (file)
		fclose(file);
	return value;
}

static void identity(void)
{
	static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" };
	for (size_t i = 0; i < LEN(sets); i++)
		works(sets[i], status_field(sets[i], 16) == 0, "capabilities are left");
	works("no_new_privileges", status_field("NoNewPrivs", 10) == 1, "not set");
	works("filtered", status_field("Seccomp", 10) == 2, "no filter");
	if (getuid() != 0) {
		refused("setuid_0", setuid(0));
		refused("setgid_0", setgid(0));
	}
	refused("setuid_program", exec_setuid());
	refused("setuid_other", setresuid(7, 7, 7));
	refused("setgroups", syscall(SYS_setgroups, 1, &(gid_t){ 5 }));
	refused("raise_files_limit", setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 1 << 21, 1 << 21 }));
	refused("negative_nice", setpriority(PRIO_PROCESS, 0, -10));
	refused("realtime", sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ 10 }));
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2] = { { .effective = 1, .permitted = 1 } };
	refused("capset", syscall(SYS_capset, &header, caps));
	refused("set_interface_down", ({
			int fd = socket(AF_INET, SOCK_DGRAM, 0);
			struct ifreq request = { .ifr_name = "eth0" };
			long r = ioctl(fd, SIOCSIFFLAGS, &request);
			close(fd);
			r;
		}));
	refused("set_address", ({
			int fd = socket(AF_INET, SOCK_DGRAM, 0);
			struct ifreq request = { .ifr_name = "eth0" };
			struct sockaddr_in other = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001) };
			memcpy(&request.ifr_addr, &other, sizeof(other));
			long r = ioctl(fd, SIOCSIFADDR, &request);
			close(fd);
			r;
		}));
}

// Only this container's processes are to be seen.
static void processes(void)
{
	DIR *dir = opendir("/proc");
	int n = 0;
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		n += entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
	if (dir)
		closedir(dir);
	works("few_processes", n >= 2 && n <= 4, "others' processes are visible");
	struct stat st;
	works("own_uid_on_files", stat("/bin/probe", &st) == 0 && st.st_uid == 0, "layers do not belong to root");
}

static int descriptors(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		n += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return n;
}

// Nothing that the platform had open may have come along.
static void inherited(void)
{
	works("own_descriptors", descriptors("/proc/self/fd") <= 4, "more than the standard three");
	works("init_descriptors", descriptors("/proc/1/fd") <= 5,
	      "more than the standard three and a signal descriptor");
	works("plain_environment", getenv("LISTEN_FDS") == NULL && getenv("NOTIFY_SOCKET") == NULL,
	      "the platform's own");
}

static void usable(void)
{
	works("scratch", try_open("/tmp/file", O_RDWR | O_CREAT) >= 0, strerror(errno));
	works("run_folder", try_open("/run/file", O_RDWR | O_CREAT) >= 0 || getuid() == 0, strerror(errno));
	works("shared_memory", try_open("/dev/shm/file", O_RDWR | O_CREAT) >= 0, strerror(errno));
	unlink("/tmp/file");
	unlink("/run/file");
	unlink("/dev/shm/file");
	works("null", write_to("/dev/null", "x") == 1, strerror(errno));
	works("random", try_open("/dev/urandom", O_RDONLY) >= 0, strerror(errno));
	works("hosts", see("/etc/hosts") > 0, strerror(errno));
	works("resolver", try_open("/etc/resolv.conf", O_RDONLY) >= 0, strerror(errno));
	works("terminal_device", try_open("/dev/ptmx", O_RDWR | O_NOCTTY) >= 0, strerror(errno));
	works("fork", clone_with(0) > 0, strerror(errno));
	works("stdout_by_name", try_open("/dev/stdout", O_WRONLY) >= 0, strerror(errno));
	works("stderr_by_name", try_open("/dev/stderr", O_WRONLY) >= 0, strerror(errno));
}

int kernel(void)
{
	usable();
	processes();
	inherited();
	identity();
	files();
	mounts();
	namespaces();
	kernel_calls();
	sockets();
	return failures != 0;
}
