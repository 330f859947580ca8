// Whether a process's command can be run: split into words, and every $NAME in it set by somebody.
#pragma once

#include "model/records.h"

struct command_check {
	const struct spec *spec; // whose env
	const struct process *process;
	const struct pair *base_env; // of stack and runtime
	uint32_t base_env_count;
	bool shell; // the stack has one
};

// command: the process's own, or the runtime's. As command_split; -ENOENT for a variable that nothing sets.
int command_check(const struct command_check *check, const char *command, struct err *err);

// All commands of a release with the environment that its spec has now. path: the field of the first that is wrong.
int release_check_commands(const struct release *release, struct field_path *path, struct err *err);
