// Private to src/image: gitignore(5) patterns, read from the files at each level of a tree on the way down.
#pragma once

#include "base/err.h"

#include <stdbool.h>

struct ignore; // the patterns of one directory, above those of its parent

// Reads .gitignore and then .dialtoneignore of the directory dirfd; path: its path below the top ("" for the top).
// *ret is NULL-parented at the top. The parent must live longer.
int ignore_read(int dirfd, const char *path, const struct ignore *parent, struct ignore **ret, struct err *err);
void ignore_free(struct ignore *g); // this level only; NULL is fine

// path: below the top. The last matching pattern of the deepest level that has one decides.
bool ignore_matches(const struct ignore *g, const char *path, bool is_dir);

// A pattern of gitignore(5) against a path, both without a leading "/": "*" and "?" stop at "/", "**" does not.
bool ignore_glob(const char *pattern, const char *path);
