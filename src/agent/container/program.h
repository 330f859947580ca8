// Whether the program of a command is there, before it is started: what would otherwise be an errno of execve(2) in the
// application's log becomes an error that names the file.
#pragma once

#include "base/err.h"

// word is looked for in the root file system mounted at rootfs as execvp(3) would, with PATH of env ("NAME=VALUE" texts,
// ended by NULL) and relative to cwd inside. -ENOEXEC: there is none, it cannot be run, or its interpreter
// ("#!") or its dynamic loader is not there.
int program_check(const char *rootfs, const char *cwd, const char *const *env, const char *word, struct err *err);
