// Backups: what a file holds, what is refused, and restoring into each driver from each.
#include "store/backup.h"
#include "bed.h"
#include "store/memory.h"

#include "base/clock.h"
#include "base/rng.h"
#include "base/str.h"
#include "io/file.h"
#include "io/loop.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { PLAIN = 120 };

// Keys of several creations, changes, deletions, transactions, and those of living processes.
static void fill(struct bed *bed)
{
	for (unsigned i = 0; i < PLAIN; i++) {
		char key[32], value[700];
		snprintf(key, sizeof(key), "key/%03u", i % 50);
		snprintf(value, sizeof(value), "%0*u", 1 + (int)(i * 37 % 600), i);
		if (i > 60 && i % 11 == 10)
			bed_delete(bed, key);
		else
			bed_put(bed, key, value);
	}
	struct store_txn *txn = store_txn_new();
	for (unsigned i = 0; i < 100; i++) {
		char key[32];
		snprintf(key, sizeof(key), "together/%u", i);
		store_txn_put(txn, key, "\0\xff", 2);
	}
	assert_int_equal(bed_do(bed, txn, NULL), STORE_OK);
	bed_put(bed, "empty", "");
	bed_put(bed, "v1/apps/a", "app");
	bed_put(bed, "v1/releases/a", "release");
	bed_put(bed, "v1/leader", "somebody");
	bed_put(bed, "v1/servers/one", "somebody");
}

static void take(struct bed *bed, struct backup *ret)
{
	backup_take(bed->store, "a1b2c3", ret);
}

static char *write_file(struct bed *bed, const char *dir)
{
	AUTO_BACKUP struct backup backup = { 0 };
	struct err err = { 0 };
	struct stat st;
	uint64_t bytes = 0;
	char *path = xasprintf("%s/backup", dir);
	take(bed, &backup);
	if (backup_write(&backup, path, &bytes, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, bytes);
	assert_int_equal(st.st_mode & 0777, 0600);
	return path;
}

static void read_file(const char *path, struct backup *ret)
{
	struct err err = { 0 };
	if (backup_read(path, ret, &err) < 0)
		fail_msg("%s", err.text);
}

static void expect_same(const struct backup *a, const struct backup *b)
{
	assert_int_equal(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		const struct record *x = a->records[i], *y = b->records[i];
		assert_string_equal(record_key(x), record_key(y));
		assert_int_equal(x->value_len, y->value_len);
		assert_memory_equal(record_value(x), record_value(y), x->value_len);
		assert_int_equal(x->create_revision, y->create_revision);
		assert_int_equal(x->mod_revision, y->mod_revision);
		assert_int_equal(x->version, y->version);
		assert_int_equal(x->operation, y->operation);
	}
}

// ---- the file

static void test_file(void **state)
{
	struct bed *bed = *state;
	AUTO_FREE char *dir = bed_temp_dir();
	AUTO_BACKUP struct backup taken = { 0 }, read = { 0 };
	fill(bed);
	take(bed, &taken);
	uint64_t revision = store_revision(bed->store);
	AUTO_FREE char *path = write_file(bed, dir);
	bed_put(bed, "key/001", "later"); // the backup stays as it was
	read_file(path, &read);
	assert_string_equal(read.platform, "a1b2c3");
	assert_string_equal(read.epoch, store_epoch(bed->store));
	assert_string_equal(read.driver, store_driver(bed->store));
	assert_int_equal(read.revision, revision);
	expect_same(&read, &taken);
	for (size_t i = 0; i < read.count; i++)
		assert_false(str_starts(record_key(read.records[i]), "v1/servers/") ||
			     str_eq(record_key(read.records[i]), "v1/leader"));
	AUTO_FREE char *temp = xasprintf("%s.writing", path);
	assert_int_equal(file_exists(temp), 0);
	assert_int_equal(tree_remove(dir, NULL), 0);
}

static void expect_refused(const char *path, const char *bytes, size_t n, const char *what)
{
	AUTO_BACKUP struct backup backup = { 0 };
	struct err err = { 0 };
	assert_int_equal(file_write_atomic(path, bytes, n, 0600, NULL), 0);
	int r = backup_read(path, &backup, &err);
	if (r != -EUCLEAN && r != -EPROTO)
		fail_msg("%s: not refused (%d)", what, r);
	assert_non_null(strstr(err.text, path));
}

static void test_damage(void **state)
{
	struct bed *bed = *state;
	AUTO_FREE char *dir = bed_temp_dir();
	fill(bed);
	AUTO_FREE char *path = write_file(bed, dir);
	AUTO_BUF struct buf file = BUF_INIT(1 << 20);
	assert_int_equal(file_read(path, &file, NULL), 0);
	size_t n = buf_len(&file);
	char *bytes = buf_data(&file), what[64];
	struct rng rng = { .state = 7 };
	for (size_t i = 0; i < 600; i++) {
		size_t at = i < 200 ? i : rng_below(&rng, n);
		snprintf(what, sizeof(what), "byte %zu changed", at);
		char flip = (char)(1 + rng_below(&rng, 255));
		bytes[at] ^= flip;
		expect_refused(path, bytes, n, what);
		bytes[at] ^= flip;
	}
	for (size_t i = 0; i < 300; i++) {
		size_t end = i < 200 ? i : rng_below(&rng, n);
		snprintf(what, sizeof(what), "cut at %zu", end);
		expect_refused(path, bytes, end, what);
	}
	expect_refused(path, bytes, n - 1, "without its last byte");
	assert_int_equal(buf_add(&file, "x", 1), 0);
	expect_refused(path, buf_data(&file), n + 1, "with one more");
	assert_int_equal(tree_remove(dir, NULL), 0);
}

// The place is named.
static void test_place(void **state)
{
	struct bed *bed = *state;
	AUTO_FREE char *dir = bed_temp_dir();
	AUTO_BACKUP struct backup backup = { 0 };
	struct err err = { 0 };
	bed_put(bed, "a", "1");
	bed_put(bed, "b", "2");
	AUTO_FREE char *path = write_file(bed, dir);
	AUTO_BUF struct buf file = BUF_INIT(1 << 20);
	assert_int_equal(file_read(path, &file, NULL), 0);
	size_t second = 128 + 8 + 36 + 2;
	buf_data(&file)[second + 8 + 36 + 1] ^= 1; // of the value: only the record's own checksum can tell where
	assert_int_equal(file_write_atomic(path, buf_data(&file), buf_len(&file), 0600, NULL), 0);
	assert_int_equal(backup_read(path, &backup, &err), -EUCLEAN);
	AUTO_FREE char *place = xasprintf("byte %zu: record 2 of 2", second);
	if (!strstr(err.text, place))
		fail_msg("'%s' does not say '%s'", err.text, place);
	assert_int_equal(truncate(path, (off_t)second + 30), 0);
	assert_int_equal(backup_read(path, &backup, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "within record 2 of 2"));
	assert_int_equal(tree_remove(dir, NULL), 0);
}

// ---- restoring

// Closes the bed's store where that is needed, restores, opens it again.
static int restore_into(struct bed *bed, const struct backup *backup, bool replace, struct err *err)
{
	const struct restore_options options = { .replace = replace, .orders = "v1/apps/" };
	if (!bed->dir && !bed->cluster) {
		store_memory_restore(bed->store, backup);
		return 0;
	}
	if (bed->cluster) {
		struct loop *loop = loop_new();
		int r = store_restore_etcd(loop, bed->cluster->url, NULL, backup, &options, err);
		loop_free(loop);
		return r;
	}
	bed_close(bed);
	int r = store_restore_sqlite(bed->dir, backup, &options, err);
	struct err ignored = { 0 };
	assert_int_equal(bed_open(bed, &ignored), 0);
	return r;
}

static int signum(int64_t n)
{
	return (n > 0) - (n < 0);
}

// Whoever was created, or changed, before another still was; never the other way round.
static void expect_order(const struct backup *was, const struct backup *is)
{
	assert_int_equal(was->count, is->count);
	for (size_t i = 0; i < was->count; i++) {
		for (size_t k = 0; k < was->count; k++) {
			const struct record *a = was->records[i], *b = was->records[k];
			const struct record *x = is->records[i], *y = is->records[k];
			assert_true(signum((int64_t)(a->create_revision - b->create_revision)) *
					    signum((int64_t)(x->create_revision - y->create_revision)) >=
				    0);
			assert_true(signum((int64_t)(a->mod_revision - b->mod_revision)) *
					    signum((int64_t)(x->mod_revision - y->mod_revision)) >=
				    0);
			assert_true(signum((int64_t)(a->create_revision - b->mod_revision)) *
					    signum((int64_t)(x->create_revision - y->mod_revision)) >=
				    0);
			// What was there before an app was made cannot be taken for something of it.
			if (str_starts(record_key(b), "v1/apps/") && a->create_revision < b->create_revision)
				assert_true(x->create_revision < y->create_revision);
		}
	}
}

static void wait_for_epoch(struct bed *bed, const char *before)
{
	for (uint64_t until = monotonic_ms() + 10000;
	     str_eq(store_epoch(bed->store), before) && monotonic_ms() < until;)
		bed_turn(bed);
	assert_string_not_equal(store_epoch(bed->store), before);
}

static void woken(UNUSED struct task *task)
{
}

static void restore_over(struct bed *from, struct bed *to)
{
	struct err err = { 0 };
	AUTO_BACKUP struct backup backup = { 0 }, now = { 0 };
	fill(from);
	take(from, &backup);
	bed_put(to, "key/001", "to go");
	bed_put(to, "other", "to go");
	bool open_throughout = !to->dir;
	AUTO_FREE char *epoch = xstrdup(store_epoch(to->store));
	uint64_t revision = store_revision(to->store);
	struct task task;
	struct store_watch watch = { 0 };
	task_init(&task, to->loop, "watcher", woken);
	if (open_throughout)
		store_watch_start(&watch, to->store, "", revision, &task);
	else // one who does not ask is refused
		assert_int_equal(restore_into(to, &backup, false, &err), -EEXIST);
	if (restore_into(to, &backup, true, &err) < 0)
		fail_msg("%s", err.text);
	wait_for_epoch(to, epoch);
	take(to, &now);
	expect_order(&backup, &now);
	if (backup_compare(&backup, to->store, &err) < 0)
		fail_msg("%s", err.text);
	assert_null(store_get(to->store, "other"));
	assert_null(store_get(to->store, "v1/leader"));
	if (!to->cluster)
		expect_same(&backup, &now);
	assert_true(store_revision(to->store) >= revision);
	if (open_throughout) {
		struct store_event e;
		assert_int_equal(store_watch_next(&watch, &e), STORE_WATCH_LIST_AGAIN);
		assert_int_equal(store_watch_why(&watch), STORE_EPOCH_CHANGED);
		store_watch_stop(&watch);
	}
	uint64_t next = bed_put(to, "key/001", "after");
	assert_true(next > revision && next > store_get(to->store, "key/002")->mod_revision);
	task_clear(&task);
}

static void test_restore(void **state)
{
	struct bed *to = *state;
	struct bed *from = bed_new_memory();
	restore_over(from, to);
	bed_free(from);
}

static void test_restore_from_etcd(UNUSED void **state)
{
	struct bed *from = bed_new_etcd(bed_cluster), *to = bed_new_sqlite();
	restore_over(from, to);
	bed_reopen(to);
	assert_string_equal(bed_value(to, "key/001"), "after");
	bed_free(to);
	bed_free(from);
}

static void test_epoch_stays(UNUSED void **state)
{
	struct bed *bed = bed_new_sqlite();
	AUTO_FREE char *epoch = xstrdup(store_epoch(bed->store));
	bed_put(bed, "a", "1");
	bed_reopen(bed);
	assert_string_equal(store_epoch(bed->store), epoch);
	bed_free(bed);
}

// A folder that a server has open is left alone; what was replaced is kept.
static void test_sqlite_target(UNUSED void **state)
{
	const struct restore_options options = { .replace = true };
	struct bed *from = bed_new_memory(), *to = bed_new_sqlite();
	struct err err = { 0 };
	AUTO_BACKUP struct backup backup = { 0 };
	bed_put(from, "a", "new");
	bed_put(to, "a", "old");
	take(from, &backup);
	assert_int_equal(store_restore_sqlite(to->dir, &backup, &options, &err), -EBUSY);
	assert_string_equal(bed_value(to, "a"), "old");
	bed_close(to);
	AUTO_FREE char *slashes = xasprintf("%s//", to->dir);
	if (store_restore_sqlite(slashes, &backup, &options, &err) < 0)
		fail_msg("%s", err.text);
	bed_reopen(to);
	assert_string_equal(bed_value(to, "a"), "new");
	AUTO_FREE char *before = xasprintf("%s.before-restore", to->dir);
	AUTO_FREE char *temp = xasprintf("%s.restoring", to->dir);
	assert_int_equal(file_exists(temp), 0);
	bed_close(to);
	AUTO_FREE char *dir = to->dir;
	to->dir = before;
	bed_reopen(to);
	assert_string_equal(bed_value(to, "a"), "old");
	bed_close(to);
	assert_int_equal(tree_remove(before, NULL), 0);
	to->dir = TAKE_PTR(dir);

	// Into nothing, and over a damaged one.
	assert_int_equal(tree_remove(to->dir, NULL), 0);
	assert_int_equal(store_restore_sqlite(to->dir, &backup, &(struct restore_options){ 0 }, &err), 0);
	AUTO_FREE char *db = xasprintf("%s/store.db", to->dir);
	assert_int_equal(truncate(db, 5000), 0);
	assert_int_equal(bed_open(to, &err), -EUCLEAN);
	assert_int_equal(store_restore_sqlite(to->dir, &backup, &options, &err), 0);
	bed_reopen(to);
	assert_string_equal(bed_value(to, "a"), "new");
	AUTO_FREE char *kept = xasprintf("%s.before-restore", to->dir);
	assert_int_equal(tree_remove(kept, NULL), 0);
	bed_free(to);
	bed_free(from);
}

// What was made before a restore and comes after it is not applied; while it goes on, nothing is.
static void test_writes_over_a_restore(UNUSED void **state)
{
	struct bed *bed = bed_new_etcd(bed_cluster), *from = bed_new_memory();
	struct err err = { 0 };
	AUTO_BACKUP struct backup backup = { 0 };
	bed_put(from, "a", "restored");
	take(from, &backup);
	bed_put(bed, "a", "before");
	AUTO_FREE char *epoch = xstrdup(store_epoch(bed->store));
	if (restore_into(bed, &backup, true, &err) < 0) // on a loop of its own: this store has not heard of it
		fail_msg("%s", err.text);
	struct store_txn *txn = store_txn_new();
	store_txn_if_absent(txn, "b");
	store_txn_put(txn, "b", "late", 4);
	AUTO_OUTCOME struct outcome o = { 0 };
	assert_int_equal(bed_do(bed, txn, &o), STORE_EPOCH_CHANGED);
	wait_for_epoch(bed, epoch);
	assert_string_equal(bed_value(bed, "a"), "restored");
	assert_null(store_get(bed->store, "b"));
	bed_put(bed, "b", "now");

	bed_free(from);
	bed_free(bed);
}

static pid_t restore_elsewhere(const struct backup *backup)
{
	const struct restore_options options = { .replace = true, .orders = "" };
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(store_restore_etcd(loop_new(), bed_cluster->url, NULL, backup, &options, NULL) < 0);
	return pid;
}

// Killed in the middle: the store stays closed, to who uses it and to who comes new, until it is restored again.
static void test_broken_off(UNUSED void **state)
{
	struct bed *bed = bed_new_etcd(bed_cluster), *from = bed_new_memory();
	struct store *late = NULL;
	struct err err = { 0 };
	AUTO_BACKUP struct backup backup = { 0 };
	for (int i = 0; i < 3000; i++) {
		char key[32];
		snprintf(key, sizeof(key), "many/%04d", i);
		bed_put(from, key, "restored");
	}
	take(from, &backup);
	bed_put(bed, "a", "before");
	AUTO_FREE char *epoch = xstrdup(store_epoch(bed->store));
	pid_t pid = restore_elsewhere(&backup);
	enum store_result r = STORE_OK;
	for (int i = 0; i < 10000 && r == STORE_OK; i++) {
		struct store_txn *txn = store_txn_new();
		store_txn_put(txn, "a", "meanwhile", 9);
		r = bed_do(bed, txn, NULL);
	}
	kill(pid, SIGKILL);
	int status = 0;
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status)); // it was not done yet
	assert_int_equal(r, STORE_EPOCH_CHANGED);
	assert_string_equal(bed_value(bed, "a"), "meanwhile"); // reads go on

	const struct store_etcd_options quick = { .open_ms = 1000 };
	assert_true(store_open_etcd(bed->loop, bed_cluster->url, &quick, (struct store_owner){ 0 }, &late, &err) < 0);
	assert_non_null(strstr(err.text, "being restored"));
	assert_int_equal(restore_into(bed, &backup, false, &err), -EEXIST);
	if (restore_into(bed, &backup, true, &err) < 0)
		fail_msg("%s", err.text);
	wait_for_epoch(bed, epoch);
	if (backup_compare(&backup, bed->store, &err) < 0)
		fail_msg("%s", err.text);
	bed_put(bed, "a", "after");
	bed_free(from);
	bed_free(bed);
}

#define TEST(f, open) cmocka_unit_test_setup_teardown(f, open, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_file, bed_setup_memory),    TEST(test_file, bed_setup_sqlite),
		TEST(test_damage, bed_setup_memory),  TEST(test_place, bed_setup_memory),
		TEST(test_restore, bed_setup_memory), TEST(test_restore, bed_setup_sqlite),
		cmocka_unit_test(test_epoch_stays),   cmocka_unit_test(test_sqlite_target),
	};
	const struct CMUnitTest etcd[] = {
		TEST(test_file, bed_setup_etcd),          TEST(test_restore, bed_setup_etcd),
		cmocka_unit_test(test_restore_from_etcd), cmocka_unit_test(test_writes_over_a_restore),
		cmocka_unit_test(test_broken_off),
	};
	bed_use_memory();
	int failed = cmocka_run_group_tests_name("backup", tests, NULL, NULL);
	if (!cluster_possible())
		return failed;
	return failed + cmocka_run_group_tests_name("backup, etcd", etcd, bed_cluster_one, bed_cluster_free);
}
