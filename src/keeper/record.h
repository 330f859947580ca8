// The small text files of the keeper: who runs (run/keeper.state, node/instances/ID/keeper) and how an instance's
// process ended (node/instances/ID/exit). "name value" lines, the last one "end"; a file without it counts as absent.
#pragma once

#include "base/err.h"
#include "io/process.h"
#include "keeper/protocol.h"

#include <stdbool.h>
#include <stdint.h>

// A process, told apart from a later one that got the same pid.
struct process_identity {
	pid_t pid;
	unsigned long long start_ticks;
	char boot[BOOT_ID_SIZE];
};

// Fills in start time and boot id of a living process; -ESRCH when there is none.
int identity_of(pid_t pid, struct process_identity *ret);

// A pidfd for the process when exactly this one is alive (a zombie counts as alive); -ESRCH otherwise.
int identity_open(const struct process_identity *identity);

int identity_write(const char *path, const struct process_identity *identity, struct err *err);
int identity_read(const char *path, struct process_identity *ret); // -ENOENT: none, or not readable as one

struct keeper_exit {
	char id[KEEPER_ID_SIZE];
	pid_t pid;
	unsigned long long start_ticks;
	bool known;       // false: it ended while nobody watched; status means nothing
	int status;       // wait status: use WIFEXITED and its kin
	uint64_t time_ms; // unix time
};

// instance_dir: DATA/node/instances/ID. The id in the result is the directory's last component.
int exit_record_write(const char *instance_dir, const struct keeper_exit *record,
		      struct err *err); // atomic, not synced
int exit_record_sync(const char *instance_dir);
int exit_record_read(const char *instance_dir, struct keeper_exit *ret); // -ENOENT: none

bool instance_id_valid(const char *id);
