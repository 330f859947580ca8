// What every part of the container layer knows of this machine and platform. Immutable once open, but for the firewall,
// which the lock guards.
#pragma once

#include "agent/container/cgroup.h"
#include "agent/container/container.h"
#include "agent/container/firewall.h"

#include <pthread.h>

struct container_host {
	char *platform;
	char *crun_root; // crun's state
	char *base;      // directory: the layer on top of every other, with mount points and the init
	char *scratch;   // directory with the file systems that instances' scratch is copied from; NULL: scratch is in
			 // memory
	struct err scratch_err; // why it is
	char *filter;           // system calls, compiled, base64
	struct link_net net;
	enum cgroup_version cgroups;
	struct cgroup_limits limits;
	uint64_t files_limit; // descriptors a process in a container may have

	pthread_mutex_t lock;
	struct firewall firewall;
};
