// SQLite's write-ahead log as a file (https://www.sqlite.org/fileformat2.html#walformat): what SQLite itself does not
// do.
#pragma once

#include "base/err.h"

#include <stdint.h>

// SQLite takes the log to end at the first frame whose checksum is wrong, which after a power cut is right: one
// transaction can be torn. When two or more committed transactions follow that frame it was not torn but damaged, and
// SQLite would silently forget acknowledged writes: -EUCLEAN, naming file and offset. No file is fine.
int wal_check(const char *path, struct err *err);

// Makes an emptied log `bytes` long, of durable zeros: what is written into it later changes no size, and its fdatasync
// need not wait for the file system's own journal. No space is not an error.
int wal_preallocate(const char *path, uint64_t bytes, struct err *err);
