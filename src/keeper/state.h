// run/keeper.state: which processes a keeper started, for its successor and for `down`.
#pragma once

#include "keeper/record.h"

struct keeper_state {
	char boot[BOOT_ID_SIZE];
	char http[128]; // where the router's socket listens
	struct {
		char name[16];
		struct process_identity identity; // pid 0: did not run
		unsigned restarts;
	} parts[8];
	unsigned n_parts;
	pid_t holding; // the keeper, if it has no parts: it keeps the output of what runs on, and is to be resumed
};

int keeper_state_read(const char *data, struct keeper_state *ret); // -ENOENT: none
int keeper_state_write(const char *data, const struct keeper_state *state, struct err *err);

// The pid written in a lock file that is held by somebody (run/up.lock, run/keeper.lock); 0 when it is free.
pid_t lock_holder(const char *path);

// The keeper of this data directory when one lives and holds (hold.h), else 0.
pid_t keeper_holding(const char *data);

// Takes the lock and writes this process's pid into it. -EWOULDBLOCK when it is held. The descriptor holds the lock.
int lock_take(const char *path, int *ret_fd, struct err *err);

// Writes this process's pid into a lock that it holds: after a fork.
int lock_note(int fd);
