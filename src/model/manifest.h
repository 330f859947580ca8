// dialtone.yaml and Procfile → spec. Bytes in, spec out; no files are read here.
#pragma once

#include "model/spec.h"

#define MANIFEST_SIZE_MAX (256 << 10)

struct manifest_source {
	const char *file; // for error messages
	const char *text;
	size_t len;
	const char *name;          // overrides the manifest's name; NULL: does not
	const char *fallback_name; // when the manifest has none; NULL: then that is an error
};

// Errors are -EINVAL: "FILE:LINE:COLUMN: KEY: cause", with a hint. -E2BIG beyond MANIFEST_SIZE_MAX.
// Unknown keys, keys given twice, wrong types and numbers without their unit are errors. Aliases are followed within a
// bound on the nodes they make.
//
// Left to the caller when the manifest does not say: runtime (NULL), a process's command (NULL), stack (NULL).
// Filled in: a process web if there is none named at all; port 8080 for web and none for others; a route named as the
// app for web unless "routes" is given (an empty list: no route). A bare label as a route is kept as it is.
//
// Health, when no type is given: http if there is a path, tcp if there is a port, otherwise process.
int manifest_parse(const struct manifest_source *source, struct spec *ret, struct err *err);

// "NAME: command" lines, and '#' comments; a process "release" is refused (nothing runs it yet).
int procfile_parse(const struct manifest_source *source, struct spec *ret, struct err *err);

// The spec for a folder without either: one process, named web, with this command (NULL: the runtime's own).
int manifest_default(const char *name, const char *runtime, const char *command, struct spec *ret, struct err *err);

// Where a field of the API's spec ("spec.processes.web.command", with or without "spec.") stands in the text that the
// spec was parsed from: line and column of its value, or of the nearest thing above it. -ENOENT: nothing of it is there.
// procfile: the text is one; the column is then 1.
int manifest_place(const struct manifest_source *source, bool procfile, const char *field, unsigned *ret_line,
		   unsigned *ret_column);

// The form of "runtime" and "stack": NAME or NAME@VERSION, lower case. NULL, or what is wrong.
const char *check_versioned(const char *text);
