#include "figure.h"

#include <stdio.h>
#include <stdlib.h>

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

void figure_print(const char *name, double *values, size_t n, const char *unit)
{
	qsort(values, n, sizeof(values[0]), compare_doubles);
	printf("%s\t%.4g\t%.2g\t%s\n", name, values[n / 2], values[3 * n / 4] - values[n / 4], unit);
	fflush(stdout);
}

void die(const char *what, const char *why)
{
	fprintf(stderr, "error: %s: %s\n", what, why);
	exit(1);
}
