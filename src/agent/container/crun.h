// crun as a program: started, waited for, its complaint read.
#pragma once

#include "agent/container/host.h"
#include "base/err.h"

#define CRUN_WORDS 16
#define CRUN_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// A call under way. words holds what comes behind crun's own options, NULL-terminated.
struct crun {
	const char *words[CRUN_WORDS];
	int stdin_fd, stdout_fd, stderr_fd; // -1: /dev/null
	int pass_fd;                        // further descriptor, or -1
	int init_fd; // of the container's init, or -1: when that ends, so does what crun could wait for

	pid_t pid;
	int pidfd;
	int log_fd;
};

#define CRUN_INIT                                                                                                      \
	((struct crun){ .stdin_fd = -1,                                                                                \
			.stdout_fd = -1,                                                                               \
			.stderr_fd = -1,                                                                               \
			.pass_fd = -1,                                                                                 \
			.init_fd = -1,                                                                                 \
			.pidfd = -1,                                                                                   \
			.log_fd = -1 })

int crun_spawn(const struct container_host *host, struct crun *crun, struct err *err);
// Waits; crun is killed after two minutes, or half a second after the init (crun start waits for an init that was
// killed until for ever). An exit status other than 0 is -EIO with crun's own words.
int crun_wait(struct crun *crun, struct err *err);
int crun_run(const struct container_host *host, struct crun *crun, struct err *err);
void crun_clear(struct crun *crun); // closes; does not end the process

// What crun's state says of a container. -ENOENT when it knows none of this id.
struct crun_state {
	pid_t pid;
	unsigned long long start_time; // of that process, in ticks since boot
};
int crun_state(const struct container_host *host, const char *id, struct crun_state *ret);

// A descriptor for the container's init; -ESRCH when it has ended, -ENOENT when there is no such container.
int crun_open_init(const struct container_host *host, const char *id);

// Makes an application's pipes its own (owner as the machine sees it), so that it can open /dev/stdout, which means
// opening the very pipe anew. What is no pipe stays as it is.
void pipes_give(const int fds[3], uint32_t uid, uint32_t gid);

// A listening socket that crun sends a terminal's master to.
struct console {
	int fd;
	char *path;
};

#define CONSOLE_INIT ((struct console){ .fd = -1 })

int console_open(const struct container_host *host, struct console *ret, struct err *err);
int console_receive(struct console *console, int *ret_tty_fd, struct err *err); // after crun has connected
void console_clear(struct console *console);
