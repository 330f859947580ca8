// What the parts of the revision log share.
#pragma once

#include "store/checksum.h"
#include "store/revlog.h"

#include <sqlite3.h>

// Each says what failed, with the file's name, and returns the errno that fits.
int revlog_failed(const struct revlog *log, int code, const char *what, struct err *err);
int revlog_damaged(const struct revlog *log, struct err *err, const char *fmt, ...) PRINTF_LIKE(3, 4);

int revlog_run(struct revlog *log, const char *sql, struct err *err);
int revlog_number(struct revlog *log, const char *sql, int64_t *ret, struct err *err); // first column of the first row
int revlog_prepare(struct revlog *log, const char *sql, sqlite3_stmt **ret, struct err *err);

uint32_t revlog_checksum(const struct record *r, unsigned ops); // of a row
static inline uint32_t revlog_meta_checksum(uint64_t compacted)
{
	return checksum_add(0, &compacted, sizeof(compacted));
}

// ---- revlog_epoch.c: the store's epoch, a row of its own

enum { REVLOG_LAYOUT = 2, REVLOG_LAYOUT_NO_EPOCH = 1 }; // user_version

// Makes one up and returns the SQL that writes it down. Heap.
char *revlog_new_epoch(struct revlog *log);
int revlog_load_epoch(struct revlog *log, struct err *err);
// To a file of before. Without room for it, it is the epoch until the next opening.
int revlog_add_epoch(struct revlog *log, struct err *err);
