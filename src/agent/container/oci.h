// What crun reads: the bundle's configuration (OCI runtime specification 1.0.2) and the description of a further
// process. Pure: text out.
#pragma once

#include "agent/container/cgroup.h"
#include "agent/container/container.h"
#include "base/err.h"

struct oci_setting {
	const char *cgroup;   // path below the cgroup root
	const char *filter;   // from syscalls_compile
	const char *scratch;  // directory with the instance's tmp and run on disk; NULL: these are in memory
	uint64_t files_limit; // descriptors a process may have; not more than this process may
	struct cgroup_limits limits;
};

// The init that is process 1, as the container sees it.
#define OCI_INIT "/.dialtone/init"

// Bytes of scratch that the instance gets.
uint64_t oci_scratch_bytes(const struct container_spec *spec);

// -EINVAL names what cannot be expressed (text that is not UTF-8). The caller frees.
int oci_config(const struct container_spec *spec, const struct oci_setting *setting, char **ret_json, struct err *err);

int oci_process(const struct container_exec *exec, uint64_t files_limit, char **ret_json, struct err *err);
