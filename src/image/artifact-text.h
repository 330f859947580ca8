// Private to src/image: the canonical text of an artifact whose entries are filled in.
#pragma once

#include "image/artifact.h"

// Writes text, bytes and digest from the entries, which must be sorted.
int artifact_write_text(struct artifact *a, struct err *err);

// No entry lies inside another one.
int artifact_check_nesting(const struct artifact *a, struct err *err);
