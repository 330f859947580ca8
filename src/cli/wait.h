// Waiting until an application is as wanted, showing how it goes on standard error.
#pragma once

#include "cli/cli.h"

// Follows apps/APP/watch until the app serves what is wanted of it (or is stopped, when that is wanted), its rollout has
// failed, or the time of --timeout (default 5m) is over. Returns CLI_OK; or CLI_NOT_SERVING after saying why: exit status,
// last lines, probe result, what still serves, what to do next. release: which one must be the current (0: any).
// With --no-wait returns CLI_OK at once.
int wait_until_settled(struct cli *cli, const char *app, uint64_t release);

// One line of progress, over the last one on a terminal. Ends by progress_end.
void progress(const char *fmt, ...) PRINTF_LIKE(1, 2);
void progress_end(void);

// The path of an app's resource: apps/NAME/REST (rest NULL: the app itself). The caller frees.
char *app_path(struct cli *cli, const char *app, const char *rest);
