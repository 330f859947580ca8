// The probe's parts: each tries one kind of thing, reports a line an attempt and returns 0 when all is as it should be.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

extern int failures;

void refused(const char *name, long result); // a result of 0 or more: a hole; errno is the reason of a refusal
void works(const char *name, bool good, const char *reason);
long try_open(const char *path, int flags);

int kernel(void);                   // machine, kernel, file systems
int network(int argc, char **argv); // KEY=ADDR[:PORT]
int serve(int port);
int limits(int pids, uint64_t scratch); // fork and fill until refused
int eat(uint64_t bytes);
int spill(uint64_t bytes); // onto the disk: says the room that was there, and how much could be written
