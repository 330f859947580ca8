// Keeping the keeper alive: what `up` does after everything is set up. Blocking, one thread, no loop.
#pragma once

#include "model/platform.h"

#include <sys/types.h>

struct supervisor {
	const struct platform *platform;
	int lock_fd;  // run/up.lock, held
	pid_t waiter; // foreground: the child that waits for readiness and prints; it failing ends all. 0: none
};

// Starts the keeper, or takes over a living one; one that holds is resumed. Returns the exit status: 0 after SIGTERM,
// SIGINT or SIGHUP, or when the keeper was asked to stop; 1 when it cannot be started, or the waiter failed. The keeper
// has ended then, or holds while containers run (keeper/hold.h).
int supervise(struct supervisor *supervisor);

// Blocks the signals that supervise() waits for; to be called before it forks or is forked.
void supervise_prepare(void);

// The path of this program; after an upgrade that of the new file under the same name. Heap.
char *supervise_exe(void);
