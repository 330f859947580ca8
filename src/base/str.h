// Strings: heap strings never NULL (memory exhaustion ends the process: x-functions assert), strict number parsing.
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

// Allocation that cannot fail: aborts the process when memory is exhausted.
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

static inline bool str_eq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static inline bool str_empty(const char *s)
{
	return !s || !*s;
}

static inline bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix);

// Decimal digits only, no sign, no space; -EINVAL or -ERANGE otherwise. max is inclusive.
int parse_u64(const char *s, uint64_t max, uint64_t *ret);

// Writes 2 * n lower-case hex digits and a NUL.
void hex_write(const void *bytes, size_t n, char *out);

// A DNS label: 1 to 63 of a-z, 0-9 and '-', not at either end. The form of every object name.
bool str_is_label(const char *s);

// Edit distance (Levenshtein, optimal string alignment), for "did you mean"; either string at most 64 bytes counts.
unsigned str_distance(const char *a, const char *b);

// The nearest of n candidates at a distance of at most 2 (at most a third of the length), or NULL.
const char *str_nearest(const char *s, const char *const *candidates, size_t n);
