#include "base/str.h"
#include "store/revlog_private.h"

#include <errno.h>

char *revlog_new_epoch(struct revlog *log)
{
	uid_new(log->epoch);
	return xasprintf("CREATE TABLE epoch(id INTEGER PRIMARY KEY, epoch, checksum);"
			 "INSERT INTO epoch VALUES(1, '%s', %u);",
			 log->epoch, checksum_add(0, log->epoch, strlen(log->epoch)));
}

int revlog_load_epoch(struct revlog *log, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int r = revlog_prepare(log, "SELECT epoch, checksum FROM epoch", &stmt, err);
	if (r < 0)
		return r;
	int code = sqlite3_step(stmt);
	const char *text = code == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
	size_t n = text ? strlen(text) : 0;
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		r = revlog_failed(log, code, "cannot read the epoch", err);
	else if (n != sizeof(log->epoch) - 1 || checksum_add(0, text, n) != (uint32_t)sqlite3_column_int64(stmt, 1))
		r = revlog_damaged(log, err, "the row of table epoch is not there or has a wrong checksum");
	else
		memcpy(log->epoch, text, n + 1);
	sqlite3_finalize(stmt);
	return r;
}

int revlog_add_epoch(struct revlog *log, struct err *err)
{
	AUTO_FREE char *epoch = revlog_new_epoch(log);
	AUTO_FREE char *sql = xasprintf("BEGIN IMMEDIATE; %s PRAGMA user_version=%d; COMMIT", epoch, REVLOG_LAYOUT);
	int r = revlog_run(log, sql, err);
	if (r == -ENOSPC)
		r = sqlite3_get_autocommit(log->db) ? 0 : revlog_run(log, "ROLLBACK", err);
	return r;
}
