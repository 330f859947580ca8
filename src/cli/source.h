// What `push` and `plan` start from: a directory, read into a spec and an artifact.
#pragma once

#include "cli/cli.h"
#include "image/artifact.h"
#include "model/spec.h"

struct source {
	char *dir;
	char *manifest; // the file it came from; NULL: none, the kind was detected
	char *text;	// what it says
	bool procfile;
	struct spec spec;
	struct artifact artifact;
};

void source_clear(struct source *source);
#define AUTO_SOURCE CLEANUP(source_clear)

// Reads the directory named as the command's argument (default: here): dialtone.yaml, or Procfile, or the obvious kind;
// then every file, for the artifact. On failure prints the error and returns the exit status.
int source_read(struct cli *cli, struct source *ret);

// Puts "FILE:LINE:COLUMN" of a field of the spec before an error about it, when the manifest says anything of it.
void source_place(const struct source *source, const char *field, struct err *err);
