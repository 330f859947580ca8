// Comparing what is stored on this machine with what its digests stand for.
#pragma once

#include <stddef.h>

struct damage {
	const char *what;   // "layer", "file", "artifact"
	const char *detail; // which, and how it differs
	const char *mend;
};

// Reads every layer of the cache and every uploaded file, manifest and unpacked artifact of the platform at data (either may be
// missing) and calls found for each that is damaged. *ret_read counts those that were read.
void check_content(const char *cache, const char *data, size_t *ret_read,
		   void (*found)(void *arg, const struct damage *damage), void *arg);
