// What the store's benches share: the form of a figure, and an end when there is none.
#pragma once

#include <stddef.h>

// Sorts the values and prints "name median spread unit", tab-separated, to stdout; spread is the distance between the
// quartiles.
void figure_print(const char *name, double *values, size_t n, const char *unit);

// Says what went wrong and why on stderr and exits with 1.
_Noreturn void die(const char *what, const char *why);
