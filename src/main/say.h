// What up and down tell a person.
#pragma once

#include "base/err.h"

// "error: …" and "hint: …" on standard error; returns 1.
int say_error(const struct err *err);

// The last lines of DATA/log/PART.log, indented, on standard error; nothing when there are none.
void say_log(const char *data, const char *part, unsigned lines);
