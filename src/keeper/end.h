// How a process ended, also for one that is not this process's child.
#pragma once

#include "keeper/record.h"

// 1: ended, its wait status in *ret_status (a child is reaped); 0: it runs; -ENODATA: ended, and the status cannot be
// had (yet: its parent may be about to reap it). pidfd must have been opened while the process existed.
int process_end(const struct process_identity *identity, int pidfd, int *ret_status);
