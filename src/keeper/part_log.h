// DATA/log/NAME.log: what a process of the platform writes on its standard error. Bounded; the piece before the present
// one is NAME.log.1.
#pragma once

// Opened for appending; one that has grown large is put aside first. A negative value: cannot be opened.
int part_log_open(const char *data, const char *name);

// The same while processes have it open: its content is copied aside, and it is emptied under them. What is written in
// that moment may be lost.
void part_log_limit(const char *data, const char *name);
