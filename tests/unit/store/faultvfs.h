// An SQLite VFS named "fault" over the system's, for the store's fault tests. It keeps what was written but not synced
// in memory, as a kernel does, and can lose it: a power cut. It can also refuse writes as a full disk does, and fail
// calls. One process, any thread; its state is global.
#pragma once

#include <stdbool.h>
#include <stdint.h>

void faultvfs_register(void); // once in a process

// Starts over: no fault, counters at 0. seed decides what a power cut loses.
void faultvfs_reset(uint64_t seed);

// Now, or within the n-th write or sync from now: of each write that was not synced, every sector arrives or does not;
// then the process ends with status 0.
void faultvfs_cut(void);
void faultvfs_cut_at(uint64_t n);

// The n-th write or sync from now fails with this SQLite code (once; with for_good from then on).
void faultvfs_fail_at(uint64_t n, int code, bool for_good);

// Files may have this many bytes in all; SQLITE_FULL beyond. 0: no limit.
void faultvfs_limit(uint64_t bytes);

uint64_t faultvfs_calls(void); // writes and syncs so far
uint64_t faultvfs_syncs(void);
