#include "cli/wait.h"

#include "cli/output.h"

#include "base/clock.h"
#include "base/str.h"
#include "model/units.h"

#include <errno.h>
#include <stdarg.h>

static char progress_last[512];
static bool progress_open;

static void show_progress(const char *text)
{
	if (str_eq(text, progress_last))
		return;
	snprintf(progress_last, sizeof(progress_last), "%s", text);
	progress_open = isatty(STDERR_FILENO);
	if (progress_open)
		fputs("\r\033[K", stderr);
	print_safe(stderr, text);
	if (!progress_open)
		putc('\n', stderr);
	fflush(stderr);
}

void progress(const struct cli *cli, const char *fmt, ...)
{
	char text[sizeof(progress_last)];
	va_list args;
	if (cli->quiet)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	show_progress(text);
}

void progress_often(const struct cli *cli, const char *fmt, ...)
{
	char text[sizeof(progress_last)];
	va_list args;
	if (cli->quiet || !isatty(STDERR_FILENO))
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	show_progress(text);
}

void step(const struct cli *cli, const char *fmt, ...)
{
	va_list args;
	char *text = NULL;
	progress_end();
	va_start(args, fmt);
	if (!cli->quiet && vasprintf(&text, fmt, args) >= 0) {
		print_safe(stderr, text);
		putc('\n', stderr);
	}
	va_end(args);
	free(text);
}

void progress_end(void)
{
	if (progress_open)
		putc('\n', stderr);
	progress_open = false;
	progress_last[0] = '\0';
}

char *app_path(struct cli *cli, const char *app, const char *rest)
{
	AUTO_FREE char *name = client_escape(app);
	if (!rest)
		return client_environment_path(&cli->config, "apps/%s", name);
	return client_environment_path(&cli->config, "apps/%s/%s", name, rest);
}

enum verdict { GOING_ON, SETTLED, FAILED, OVERTAKEN, DELETED };

struct wait {
	struct cli *cli;
	uint64_t release;
	uint64_t deadline_ms;
	enum verdict verdict;
	json_t *last; // the last state seen
};

static bool any_running(const json_t *app)
{
	const char *name;
	json_t *process;
	json_object_foreach(json_object_get(app, "processes"), name,
			    process) if (get_number(process, "running")) return true;
	return false;
}

// Of a process that is wanted nowhere.
static uint64_t still_running(const json_t *process)
{
	return get_number(process, "wanted") ? 0 : get_number(process, "running");
}

static bool any_stopping(const json_t *app)
{
	const char *name;
	json_t *process;
	json_object_foreach(json_object_get(app, "processes"), name, process)
		if (still_running(process))
			return true;
	return false;
}

static enum verdict judge(const struct wait *w, const json_t *app)
{
	const json_t *rollout = json_object_get(app, "rollout");
	if (w->release && get_number(app, "release") != w->release)
		return get_number(app, "release") > w->release ? OVERTAKEN : GOING_ON;
	if (json_is_object(rollout) && str_eq(get_text(rollout, "state"), "failed"))
		return FAILED;
	const char *state = get_text(app, "state");
	if (str_eq(state, "failing"))
		return FAILED;
	if (get_flag(app, "stopped"))
		return str_eq(state, "stopped") && !any_running(app) ? SETTLED : GOING_ON;
	bool well = str_eq(state, "running") || str_eq(state, "completed");
	return well && !json_is_object(rollout) && !any_stopping(app) ? SETTLED : GOING_ON;
}

static void add_counts(struct buf *text, const char *name, const json_t *process)
{
	unsigned ready = (unsigned)get_number(process, "ready"), wanted = (unsigned)get_number(process, "wanted");
	buf_addf(text, "%s%s ", buf_len(text) ? ", " : "", name);
	if (still_running(process))
		buf_addf(text, "0 wanted, %u still there", (unsigned)still_running(process));
	else if (!wanted)
		buf_add_str(text, "0 wanted");
	else if (ready > wanted)
		buf_addf(text, "%u wanted, %u ready", wanted, ready);
	else
		buf_addf(text, "%u/%u ready", ready, wanted);
}

static void show(const struct cli *cli, const json_t *app)
{
	AUTO_BUF struct buf text = BUF_INIT(4096);
	const json_t *rollout = json_object_get(app, "rollout");
	const char *detail = json_is_object(rollout) ? get_text(rollout, "detail") : "", *name;
	json_t *process;
	if (*detail && get_number(rollout, "from")) { // the counts are of two releases together, and say little
		progress(cli, "%s (release %u): %s", get_text(app, "state"), (unsigned)get_number(rollout, "release"),
			 detail);
		return;
	}
	json_object_foreach(json_object_get(app, "processes"), name, process)
		add_counts(&text, name, process);
	bool says_more = *detail && !str_ends(detail, " ready");
	progress(cli, "%s: %s%s%s", any_stopping(app) ? "stopping" : get_text(app, "state"), buf_str(&text),
		 says_more ? "; " : "", says_more ? detail : "");
}

static int on_state(const struct sse_event *event, void *arg)
{
	struct wait *w = arg;
	if (str_eq(event->event, "deleted")) {
		w->verdict = DELETED;
		return 1;
	}
	json_t *state = json_loadb(event->data, event->data_len, 0, NULL);
	if (!state)
		return -EBADMSG;
	json_decref(w->last);
	w->last = state;
	const json_t *app = json_object_get(state, "app");
	show(w->cli, app);
	w->verdict = judge(w, app);
	return w->verdict != GOING_ON;
}

// A platform that is being restarted comes back: the stream goes on by itself, within the time allowed.
static int on_lost(const struct err *err, void *arg)
{
	struct wait *w = arg;
	return monotonic_ms() > w->deadline_ms ? err->code : 0;
}

static void print_instance(const json_t *instance)
{
	const json_t *exit = json_object_get(instance, "exit");
	const json_t *probe = json_object_get(instance, "probe");
	const char *state = get_text(instance, "state");
	bool waits = str_eq(state, "backoff");
	fprintf(stderr, "  %s.%u %s%s", get_text(instance, "process"), (unsigned)get_number(instance, "index"),
		waits ? "waits to be restarted" : "is ", waits ? "" : state);
	if (*get_text(instance, "message")) {
		fputs(": ", stderr);
		print_safe(stderr, get_text(instance, "message"));
	}
	putc('\n', stderr);
	if (json_is_object(exit)) {
		char words[128];
		exit_words(exit, words, sizeof(words));
		fprintf(stderr, "    last exit: %s\n", words);
		size_t i;
		json_t *line;
		json_array_foreach(json_object_get(exit, "lines"), i, line)
		{
			fputs("      | ", stderr);
			print_safe(stderr, json_string_value(line) ? json_string_value(line) : "");
			putc('\n', stderr);
		}
	}
	if (json_is_object(probe) && !get_flag(probe, "ok")) {
		fputs("    probe: ", stderr);
		print_safe(stderr, get_text(probe, "detail"));
		putc('\n', stderr);
	}
}

// The instances of the new release that are not ready, and what still serves.
static void print_cause(void *arg)
{
	const struct wait *w = arg;
	const json_t *app = json_object_get(w->last, "app");
	uint64_t wanted = get_number(app, "release"), from = get_number(json_object_get(app, "rollout"), "from");
	size_t i, still = 0, shown = 0;
	json_t *instance;
	json_array_foreach(json_object_get(w->last, "instances"), i, instance)
	{
		bool ready = str_eq(get_text(instance, "state"), "ready");
		if (ready && get_number(instance, "release") != wanted)
			still++;
		if (!ready && get_number(instance, "release") == wanted && shown++ < 3)
			print_instance(instance);
	}
	if (still)
		fprintf(stderr, "  still serving: %zu instance%s of release %u\n", still, still > 1 ? "s" : "",
			(unsigned)from);
}

// Somebody else was there meanwhile: nothing is wrong with the application.
static int report_other(const struct wait *w, const char *app)
{
	struct err err = { 0 };
	if (w->verdict == DELETED) {
		err_set(&err, -EEXIST, "%s was deleted meanwhile", app);
		err_hint(&err, "'dialtone audit' shows by whom");
	} else {
		err_set(&err, -EEXIST, "%s: release %u was overtaken by release %u", app, (unsigned)w->release,
			(unsigned)get_number(json_object_get(w->last, "app"), "release"));
		err_hint(
			&err,
			"somebody pushed or changed it meanwhile; 'dialtone releases %s' and 'dialtone audit' show who",
			app);
	}
	return cli_report(CLI_CONFLICT, &err, NULL, NULL, NULL);
}

static int report_failure(struct wait *w, const char *app)
{
	const json_t *rollout = json_object_get(json_object_get(w->last, "app"), "rollout");
	const char *detail = get_text(rollout, "detail");
	struct err err = { 0 };
	if (w->verdict == OVERTAKEN || w->verdict == DELETED)
		return report_other(w, app);
	if (w->verdict == FAILED)
		err_set(&err, -EIO, "%s does not come up%s%s", app, *detail ? ": " : "", detail);
	else
		err_set(&err, -ETIMEDOUT, "%s %s in the time allowed (--timeout)%s%s; the platform goes on with it",
			app, get_flag(json_object_get(w->last, "app"), "stopped") ? "has not stopped" : "was not ready",
			*detail ? ": " : "", detail);
	err_hint(&err, "'dialtone why %s' and 'dialtone logs %s' say more; mend the cause and push again%s", app, app,
		 get_number(rollout, "from") ? ", or 'dialtone rollback'" : "");
	return cli_report(CLI_NOT_SERVING, &err, json_incref(w->last), print_cause, w);
}

int wait_until_settled(struct cli *cli, const char *app, uint64_t release)
{
	struct err err = { 0 };
	uint32_t timeout_ms = 5 * 60 * 1000;
	const char *timeout = cli_get(cli, "timeout");
	if (cli_get(cli, "no-wait"))
		return CLI_OK;
	if (timeout)
		parse_duration(timeout, &timeout_ms, NULL); // checked with the other words
	cli_interrupt_says("interrupted: the platform goes on with it; 'dialtone app %s' shows how far it is", app);
	AUTO_FREE char *path = app_path(cli, app, "watch");
	struct wait w = { .cli = cli, .release = release, .deadline_ms = monotonic_ms() + timeout_ms };
	struct client_stream stream = {
		.request = { .method = "GET", .path = path },
		.reconnect = true,
		.insist = true,
		.deadline_ms = w.deadline_ms,
		.on_event = on_state,
		.on_lost = on_lost,
		.arg = &w,
	};
	int r = client_stream(cli->client, &stream, &err);
	progress_end();
	cli_interrupt_says(NULL);
	int status = CLI_OK;
	bool late = r == -ETIMEDOUT && w.last; // nothing ever heard: the platform does not answer
	if (r < 0 && !late)
		status = cli_fail(cli, &err);
	else if (w.verdict != SETTLED)
		status = report_failure(&w, app);
	json_decref(w.last);
	return status;
}
