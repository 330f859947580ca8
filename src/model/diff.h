// What differs between two specs, field by field, in the manifest's words: "processes.web.memory", "256M", "512M".
#pragma once

#include "model/spec.h"

struct change {
	char *path;
	char *before, *after; // NULL: not there
};

struct changes {
	struct change *items;
	uint32_t count;
};
FIELDS_OBJECT(changes)

// before may be NULL (a new app: everything is added). Includes removals; sorted by path; empty when equal.
void spec_diff(const struct spec *before, const struct spec *after, struct changes *ret);

// Adds one change by hand (the artifact, say). Texts are copied; NULL as above.
void changes_add(struct changes *changes, const char *path, const char *before, const char *after);
