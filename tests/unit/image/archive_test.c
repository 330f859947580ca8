// Archives as people bring them, well meant and not. They are made here with libarchive, which writes what it is told.
#include "tree.h"

#include "image/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <unistd.h>

struct item {
	const char *path;
	unsigned type; // AE_IFREG …
	const char *content, *link, *hard_link;
	mode_t mode;
};

enum form { FORM_TAR, FORM_TGZ, FORM_ZIP };

static size_t make(enum form form, const struct item *items, size_t n, char *out, size_t size)
{
	struct archive *a = archive_write_new();
	if (form == FORM_ZIP)
		archive_write_set_format_zip(a);
	else
		archive_write_set_format_pax_restricted(a);
	if (form == FORM_TGZ)
		archive_write_add_filter_gzip(a);
	size_t used = 0;
	assert_int_equal(archive_write_open_memory(a, out, size, &used), ARCHIVE_OK);
	for (size_t i = 0; i < n; i++) {
		struct archive_entry *e = archive_entry_new();
		archive_entry_set_pathname(e, items[i].path);
		archive_entry_set_filetype(e, items[i].type);
		archive_entry_set_perm(e, items[i].mode ? items[i].mode : 0644);
		archive_entry_set_size(e, items[i].content ? (la_int64_t)strlen(items[i].content) : 0);
		if (items[i].link)
			archive_entry_set_symlink(e, items[i].link);
		if (items[i].hard_link)
			archive_entry_set_hardlink(e, items[i].hard_link);
		assert_true(archive_write_header(a, e) >= ARCHIVE_WARN);
		if (items[i].content)
			archive_write_data(a, items[i].content, strlen(items[i].content));
		archive_entry_free(e);
	}
	archive_write_close(a);
	archive_write_free(a);
	return used;
}

static int unpack(enum form form, const struct item *items, size_t n, const char *dir, struct err *err)
{
	AUTO_FREE char *bytes = xmalloc(1 << 20);
	size_t size = make(form, items, n, bytes, 1 << 20);
	return archive_unpack_bytes(bytes, size, "app.tar", dir, NULL, err);
}

static void unpacks_tar_and_zip(void **state)
{
	(void)state;
	static const struct item items[] = {
		{ "./", AE_IFDIR, NULL, NULL, NULL, 0755 },
		{ "./bin/run", AE_IFREG, "#!/bin/sh\n", NULL, NULL, 06711 },
		{ "lib/", AE_IFDIR, NULL, NULL, NULL, 0700 },
		{ "lib/a.txt", AE_IFREG, "text", NULL, NULL, 0600 },
		{ "lib/link", AE_IFLNK, NULL, "../bin/run", NULL, 0777 },
	};
	for (enum form form = FORM_TAR; form <= FORM_ZIP; form++) {
		AUTO_TREE char *dir = tree_new();
		struct err err = { 0 };
		if (unpack(form, items, ARRAY_LEN(items), dir, &err) < 0)
			fail_msg("%s", err.text);
		AUTO_FREE char *text = tree_text(dir, "lib/link");
		assert_string_equal(text, "#!/bin/sh\n");
		struct stat st;
		AUTO_FREE char *run = tree_at(dir, "bin/run"), *lib = tree_at(dir, "lib"),
			       *a = tree_at(dir, "lib/a.txt");
		assert_int_equal(stat(run, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0755);
		assert_int_equal(stat(lib, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0755);
		assert_int_equal(stat(a, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0644);
	}
}

static void hostile_entries_are_refused_by_name(void **state)
{
	(void)state;
	static const struct {
		struct item items[3];
		size_t n;
		const char *path, *says;
	} cases[] = {
		{ { { "/etc/cron.d/x", AE_IFREG, "x" } }, 1, "'/etc/cron.d/x'", "absolute path" },
		{ { { "../x", AE_IFREG, "x" } }, 1, "'../x'", "'..'" },
		{ { { "a/../../x", AE_IFREG, "x" } }, 1, "'a/../../x'", "'..'" },
		{ { { "a/..", AE_IFDIR } }, 1, "'a/../'", "'..'" },
		{ { { "l", AE_IFLNK, NULL, "/etc/passwd" } }, 1, "'l'", "leads out" },
		{ { { "l", AE_IFLNK, NULL, "../x" } }, 1, "'l'", "leads out" },
		{ { { "a/l", AE_IFLNK, NULL, "../../x" } }, 1, "'a/l'", "leads out" },
		{ { { "a/l", AE_IFLNK, NULL, "b/../../../x" } }, 1, "'a/l'", "leads out" },
		{ { { "h", AE_IFREG, NULL, NULL, "/etc/passwd" } }, 1, "'h'", "leads out" },
		{ { { "h", AE_IFREG, NULL, NULL, "../x" } }, 1, "'h'", "leads out" },
		{ { { "h", AE_IFREG, NULL, NULL, "missing" } }, 1, "'h'", "not a file before it" },
		{ { { "d", AE_IFCHR } }, 1, "'d'", "device" },
		{ { { "d", AE_IFBLK } }, 1, "'d'", "device" },
		{ { { "p", AE_IFIFO } }, 1, "'p'", "FIFO" },
		{ { { "a", AE_IFREG, "1" }, { "a", AE_IFREG, "2" } }, 2, "'a'", "twice" },
		{ { { "a", AE_IFREG, "1" }, { "./a", AE_IFREG, "2" } }, 2, "'a'", "twice" },
		{ { { "a", AE_IFLNK, NULL, "b" }, { "a", AE_IFREG, "2" } }, 2, "'a'", "twice" },
		{ { { "a", AE_IFREG, "1" }, { "a/b", AE_IFREG, "2" } }, 2, "'a/b'", "not a folder" },
		{ { { "d", AE_IFLNK, NULL, "e" }, { "d/x", AE_IFREG, "2" } }, 2, "'d'", "twice" },
		{ { { ".git/hooks/pre-commit", AE_IFREG, "x" } }, 1, "'.git/hooks/pre-commit'", ".git" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_TREE char *dir = tree_new();
		AUTO_FREE char *inner = tree_at(dir, "in");
		tree_dir(dir, "in");
		struct err err = { 0 };
		int r = unpack(FORM_TAR, cases[i].items, cases[i].n, inner, &err);
		if (r != -EBADMSG)
			fail_msg("%s: %d %s", cases[i].path, r, err.text);
		assert_says(&err, "app.tar");
		assert_says(&err, cases[i].path);
		assert_says(&err, cases[i].says);
		AUTO_FREE char *outside = tree_at(dir, "x");
		assert_int_equal(access(outside, F_OK), -1);
	}
}

static void bombs_are_refused(void **state)
{
	(void)state;
	size_t size = 64 << 20;
	AUTO_FREE char *zeros = xmalloc(size + 1);
	memset(zeros, '0', size);
	zeros[size] = '\0';
	struct item bomb = { "bomb", AE_IFREG, zeros };
	AUTO_FREE char *bytes = xmalloc(1 << 20);
	for (enum form form = FORM_TGZ; form <= FORM_ZIP; form++) {
		AUTO_TREE char *out = tree_new();
		struct err err = { 0 };
		size_t n = make(form, &bomb, 1, bytes, 1 << 20);
		assert_int_equal(archive_unpack_bytes(bytes, n, "x", out, NULL, &err), -E2BIG);
		assert_says(&err, "decompression bomb");
		assert_says(&err, "'bomb'");
	}
	struct item small[] = { { "a", AE_IFREG, "12345" }, { "b", AE_IFREG, "12345" }, { "c", AE_IFREG, "1" } };
	struct err err = { 0 };
	size_t n = make(FORM_TAR, small, 3, bytes, 1 << 20);
	static const struct archive_limits limits[] = { { 2, 100, 100, 100 }, { 9, 4, 100, 100 }, { 9, 100, 9, 100 } };
	static const char *const says[] = { "more than 2 entries", "'a' is larger than 4",
					    "more than 9 bytes (at 'b')" };
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		AUTO_TREE char *out = tree_new();
		assert_int_equal(archive_unpack_bytes(bytes, n, "x", out, &limits[i], &err), -E2BIG);
		assert_says(&err, says[i]);
	}
}

static void broken_archives_are_refused(void **state)
{
	(void)state;
	AUTO_FREE char *bytes = xmalloc(1 << 20);
	static const struct item items[] = { { "a", AE_IFREG, "some content that is long enough" } };
	size_t n = make(FORM_TGZ, items, 1, bytes, 1 << 20);
	for (size_t cut = 0; cut < n; cut += 9) {
		AUTO_TREE char *dir = tree_new();
		struct err err = { 0 };
		int r = archive_unpack_bytes(bytes, cut, "x", dir, NULL, &err);
		AUTO_FREE char *a = tree_at(dir, "a");
		if (r == 0 && access(a, F_OK) == 0) // only the padding was cut
			continue;
		assert_true(r == -EBADMSG || cut == 0);
	}
	AUTO_TREE char *dir = tree_new();
	struct err err = { 0 };
	assert_int_equal(archive_unpack_bytes("hello, this is text", 19, "notes.txt", dir, NULL, &err), -EBADMSG);
	assert_says(&err, "notes.txt");
	assert_int_equal(archive_unpack("/tmp/there/is/no/such.zip", dir, NULL, &err), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unpacks_tar_and_zip),
		cmocka_unit_test(hostile_entries_are_refused_by_name),
		cmocka_unit_test(bombs_are_refused),
		cmocka_unit_test(broken_archives_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
