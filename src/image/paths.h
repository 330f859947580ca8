// Private to src/image: names in canonical texts, digests of files.
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"

// "sha256-HEX" of a valid digest.
void digest_file_name(const char *digest, char name[DIGEST_SIZE]);

// Reads fd from where it stands to its end. 0 or a negative errno.
int fd_digest(int fd, uint64_t *ret_size, char digest[DIGEST_SIZE]);

// Appends s with every byte outside printable ASCII, and '%', as %XX. 0 or -ENOBUFS.
int path_escape(struct buf *out, const char *s);

// The reverse, heap; NULL when text is not what path_escape writes.
char *path_unescape(const char *text);

// A new empty folder below CACHE/tmp, for what will be renamed into the cache. Caller frees the path.
int cache_scratch(const char *cache, char **ret_path, struct err *err);
