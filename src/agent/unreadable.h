// Directories of instances whose assignment cannot be read. Nothing of them is touched, and they are reported, until the
// server orders that very instance: then all is known again, the assignment is written anew, and what runs runs on.
#pragma once

#include "agent/instance.h"

struct agent;

struct unreadable {
	struct list link; // agent->unreadable
	char *id, *why;
	struct instance_found run; // as far as the files beside it tell
};

void unreadable_add(struct agent *agent, const char *id, const struct instance_found *run, const struct err *why);
struct unreadable *unreadable_find(const struct agent *agent, const char *id); // NULL: none
void unreadable_free(struct unreadable *unreadable);

void unreadable_exited(struct unreadable *unreadable, const struct keeper_exit *record);

// One text for each that is still there: heap strings in a heap array of *ret_n.
char **unreadable_problems(struct agent *agent, size_t *ret_n);
