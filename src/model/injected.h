// The variables that every instance finds without anybody having set them.
#pragma once

#include <stdbool.h>

// has_port: of a process with a port, which finds more.
bool injected_has(const char *name, bool has_port);
