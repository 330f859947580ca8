// Reading the revision log: every row is checked, and that none is missing.
#include "base/str.h"
#include "store/checksum.h"
#include "store/record.h"
#include "store/revlog_private.h"

#include <sqlite3.h>

// The row that should come next, and the checks that it does.
struct reading {
	uint64_t compacted;
	uint64_t revision; // of the last row
	unsigned index, ops;
};

static struct record *read_row(sqlite3_stmt *stmt, unsigned *ret_ops)
{
	const void *key = sqlite3_column_blob(stmt, 6), *value = sqlite3_column_blob(stmt, 7);
	int key_len = sqlite3_column_bytes(stmt, 6), value_len = sqlite3_column_bytes(stmt, 7);
	if (!key || key_len <= 0 || key_len > STORE_KEY_MAX || value_len > STORE_VALUE_MAX)
		return NULL;
	bool deleted = sqlite3_column_type(stmt, 7) == SQLITE_NULL;
	struct record *r = deleted ? record_new_deletion(key, (size_t)key_len)
				   : record_new(key, (size_t)key_len, value, (size_t)value_len);
	uint64_t id = (uint64_t)sqlite3_column_int64(stmt, 0);
	r->mod_revision = id >> 7;
	r->index = id & 127;
	r->create_revision = (uint64_t)sqlite3_column_int64(stmt, 2);
	r->version = (uint64_t)sqlite3_column_int64(stmt, 3);
	r->operation = (uint64_t)sqlite3_column_int64(stmt, 4);
	*ret_ops = (unsigned)sqlite3_column_int(stmt, 1);
	if (revlog_checksum(r, *ret_ops) == (uint32_t)sqlite3_column_int64(stmt, 5))
		return r;
	record_unref(r);
	return NULL;
}

static bool follows(const struct reading *at, const struct record *r)
{
	if (r->mod_revision <= at->compacted)
		return r->mod_revision > at->revision || (r->mod_revision == at->revision && r->index > at->index);
	if (r->mod_revision == at->revision)
		return r->index == at->index + 1;
	uint64_t before = at->revision > at->compacted ? at->revision : at->compacted;
	bool whole = at->revision <= at->compacted || at->index + 1 == at->ops;
	return whole && r->mod_revision == before + 1 && r->index == 0;
}

static int load_row(struct revlog *log, sqlite3_stmt *stmt, struct reading *at, struct record **ret, struct err *err)
{
	unsigned ops = 0;
	uint64_t id = (uint64_t)sqlite3_column_int64(stmt, 0);
	AUTO_RECORD struct record *r = read_row(stmt, &ops);
	if (!r)
		return revlog_damaged(log, err, "the row of revision %llu, operation %u has a wrong checksum",
				      (unsigned long long)(id >> 7), (unsigned)(id & 127));
	if (!follows(at, r))
		return revlog_damaged(log, err, "rows are missing between revisions %llu and %llu",
				      (unsigned long long)at->revision, (unsigned long long)r->mod_revision);
	at->revision = r->mod_revision;
	at->index = r->index;
	at->ops = ops;
	*ret = TAKE_PTR(r);
	return 0;
}

static int load_compacted(struct revlog *log, uint64_t *ret, struct err *err)
{
	int64_t rows = 0, compacted = 0, checksum = 0;
	int r = revlog_number(log, "SELECT count(*) FROM meta", &rows, err);
	if (r == 0 && rows)
		r = revlog_number(log, "SELECT compacted FROM meta", &compacted, err);
	if (r == 0 && rows)
		r = revlog_number(log, "SELECT checksum FROM meta", &checksum, err);
	if (r < 0)
		return r;
	if (rows && (uint32_t)checksum != revlog_meta_checksum((uint64_t)compacted))
		return revlog_damaged(log, err, "the row of table meta has a wrong checksum");
	*ret = (uint64_t)compacted;
	return 0;
}

static int load_rows(struct revlog *log, sqlite3_stmt *stmt, struct reading *at,
		     void (*row)(void *arg, struct record *record), void *arg, struct err *err)
{
	int code;
	while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct record *record = NULL;
		int r = load_row(log, stmt, at, &record, err);
		if (r < 0)
			return r;
		row(arg, record);
	}
	if (code != SQLITE_DONE)
		return revlog_failed(log, code, "cannot read the log", err);
	if (at->revision > at->compacted && at->index + 1 != at->ops)
		return revlog_damaged(log, err, "the last transaction, revision %llu, is not whole",
				      (unsigned long long)at->revision);
	return 0;
}

int revlog_load(struct revlog *log, void (*row)(void *arg, struct record *record), void *arg, uint64_t *ret_compacted,
		struct err *err)
{
	struct reading at = { 0 };
	int r = load_compacted(log, &at.compacted, err);
	if (r < 0)
		return r;
	sqlite3_stmt *stmt = NULL;
	r = revlog_prepare(log,
			   "SELECT id, ops, created, version, operation, checksum, key, value FROM log ORDER BY id",
			   &stmt, err);
	if (r == 0)
		r = load_rows(log, stmt, &at, row, arg, err);
	sqlite3_finalize(stmt);
	if (r == 0)
		*ret_compacted = at.compacted;
	return r;
}
