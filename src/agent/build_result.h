// The end of a build: the source with the build's changes over it becomes an artifact, of which the server gets what it
// does not have yet.
#pragma once

#include "base/err.h"
#include "base/id.h"

struct build_result_spec {
	const char *api, *token, *tenant;
	const char *source; // root of the unpacked source artifact: its files are under app/
	const char *dir;    // of the build: changes are in upper/, and there is room for a mount point
};

// Blocks. Needs the mount namespace to be private.
int build_result_upload(const struct build_result_spec *spec, char ret_digest[DIGEST_SIZE], struct err *err);
