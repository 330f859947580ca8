// Disks that are full or fail: by a VFS that refuses, at every single call in turn, and by a small file system for
// real.
#include "bed.h"
#include "faultvfs.h"

#include "base/str.h"
#include "io/file.h"
#include "io/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/wait.h>

enum { VALUE = 3000 };

static enum store_result put_number(struct bed *bed, unsigned n)
{
	char key[32], value[VALUE + 1];
	snprintf(key, sizeof(key), "k/%u", n);
	snprintf(value, sizeof(value), "%-*u", VALUE, n);
	struct store_txn *txn = store_txn_new();
	store_txn_if_absent(txn, key);
	store_txn_put(txn, key, value, strlen(value));
	store_txn_put(txn, "count", value, strlen(value));
	return bed_do(bed, txn, NULL);
}

// k/0 … k/(n - 1) and nothing else.
static void expect_numbers(struct bed *bed, unsigned n)
{
	AUTO_STORE_LIST struct store_list list = { 0 };
	store_list(bed->store, "k/", NULL, 1000000, &list);
	assert_int_equal(list.count, n);
	for (unsigned i = 0; i < n; i++) {
		char key[32];
		snprintf(key, sizeof(key), "k/%u", i);
		assert_int_equal(strtoul(bed_value(bed, key), NULL, 10), i);
	}
	assert_int_equal(n ? strtoul(bed_value(bed, "count"), NULL, 10) : 0, n ? n - 1 : 0);
}

static unsigned put_until_full(struct bed *bed, unsigned n)
{
	enum store_result r;
	while ((r = put_number(bed, n)) == STORE_OK && n < 100000)
		n++;
	assert_int_equal(r, STORE_NO_SPACE);
	return n;
}

static void test_full_and_room_again(UNUSED void **state)
{
	faultvfs_reset(1);
	faultvfs_limit(2 << 20);
	struct bed *bed = bed_new_sqlite();
	bed->options = (struct revlog_options){ .vfs = "fault", .checkpoint_frames = 50 };
	bed_reopen(bed);
	unsigned n = put_until_full(bed, 0);
	struct store_stats stats;
	store_stats(bed->store, &stats);
	assert_true(stats.full);
	assert_true(n > 100);
	for (int i = 0; i < 5; i++)
		assert_int_equal(put_number(bed, n), STORE_NO_SPACE);
	expect_numbers(bed, n); // reads go on
	assert_int_equal(store_revision(bed->store), n);

	bed_reopen(bed); // also when it is full
	expect_numbers(bed, n);
	assert_int_equal(put_until_full(bed, n), n);

	faultvfs_limit(4 << 20);
	unsigned more = put_until_full(bed, n);
	assert_true(more > n + 100);
	faultvfs_limit(0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(put_number(bed, more++), STORE_OK);
	store_stats(bed->store, &stats);
	assert_false(stats.full);
	bed_reopen(bed);
	expect_numbers(bed, more);
	assert_int_equal(bed->fatal, 0);
	bed_free(bed);
}

// Makes the n-th write or sync fail, for n = 1, 2, … until there is none that a short life does not get past.
static bool fails_at(unsigned at, int code, bool for_good)
{
	enum { PUTS = 25 };
	faultvfs_reset(1);
	struct bed *bed = bed_new_sqlite();
	bed->options = (struct revlog_options){ .vfs = "fault", .checkpoint_frames = 10 };
	bed_reopen(bed);
	faultvfs_fail_at(at, code, for_good);
	unsigned n = 0;
	bool met = false, sure = true;
	for (unsigned i = 0; i < PUTS; i++) {
		unsigned fatal = bed->fatal;
		enum store_result r = put_number(bed, n);
		if (r == STORE_OK) {
			assert_int_equal(fatal, 0); // nothing is acknowledged after a failure
			n++;
			continue;
		}
		met = true;
		if (code == SQLITE_FULL)
			assert_int_equal(r, STORE_NO_SPACE);
		else
			assert_true(r == STORE_UNKNOWN || r == STORE_SHUTTING_DOWN);
		sure = sure && r != STORE_UNKNOWN;
	}
	met = met || bed->fatal;
	if (bed->fatal)
		assert_true(strstr(bed->fatal_err.text, "store.db") != NULL);
	assert_int_equal(bed->fatal, met && code != SQLITE_FULL);
	expect_numbers(bed, n);
	faultvfs_fail_at(1000000, SQLITE_OK, false);
	bed_reopen(bed);
	// One that is unknown may have been applied.
	expect_numbers(bed, n + (!sure && store_revision(bed->store) == n + 1));
	bed_free(bed);
	return met;
}

static void sweep(int code, bool for_good)
{
	unsigned failed = 0, at = 1;
	for (; at < 160; at++)
		failed += fails_at(at, code, for_good);
	print_message("code %d%s: %u of %u calls failed something\n", code, for_good ? " for good" : "", failed,
		      at - 1);
	assert_true(failed > 80);
}

static void test_full_at_every_call(UNUSED void **state)
{
	sweep(SQLITE_FULL, false);
}

static void test_write_error_at_every_call(UNUSED void **state)
{
	sweep(SQLITE_IOERR_WRITE, false);
}

static void test_sync_error_at_every_call(UNUSED void **state)
{
	sweep(SQLITE_IOERR_FSYNC, true);
}

// ---- a real one

static bool own_mounts(void)
{
	return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static void fill(const char *path)
{
	static const char zeros[64 << 10];
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
}

// All of them, one by one, which takes more room than is left without what is held back.
static void expect_deletes_go_on(struct bed *bed)
{
	struct store_stats stats;
	AUTO_STORE_LIST struct store_list list = { 0 };
	store_list(bed->store, "", NULL, SIZE_MAX, &list);
	for (size_t i = 0; i < list.count; i++) {
		struct outcome put = { 0 }, delete = { 0 };
		struct store_txn *t = store_txn_new();
		store_txn_put(t, "more", "x", 1);
		bed_commit(bed, t, &put);
		t = store_txn_new();
		store_txn_delete(t, record_key(list.records[i]));
		bed_commit(bed, t, &delete); // in one batch with what is refused
		bed_wait(bed, &delete.done);
		assert_int_equal(delete.result, STORE_OK);
		assert_int_equal(put.result, STORE_NO_SPACE);
	}
	store_stats(bed->store, &stats);
	assert_true(stats.full);
	assert_int_equal(stats.records, 0);
	assert_int_equal(stats.ballast, 0);
	for (int i = 0; i < 1000 && stats.history_rows; i++) {
		bed_turn(bed);
		store_stats(bed->store, &stats);
	}
	assert_int_equal(stats.history_rows, 0);
}

static void test_small_file_system(UNUSED void **state)
{
	if (!own_mounts())
		skip();
	AUTO_FREE char *mount_point = bed_temp_dir();
	assert_int_equal(mount("tmpfs", mount_point, "tmpfs", 0, "size=24m,mode=0700"), 0);
	struct bed *bed = bed_new_sqlite();
	bed_close(bed);
	assert_int_equal(tree_remove(bed->dir, NULL), 0);
	free(bed->dir);
	bed->dir = xasprintf("%s/store", mount_point);
	AUTO_FREE char *filler = xasprintf("%s/filler", mount_point);
	bed_reopen(bed);
	struct store_stats stats;
	store_stats(bed->store, &stats);
	assert_true(stats.ballast >= 1 << 20);

	unsigned n = 0;
	for (; n < 100; n++)
		assert_int_equal(put_number(bed, n), STORE_OK);
	fill(filler);
	n = put_until_full(bed, n);
	expect_numbers(bed, n);
	expect_deletes_go_on(bed);
	n = 0;
	assert_int_equal(unlink(filler), 0);
	for (unsigned end = n + 500; n < end; n++)
		assert_int_equal(put_number(bed, n), STORE_OK);
	fill(filler);
	n = put_until_full(bed, n);
	bed_reopen(bed);
	expect_numbers(bed, n);
	assert_int_equal(bed->fatal, 0);
	bed_free(bed);
	assert_int_equal(umount(mount_point), 0);
	assert_int_equal(rmdir(mount_point), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full_and_room_again),       cmocka_unit_test(test_full_at_every_call),
		cmocka_unit_test(test_write_error_at_every_call), cmocka_unit_test(test_sync_error_at_every_call),
		cmocka_unit_test(test_small_file_system),
	};
	bed_use_memory();
	faultvfs_register();
	return cmocka_run_group_tests_name("full", tests, NULL, NULL);
}
