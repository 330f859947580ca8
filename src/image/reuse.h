// Private to src/image: the files of an artifact that is unpacked already, to be taken over into the next one instead of
// being fetched again. What is taken is read and compared with its digest first, so that damage does not spread; then
// both have the same inode, which nobody writes to: containers see it read-only, and it is only ever removed.
#pragma once

#include "base/err.h"
#include "image/artifact.h"

struct reuse;

// The unpacked artifact DIR/sha256-HEX; -EBADMSG when its manifest is not of that digest.
int reuse_open(const char *dir, const char *digest, struct reuse **ret, struct err *err);
void reuse_free(struct reuse *reuse); // NULL is fine

bool reuse_has(const struct reuse *reuse, const char *digest);

// Makes the file `want`, whose digest it has, below the directory `app`. -EBADMSG when the one that is there is damaged.
int reuse_take(const struct reuse *reuse, const struct artifact_entry *want, int app, struct err *err);
