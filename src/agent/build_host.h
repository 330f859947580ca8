// What a build container gets of the machine it runs on, so that its registries are reachable as they are from here:
// proxy, npm and pip settings from the agent's environment, the files they name, the machine's own npmrc, pip.conf,
// certificates, and resolvers.
#pragma once

#include "agent/container/container.h"
#include "base/err.h"
#include "model/exchange.h"

struct build_host {
	struct pair *env;
	uint32_t n_env;
	struct container_bind *binds; // texts on the heap
	size_t n_binds;
};

// Files that are not there are left out. Blocks.
void build_host_read(struct build_host *ret);
void build_host_clear(struct build_host *host);
