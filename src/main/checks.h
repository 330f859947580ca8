// What a machine must have before a platform can be started on it. Each failure says what is missing and how to get it.
#pragma once

#include "base/err.h"

int check_root(const char *command, struct err *err);
int check_machine(struct err *err); // programs, kernel, control groups

// That nobody listens on ADDR:PORT. option: what to change ("--http").
int check_port(const char *address, const char *option, struct err *err);
