// What a machine must have before a platform can be started on it. Each failure says what is missing and how to get it.
#pragma once

#include "base/err.h"

#include <stdbool.h>

int check_root(const char *command, struct err *err);
int check_machine(struct err *err); // all of machine_checks, up to the first that fails

struct machine_check {
	const char *what, *found; // found: what is said when it holds
	int (*run)(struct err *err);
};

extern const struct machine_check machine_checks[]; // ends with a what of NULL

bool program_on_path(const char *program);

// That containers can be made from what is in an existing folder. option: what to change ("--data").
int check_folder(const char *folder, const char *option, struct err *err);

// That nobody listens on ADDR:PORT. option: what to change ("--http").
int check_port(const char *address, const char *option, struct err *err);
