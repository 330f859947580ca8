// The system calls an application may make, as a compiled filter. What the list does not name fails with ENOSYS, so
// that C libraries fall back as on an older kernel; what an attacker would want fails with EPERM.
#pragma once

#include "base/err.h"

#include <stddef.h>

// The filter (an array of struct sock_filter) as base64, the form that crun takes. Compiling takes some milliseconds:
// do it once a process. The caller frees.
int syscalls_compile(char **ret_base64, struct err *err);

// The same as bytes; for tests.
int syscalls_compile_bytes(void **ret_bytes, size_t *ret_size, struct err *err);
