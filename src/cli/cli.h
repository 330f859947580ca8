// The command line: one table of commands gives dispatch, help and completion; each command is a function in a file of
// its own. Everything here runs on the main thread and may block.
#pragma once

#include "base/err.h"
#include "client/client.h"
#include "client/config.h"

#include <jansson.h>
#include <stdbool.h>

// Exit statuses, documented in docs/cli.md. `run` and `exec` pass on the status of what they ran.
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,	     // anything not named below
	CLI_USAGE = 2,	     // wrong words on the command line
	CLI_MANIFEST = 3,    // the manifest or the directory is not right
	CLI_BUILD = 4,	     // the build command failed
	CLI_NOT_SERVING = 5, // the new release does not come up; what ran before still serves
	CLI_NOT_FOUND = 6,   // no such app, instance, release …
	CLI_DENIED = 7,	     // no token, or one without the right
	CLI_CONFLICT = 8,    // somebody else changed or deleted it meanwhile, or holds the name
	CLI_UNREACHABLE = 9, // no platform answers
};

struct cli_option {
	const char *name;  // long name; "follow"
	char letter;	   // 0: none
	const char *value; // placeholder; NULL: a flag
	const char *help;
	enum cli_value {
		CLI_TEXT,     // anything but nothing
		CLI_DURATION, // "10m"
		CLI_COUNT,    // 1 to 1000
		CLI_LINES,    // 0 to 1,000,000
		CLI_LABEL,    // a name: 1 to 63 of a-z, 0-9 and '-'
		CLI_LISTEN,   // ADDR:PORT
		CLI_URL,      // http://ADDR:PORT or unix:PATH
	} kind; // checked before the command runs
};

struct cli;

struct cli_command {
	const char *name;
	const char *args; // for the usage line: "APP", "APP [INSTANCE] -- COMMAND…"
	const char *summary;
	const char *group;
	unsigned min_args, max_args;
	const struct cli_option *options; // ends with a name of NULL; NULL: none beside the common ones
	int (*run)(struct cli *cli);	  // returns an exit status
	bool offline;			  // needs no platform
	bool rest;			  // words behind the last named one are taken as they are (run, exec)
	const char *more;		  // what its help says beside the summary; NULL: nothing
};

extern const struct cli_command cli_commands[]; // ends with a name of NULL

// All commands, those of main included; ends with NULL.
const struct cli_command *const *cli_all(void);

extern const struct cli_option cli_common[];  // of every command
extern const struct cli_option cli_platform[]; // of those that talk to a platform

#define CLI_OPTIONS 24

struct cli {
	const struct cli_command *command;
	const char *const *args; // words that are not options
	unsigned n_args;
	struct {
		const struct cli_option *option;
		const char *value; // "" for a flag
	} given[CLI_OPTIONS];
	unsigned n_given;
	bool json;   // -o json
	bool quiet;  // -q or -o json: no progress on standard error
	bool colour; // standard output is a terminal that wants it
	struct client_config config;
	struct client *client; // NULL for offline commands
};

// The value of an option; NULL when it was not given, "" for a flag that was.
const char *cli_get(const struct cli *cli, const char *option);

// Prints "error: …" and "hint: …" on standard error, with -o json {"error", "hint", "exit"} instead, and returns the exit
// status that fits the code.
int cli_fail(const struct cli *cli, const struct err *err);

// The same with an exit status of the caller's choice. details (stolen; NULL: none) go into the JSON form; between lets
// the other form print more between error and hint, and may be NULL.
int cli_report(int status, const struct err *err, json_t *details, void (*between)(void *arg), void *arg);

// Whether errors are printed as JSON, so that nothing else may be on standard error.
bool cli_errors_as_json(void);
void cli_set_errors_as_json(bool on);

// What Ctrl-C leaves behind: said when SIGINT ends this process. NULL: nothing. Copied.
void cli_interrupt_says(const char *fmt, ...) PRINTF_LIKE(1, 2);

// The same for wrong words on the command line; returns CLI_USAGE.
int cli_usage(const struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);

// GET, POST … below the current tenant and environment; on failure prints the error and returns its exit status.
int cli_call(struct cli *cli, const char *method, const char *path, const json_t *body, struct client_answer *answer);

// The whole of a list, all pages joined: {"items":[…]}.
int cli_list(struct cli *cli, const char *path, struct client_answer *answer);

// Sorts the words behind the command into options and arguments and checks both; says what is wrong. CLI_OK or CLI_USAGE.
int cli_words(struct cli *cli, int argc, char **argv);
// The same for what the environment says in place of an option.
int cli_check_environment(const struct cli *cli);

// Whether the words ask for JSON, in whatever state they are: a program that did gets its error as JSON.
bool cli_wants_json(int argc, char **argv);

// A command that nobody has; says which one is near. CLI_USAGE.
int cli_unknown_command(const struct cli *cli, const char *word);

const struct cli_command *cli_find(const char *name); // NULL: there is none

// Prints the help for one command or, with NULL, of all; with -o json the table that it is made of.
void cli_help(const struct cli *cli, const struct cli_command *about);
void cli_overview(FILE *to);
