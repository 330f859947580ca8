#include "cli/commands.h"

#define NO_LIMIT 1000

static const struct cli_option push_options[] = {
	{ "name", 'n', "APP", "the app's name, instead of the manifest's", CLI_LABEL },
	{ "manifest", 'f', "FILE", "instead of DIR/dialtone.yaml" },
	{ "no-wait", 0, NULL, "return when the platform has accepted it" },
	{ "timeout", 0, "DURATION", "how long to wait until it serves; default 5m", CLI_DURATION },
	{ 0 },
};
static const struct cli_option plan_options[] = {
	{ "name", 'n', "APP", "the app's name, instead of the manifest's", CLI_LABEL },
	{ "manifest", 'f', "FILE", "instead of DIR/dialtone.yaml" },
	{ 0 },
};
static const struct cli_option wait_options[] = {
	{ "no-wait", 0, NULL, "return when the platform has accepted it" },
	{ "timeout", 0, "DURATION", "how long to wait for it; default 5m", CLI_DURATION },
	{ 0 },
};
static const struct cli_option logs_options[] = {
	{ "follow", 'f', NULL, "go on with what comes" },
	{ "since", 's', "DURATION", "only what is younger, e.g. 10m", CLI_DURATION },
	{ "process", 'p', "NAME", "only this process", CLI_LABEL },
	{ "tail", 'n', "LINES", "the last LINES only; default 100 without --since", CLI_LINES },
	{ 0 },
};
static const struct cli_option env_options[] = {
	{ "unset", 'u', "NAMES", "remove these, separated by commas" },
	{ "no-wait", 0, NULL, "return when the platform has accepted it" },
	{ "timeout", 0, "DURATION", "how long to wait for it; default 5m", CLI_DURATION },
	{ 0 },
};
static const struct cli_option limit_options[] = {
	{ "limit", 'n', "COUNT", "the newest COUNT only, 1 to 1000; default 50", CLI_COUNT },
	{ 0 },
};
static const struct cli_option delete_options[] = {
	{ "yes", 'y', NULL, "do not ask" },
	{ 0 },
};
static const struct cli_option run_options[] = {
	{ "process", 'p', "NAME", "with the limits and environment of this process; default web", CLI_LABEL },
	{ "tty", 'T', NULL, "with a terminal (default when standard input is one)" },
	{ "no-tty", 0, NULL, "without a terminal" },
	{ 0 },
};
static const struct cli_option exec_options[] = {
	{ "instance", 'i', "ID|INDEX", "which instance; default: the first that runs" },
	{ "process", 'p', "NAME", "of this process; default web", CLI_LABEL },
	{ "tty", 'T', NULL, "with a terminal (default when standard input is one)" },
	{ "no-tty", 0, NULL, "without a terminal" },
	{ 0 },
};
static const struct cli_option login_options[] = {
	{ "token-file", 0, "FILE", "holds the token; '-': standard input; default: $DIALTONE_TOKEN" },
	{ "ca", 0, "FILE", "certificate of the platform's authority: secrets/authority.pem of a server" },
	{ "fingerprint", 0, "HEX", "or its SHA-256, as a server's log says" },
	{ 0 },
};
static const struct cli_option build_options[] = {
	{ "cache", 0, "DIR", "content cache; default /var/cache/dialtone" },
	{ "locked", 0, NULL, "fail unless exactly the locked versions are to be had" },
	{ "update-lock", 0, NULL, "take the newest versions and write them into the lock beside the recipe" },
	{ 0 },
};
const struct cli_command cli_commands[] = {
	{ "push", "[DIR]", "Deploy the application in DIR (default: here) and wait until it serves", "Applications", 0, 1,
	  push_options, command_push, false, false },
	{ "plan", "[DIR]", "Show what a push of DIR would change", "Applications", 0, 1, plan_options, command_plan, false,
	  false },
	{ "apps", "", "List the applications", "Applications", 0, 0, NULL, command_apps, false, false },
	{ "app", "APP", "Show one application", "Applications", 1, 1, NULL, command_app, false, false },
	{ "ps", "APP", "List the instances of an application", "Applications", 1, 1, NULL, command_ps, false, false },
	{ "logs", "APP", "Show the output of all instances, past ones included", "Applications", 1, 1, logs_options,
	  command_logs, false, false },
	{ "scale", "APP PROCESS=COUNT…", "Change how many instances run", "Applications", 2, NO_LIMIT, wait_options,
	  command_scale, false, false },
	{ "stop", "APP", "Stop all instances; routes answer that the app is stopped", "Applications", 1, 1, wait_options,
	  command_stop, false, false },
	{ "start", "APP", "Start a stopped application", "Applications", 1, 1, wait_options, command_start, false, false },
	{ "restart", "APP", "Replace every instance, new before old", "Applications", 1, 1, wait_options, command_restart,
	  false, false },
	{ "delete", "APP", "Delete the application with its releases; its logs go within a day", "Applications", 1, 1, delete_options,
	  command_delete, false, false },
	{ "env", "APP [NAME=VALUE…]", "Show or change environment variables; a change makes a release", "Applications", 1,
	  NO_LIMIT, env_options, command_env, false, false },
	{ "releases", "APP", "List the releases", "Applications", 1, 1, NULL, command_releases, false, false },
	{ "rollback", "APP [RELEASE]", "Go back to an earlier release (default: the last one that came up)", "Applications", 1, 2,
	  wait_options, command_rollback, false, false },
	{ "why", "APP", "Explain the state: what is missing, who refused, last exits, probes", "Finding out", 1, 1, NULL,
	  command_why, false, false },
	{ "events", "APP", "Show what happened to an application", "Finding out", 1, 1, limit_options, command_events, false,
	  false },
	{ "audit", "", "Show who changed what", "Finding out", 0, 0, limit_options, command_audit, false, false },
	{ "run", "APP COMMAND [WORD…]", "Run a one-off command in a new container of the application", "Finding out", 2,
	  NO_LIMIT, run_options, command_run, false, true },
	{ "exec", "APP COMMAND [WORD…]", "Run a command inside a running instance", "Finding out", 2, NO_LIMIT,
	  exec_options, command_exec, false, true },
	{ "login", "https://ADDR:PORT", "Keep the token of a platform elsewhere, and make it the current one", "The platform", 1, 1,
	  login_options, command_login, true, false },
	{ "status", "", "Show the platform: parts, nodes, counts", "The platform", 0, 0, NULL, command_status, false, false },
	{ "nodes", "", "List the machines", "The platform", 0, 0, NULL, command_nodes, false, false },
	{ "stacks", "", "List the stacks", "The platform", 0, 0, NULL, command_stacks, false, false },
	{ "stack", "build RECIPE", "Build a stack from its recipe into the cache", "The platform", 2, 2, build_options,
	  command_stack, true, false },
	{ "runtimes", "", "List the runtimes", "The platform", 0, 0, NULL, command_runtimes, false, false },
	{ "runtime", "build RECIPE", "Build a runtime from its recipe into the cache", "The platform", 2, 2, build_options,
	  command_runtime, true, false },
	{ "version", "", "Print the version", "The platform", 0, 0, NULL, command_version, true, false },
	{ "completion", "bash|zsh|fish", "Print a completion script for the shell", "The platform", 1, 1, NULL,
	  command_completion, true, false },
	{ "help", "[COMMAND]", "Explain a command", "The platform", 0, 1, NULL, command_help, true, false },
	{ 0 },
};
