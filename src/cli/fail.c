// How failures are told: to a person as "error:" and "hint:", to a program as one JSON object.
#include "cli/cli.h"

#include "base/str.h"
#include "cli/output.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>

static bool as_json;

bool cli_errors_as_json(void)
{
	return as_json;
}

void cli_set_errors_as_json(bool on)
{
	as_json = on;
}

static void print_lines(const char *text)
{
	for (const char *line = text; *line;) {
		size_t n = strcspn(line, "\n");
		AUTO_FREE char *copy = xstrndup(line, n);
		print_safe(stderr, copy);
		putc('\n', stderr);
		line += n + (line[n] == '\n');
	}
}

static void print_object(int status, const struct err *err, json_t *details)
{
	json_t *all = json_pack("{s:s, s:i}", "error", err->text, "exit", status);
	if (err->hint[0])
		json_object_set_new(all, "hint", json_string(err->hint));
	if (details)
		json_object_update(all, details);
	json_dumpf(all, stderr, JSON_INDENT(2));
	putc('\n', stderr);
	json_decref(all);
}

int cli_report(int status, const struct err *err, json_t *details, void (*between)(void *arg), void *arg)
{
	bool colour = isatty(STDERR_FILENO) && !getenv("NO_COLOR");
	if (as_json) {
		print_object(status, err, details);
	} else {
		fprintf(stderr, "%serror:%s ", colour ? "\033[31m" : "", colour ? "\033[0m" : "");
		print_lines(err->text);
		if (between)
			between(arg);
		if (err->hint[0])
			fprintf(stderr, "%shint:%s %s\n", colour ? "\033[36m" : "", colour ? "\033[0m" : "", err->hint);
	}
	json_decref(details);
	return status;
}

static int exit_status_of(int code)
{
	switch (code) {
	case -ENOENT:
		return CLI_NOT_FOUND;
	case -EACCES:
		return CLI_DENIED;
	case -EEXIST:
	case -ESTALE:
		return CLI_CONFLICT;
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -EHOSTUNREACH:
	case -ETIMEDOUT:
	case -EPIPE:
		return CLI_UNREACHABLE;
	default:
		return CLI_FAILED;
	}
}

int cli_fail(UNUSED const struct cli *cli, const struct err *err)
{
	return cli_report(exit_status_of(err->code), err, NULL, NULL, NULL);
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
	struct err err = { .code = -EINVAL };
	va_list args;
	va_start(args, fmt);
	vsnprintf(err.text, sizeof(err.text), fmt, args);
	va_end(args);
	if (cli->command)
		err_hint(&err, "see 'dialtone help %s'", cli->command->name);
	else
		err_hint(&err, "see 'dialtone help'");
	return cli_report(CLI_USAGE, &err, NULL, NULL, NULL);
}

// ---- Ctrl-C ----

static char interrupt_text[512];

static void interrupted(int signal_number)
{
	ssize_t n = write(STDERR_FILENO, interrupt_text, strlen(interrupt_text));
	(void)n;
	raise(signal_number); // SA_RESETHAND: ends this process as Ctrl-C would have
}

void cli_interrupt_says(const char *fmt, ...)
{
	struct sigaction action = { .sa_handler = interrupted, .sa_flags = SA_RESETHAND };
	va_list args;
	if (!fmt || as_json) {
		signal(SIGINT, SIG_DFL);
		return;
	}
	signal(SIGINT, SIG_IGN); // while the text changes
	va_start(args, fmt);
	interrupt_text[0] = '\n'; // behind "^C"
	vsnprintf(interrupt_text + 1, sizeof(interrupt_text) - 2, fmt, args);
	va_end(args);
	memcpy(interrupt_text + strlen(interrupt_text), "\n", 2);
	sigaction(SIGINT, &action, NULL);
}
