// Private to src/image: file names of digests, and digests of files.
#pragma once

#include "base/id.h"

// "sha256-HEX" of a valid digest.
void digest_file_name(const char *digest, char name[DIGEST_SIZE]);

// Reads fd from where it stands to its end. 0 or a negative errno.
int fd_digest(int fd, uint64_t *ret_size, char digest[DIGEST_SIZE]);
