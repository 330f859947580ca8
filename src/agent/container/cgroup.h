// Control groups of the platform's containers: /dialtone-PLATFORM/INSTANCE in each hierarchy (cgroup v1) or in the one
// (v2). crun makes the groups and sets the limits; this reads what they count and removes what is left over.
#pragma once

#include "agent/container/container.h"
#include "base/err.h"

#include <stdbool.h>

enum cgroup_version { CGROUP_V1 = 1, CGROUP_V2 = 2 };

// -EOPNOTSUPP, with a hint, where neither is mounted or both are.
int cgroup_detect(enum cgroup_version *ret, struct err *err);

// What this machine's kernel can limit beside memory and processes.
struct cgroup_limits {
	bool cpu_quota, swap;
};

// Makes the platform's group.
int cgroup_prepare(enum cgroup_version version, const char *platform, struct cgroup_limits *ret, struct err *err);

#define CGROUP_PATH_SIZE 128
// "/dialtone-PLATFORM/INSTANCE"; id NULL: the platform's own.
void cgroup_path(const char *platform, const char *id, char path[CGROUP_PATH_SIZE]);

// The file that lists the processes of an instance's group. The caller frees.
char *cgroup_list_path(enum cgroup_version version, const char *platform, const char *id);

// How many processes the kernel killed in it for memory; -ENOENT when the group is gone.
int cgroup_oom_kills(enum cgroup_version version, const char *path, uint64_t *ret);

// Kills every process in it and below, and removes it; a group that is gone is success, -EBUSY when processes do not
// end.
int cgroup_remove(enum cgroup_version version, const char *path, struct err *err);
