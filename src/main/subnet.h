// The addresses that a platform's instances get: a /20 out of 100.64.0.0/10 (RFC 6598), so as to be in nobody's way.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ipv4_range {
	uint32_t first, last; // host byte order, inclusive
};

#define SUBNET_TEXT_SIZE 20

// The first /20 at or (round and round) behind the start-th of the 1024 that overlaps none of the ranges.
// -EADDRNOTAVAIL: all do. Pure.
int subnet_choose(const struct ipv4_range *taken, size_t n, unsigned start, char subnet[SUBNET_TEXT_SIZE]);

bool subnet_overlaps(const char *subnet, const struct ipv4_range *taken, size_t n);

// What this machine's routes and addresses cover; interfaces whose name contains `except` are left out (NULL: none).
// The default route counts for nothing. *ret is for free().
int subnet_taken(const char *except, struct ipv4_range **ret, size_t *ret_n, struct err *err);
