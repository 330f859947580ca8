// Waiting until an application is as wanted, showing how it goes on standard error.
#pragma once

#include "cli/cli.h"

// Follows apps/APP/watch until the app serves what is wanted of it (or is stopped, when that is wanted) and nothing runs
// of a process that is wanted nowhere, its rollout has failed, or the time of --timeout (default 5m) is over. Returns CLI_OK; or CLI_NOT_SERVING after saying why: exit status,
// last lines, probe result, what still serves, what to do next. release: which one must be the current (0: any).
// With --no-wait returns CLI_OK at once.
int wait_until_settled(struct cli *cli, const char *app, uint64_t release);

// One line of progress on standard error, over the last one on a terminal, until progress_end. Elsewhere (a pipeline's
// log) each different line stands by itself; nothing with --quiet.
void progress(const struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
// The same, but only on a terminal: what changes many times a second.
void progress_often(const struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
void progress_end(void);

// A line on standard error that stays, unless --quiet.
void step(const struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);

// The path of an app's resource: apps/NAME/REST (rest NULL: the app itself). The caller frees.
char *app_path(struct cli *cli, const char *app, const char *rest);
