#include "agent/container/syscalls.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

// clang-format off
static const char *const allowed[] = {
	// files
	"access", "chdir", "chmod", "chown", "close", "close_range", "copy_file_range", "creat", "dup", "dup2", "dup3",
	"faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fchmod", "fchmodat", "fchown", "fchownat",
	"fcntl", "fdatasync", "fgetxattr", "flistxattr", "flock", "fremovexattr", "fsetxattr", "fstat", "fstatfs",
	"fsync", "ftruncate", "futimesat", "getcwd", "getdents", "getdents64", "getxattr", "inotify_add_watch",
	"inotify_init", "inotify_init1", "inotify_rm_watch", "ioctl", "lchown", "lgetxattr", "link", "linkat",
	"listxattr", "llistxattr", "lremovexattr", "lseek", "lsetxattr", "lstat", "memfd_create", "mkdir", "mkdirat",
	"mknod", "mknodat", "newfstatat", "open", "openat", "openat2", "pipe", "pipe2", "pread64", "preadv", "preadv2",
	"pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "removexattr",
	"rename", "renameat", "renameat2", "rmdir", "sendfile", "setxattr", "splice", "stat", "statfs", "statx",
	"symlink", "symlinkat", "sync", "sync_file_range", "syncfs", "tee", "truncate", "umask", "unlink", "unlinkat",
	"utime", "utimensat", "utimes", "vmsplice", "write", "writev",
	// waiting
	"epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait",
	"epoll_wait_old", "eventfd", "eventfd2", "poll", "ppoll", "pselect6", "select", "signalfd", "signalfd4",
	"io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit",
	// sockets; the socket call itself is checked by argument
	"accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom",
	"recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
	// memory
	"brk", "madvise", "membarrier", "mincore", "mlock", "mlock2", "mlockall", "mmap", "mprotect", "mremap", "msync",
	"munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect", "remap_file_pages",
	// processes and threads; clone is checked by argument
	"arch_prctl", "capget", "capset", "execve", "execveat", "exit", "exit_group", "fork", "futex", "futex_waitv",
	"get_robust_list", "get_thread_area", "getcpu", "getegid", "geteuid", "getgid", "getgroups", "getpgid",
	"getpgrp", "getpid", "getppid", "getpriority", "getresgid", "getresuid", "getrlimit", "getrusage", "getsid",
	"gettid", "getuid", "ioprio_get", "ioprio_set", "kill", "pause", "pidfd_open", "pidfd_send_signal", "prctl",
	"prlimit64", "restart_syscall", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo",
	"rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo", "sched_get_priority_max",
	"sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler",
	"sched_rr_get_interval", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler",
	"sched_yield", "set_robust_list", "set_thread_area", "set_tid_address", "setfsgid", "setfsuid", "setgid",
	"setgroups", "setpgid", "setpriority", "setregid", "setresgid", "setresuid", "setreuid", "setrlimit", "setsid",
	"setuid", "sigaltstack", "tgkill", "tkill", "vfork", "wait4", "waitid",
	"landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "seccomp",
	// time
	"alarm", "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "gettimeofday", "nanosleep",
	"setitimer", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime",
	"timerfd_create", "timerfd_gettime", "timerfd_settime", "times",
	// between processes of the container
	"mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink", "msgctl", "msgget",
	"msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl", "shmdt", "shmget",
	// the machine
	"getrandom", "sysinfo", "uname",
};

static const char *const forbidden[] = {
	"_sysctl", "acct", "add_key", "adjtimex", "afs_syscall", "bpf", "chroot", "clock_adjtime", "clock_settime",
	"create_module", "delete_module", "fanotify_init", "fanotify_mark", "finit_module", "fsconfig", "fsmount",
	"fsopen", "fspick", "get_kernel_syms", "get_mempolicy", "init_module", "io_uring_enter", "io_uring_register",
	"io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mbind",
	"memfd_secret", "migrate_pages", "modify_ldt", "mount", "mount_setattr", "move_mount", "move_pages",
	"name_to_handle_at", "nfsservctl", "open_by_handle_at", "open_tree", "perf_event_open",
	"pidfd_getfd", "pivot_root", "process_madvise", "process_mrelease", "process_vm_readv", "process_vm_writev",
	"ptrace", "query_module", "quotactl", "quotactl_fd", "reboot", "request_key", "security", "set_mempolicy",
	"set_mempolicy_home_node", "setdomainname", "sethostname", "setns", "settimeofday", "swapoff", "swapon", "sysfs", "syslog", "tuxcall", "umount2", "unshare", "uselib", "userfaultfd", "ustat",
	"vhangup", "vserver",
};
// clang-format on

enum {
	NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
		     CLONE_NEWNET
};
enum { ANY = -1, TYPE = 0xf, MPTCP = 262 };

// Local and TCP/UDP sockets, and asking for one's own interfaces. No raw, packet, vsock, algorithm or other families.
static const struct {
	int family, type, protocol;
} sockets[] = {
	{ AF_UNIX, ANY, ANY },
	{ AF_INET, SOCK_STREAM, 0 },
	{ AF_INET, SOCK_STREAM, IPPROTO_TCP },
	{ AF_INET, SOCK_STREAM, MPTCP },
	{ AF_INET, SOCK_DGRAM, 0 },
	{ AF_INET, SOCK_DGRAM, IPPROTO_UDP },
	{ AF_INET6, SOCK_STREAM, 0 },
	{ AF_INET6, SOCK_STREAM, IPPROTO_TCP },
	{ AF_INET6, SOCK_STREAM, MPTCP },
	{ AF_INET6, SOCK_DGRAM, 0 },
	{ AF_INET6, SOCK_DGRAM, IPPROTO_UDP },
	{ AF_NETLINK, SOCK_RAW, NETLINK_ROUTE },
	{ AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE },
};

// Arguments of 32 bits are compared as such: the kernel ignores the upper half, and so must the filter.
#define IS(arg, mask, value) SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, (uint32_t)(mask), (uint32_t)(value))

static int add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int number = seccomp_syscall_resolve_name(names[i]);
		if (number < 0) // not on this architecture
			continue;
		int r = seccomp_rule_add(filter, action, number, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_rule(scmp_filter_ctx filter, uint32_t action, int number, struct scmp_arg_cmp arg)
{
	return seccomp_rule_add_array(filter, action, number, 1, &arg);
}

static int allow_sockets(scmp_filter_ctx filter)
{
	for (size_t i = 0; i < ARRAY_LEN(sockets); i++) {
		struct scmp_arg_cmp args[3] = { IS(0, UINT32_MAX, sockets[i].family) };
		unsigned n = 1;
		if (sockets[i].type != ANY)
			args[n++] = IS(1, TYPE, sockets[i].type);
		if (sockets[i].protocol != ANY)
			args[n++] = IS(2, UINT32_MAX, sockets[i].protocol);
		int r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), n, args);
		if (r < 0)
			return r;
	}
	return add_rule(filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), IS(0, UINT32_MAX, AF_UNIX));
}

// What is not allowed would fail with ENOSYS; programs that look for a family expect to hear that it is not supported.
static int refuse_sockets(scmp_filter_ctx filter)
{
	for (int family = 0; family < AF_MAX; family++) {
		if (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK)
			continue;
		int r = add_rule(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), IS(0, UINT32_MAX, family));
		if (r < 0)
			return r;
	}
	for (int family = AF_INET; family <= AF_INET6; family += AF_INET6 - AF_INET) {
		int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 2, IS(0, UINT32_MAX, family),
					 IS(1, TYPE, SOCK_RAW));
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_clone(scmp_filter_ctx filter)
{
	// A filter cannot look into clone3's structure: it stays unknown, and C libraries use clone.
	for (uint32_t bit = 1; bit; bit <<= 1) {
		if (!(bit & NAMESPACES))
			continue;
		int r = add_rule(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), IS(0, bit, bit));
		if (r < 0)
			return r;
	}
	return add_rule(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), IS(0, NAMESPACES, 0));
}

static int check_personality(scmp_filter_ctx filter)
{
	static const uint32_t plain[] = { 0, 0x8, 0x20000, 0x20008, 0xffffffff }; // Linux, 32 bit, UNAME26, query
	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		int r = add_rule(filter, SCMP_ACT_ALLOW, SCMP_SYS(personality), IS(0, UINT32_MAX, plain[i]));
		if (r < 0)
			return r;
	}
	return 0;
}

static int build(scmp_filter_ctx filter)
{
	int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); // a tree, not a list
	if (r < 0)
		return r;

	static int (*const parts[])(scmp_filter_ctx) = { check_clone, check_personality, allow_sockets,
							 refuse_sockets };
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		r = parts[i](filter);
		if (r < 0)
			return r;
	}
	r = add_names(filter, SCMP_ACT_ALLOW, allowed, ARRAY_LEN(allowed));
	if (r < 0)
		return r;
	return add_names(filter, SCMP_ACT_ERRNO(EPERM), forbidden, ARRAY_LEN(forbidden));
}

static int export(scmp_filter_ctx filter, void **ret_bytes, size_t *ret_size)
{
	AUTO_CLOSE int fd = memfd_create("seccomp", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = seccomp_export_bpf(filter, fd);
	if (r < 0)
		return r;

	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	size_t size = (size_t)st.st_size;
	AUTO_FREE void *bytes = xmalloc(size);
	if (pread(fd, bytes, size, 0) != (ssize_t)size)
		return -EIO;

	*ret_bytes = TAKE_PTR(bytes);
	*ret_size = size;
	return 0;
}

int syscalls_compile_bytes(void **ret_bytes, size_t *ret_size, struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	if (!filter)
		return err_set(err, -ENOMEM, "cannot set up the system call filter");

	int r = build(filter);
	if (r == 0)
		r = export(filter, ret_bytes, ret_size);
	seccomp_release(filter);
	return r < 0 ? err_set_errno(err, r, "cannot compile the system call filter") : 0;
}

int syscalls_compile(char **ret_base64, struct err *err)
{
	AUTO_FREE void *bytes = NULL;
	size_t size;
	int r = syscalls_compile_bytes(&bytes, &size, err);
	if (r < 0)
		return r;

	char *text = xmalloc(size / 3 * 4 + 8);
	EVP_EncodeBlock((unsigned char *)text, bytes, (int)size);
	*ret_base64 = text;
	return 0;
}
