#include "base/log.h"

#include "base/clock.h"
#include "base/str.h"

#include <stdarg.h>

static const char *log_part = "dialtone";
static enum log_level log_threshold = LOG_LEVEL_INFO;

void log_init(const char *part)
{
	log_part = part;
	log_threshold = str_eq(getenv("DIALTONE_LOG"), "debug") ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

void log_quiet(void)
{
	if (str_empty(getenv("DIALTONE_LOG")))
		log_threshold = LOG_LEVEL_ERROR;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };
	if (level < log_threshold)
		return;

	char line[4096];
	char when[TIME_TEXT_SIZE];
	time_text(realtime_ms(), when);
	int head = snprintf(line, sizeof(line), "%s %-5s %s ", when, names[level], log_part);

	va_list args;
	va_start(args, fmt);
	int body = vsnprintf(line + head, sizeof(line) - (size_t)head, fmt, args);
	va_end(args);
	size_t n = (size_t)head + (body > 0 ? (size_t)body : 0);
	if (n > sizeof(line) - 1)
		n = sizeof(line) - 1;

	// One event is one line, whatever it quotes.
	for (size_t i = (size_t)head; i < n; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = ' ';
	line[n++] = '\n';
	ssize_t written = write(STDERR_FILENO, line, n);
	(void)written; // nowhere left to report it
}
