// Files written so that a crash leaves the old content or the new, and small helpers around directories. All block.
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

// Appends the file's whole content to buf; -EFBIG when it does not fit under buf's max. -ENOENT when there is none.
int file_read(const char *path, struct buf *buf, struct err *err);

// Writes temp file in the same folder, fsync, rename, fsync of the folder.
int file_write_durable(const char *path, const void *bytes, size_t n, mode_t mode, struct err *err);

// Like the above, without either fsync: atomic for readers, not durable.
int file_write_atomic(const char *path, const void *bytes, size_t n, mode_t mode, struct err *err);

// Likewise, and on a full disk over what is there, which needs no room for a small file: a reader at that moment, or
// after this process was killed in the middle, may find the new bytes and the end of the old ones.
int file_write_atomic_or_over(const char *path, const void *bytes, size_t n, mode_t mode, struct err *err);

int file_exists(const char *path); // 1, 0, or a negative errno

// Makes path and what is missing above it. Existing directories are left as they are.
int dir_make(const char *path, mode_t mode, struct err *err);

// Removes path with everything below it, never following a symbolic link or crossing into another mounted file system.
// A path that does not exist is success.
int tree_remove(const char *path, struct err *err);

// fsync of a folder, so that renames and new names in it are durable.
int dir_sync(const char *path, struct err *err);

// write(2) until all is out or an error; handles EINTR and short writes. 0 or a negative errno.
int write_all(int fd, const void *bytes, size_t n);
