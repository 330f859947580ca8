#include "tree.h"

#include "image/artifact.h"

#include <errno.h>

#define EMPTY_SHA "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define F(path) "F 644 " EMPTY_SHA " 0 " path "\n"

static void pack(const char *dir, struct artifact *a)
{
	struct err err = { 0 };
	if (artifact_pack(dir, NULL, a, &err) < 0)
		fail_msg("%s", err.text);
}

static void pack_gives_the_documented_text(void **state)
{
	(void)state;
	AUTO_TREE char *dir = tree_new();
	tree_file(dir, "b.txt", "", 0600);
	tree_file(dir, "a/run", "", 0700);
	tree_file(dir, "a b%\xc3\xa9", "", 0644);
	tree_dir(dir, "empty");
	tree_dir(dir, ".git");
	tree_file(dir, "sub/.git", "gitdir: x", 0644);
	tree_link(dir, "a/link", "../b.txt");
	AUTO_ARTIFACT struct artifact a = { 0 };
	pack(dir, &a);
	assert_string_equal(a.text, F("a%20b%25%C3%A9") "L ../b.txt a/link\n"
							"F 755 " EMPTY_SHA " 0 a/run\n" F("b.txt") "D empty\nD sub\n");
	AUTO_ARTIFACT struct artifact again = { 0 };
	struct err err = { 0 };
	assert_int_equal(artifact_parse(a.text, a.text_len, &again, &err), 0);
	assert_int_equal(again.n, 6);
	assert_string_equal(again.entries[0].path, "a b%\xc3\xa9");
	assert_string_equal(again.digest, a.digest);
}

static bool packed(const struct artifact *a, const char *path)
{
	for (size_t i = 0; i < a->n; i++)
		if (str_eq(a->entries[i].path, path))
			return true;
	return false;
}

static void pack_honours_ignore_files(void **state)
{
	(void)state;
	AUTO_TREE char *dir = tree_new();
	tree_file(dir, ".gitignore",
		  "# comment\n*.log\n!keep.log\n/dist/\nnode_modules/\ndoc/**/draft\nspace\\ \n\\#hash\ntmp?\n[ab].o\n",
		  0644);
	tree_file(dir, ".dialtoneignore", "!dist/\nREADME.md\n", 0644);
	static const char *const in[] = { "keep.log",        "dist/app.js", "lib/tmp12", "c.o",
					  "lib/y/sub/x.tmp", "doc/final",   "sub/x.tmp" };
	static const char *const out[] = { "x.log",
					   "lib/y.log",
					   "node_modules/p/i.js",
					   "lib/node_modules/q",
					   "doc/a/b/draft",
					   "doc/draft",
					   "space ",
					   "#hash",
					   "tmp1",
					   "a.o",
					   "README.md",
					   "lib/x.tmp" };
	for (size_t i = 0; i < ARRAY_LEN(in); i++)
		tree_file(dir, in[i], "x", 0644);
	for (size_t i = 0; i < ARRAY_LEN(out); i++)
		tree_file(dir, out[i], "x", 0644);
	tree_file(dir, "lib/.gitignore", "/*.tmp\n", 0644);
	tree_file(dir, "again/.gitignore", "!*.log\n", 0644);
	tree_file(dir, "again/wanted.log", "x", 0644);
	AUTO_ARTIFACT struct artifact a = { 0 };
	pack(dir, &a);
	for (size_t i = 0; i < ARRAY_LEN(in); i++)
		if (!packed(&a, in[i]))
			fail_msg("'%s' is missing", in[i]);
	for (size_t i = 0; i < ARRAY_LEN(out); i++)
		if (packed(&a, out[i]))
			fail_msg("'%s' was packed", out[i]);
	assert_true(packed(&a, "again/wanted.log"));
}

static void pack_without_ignoring_takes_all(void **state)
{
	(void)state;
	AUTO_TREE char *dir = tree_new();
	tree_file(dir, ".gitignore", "*\n", 0644);
	tree_file(dir, "x", "1", 0644);
	struct pack_options options = { .no_ignore = true };
	struct err err = { 0 };
	AUTO_ARTIFACT struct artifact a = { 0 };
	assert_int_equal(artifact_pack(dir, &options, &a, &err), 0);
	assert_true(packed(&a, "x"));
}

static void pack_leaves_out_what_it_is_told_to(void **state)
{
	(void)state;
	AUTO_TREE char *dir = tree_new();
	tree_file(dir, "a.yaml", "1", 0644);
	tree_file(dir, "sub/a.yaml", "1", 0644);
	tree_file(dir, "sub/b.yaml", "1", 0644);
	const char *const without[] = { "a.yaml", "sub/b.yaml", NULL };
	struct pack_options options = { .without = without };
	struct err err = { 0 };
	AUTO_ARTIFACT struct artifact a = { 0 };
	assert_int_equal(artifact_pack(dir, &options, &a, &err), 0);
	assert_int_equal(a.n, 1);
	assert_true(packed(&a, "sub/a.yaml"));
}

static void pack_names_what_it_refuses(void **state)
{
	(void)state;
	static const char *const targets[] = { "/etc/passwd", "../x", "a/../../x" };
	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		AUTO_TREE char *dir = tree_new();
		tree_link(dir, "evil", targets[i]);
		struct err err = { 0 };
		AUTO_ARTIFACT struct artifact a = { 0 };
		assert_int_equal(artifact_pack(dir, NULL, &a, &err), -EINVAL);
		assert_says(&err, "'evil' is a link");
		assert_true(strstr(err.hint, ".dialtoneignore") != NULL);
	}
	AUTO_TREE char *dir = tree_new();
	AUTO_FREE char *fifo = tree_at(dir, "pipe");
	assert_int_equal(mkfifo(fifo, 0644), 0);
	struct err err = { 0 };
	AUTO_ARTIFACT struct artifact a = { 0 };
	assert_int_equal(artifact_pack(dir, NULL, &a, &err), -EINVAL);
	assert_says(&err, "'pipe' is a device, socket or FIFO");
}

static void parse_refuses(void **state)
{
	(void)state;
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "F 644 " EMPTY_SHA " 0 a", "cut" },
		{ F("b") F("a"), "not in order" },
		{ F("a") F("a"), "twice" },
		{ F("/a"), "absolute" },
		{ F("a/../b"), "'..'" },
		{ F("./a"), "'.'" },
		{ F("a//b"), "empty part" },
		{ F(".git/config"), ".git" },
		{ F("a") F("a/b"), "lies inside 'a'" },
		{ F("a") F("a-b") F("a/b"), "lies inside 'a'" },
		{ "D a\n" F("a/b"), "lies inside" },
		{ "L b a\n" F("a/b"), "lies inside" },
		{ "L /etc a\n", "leads out" },
		{ "L .. a\n", "leads out" },
		{ "L b/../c a\n", "leads out" },
		{ "L  a\n", "leads out" },
		{ "F 777 " EMPTY_SHA " 0 a\n", "mode" },
		{ "F 644 sha256:abc 0 a\n", "digest" },
		{ "F 644 " EMPTY_SHA " 00 a\n", "size" },
		{ "F 644 " EMPTY_SHA " -1 a\n", "size" },
		{ "F 644 " EMPTY_SHA " 99999999999999999999 a\n", "size" },
		{ "F 644 " EMPTY_SHA " 0 a b\n", "fields" },
		{ F("a%41"), "malformed path" },
		{ F("a%c3"), "malformed path" },
		{ F("a%00"), "malformed path" },
		{ F("a%2"), "malformed path" },
		{ F("\xc3\xa9"), "malformed path" },
		{ "X a\n", "unknown kind" },
		{ "\n", "unknown kind" },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { 0 };
		AUTO_ARTIFACT struct artifact a = { 0 };
		if (artifact_parse(bad[i].text, strlen(bad[i].text), &a, &err) != -EBADMSG)
			fail_msg("accepted: %s", bad[i].text);
		assert_says(&err, bad[i].says);
	}
	struct err err = { 0 };
	AUTO_ARTIFACT struct artifact a = { 0 };
	assert_int_equal(artifact_parse("D a\0\n", 5, &a, &err), -EBADMSG);
	assert_int_equal(artifact_parse("F 644 " EMPTY_SHA " 8589934592 a\nF 644 " EMPTY_SHA " 1 b\n",
					2 * strlen("F 644 " EMPTY_SHA " 1 b\n") + 9, &a, &err),
			 -E2BIG);
	assert_int_equal(artifact_parse("", 0, &a, &err), 0);
}

static void links_stay_inside(void **state)
{
	(void)state;
	assert_true(artifact_link_inside("a/b/c", "../../d"));
	assert_true(artifact_link_inside("a", "b"));
	assert_true(artifact_link_inside("a/b", ".."));
	assert_true(artifact_link_inside("a/b", "c..d/..e"));
	assert_false(artifact_link_inside("a/b", "../.."));
	assert_false(artifact_link_inside("a", "b/.."));
	assert_false(artifact_link_inside("a", ""));
}

static void verify_names_the_file(void **state)
{
	(void)state;
	AUTO_TREE char *root = tree_new();
	tree_file(root, "app/one", "1", 0644);
	tree_file(root, "app/two", "2", 0755);
	AUTO_FREE char *app = tree_at(root, "app");
	AUTO_ARTIFACT struct artifact a = { 0 };
	pack(app, &a);
	struct err err = { 0 };
	assert_int_equal(artifact_verify(&a, root, &err), 0);
	tree_file(root, "app/two", "3", 0755);
	assert_int_equal(artifact_verify(&a, root, &err), -EBADMSG);
	assert_says(&err, "app/two' is corrupted");
	tree_file(root, "app/two", "2", 0755);
	tree_file(root, "app/three", "", 0644);
	assert_int_equal(artifact_verify(&a, root, &err), -EBADMSG);
	assert_says(&err, "app/three' does not belong");
	AUTO_FREE char *three = tree_at(root, "app/three"), *one = tree_at(root, "app/one");
	unlink(three);
	unlink(one);
	assert_int_equal(artifact_verify(&a, root, &err), -EBADMSG);
	assert_says(&err, "app/one' is missing");
}

static void build_key_depends_on_everything(void **state)
{
	(void)state;
	const char *layers[] = { "sha256:1", "sha256:2" }, *swapped[] = { "sha256:2", "sha256:1" };
	char key[5][DIGEST_SIZE];
	build_cache_key("a", "make", layers, 2, key[0]);
	build_cache_key("b", "make", layers, 2, key[1]);
	build_cache_key("a", "make x", layers, 2, key[2]);
	build_cache_key("a", "make", swapped, 2, key[3]);
	build_cache_key("a", "make", layers, 1, key[4]);
	for (size_t i = 0; i < 5; i++)
		for (size_t j = i + 1; j < 5; j++)
			assert_string_not_equal(key[i], key[j]);
	build_cache_key("a", "make", layers, 2, key[1]);
	assert_string_equal(key[0], key[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pack_gives_the_documented_text),
		cmocka_unit_test(pack_honours_ignore_files),
		cmocka_unit_test(pack_without_ignoring_takes_all),
		cmocka_unit_test(pack_leaves_out_what_it_is_told_to),
		cmocka_unit_test(pack_names_what_it_refuses),
		cmocka_unit_test(parse_refuses),
		cmocka_unit_test(links_stay_inside),
		cmocka_unit_test(verify_names_the_file),
		cmocka_unit_test(build_key_depends_on_everything),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
