// Containers on this machine, from a specification to a running process and back to nothing: layers, network, limits,
// system-call filter and crun. All functions block (files, mounts, netlink, crun) and belong on the thread pool. They
// may run on several threads at once, but for one instance only one call at a time.
//
// Needs: root in a private mount namespace in which, on a machine with cgroup v1, no cgroup2 is mounted (crun refuses a
// hybrid; the keeper makes that namespace); the caller, or a parent of it, must be the subreaper, since the container's
// init is nobody's child after crun has ended.
//
// What belongs to a platform carries its id in its name (bridge and veths, nft tables, cgroup, crun's state), so that
// platforms do not touch each other's.
#pragma once

#include "agent/container/addresses.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct container_host;

struct container_host_config {
	const char *platform; // id: 1 to 8 of a-z and 0-9
	const char *data;     // DATA: crun's state goes to DATA/node/crun, shared pieces to DATA/node/{base,scratch}
	const char *subnet;   // "100.64.16.0/20"; two platforms of a machine must not overlap
};

// An instance that exists already, for adoption.
struct container_member {
	uint32_t address;        // host byte order; 0: none (host network)
	const char *environment; // isolation group, as in struct container_spec
};

// Whether layers and instance directories can lie in this folder. The hint says which file systems can.
int container_check_folder(const char *folder, struct err *err);

// Makes what is missing (bridge, nft tables, base layer, compiled seccomp filter, cgroup) and takes over what is there.
// members: every instance that lives on this node; the network rules are set to exactly these, in one transaction, so
// that running instances do not notice. Errors say what this machine lacks.
int container_host_open(const struct container_host_config *config, const struct container_member *members,
			size_t n_members, struct container_host **ret_host, struct err *err);

// Why scratch (/tmp and /run of instances) is in memory on this machine and counts as the instances'; NULL: it is on disk,
// as it should be.
const struct err *container_host_scratch_err(const struct container_host *host);

// Puts back what others took away from this machine's network: a reload of its nftables rules removes ours too, and
// with them what separates instances. Cheap when nothing is missing: call it every few seconds. 1: something was
// missing.
int container_host_repair(struct container_host *host, struct err *err);

// Leaves everything in place for the next open. NULL is fine.
void container_host_close(struct container_host *host);

// Kills and deletes every container of the platform, then removes bridge, tables, cgroup and crun's state; none of
// their loop devices is left. For
// `down --apps`. Nothing there is success. The instance directories stay.
int container_host_remove(const struct container_host_config *config, struct err *err);

// An extra directory or file of the host in the container; only for build containers.
struct container_bind {
	const char *source, *target;
	bool writable;
};

struct container_spec {
	const char *id;  // of the instance: 1 to 64 of a-z, 0-9 and '-'
	const char *dir; // its directory on this node; bundle/ below it is ours, made and removed here
	const char
		*environment; // isolation group: instances with the same text reach each other ("TENANT/ENVIRONMENT")
	uint32_t address; // from addresses_take, host byte order; the identity range of the instance follows from it

	const char *const *layers; // directories, top first: artifact root, runtimes, stack; at least one
	size_t n_layers;

	const char *const *words; // command, expanded; NULL-terminated; words[0] is looked up on PATH of env
	const char *const *env;   // "NAME=value", NULL-terminated
	const char *cwd;          // NULL: "/"
	const char *hostname;     // NULL: the id
	uint32_t uid, gid;        // inside; not 0 for applications

	uint64_t memory_bytes, disk_bytes; // disk: of /tmp and /run together; 0: 64 MiB
	uint32_t cpu_millis;               // thousandths of a core; 0: no limit
	uint32_t pids;                     // 0: 512

	const char *const *dns;             // resolver addresses, NULL-terminated; NULL or empty: none
	int stdin_fd, stdout_fd, stderr_fd; // -1: /dev/null. FIFOs and pipes are given to the container's user, so that
					    // /dev/stdout can be opened inside. Not closed here.
	bool tty; // a terminal: the fds are not used, and container_create gives its master
	uint16_t cols, rows;

	// For build containers.
	bool host_network;    // the machine's network; address gives only the identity range then
	const char *writable; // a directory for changes to the root file system (upper/ and work/ are made in it; files
			      // in upper/ have the machine's ids), or NULL: read-only
	const struct container_bind *binds;
	size_t n_binds;
};

#define CONTAINER_SPEC_INIT ((struct container_spec){ .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 })

// Everything up to, but not including, the first instruction of the application: mounts, cgroup, network. *ret_pid is
// the container's init, which waits for container_start. -ENOEXEC: the program is not there or cannot be run. On failure nothing is left behind; what an earlier attempt
// left is removed first, and -EEXIST means that a container of this id is alive. ret_tty_fd (NULL unless spec->tty)
// gets the terminal's master.
int container_create(struct container_host *host, const struct container_spec *spec, pid_t *ret_pid, int *ret_tty_fd,
		     struct err *err);

int container_start(struct container_host *host, const char *id, struct err *err);

// To the init, which passes it on; SIGKILL ends every process of the container. -ESRCH when it does not run.
int container_kill(struct container_host *host, const char *id, int signum, struct err *err);

// Kills what is left and removes crun's state, cgroup, mounts, veth, network rules and the bundle folder. dir and
// address as in the specification. What is gone already is success: call it as often as you like.
int container_delete(struct container_host *host, const char *id, const char *dir, uint32_t address, struct err *err);

// A further process in a running container: same identity, limits and filters as the application.
struct container_exec {
	const char *const *words;
	const char *const *env; // NULL-terminated, the whole environment
	const char *cwd;        // NULL: "/"
	uint32_t uid, gid;
	int stdin_fd, stdout_fd, stderr_fd; // as in struct container_spec
	bool tty;
	uint16_t cols, rows;
};

// *ret_pid is a child of this process (a crun that waits for the command and ends with its exit status, or 128 +
// signal); *ret_pidfd its pidfd, which the caller polls, then reaps with waitid. ret_tty_fd as in container_create.
// Signals sent to the pid reach the command. Ends with 127 when the command cannot be started.
int container_exec(struct container_host *host, const char *id, const struct container_exec *exec, pid_t *ret_pid,
		   int *ret_pidfd, int *ret_tty_fd, struct err *err);

// Kills what commands left in a running container that an earlier agent process started with container_exec: nobody is
// joined to them any more. What the application itself started stays. Only while no container_exec of this process is
// under way there. Returns how many processes it killed.
unsigned container_end_strays(struct container_host *host, const char *id);

// Whether the kernel killed a process of the container for memory. Valid until container_delete. 1, 0 or a negative
// errno.
int container_oom(struct container_host *host, const char *id);

struct container_entry {
	char id[65];
	pid_t pid;    // of the init as recorded; may be gone
	bool running; // that pid still is that process
};

// What this platform's crun state knows on this machine. *ret is a heap array. For adoption, and to find what nobody
// wants.
int container_list(struct container_host *host, struct container_entry **ret, size_t *ret_n, struct err *err);

// The gateway address (the node's own end of the bridge), host byte order.
uint32_t container_host_gateway(const struct container_host *host);
