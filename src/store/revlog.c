#include "store/revlog_private.h"

#include "base/str.h"
#include "io/file.h"
#include "store/checksum.h"
#include "store/record.h"
#include "store/wal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>

enum {
	APPLICATION_ID = 0x44694174, // "DiAt", in the file's header
	WAL_BYTES = 8 << 20,         // allocated from the beginning
	CHECKPOINT_FRAMES = 1000,
	CHECKPOINT_RETRY = 250,
};

static bool is_full(sqlite3 *db, int code)
{
	int primary = code & 0xff;
	return primary == SQLITE_FULL || (primary == SQLITE_IOERR && sqlite3_system_errno(db) == EDQUOT);
}

// SQLITE_ERROR and SQLITE_READONLY come from a header or a schema that is not what this program wrote.
static int errno_of(sqlite3 *db, int code)
{
	int primary = code & 0xff;
	if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB || primary == SQLITE_ERROR ||
	    primary == SQLITE_READONLY)
		return -EUCLEAN;
	if (primary == SQLITE_BUSY)
		return -EBUSY;
	return is_full(db, code) ? -ENOSPC : -EIO;
}

int revlog_failed(const struct revlog *log, int code, const char *what, struct err *err)
{
	int r = errno_of(log->db, code);
	int system = sqlite3_system_errno(log->db);
	err_set(err, r, "'%s': %s: %s (%s%s%s)", log->path, what, sqlite3_errmsg(log->db), sqlite3_errstr(code),
		system ? ", " : "", system ? strerror(system) : "");
	if (r == -EUCLEAN)
		err_hint(err, "the file is damaged: check the disk; restore the store from a backup, "
			      "or move its folder away to start empty");
	return r;
}

int revlog_damaged(const struct revlog *log, struct err *err, const char *fmt, ...)
{
	char what[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	err_set(err, -EUCLEAN, "'%s' is damaged: %s", log->path, what);
	return err_hint(err, "check the disk; restore the store from a backup, or move its folder away to start empty");
}

int revlog_run(struct revlog *log, const char *sql, struct err *err)
{
	int code = sqlite3_exec(log->db, sql, NULL, NULL, NULL);
	return code == SQLITE_OK ? 0 : revlog_failed(log, code, sql, err);
}

// The first column of the first row, as a number.
int revlog_number(struct revlog *log, const char *sql, int64_t *ret, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int code = sqlite3_prepare_v2(log->db, sql, -1, &stmt, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		*ret = sqlite3_column_int64(stmt, 0);
	int r = code == SQLITE_ROW ? 0 : revlog_failed(log, code, sql, err);
	sqlite3_finalize(stmt);
	return r;
}

// ---- checksums

uint32_t revlog_checksum(const struct record *r, unsigned ops)
{
	uint64_t head[] = { row_id(r),    ops,        r->create_revision, r->version,
			    r->operation, r->key_len, r->value_len,       r->deleted };
	uint32_t crc = checksum_add(0, head, sizeof(head));
	return checksum_add(crc, r->bytes, record_bytes(r) + 2);
}

// ---- opening

static int make_tables(struct revlog *log, struct err *err)
{
	AUTO_FREE char *epoch = revlog_new_epoch(log);
	AUTO_FREE char *sql = xasprintf(
		"BEGIN IMMEDIATE;"
		"CREATE TABLE log(id INTEGER PRIMARY KEY, ops, created, version, operation, checksum, key, value);"
		"CREATE TABLE meta(id INTEGER PRIMARY KEY, compacted, checksum);"
		"PRAGMA application_id=%d; PRAGMA user_version=%d; %s COMMIT",
		APPLICATION_ID, REVLOG_LAYOUT, epoch);
	return revlog_run(log, sql, err);
}

static int check_identity(struct revlog *log, struct err *err)
{
	int64_t id = 0, layout = 0, tables = 0;
	int r = revlog_number(log, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (r == 0)
		r = revlog_number(log, "PRAGMA application_id", &id, err);
	if (r == 0)
		r = revlog_number(log, "PRAGMA user_version", &layout, err);
	if (r < 0)
		return r;
	if (tables == 0 && id == 0)
		return make_tables(log, err);
	if (id != APPLICATION_ID)
		return revlog_damaged(log, err, "it is an SQLite file, but not (or no longer) a store's");
	if (layout == REVLOG_LAYOUT || layout == REVLOG_LAYOUT_NO_EPOCH)
		return layout == REVLOG_LAYOUT ? revlog_load_epoch(log, err) : revlog_add_epoch(log, err);
	err_set(err, -EPROTO, "'%s' has layout %lld, this program knows %d", log->path, (long long)layout,
		REVLOG_LAYOUT);
	return err_hint(err, "use the version of dialtone that wrote it, or a newer one");
}

// The structure of all pages; what is in the rows is checked when they are loaded.
static int check_pages(struct revlog *log, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int code = sqlite3_prepare_v2(log->db, "PRAGMA quick_check(1)", -1, &stmt, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_step(stmt);
	int r = code == SQLITE_ROW ? 0 : revlog_failed(log, code, "cannot check the file", err);
	const char *found = r == 0 ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
	if (r == 0 && !str_eq(found, "ok"))
		r = revlog_damaged(log, err, "%s", found ? found : "its check finds nothing");
	sqlite3_finalize(stmt);
	return r;
}

int revlog_prepare(struct revlog *log, const char *sql, sqlite3_stmt **ret, struct err *err)
{
	int code = sqlite3_prepare_v3(log->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
	return code == SQLITE_OK ? 0 : revlog_failed(log, code, sql, err);
}

static int prepare_all(struct revlog *log, struct err *err)
{
	const struct {
		const char *sql;
		sqlite3_stmt **ret;
	} statements[] = {
		{ "BEGIN IMMEDIATE", &log->begin },
		{ "COMMIT", &log->commit },
		{ "INSERT INTO log(id, ops, created, version, operation, checksum, key, value) VALUES(?,?,?,?,?,?,?,?)",
		  &log->insert },
		{ "DELETE FROM log WHERE id = ?", &log->delete },
		{ "INSERT OR REPLACE INTO meta(id, compacted, checksum) VALUES(1, ?, ?)", &log->set_meta },
	};
	for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
		int r = revlog_prepare(log, statements[i].sql, statements[i].ret, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int count_frames(void *arg, UNUSED sqlite3 *db, UNUSED const char *name, int frames)
{
	struct revlog *log = arg;
	log->wal_frames = frames;
	return SQLITE_OK;
}

// What a crash left in the write-ahead log goes into the file, and the log starts from zeros: no frame of before can be
// taken for one of now, and its size is settled.
static int start_wal(struct revlog *log, const char *wal_path, struct err *err)
{
	int code = sqlite3_wal_checkpoint_v2(log->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	log->checkpoint_from = log->checkpoint_frames;
	if (is_full(log->db, code))
		return 0; // reads must go on; later checkpoints will find room
	if (code != SQLITE_OK)
		return revlog_failed(log, code, "cannot move the write-ahead log into the file", err);
	return wal_preallocate(wal_path, WAL_BYTES, err);
}

static int configure(struct revlog *log, const struct revlog_options *options, struct err *err)
{
	int r = revlog_run(log,
			   "PRAGMA locking_mode=EXCLUSIVE; PRAGMA page_size=4096; PRAGMA journal_mode=WAL;"
			   "PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=16777216; PRAGMA cache_size=-4096;"
			   "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON",
			   err);
	if (r == 0)
		r = revlog_run(log, options->no_sync ? "PRAGMA synchronous=OFF" : "PRAGMA synchronous=FULL", err);
	sqlite3_wal_hook(log->db, count_frames, log);
	return r;
}

// For its owner only; SQLite gives the write-ahead log the same mode.
static int make_file(const char *path, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 ? err_set_errno(err, -errno, "cannot open '%s'", path) : 0;
}

int revlog_open(struct revlog *log, const char *dir, const struct revlog_options *options, struct err *err)
{
	*log = (struct revlog){ .path = xasprintf("%s/store.db", dir) };
	ballast_init(&log->ballast, dir);
	log->checkpoint_frames = options->checkpoint_frames ? options->checkpoint_frames : CHECKPOINT_FRAMES;
	AUTO_FREE char *wal_path = xasprintf("%s-wal", log->path);
	int r = wal_check(wal_path, err);
	if (r == 0)
		r = make_file(log->path, err);
	if (r < 0)
		return r;
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	int code = sqlite3_open_v2(log->path, &log->db, flags, options->vfs);
	if (code != SQLITE_OK)
		return revlog_failed(log, code, "cannot open", err);
	r = configure(log, options, err);
	if (r == 0)
		r = check_identity(log, err);
	if (r == 0)
		r = check_pages(log, err);
	if (r == 0)
		r = prepare_all(log, err);
	if (r == 0)
		r = start_wal(log, wal_path, err);
	if (r == 0)
		ballast_take(&log->ballast);
	if (r == 0)
		r = dir_sync(dir, err);
	return r;
}

void revlog_close(struct revlog *log)
{
	sqlite3_finalize(log->begin);
	sqlite3_finalize(log->commit);
	sqlite3_finalize(log->insert);
	sqlite3_finalize(log->delete);
	sqlite3_finalize(log->set_meta);
	sqlite3_close(log->db);
	ballast_clear(&log->ballast);
	free(log->path);
	*log = (struct revlog){ 0 };
}

// ---- writing

static int step(sqlite3_stmt *stmt)
{
	int code = sqlite3_step(stmt);
	int reset = sqlite3_reset(stmt);
	return code == SQLITE_DONE ? reset : code;
}

static int insert_row(struct revlog *log, const struct record *r, unsigned ops)
{
	sqlite3_stmt *s = log->insert;
	sqlite3_bind_int64(s, 1, (int64_t)row_id(r));
	sqlite3_bind_int64(s, 2, ops);
	sqlite3_bind_int64(s, 3, (int64_t)r->create_revision);
	sqlite3_bind_int64(s, 4, (int64_t)r->version);
	sqlite3_bind_int64(s, 5, (int64_t)r->operation);
	sqlite3_bind_int64(s, 6, revlog_checksum(r, ops));
	sqlite3_bind_blob(s, 7, record_key(r), r->key_len, SQLITE_STATIC);
	if (r->deleted)
		sqlite3_bind_null(s, 8);
	else
		sqlite3_bind_blob(s, 8, record_value(r), (int)r->value_len, SQLITE_STATIC);
	return step(s);
}

static int remove_rows(struct revlog *log, const struct batch *batch)
{
	for (size_t i = 0; i < batch->n_past; i++) {
		sqlite3_bind_int64(log->delete, 1, (int64_t)batch->past[i].row);
		int code = step(log->delete);
		if (code != SQLITE_OK)
			return code;
	}
	sqlite3_bind_int64(log->set_meta, 1, (int64_t)batch->compact_to);
	sqlite3_bind_int64(log->set_meta, 2, revlog_meta_checksum(batch->compact_to));
	return step(log->set_meta);
}

static int write_batch(struct revlog *log, const struct batch *batch)
{
	int code = step(log->begin);
	for (size_t i = 0; code == SQLITE_OK && i < batch->n_rows; i++)
		code = insert_row(log, batch->rows[i], batch->row_ops[i]);
	if (code == SQLITE_OK && batch->compact_to)
		code = remove_rows(log, batch);
	return code == SQLITE_OK ? step(log->commit) : code;
}

// After a failure not even closing may write: what the disk holds is for the next start to judge.
static void leave_file(struct revlog *log)
{
	sqlite3_db_config(log->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

static void try_write(struct revlog *log, struct batch *batch)
{
	int code = write_batch(log, batch);
	batch->applied = code == SQLITE_OK;
	batch->result = STORE_OK;
	if (code == SQLITE_OK)
		return;
	if (!is_full(log->db, code)) {
		// Whether it is on the disk cannot be known, nor may the file be written again (a failed fsync has
		// already thrown away what it could not write).
		revlog_failed(log, code, "cannot write", &batch->err);
		batch->result = STORE_UNKNOWN;
		batch->broken = true;
		leave_file(log);
		return;
	}
	batch->result = STORE_NO_SPACE;
	log->checkpoint_from = 0;
	if (!sqlite3_get_autocommit(log->db) && revlog_run(log, "ROLLBACK", &batch->err) < 0) {
		batch->result = STORE_UNKNOWN;
		batch->broken = true;
		leave_file(log);
	}
}

void revlog_write(struct revlog *log, struct batch *batch)
{
	bool had = log->ballast.bytes;
	if (batch->puts && !had && !ballast_take(&log->ballast)) {
		batch->result = STORE_NO_SPACE;
		return;
	}
	try_write(log, batch);
	if (batch->result == STORE_NO_SPACE)
		ballast_give(&log->ballast);
	if (batch->result == STORE_NO_SPACE && had && !batch->puts)
		try_write(log, batch);
	batch->ballast = log->ballast.bytes;
}

int revlog_checkpoint(struct revlog *log, struct err *err)
{
	if (log->wal_frames < log->checkpoint_from)
		return 0;
	int code = sqlite3_wal_checkpoint_v2(log->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	if (code == SQLITE_OK) {
		log->wal_frames = 0;
		log->checkpoint_from = log->checkpoint_frames;
		return 0;
	}
	if (!is_full(log->db, code)) {
		leave_file(log);
		return revlog_failed(log, code, "cannot move the write-ahead log into the file", err);
	}
	ballast_give(&log->ballast);
	log->checkpoint_from = log->wal_frames + CHECKPOINT_RETRY;
	return 0;
}
