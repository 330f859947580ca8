// The mount namespace in which everything of a platform lives. Only before the first thread is started.
#pragma once

#include "base/err.h"

#include <sys/types.h>

// A new one: what is mounted in it does not reach the machine, what the machine mounts does come in. On a machine with
// hybrid control groups (v1 in use, v2 mounted beside it) the v2 mount is taken out: crun refuses to work with both.
int namespace_make(struct err *err);

// The one in which a surviving process of a predecessor is, so that its mounts stay in sight.
int namespace_join(pid_t pid, struct err *err);
