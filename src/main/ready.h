// Waiting until a platform serves, and telling how to reach it.
#pragma once

#include "base/err.h"
#include "model/platform.h"

#include <stdbool.h>
#include <sys/types.h>

// Until API, node and router answer, at most deadline_ms. alive (a pid, 0: none) ending is a failure at once. The error
// names what is missing; the log of the part at fault has been shown on standard error.
int ready_wait(const struct platform *platform, pid_t alive, unsigned deadline_ms, struct err *err);

// Until the router answers: what runs on is served, whatever became of the rest.
int ready_wait_router(const struct platform *platform, pid_t alive, unsigned deadline_ms, struct err *err);

// Where things are, on standard output.
void ready_print(const struct platform *platform);
void ready_print_json(const struct platform *platform, bool already);
