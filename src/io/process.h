// Child processes: started with posix_spawn, known by pid and pidfd, their output collected within a limit.
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <sys/types.h>

struct process_spec {
	const char *const *argv; // argv[0] is looked up on PATH
	const char *const *env;	 // NULL: inherit
	const char *cwd;	 // NULL: inherit
	int stdin_fd, stdout_fd, stderr_fd; // -1: /dev/null
	const int *pass_fds;	 // kept open in the child under the same numbers, up to n_pass_fds
	size_t n_pass_fds;
	bool new_session;
};

#define PROCESS_SPEC_INIT ((struct process_spec){ .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 })

// The child gets default signal dispositions, an empty mask and no descriptor but those named. ret_pidfd may be NULL.
int process_spawn(const struct process_spec *spec, pid_t *ret_pid, int *ret_pidfd, struct err *err);

// Blocking: runs argv with stdin from /dev/null, appends stdout and stderr (together) to output as far as its max
// allows (the rest is read and dropped), kills it after timeout_ms. Returns 0 when the process ended by itself, with
// its wait status in *ret_status; -ETIMEDOUT when it was killed.
int process_run(const char *const *argv, struct buf *output, unsigned timeout_ms, int *ret_status, struct err *err);

// process_run that also fails (-EIO, with the last lines of output in the error) unless the exit status is 0.
int process_check(const char *const *argv, unsigned timeout_ms, struct err *err);

// A process's start time in clock ticks since boot (field 22 of /proc/PID/stat, proc(5)): with the boot id, an identity
// that a reused pid does not share. -ESRCH when there is no such process.
int process_start_time(pid_t pid, unsigned long long *ret_ticks);

// The kernel's boot id, as text.
#define BOOT_ID_SIZE 37
int boot_id(char id[BOOT_ID_SIZE], struct err *err);

int pidfd_open_cloexec(pid_t pid);		 // fd or negative errno
int pidfd_signal(int pidfd, int signum);	 // 0 or negative errno
