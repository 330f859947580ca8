#include "cli/output.h"

#include "base/clock.h"
#include "base/str.h"

#include <ctype.h>
#include <stdarg.h>
#include <time.h>

int print_json(const json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
	return CLI_OK;
}

struct cell {
	char *text;
	const char *colour;
};

struct listing {
	const struct cli *cli;
	const char *const *titles;
	size_t columns, n, size;
	struct cell *cells;
};

struct listing *listing_new(const struct cli *cli, const char *const *titles)
{
	struct listing *t = xcalloc(1, sizeof(*t));
	t->cli = cli;
	t->titles = titles;
	while (titles[t->columns])
		t->columns++;
	return t;
}

static void add_cell(struct listing *t, char *text, const char *colour)
{
	if (t->n == t->size) {
		t->size = t->size ? t->size * 2 : 32;
		t->cells = xreallocarray(t->cells, t->size, sizeof(*t->cells));
	}
	for (char *c = text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = ' ';
	t->cells[t->n++] = (struct cell){ text, colour };
}

void listing_cell(struct listing *t, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	char *text = NULL;
	if (vasprintf(&text, fmt, args) < 0)
		text = xstrdup("");
	va_end(args);
	add_cell(t, text, "");
}

void listing_state(struct listing *t, const char *state)
{
	add_cell(t, xstrdup(state), colour_of_state(t->cli, state));
}

static size_t width_of(const char *text)
{
	size_t width = 0;
	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80; // UTF-8 characters, not bytes
	return width;
}

static void print_padded(const char *text, size_t width, bool last)
{
	fputs(text, stdout);
	for (size_t n = width_of(text); !last && n < width + 2; n++)
		putchar(' ');
}

static size_t column_width(const struct listing *t, size_t column)
{
	size_t width = strlen(t->titles[column]);
	for (size_t i = column; i < t->n; i += t->columns)
		if (width_of(t->cells[i].text) > width)
			width = width_of(t->cells[i].text);
	return width;
}

static void print_table(const struct listing *t)
{
	size_t widths[32];
	for (size_t c = 0; c < t->columns && c < ARRAY_LEN(widths); c++) {
		widths[c] = column_width(t, c);
		AUTO_FREE char *title = xstrdup(t->titles[c]);
		for (char *p = title; *p; p++)
			*p = (char)toupper((unsigned char)*p);
		print_padded(title, widths[c], c + 1 == t->columns);
	}
	putchar('\n');
	for (size_t i = 0; i < t->n; i++) {
		size_t c = i % t->columns;
		fputs(t->cells[i].colour, stdout);
		print_padded(t->cells[i].text, widths[c], c + 1 == t->columns);
		if (*t->cells[i].colour)
			fputs(colour_end(t->cli), stdout);
		if (c + 1 == t->columns)
			putchar('\n');
	}
}

void listing_end(struct listing *t, const char *none)
{
	if (t->n)
		print_table(t);
	else
		puts(none);
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
}

void age_text(uint64_t since_unix_ms, char text[SHORT_TEXT_SIZE])
{
	uint64_t now = realtime_ms();
	uint64_t s = now > since_unix_ms ? (now - since_unix_ms) / 1000 : 0;
	if (!since_unix_ms)
		snprintf(text, SHORT_TEXT_SIZE, "-");
	else if (s < 120)
		snprintf(text, SHORT_TEXT_SIZE, "%us", (unsigned)s);
	else if (s < 120 * 60)
		snprintf(text, SHORT_TEXT_SIZE, "%um", (unsigned)(s / 60));
	else if (s < 48 * 3600)
		snprintf(text, SHORT_TEXT_SIZE, "%uh", (unsigned)(s / 3600));
	else
		snprintf(text, SHORT_TEXT_SIZE, "%ud", (unsigned)(s / 86400));
}

void size_text(uint64_t bytes, char text[SHORT_TEXT_SIZE])
{
	static const char units[] = "BKMGTP";
	unsigned unit = 0;
	double value = (double)bytes;
	for (; value >= 1024 && unit < 5; unit++)
		value /= 1024;
	bool whole = value >= 10 || value == (double)(uint64_t)value;
	snprintf(text, SHORT_TEXT_SIZE, whole ? "%.0f%c" : "%.1f%c", value, units[unit]);
}

void value_text(const char *value, char *text, size_t size)
{
	static const char prefix[] = "sha256:";
	bool digest = str_starts(value, prefix) && strlen(value) == sizeof(prefix) - 1 + 64;
	snprintf(text, size, digest ? "%.12s" : "%s", digest ? value + sizeof(prefix) - 1 : value);
}

void local_time_text(uint64_t unix_ms, char text[SHORT_TEXT_SIZE])
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;
	localtime_r(&seconds, &tm);
	size_t n = strftime(text, SHORT_TEXT_SIZE, "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(text + n, SHORT_TEXT_SIZE - n, ".%03u", (unsigned)(unix_ms % 1000));
}

const char *colour_of_state(const struct cli *cli, const char *state)
{
	static const char *const good[] = { "ready", "running", "ok", "up", "allowed", "done", "completed" };
	static const char *const bad[] = { "failing", "failed", "backoff", "lost", "denied", "down", "unready" };
	static const char *const calm[] = { "stopped" };
	if (!cli->colour)
		return "";
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (str_eq(state, good[i]))
			return "\033[32m";
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (str_eq(state, bad[i]))
			return "\033[31m";
	for (size_t i = 0; i < ARRAY_LEN(calm); i++)
		if (str_eq(state, calm[i]))
			return "\033[2m";
	return "\033[33m";
}

const char *colour_end(const struct cli *cli)
{
	return cli->colour ? "\033[0m" : "";
}

const char *colour_dim(const struct cli *cli)
{
	return cli->colour ? "\033[2m" : "";
}

const char *get_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

uint64_t get_number(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));
	return value > 0 ? (uint64_t)value : 0;
}

bool get_flag(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

void print_safe(FILE *to, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if ((c < ' ' && c != '\t') || c == 0x7f)
			fprintf(to, "\\x%02x", c);
		else
			putc(c, to);
	}
}

// A shell and the init in the container pass on a signal as 128 and its number.
static void status_words(unsigned status, char *text, size_t size)
{
	if (status > 128 && status < 128 + 32)
		snprintf(text, size, "exit status %u (signal %u, %s)", status, status - 128, strsignal((int)status - 128));
	else
		snprintf(text, size, "exit status %u", status);
}

const char *done_words(const json_t *app)
{
	return str_eq(get_text(app, "state"), "completed") ? "has completed" : "serves";
}

void exit_words(const json_t *exit, char *text, size_t size)
{
	uint64_t signal = get_number(exit, "signal");
	if (get_flag(exit, "unknown"))
		snprintf(text, size, "ended, status unknown");
	else if (get_flag(exit, "oom"))
		snprintf(text, size, "killed: out of memory");
	else if (signal)
		snprintf(text, size, "killed by signal %u (%s)", (unsigned)signal, strsignal((int)signal));
	else
		status_words((unsigned)get_number(exit, "status"), text, size);
}
