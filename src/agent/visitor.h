// A container that is here for one command only: a one-off run or a build. It has a directory like an instance's with a
// file `visitor` in place of the assignment, so that an agent which finds one at its start removes it. Never restarted.
#pragma once

#include "agent/core.h"
#include "agent/launch.h"

struct visitor;

struct visitor_spec {
	const char *kind; // "run", "build": the beginning of its id
	char *environment; // isolation group
	char **layers;	   // directories, top first
	size_t n_layers;
	struct launch launch;
	const char *cwd;
	uint32_t uid, gid;
	uint64_t memory_bytes, disk_bytes;
	uint32_t cpu_millis, pids;
	int stdin_fd, stdout_fd, stderr_fd; // -1: /dev/null, or a terminal
	bool tty;
	uint16_t cols, rows;
	bool host_network, writable; // writable: changes go to upper/ in its directory
	struct container_bind *binds; // texts on the heap
	size_t n_binds;
	unsigned timeout_ms; // 0: none
	// The process's start; tty_fd is the terminal's master (the callee's), or -1.
	void (*on_started)(struct visitor *visitor, int tty_fd);
	// The end, once: status as a shell counts, or err when it could not be run or was cut (-ETIMEDOUT). The container is
	// gone, the directory is there until this returns unless hold is set; then visitor_release is to be called.
	void (*on_ended)(struct visitor *visitor, int status, bool oom, const struct err *err);
	void *arg;
};

void visitor_spec_clear(struct visitor_spec *spec); // one that was not taken over

// Takes spec's heap parts, launch and descriptors over in any case. -EADDRNOTAVAIL: no address is free; no callback then.
// The address is needed before the command's environment can be made, so it is taken first.
int visitor_address(struct agent *agent, uint32_t *ret_address, struct err *err);
struct visitor *visitor_new(struct agent *agent, uint32_t address, struct visitor_spec *spec);
void *visitor_arg(const struct visitor *visitor);
const char *visitor_dir(const struct visitor *visitor);
void visitor_signal(struct visitor *visitor, int signum);
void visitor_kill(struct visitor *visitor); // at whatever point it is; on_ended follows
void visitor_hold(struct visitor *visitor); // inside on_ended: the directory is still needed
void visitor_release(struct visitor *visitor); // removes it

// Blocking, at the start of an agent: is that directory a visitor's? Then removes all that is left of it.
bool visitor_is(const char *dir);
void visitor_clear_away(struct agent *agent, const char *id);
