// What an agent is told about one placement.
#pragma once

#include "server/replica.h"

// The assignment of a placement, want as the gate allows. NULL when its release cannot be read.
json_t *assignment_json(struct replica *replica, const struct placement_entry *p);

// The assignment of a one-off run: the process's environment, limits and layers, another command, no port, no index.
// process NULL: the routed one, else the first. -ENOENT: the release has no such process.
int assignment_run(struct replica *replica, struct app_entry *app, const char *process, json_t **ret, struct err *err);

enum { PIDS_MAX = 512 }; // of one instance
