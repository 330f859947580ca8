// One function a command, each in the file of its name; see the table in commands.c.
#pragma once

#include "cli/cli.h"

int command_push(struct cli *cli);
int command_plan(struct cli *cli);
int command_apps(struct cli *cli);
int command_app(struct cli *cli);
int command_ps(struct cli *cli);
int command_logs(struct cli *cli);
int command_scale(struct cli *cli);
int command_stop(struct cli *cli);
int command_start(struct cli *cli);
int command_restart(struct cli *cli);
int command_delete(struct cli *cli);
int command_env(struct cli *cli);
int command_releases(struct cli *cli);
int command_rollback(struct cli *cli);
int command_events(struct cli *cli);
int command_audit(struct cli *cli);
int command_why(struct cli *cli);
int command_run(struct cli *cli);
int command_exec(struct cli *cli);
int command_stack(struct cli *cli);
int command_stacks(struct cli *cli);
int command_runtime(struct cli *cli);
int command_runtimes(struct cli *cli);
int command_nodes(struct cli *cli);
int command_status(struct cli *cli);
int command_login(struct cli *cli);
int command_version(struct cli *cli);
int command_completion(struct cli *cli);
int command_help(struct cli *cli);
