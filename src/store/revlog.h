// The revision log in an SQLite file: one row a change, appended in the order of revisions, the superseded ones removed
// later. No thread and no loop of its own: every call blocks, one thread at a time.
//
// A row's id is its revision and its place in its transaction (row_id), it says how many rows its transaction has, and
// it carries a checksum over all of itself. Revisions have no gaps beyond the compacted one. So a flipped byte, a row
// that went missing and a transaction that is not whole are all found when the log is read.
#pragma once

#include "base/id.h"
#include "store/backup.h"
#include "store/ballast.h"
#include "store/committer.h"

struct sqlite3;
struct sqlite3_stmt;

struct revlog {
	struct sqlite3 *db;
	struct sqlite3_stmt *begin, *commit, *insert, *delete, *set_meta;
	char *path;
	char epoch[UID_SIZE]; // kept in the file
	struct ballast ballast;
	int wal_frames; // in the write-ahead log, as of the last commit
	int checkpoint_frames;
	int checkpoint_from; // how many there must be to move them into the file
};

struct revlog_options {
	const char *vfs;       // NULL: the system's
	bool no_sync;          // for the test that shows that syncing matters
	int checkpoint_frames; // 0: the usual number
	uint64_t keep_rows;    // of history; 0: the usual number
};

// Checks what was left by a crash, opens or makes DIR/store.db. -EUCLEAN: damaged, and where.
int revlog_open(struct revlog *log, const char *dir, const struct revlog_options *options, struct err *err);
void revlog_close(struct revlog *log); // zeroed is fine

// Calls row for each change in order (which takes the record), and tells up to which revision history is gone.
int revlog_load(struct revlog *log, void (*row)(void *arg, struct record *record), void *arg, uint64_t *ret_compacted,
		struct err *err);

// Writes the batch durably and sets its result, broken and err.
void revlog_write(struct revlog *log, struct batch *batch);

// Moves the write-ahead log into the file when it has become long. Between commits. Anything but a full disk is an
// error.
int revlog_checkpoint(struct revlog *log, struct err *err);

// Into a new, empty log: the records with their revisions, durably. Revisions go on after `after`, where that is
// greater than the backup's.
int revlog_fill(struct revlog *log, const struct backup *backup, uint64_t after, struct err *err);
