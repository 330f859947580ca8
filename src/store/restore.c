// Restoring into an SQLite store: made beside it, checked by opening it as a server would, exchanged with it at once.
#include "base/str.h"
#include "io/file.h"
#include "io/loop.h"
#include "store/backup.h"
#include "store/sqlite.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

struct restore {
	const char *dir;
	char *temp, *before; // folders: being made; what was there
	int lock_fd;         // of dir, where that is
	bool exists;         // dir
	uint64_t after;      // revision of what was there
};

static void note_revision(void *arg, struct record *record)
{
	uint64_t *revision = arg;
	if (record->mod_revision > *revision)
		*revision = record->mod_revision;
	record_unref(record);
}

// What is there may be damaged, which is why somebody restores it.
static void read_revision(struct restore *restore)
{
	static const struct revlog_options options = { 0 };
	struct revlog log = { 0 };
	uint64_t compacted = 0, revision = 0;
	if (revlog_open(&log, restore->dir, &options, NULL) == 0)
		revlog_load(&log, note_revision, &revision, &compacted, NULL);
	restore->after = revision > compacted ? revision : compacted;
	revlog_close(&log);
}

static int look_at_target(struct restore *restore, bool replace, struct err *err)
{
	AUTO_FREE char *db = xasprintf("%s/store.db", restore->dir);
	int exists = file_exists(restore->dir), has_store = file_exists(db);
	if (exists < 0 || has_store < 0)
		return err_set_errno(err, exists < 0 ? exists : has_store, "cannot look at '%s'", restore->dir);
	restore->exists = exists;
	if (!exists)
		return 0;
	int r = sqlite_lock_dir(restore->dir, &restore->lock_fd, err);
	if (r < 0)
		return r;
	if (has_store && !replace) {
		err_set(err, -EEXIST, "there is a store in '%s' already", restore->dir);
		return err_hint(err, "--replace puts the backup in its place");
	}
	if (has_store)
		read_revision(restore);
	return 0;
}

static int build(struct restore *restore, const struct backup *backup, struct err *err)
{
	static const struct revlog_options options = { 0 };
	struct revlog log = { 0 };
	int r = tree_remove(restore->temp, err);
	if (r == 0)
		r = dir_make(restore->temp, 0700, err);
	if (r == 0)
		r = revlog_open(&log, restore->temp, &options, err);
	if (r == 0)
		r = revlog_fill(&log, backup, restore->after, err);
	revlog_close(&log);
	return r;
}

static void failed(UNUSED void *arg, UNUSED const struct err *err)
{
}

static int same_revisions(const struct backup *backup, const struct store *store, struct err *err)
{
	for (size_t i = 0; i < backup->count; i++) {
		const struct record *own = backup->records[i], *r = store_get(store, record_key(own));
		if (r->create_revision != own->create_revision || r->mod_revision != own->mod_revision ||
		    r->version != own->version || r->operation != own->operation)
			return err_set(err, -EUCLEAN, "key '%.200s' has other revisions", record_key(own));
	}
	return 0;
}

static int check(struct restore *restore, const struct backup *backup, struct err *err)
{
	struct loop *loop = loop_new();
	struct store *store = NULL;
	int r = store_open_sqlite(loop, restore->temp, (struct store_owner){ .fatal = failed }, &store, err);
	if (r == 0)
		r = backup_compare(backup, store, err);
	if (r == 0)
		r = same_revisions(backup, store, err);
	store_close(store);
	loop_free(loop);
	return r < 0 ? err_wrap(err, "what was written is not what the backup holds") : 0;
}

static int put_in_place(struct restore *restore, struct err *err)
{
	const char *slash = strrchr(restore->dir, '/');
	AUTO_FREE char *above = slash ? xstrndup(restore->dir, (size_t)(slash - restore->dir) + 1) : xstrdup(".");
	unsigned flags = restore->exists ? RENAME_EXCHANGE : RENAME_NOREPLACE;
	int r = tree_remove(restore->before, err);
	if (r < 0)
		return r;
	if (renameat2(AT_FDCWD, restore->temp, AT_FDCWD, restore->dir, flags) < 0)
		return err_set_errno(err, -errno, "cannot put '%s' in the place of '%s'", restore->temp, restore->dir);
	if (restore->exists && rename(restore->temp, restore->before) < 0)
		return err_set_errno(err, -errno, "cannot rename '%s' to '%s'", restore->temp, restore->before);
	return dir_sync(above, err);
}

int store_restore_sqlite(const char *dir, const struct backup *backup, const struct restore_options *options,
			 struct err *err)
{
	size_t n = strlen(dir);
	while (n > 1 && dir[n - 1] == '/')
		n--;
	AUTO_FREE char *plain = xstrndup(dir, n);
	struct restore restore = { .dir = plain, .lock_fd = -1 };
	restore.temp = xasprintf("%s.restoring", plain);
	restore.before = xasprintf("%s.before-restore", plain);
	int r = look_at_target(&restore, options->replace, err);
	if (r == 0)
		r = build(&restore, backup, err);
	if (r == 0)
		r = check(&restore, backup, err);
	if (r == 0)
		r = put_in_place(&restore, err);
	if (r < 0)
		tree_remove(restore.temp, NULL);
	cleanup_close(&restore.lock_fd);
	free(restore.temp);
	free(restore.before);
	return r < 0 ? err_wrap(err, "cannot restore into '%s'", plain) : 0;
}
