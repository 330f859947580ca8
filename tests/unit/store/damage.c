// Flipped bytes in the store's files: found and named, or without effect. Never a store that silently says less, or
// else.
#include "bed.h"

#include "base/buf.h"
#include "base/rng.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <sqlite3.h>
#include <sys/stat.h>

enum { KEYS = 150, FLIPS = 400, WAL_FLIPS = 200 };

struct image { // of the two files
	struct buf db, wal;
};

static void read_image(const char *dir, struct image *image)
{
	AUTO_FREE char *db = xasprintf("%s/store.db", dir);
	AUTO_FREE char *wal = xasprintf("%s/store.db-wal", dir);
	image->db = BUF_INIT(64 << 20);
	image->wal = BUF_INIT(64 << 20);
	assert_int_equal(file_read(db, &image->db, NULL), 0);
	int r = file_read(wal, &image->wal, NULL);
	assert_true(r == 0 || r == -ENOENT);
}

static void write_image(const char *dir, const struct image *image)
{
	AUTO_FREE char *db = xasprintf("%s/store.db", dir);
	AUTO_FREE char *wal = xasprintf("%s/store.db-wal", dir);
	assert_int_equal(file_write_atomic(db, buf_data(&image->db), buf_len(&image->db), 0600, NULL), 0);
	unlink(wal);
	if (buf_len(&image->wal))
		assert_int_equal(file_write_atomic(wal, buf_data(&image->wal), buf_len(&image->wal), 0600, NULL), 0);
}

static void free_image(struct image *image)
{
	buf_clear(&image->db);
	buf_clear(&image->wal);
}

static void fill(struct bed *bed)
{
	for (unsigned i = 0; i < KEYS; i++) {
		char key[32], value[700];
		snprintf(key, sizeof(key), "key/%03u", i % 60);
		snprintf(value, sizeof(value), "%0*u", 20 + (int)(i * 37 % 600), i);
		if (i > 60 && i % 11 == 10)
			bed_delete(bed, key);
		else
			bed_put(bed, key, value);
	}
}

// All of the content, as one text.
static char *content(const struct store *store)
{
	AUTO_BUF struct buf text = BUF_INIT(16 << 20);
	buf_addf(&text, "%llu\n", (unsigned long long)store_revision(store));
	for (const struct record *r = store_next(store, "", NULL); r; r = store_next(store, "", record_key(r)))
		buf_addf(&text, "%s %llu %llu %llu %llu %s\n", record_key(r), (unsigned long long)r->create_revision,
			 (unsigned long long)r->mod_revision, (unsigned long long)r->version,
			 (unsigned long long)r->operation, record_value(r));
	return buf_take(&text);
}

static void test_flips_in_the_file(UNUSED void **state)
{
	struct bed *bed = bed_new_sqlite();
	fill(bed);
	AUTO_FREE char *want = content(bed->store);
	bed_close(bed);
	struct image image;
	read_image(bed->dir, &image);
	struct rng rng = { .state = 3 };
	unsigned found = 0;
	for (unsigned i = 0; i < FLIPS; i++) {
		struct err err = { 0 };
		size_t at = rng_below(&rng, i % 4 ? buf_len(&image.db) : 200);
		char flip = (char)(1 + rng_below(&rng, 255));
		buf_data(&image.db)[at] ^= flip;
		write_image(bed->dir, &image);
		buf_data(&image.db)[at] ^= flip;
		int r = bed_open(bed, &err);
		if (r < 0) {
			found++;
			assert_non_null(strstr(err.text, bed->dir));
			if (!err.hint[0])
				fail_msg("no hint: %s", err.text);
			continue;
		}
		AUTO_FREE char *is = content(bed->store);
		if (strcmp(is, want) != 0)
			fail_msg("byte %zu of store.db changed by %02x: not noticed", at, (unsigned char)flip);
		bed_close(bed);
	}
	print_message("%u of %u flipped bytes refused, the others without effect\n", found, FLIPS);
	assert_true(found > FLIPS / 2);
	free_image(&image);
	bed_free(bed);
}

// As a crash leaves it: nothing has been moved from the write-ahead log into the file.
static void test_flips_in_the_wal(UNUSED void **state)
{
	struct bed *bed = bed_new_sqlite();
	fill(bed);
	AUTO_FREE char *want = content(bed->store);
	struct image image;
	read_image(bed->dir, &image);
	bed_close(bed);
	size_t used = buf_len(&image.wal);
	while (used && !buf_data(&image.wal)[used - 1])
		used--;
	assert_true(used > 100000);

	struct rng rng = { .state = 4 };
	unsigned found = 0, torn = 0;
	for (unsigned i = 0; i < WAL_FLIPS; i++) {
		struct err err = { 0 };
		size_t at = rng_below(&rng, i % 4 ? used : 32);
		char flip = (char)(1 + rng_below(&rng, 255));
		buf_data(&image.wal)[at] ^= flip;
		write_image(bed->dir, &image);
		buf_data(&image.wal)[at] ^= flip;
		if (bed_open(bed, &err) < 0) {
			found++;
			assert_int_equal(err.code, -EUCLEAN);
			assert_non_null(strstr(err.text, "store.db-wal"));
			continue;
		}
		// The last transaction alone cannot be told from one that a power cut tore.
		AUTO_FREE char *is = content(bed->store);
		bool last = store_revision(bed->store) == strtoull(want, NULL, 10) - 1;
		if (strcmp(is, want) != 0 && !last)
			fail_msg("byte %zu of store.db-wal changed by %02x: not noticed", at, (unsigned char)flip);
		torn += last;
		bed_close(bed);
	}
	print_message("%u of %u flipped bytes refused, %u taken for a torn end\n", found, WAL_FLIPS, torn);
	assert_true(found > WAL_FLIPS * 8 / 10);
	free_image(&image);
	bed_free(bed);
}

static void test_torn_end_is_no_damage(UNUSED void **state)
{
	struct bed *bed = bed_new_sqlite();
	fill(bed);
	uint64_t revision = store_revision(bed->store);
	struct image image;
	read_image(bed->dir, &image);
	bed_close(bed);
	size_t used = buf_len(&image.wal);
	while (used && !buf_data(&image.wal)[used - 1])
		used--;
	buf_data(&image.wal)[used - 1] ^= 1;
	write_image(bed->dir, &image);
	bed_reopen(bed);
	assert_int_equal(store_revision(bed->store), revision - 1);
	assert_int_equal(bed_put(bed, "after", "v"), revision);
	free_image(&image);
	bed_free(bed);
}

static void run_sql(const char *dir, const char *sql)
{
	AUTO_FREE char *path = xasprintf("%s/store.db", dir);
	sqlite3 *db = NULL;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

// What no flipped byte does, but a lost write or a hand may: rows that are whole, but not all there, or not ours.
static void test_rows_that_do_not_fit(UNUSED void **state)
{
	static const struct {
		const char *sql, *text;
	} cases[] = {
		{ "DELETE FROM log WHERE id >> 7 = 50", "missing" },
		{ "DELETE FROM log WHERE id >> 7 = 1", "missing" },
		{ "UPDATE log SET value = 'x' WHERE id >> 7 = 50", "revision 50" },
		{ "UPDATE log SET id = (1000 << 7) WHERE id >> 7 = 150", "missing" },
		{ "DELETE FROM log WHERE id = (151 << 7) + 1", "not whole" },
		{ "INSERT INTO meta VALUES(1, 50, 0)", "meta" },
		{ "PRAGMA application_id = 5", "not" },
		{ "PRAGMA user_version = 99", "layout 99" },
		{ "DROP TABLE log", "log" },
	};
	struct bed *bed = bed_new_sqlite();
	fill(bed);
	struct store_txn *txn = store_txn_new();
	store_txn_put(txn, "two/1", "", 0);
	store_txn_put(txn, "two/2", "", 0);
	bed_do(bed, txn, NULL);
	bed_close(bed);
	struct image image;
	read_image(bed->dir, &image);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = { 0 };
		write_image(bed->dir, &image);
		run_sql(bed->dir, cases[i].sql);
		if (bed_open(bed, &err) == 0)
			fail_msg("after '%s': not noticed", cases[i].sql);
		if (!strstr(err.text, cases[i].text) || !strstr(err.text, "store.db"))
			fail_msg("after '%s': %s", cases[i].sql, err.text);
	}
	free_image(&image);
	bed_free(bed);
}

static void test_not_a_database(UNUSED void **state)
{
	struct bed *bed = bed_new_sqlite();
	bed_close(bed);
	AUTO_FREE char *path = xasprintf("%s/store.db", bed->dir);
	static const char text[] =
		"this was a letter to my aunt, and it is long enough to have a header of its own ......";
	struct err err = { 0 };
	assert_int_equal(file_write_atomic(path, text, sizeof(text), 0600, NULL), 0);
	assert_int_equal(bed_open(bed, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, path));
	bed_free(bed);
}

static void test_one_process_at_a_time(UNUSED void **state)
{
	struct bed *bed = bed_new_sqlite();
	struct bed second = { .loop = bed->loop, .dir = bed->dir };
	struct err err = { 0 };
	assert_int_equal(bed_open(&second, &err), -EBUSY);
	AUTO_FREE char *pid = xasprintf("process %d", (int)getpid());
	assert_non_null(strstr(err.text, pid));
	assert_int_equal(bed_put(bed, "still", "works"), 1);
	bed_reopen(bed);
	assert_string_equal(bed_value(bed, "still"), "works");

	static const char *const names[] = { "store.db", "store.db-wal", "lock" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) { // for nobody else's eyes
		struct stat st;
		AUTO_FREE char *path = xasprintf("%s/%s", bed->dir, names[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	bed_free(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flips_in_the_file),     cmocka_unit_test(test_flips_in_the_wal),
		cmocka_unit_test(test_torn_end_is_no_damage), cmocka_unit_test(test_rows_that_do_not_fit),
		cmocka_unit_test(test_not_a_database),        cmocka_unit_test(test_one_process_at_a_time),
	};
	bed_use_memory();
	return cmocka_run_group_tests_name("damage", tests, NULL, NULL);
}
