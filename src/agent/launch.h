// From an assignment to what a process starts with: the final environment and the expanded command.
#pragma once

#include "base/err.h"
#include "model/exchange.h"

#include <stdint.h>

enum { APP_UID = 1000, APP_GID = 1000 };
#define APP_DIR "/app"

struct launch {
	char **env;   // "NAME=value", NULL-terminated
	char **words; // NULL-terminated
	char **dns;   // NULL-terminated
};

// extra (may be NULL): pairs that go before the assignment's own; words (NULL: the assignment's command) are expanded from
// the final environment. What the platform says (PORT, DIALTONE_…, INSTANCE_INDEX, CF_INSTANCE_…) goes before everything.
// -ENOENT names a variable in the command that is not set.
int launch_prepare(const struct assignment *a, const char *ip, const struct pair *extra, uint32_t n_extra,
		   const char *const *words, struct launch *ret, struct err *err);
// For a container in the machine's own network: its resolvers, those on loopback too.
void launch_machine_dns(struct launch *launch);

void launch_clear(struct launch *launch);
#define AUTO_LAUNCH CLEANUP(launch_clear)
