// The platform's own log: one line an event on standard error, "time level part message key=value …".
// Libraries do not log; main, request handlers and task bodies do, once per event.
#pragma once

#include "base/cleanup.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

// part: which process this is ("keeper", "agent" …); must outlive all logging. Default level: info; DIALTONE_LOG=debug
// in the environment lowers it.
void log_init(const char *part);

// For the command line, whose standard error is for people: errors only, unless DIALTONE_LOG says otherwise.
void log_quiet(void);

void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
