// Layers, recipes and what is built of them, as far as that goes without a network: recipes of files and links only.
#include "tree.h"

#include "image/build.h"
#include "image/ignore.h"
#include "image/layer.h"
#include "image/making.h"
#include "image/recipe.h"

#include <errno.h>
#include <glob.h>
#include <sys/time.h>
#include <unistd.h>

static void make_tree(const char *dir, mode_t mask, time_t at)
{
	mode_t before = umask(mask);
	tree_file(dir, "usr/bin/prog", "program", 04755);
	tree_file(dir, "etc/name", "x\n", 0644);
	tree_link(dir, "bin", "usr/bin");
	tree_dir(dir, "tmp");
	umask(before);
	static const char *const folders[] = { "", "usr", "usr/bin", "etc" };
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		AUTO_FREE char *path = tree_at(dir, folders[i]);
		struct timeval times[2] = { { at, 0 }, { at, 0 } };
		chmod(path, 0755);
		utimes(path, times);
	}
	AUTO_FREE char *tmp = tree_at(dir, "tmp"), *etc = tree_at(dir, "etc/name");
	chmod(tmp, 01777);
	assert_int_equal(chown(etc, 33, 33), 0);
}

static void layers_are_named_by_content(void **state)
{
	(void)state;
	AUTO_TREE char *one = tree_new(), *two = tree_new();
	char digest[2][DIGEST_SIZE];
	uint64_t bytes;
	struct err err = { 0 };
	const char *caches[] = { one, two };
	for (size_t i = 0; i < 2; i++) {
		AUTO_FREE char *tree = tree_at(caches[i], i ? "some/where/else" : "tree");
		tree_dir(caches[i], i ? "some/where/else" : "tree");
		make_tree(tree, i ? 0077 : 0022, i ? 1 : 2000000000);
		if (layer_commit(caches[i], tree, digest[i], &bytes, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(access(tree, F_OK), -1);
		assert_true(layer_ready(caches[i], digest[i]));
	}
	assert_string_equal(digest[0], digest[1]);
	assert_int_equal(bytes, 9);
	AUTO_FREE char *root = layer_path(one, digest[0]);
	AUTO_FREE char *prog = tree_at(root, "usr/bin/prog"), *name = tree_at(root, "etc/name"),
		       *tmp = tree_at(root, "tmp");
	struct stat st;
	assert_int_equal(stat(prog, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755); // not set-uid
	assert_int_equal(st.st_mtime, LAYER_TIME);
	assert_int_equal(stat(name, &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(stat(tmp, &st), 0);
	assert_int_equal(st.st_mode & 07777, 01777);
}

static void commit_layer(const char *cache, char digest[DIGEST_SIZE])
{
	AUTO_FREE char *tree = tree_at(cache, "tree");
	uint64_t bytes;
	struct err err = { 0 };
	tree_dir(cache, "tree");
	make_tree(tree, 0022, 1);
	assert_int_equal(layer_commit(cache, tree, digest, &bytes, &err), 0);
}

static void corrupted_layers_are_named(void **state)
{
	(void)state;
	AUTO_TREE char *cache = tree_new();
	char digest[DIGEST_SIZE];
	commit_layer(cache, digest);
	struct err err = { 0 };
	assert_int_equal(layer_verify(cache, digest, &err), 0);
	AUTO_FREE char *root = layer_path(cache, digest);
	tree_file(root, "usr/bin/prog", "Program", 0755);
	assert_int_equal(layer_verify(cache, digest, &err), -EBADMSG);
	assert_says(&err, "usr/bin/prog' is corrupted");
	tree_file(root, "usr/bin/prog", "program", 0700);
	assert_int_equal(layer_verify(cache, digest, &err), -EBADMSG);
	assert_says(&err, "usr/bin/prog' is corrupted");
	tree_file(root, "usr/bin/prog", "program", 0755);
	tree_file(root, "usr/bin/more", "", 0755);
	assert_int_equal(layer_verify(cache, digest, &err), -EBADMSG);
	assert_says(&err, "usr/bin/more' does not belong");
	AUTO_FREE char *more = tree_at(root, "usr/bin/more"), *link = tree_at(root, "bin");
	unlink(more);
	unlink(link);
	assert_int_equal(layer_verify(cache, digest, &err), -EBADMSG);
	assert_says(&err, "bin' is missing");
	tree_link(root, "bin", "usr/bin");
	assert_int_equal(layer_verify(cache, digest, &err), 0);
	AUTO_FREE char *manifest = xasprintf("%s/../manifest", root);
	AUTO_CLOSE int fd = open(manifest, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(layer_verify(cache, digest, &err), -EBADMSG);
	assert_says(&err, "manifest' is corrupted");
	char other[DIGEST_SIZE];
	digest_of("x", 1, other);
	assert_int_equal(layer_verify(cache, other, &err), -ENOENT);
}

static void layers_hold_no_devices(void **state)
{
	(void)state;
	AUTO_TREE char *cache = tree_new();
	AUTO_FREE char *tree = tree_at(cache, "tree"), *fifo = tree_at(cache, "tree/pipe");
	tree_dir(cache, "tree");
	assert_int_equal(mkfifo(fifo, 0644), 0);
	char digest[DIGEST_SIZE];
	uint64_t bytes;
	struct err err = { 0 };
	assert_int_equal(layer_commit(cache, tree, digest, &bytes, &err), -EINVAL);
	assert_says(&err, "pipe' is a device, socket or FIFO");
}

static const char base_recipe[] = "kind: stack\n"
				  "name: base\n"
				  "version: \"1\"\n"
				  "about: a test\n"
				  "shell: true\n"
				  "directories: [/app, 1777 /tmp]\n"
				  "files:\n"
				  "  /etc/motd: |\n"
				  "    hello\n"
				  "  /usr/bin/prog: |\n"
				  "    #!/bin/sh\n"
				  "  /etc/hostname: \"\"\n"
				  "links:\n"
				  "  /bin: usr/bin\n"
				  "env: {PATH: /usr/bin, A: one}\n";
static const char over_recipe[] =
	"kind: stack\nname: over\nversion: \"2.1\"\nover: base\nfiles: {/usr/share/x: x}\nenv: {A: two}\n";
static const char runtime_recipe[] = "kind: runtime\n"
				     "name: lang\n"
				     "version: \"3.11.2\"\n"
				     "over: base\n"
				     "files: {/usr/bin/lang: binary, /usr/share/man/page: gone, /tmp/x: gone}\n"
				     "drop: [/usr/share/dropped]\n"
				     "command: lang main\n"
				     "build:\n"
				     "  over: over\n"
				     "  files: {/usr/bin/tool: tool}\n"
				     "  env: {B: three}\n";

static char *write_share(const char *dir)
{
	tree_file(dir, "share/stacks/base.yaml", base_recipe, 0644);
	tree_file(dir, "share/stacks/over.yaml", over_recipe, 0644);
	tree_file(dir, "share/runtimes/lang-3.11.yaml", runtime_recipe, 0644);
	return tree_at(dir, "share");
}

static void build(const char *share, const char *recipe, const char *cache, const struct image_build_options *options,
		  struct image *ret, bool *ret_built)
{
	AUTO_FREE char *path = tree_at(share, recipe);
	struct err err = { 0 };
	if (image_build(path, cache, options, ret, ret_built, &err) < 0)
		fail_msg("%s", err.text);
}

static void builds_stack_and_runtime(void **state)
{
	(void)state;
	AUTO_TREE char *dir = tree_new();
	AUTO_FREE char *share = write_share(dir), *cache = tree_at(dir, "cache");
	AUTO_IMAGE struct image over = { 0 }, lang = { 0 }, found = { 0 };
	bool built = false;
	build(share, "stacks/over.yaml", cache, NULL, &over, &built);
	assert_true(built);
	assert_int_equal(over.n_layers, 2);
	assert_true(over.has_shell);
	assert_int_equal(over.n_env, 2);
	assert_string_equal(over.env[1].value, "two");
	struct image_build_options with_build = { .with_build = true };
	build(share, "runtimes/lang-3.11.yaml", cache, &with_build, &lang, &built);
	assert_true(built && lang.build_ready);
	assert_int_equal(lang.n_layers, 1);
	assert_int_equal(lang.n_build_layers, 1);
	assert_string_equal(lang.stack, "base@1");
	assert_string_equal(lang.build_stack, "over");
	struct err err = { 0 };
	assert_int_equal(runtime_find(cache, "lang@3.11", &found, &err), 0);
	assert_string_equal(found.version, "3.11.2");
	assert_string_equal(found.command, "lang main");
	assert_string_equal(found.build_env[0].value, "three");
	assert_int_equal(layer_verify(cache, found.layers[0], &err), 0);

	AUTO_FREE char *root = layer_path(cache, found.layers[0]);
	AUTO_FREE char *man = tree_at(root, "usr/share"), *tmp = tree_at(root, "tmp"),
		       *prog = tree_at(root, "usr/bin/lang");
	assert_int_equal(access(prog, F_OK), 0);
	assert_int_equal(access(man, F_OK), -1);
	assert_int_equal(access(tmp, F_OK), -1);
	tree_file(root, "usr/bin/lang", "bad", 0644);
	assert_int_equal(layer_verify(cache, found.layers[0], &err), -EBADMSG);
	assert_says(&err, "usr/bin/lang");
}

static void building_again_does_nothing(void **state)
{
	(void)state;
	AUTO_TREE char *dir = tree_new();
	AUTO_FREE char *share = write_share(dir), *cache = tree_at(dir, "cache");
	AUTO_IMAGE struct image one = { 0 }, two = { 0 }, three = { 0 }, four = { 0 };
	bool built;
	build(share, "runtimes/lang-3.11.yaml", cache, NULL, &one, &built);
	assert_true(built && !one.build_ready);
	build(share, "runtimes/lang-3.11.yaml", cache, NULL, &two, &built);
	assert_false(built);
	struct image_build_options with_build = { .with_build = true };
	build(share, "runtimes/lang-3.11.yaml", cache, &with_build, &three, &built);
	assert_true(built && three.build_ready);
	assert_string_equal(three.layers[0], one.layers[0]);
	tree_file(share, "stacks/base.yaml", "kind: stack\nname: base\nversion: \"1\"\nfiles: {/etc/new: x}\n", 0644);
	build(share, "runtimes/lang-3.11.yaml", cache, NULL, &four, &built);
	assert_true(built); // what it lies over has changed
}

// A recipe in a folder of one's own lies over what is built already, or over what is shipped.
static void foreign_recipe(const char *over, const struct image_build_options *options, const char *dir,
			   const char *lies_over)
{
	AUTO_FREE char *text =
		xasprintf("kind: runtime\nname: mine\nversion: \"1\"\nover: %s\nfiles: {/usr/bin/mine: x}\n"
			  "build:\n  over: over@2\n",
			  over);
	AUTO_FREE char *cache = tree_at(dir, "cache"), *path = tree_at(dir, "own/mine.yaml");
	AUTO_IMAGE struct image mine = { 0 };
	struct err err = { 0 };
	tree_file(dir, "own/mine.yaml", text, 0644);
	int r = image_build(path, cache, options, &mine, NULL, &err);
	if (lies_over && r < 0)
		fail_msg("%s", err.text);
	if (lies_over) {
		assert_string_equal(mine.stack, lies_over);
		assert_string_equal(mine.build_stack, "over@2");
		return;
	}
	assert_int_equal(r, -ENOENT);
	assert_says(&err, over);
	assert_says(&err, "below 'mine'");
	assert_non_null(strstr(err.hint, "dialtone stack build"));
}

static void own_recipes_find_their_stack(void **state)
{
	(void)state;
	AUTO_TREE char *dir = tree_new();
	AUTO_FREE char *share = write_share(dir), *cache = tree_at(dir, "cache");
	struct image_build_options alone = { .with_build = true };
	struct image_build_options shipped = { .with_build = true, .share = share };
	foreign_recipe("base", &alone, dir, NULL);
	foreign_recipe("base@2", &shipped, dir, NULL); // the shipped one is 1
	foreign_recipe("base@1", &shipped, dir, "base@1");
	foreign_recipe("base", &alone, dir, "base@1"); // it is in the cache now, and so is over
	tree_file(dir, "stacks/base.yaml", "kind: stack\nname: base\nversion: \"2\"\nfiles: {/etc/new: x}\n", 0644);
	foreign_recipe("base", &shipped, dir, "base@2");   // beside the recipe goes first …
	foreign_recipe("base@1", &shipped, dir, "base@1"); // … if it is what is asked for
	AUTO_FREE char *layers = tree_at(cache, "layers"), *gone = xasprintf("rm -r %s", layers);
	assert_int_equal(system(gone), 0);
	foreign_recipe("base@1", &shipped, dir, "base@1"); // named in the cache, but its layer is not there
}

static void same_recipe_same_digest(void **state)
{
	(void)state;
	AUTO_TREE char *one = tree_new(), *two = tree_new();
	AUTO_FREE char *share = write_share(one), *cache = tree_at(one, "cache"),
		       *other = tree_at(two, "a/deeper/place");
	AUTO_IMAGE struct image a = { 0 }, b = { 0 };
	bool built;
	struct image_build_options options = { .with_build = true };
	build(share, "runtimes/lang-3.11.yaml", cache, &options, &a, &built);
	mode_t before = umask(0077);
	build(share, "runtimes/lang-3.11.yaml", other, &options, &b, &built);
	umask(before);
	assert_string_equal(a.layers[0], b.layers[0]);
	assert_string_equal(a.build_layers[0], b.build_layers[0]);
	AUTO_FREE char *tmp = tree_at(cache, "tmp");
	AUTO_FREE char *left = xasprintf("find %s -mindepth 1 -maxdepth 1 -type d | grep -q .", tmp);
	assert_int_not_equal(system(left), 0); // no scratch folder is left behind
}

static void note_line(void *arg, const char *line)
{
	if (strstr(line, "is another one from now on"))
		snprintf(arg, 500, "%s", line);
}

static void redefinition_is_said(void **state)
{
	(void)state;
	AUTO_TREE char *dir = tree_new();
	AUTO_FREE char *share = write_share(dir), *cache = tree_at(dir, "cache");
	AUTO_IMAGE struct image a = { 0 }, b = { 0 }, c = { 0 };
	bool built;
	char said[500] = "";
	struct image_build_options options = { .progress = note_line, .arg = said };
	build(share, "stacks/base.yaml", cache, &options, &a, &built);
	options.force = true;
	build(share, "stacks/base.yaml", cache, &options, &b, &built);
	assert_string_equal(said, ""); // the same again
	tree_file(share, "stacks/base.yaml", "kind: stack\nname: base\nversion: \"1\"\nfiles: {/etc/new: x}\n", 0644);
	build(share, "stacks/base.yaml", cache, &options, &c, &built);
	assert_string_equal(c.version, a.version);
	AUTO_FREE char *digests =
		xasprintf("base@1 is another one from now on (%.19s, was %.19s)", c.layers[0], a.layers[0]);
	assert_true(str_starts(said, digests));
	assert_true(layer_ready(cache, a.layers[0])); // for what runs on it
}

static void locks_hold(void **state)
{
	(void)state;
	AUTO_TREE char *dir = tree_new();
	AUTO_FREE char *share = write_share(dir), *cache = tree_at(dir, "cache"),
		       *path = tree_at(dir, "share/stacks/base.yaml");
	AUTO_IMAGE struct image a = { 0 }, b = { 0 }, c = { 0 };
	bool built;
	struct image_build_options options = { .lock = LOCK_UPDATE };
	build(share, "stacks/base.yaml", cache, &options, &a, &built);
	assert_string_equal(a.version, "1");
	AUTO_FREE char *lock = tree_text(share, "stacks/base.lock");
	assert_non_null(strstr(lock, a.layers[0]));
	options = (struct image_build_options){ .lock = LOCK_STRICT };
	build(share, "stacks/base.yaml", cache, &options, &b, &built);
	assert_false(built);
	// A recipe that gives another layer than its lock says: refused when strict, marked otherwise.
	struct err err = { 0 };
	tree_file(share, "stacks/base.yaml", "kind: stack\nname: base\nversion: \"1\"\nfiles: {/etc/new: x}\n", 0644);
	assert_int_equal(image_build(path, cache, &options, &c, NULL, &err), -EBADMSG);
	assert_says(&err, "its lock says");
	options.lock = LOCK_PREFER;
	build(share, "stacks/base.yaml", cache, &options, &c, &built);
	assert_true(str_starts(c.version, "1-") && strlen(c.version) == 10);
	AUTO_IMAGE struct image found = { 0 }, exact = { 0 };
	assert_int_equal(stack_find(cache, "base", &found, &err), 0);
	assert_string_equal(found.version, c.version); // the newest
	assert_int_equal(stack_find(cache, "base@1", &exact, &err), 0);
	assert_string_equal(exact.version, "1");
}

static void recipes_are_checked(void **state)
{
	(void)state;
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "kind: stack\nname: x\nversion: \"1\"\npakages: [a]\n", "r.yaml:4:1: unknown key: pakages" },
		{ "kind: stack\nname: x\nversion: \"1\"\n", "puts nothing into the stack" },
		{ "kind: thing\n", "r.yaml:1:7: kind is stack or runtime" },
		{ "kind: stack\nname: X\nversion: \"1\"\n", "name must be" },
		{ "kind: stack\nname: x\n", "either version or version-of" },
		{ "kind: stack\nname: x\nversion: \"1\"\nversion-of: y\n", "either version or version-of" },
		{ "kind: stack\nname: x\nversion: latest\n", "version must be digits" },
		{ "kind: runtime\nname: x\nversion: \"1\"\n", "lies over a stack" },
		{ "kind: stack\nname: x\nversion: \"1\"\npackages: [--foo]\n", "not the name of a Debian package" },
		{ "kind: stack\nname: x\nversion: \"1\"\npackages: [\"a,b\"]\n", "not the name of a Debian package" },
		{ "kind: stack\nname: x\nversion: \"1\"\npackages: a\n", "a list is expected" },
		{ "kind: stack\nname: x\nversion: \"1\"\nnpm: [{name: p}]\n", "needs name, version and take" },
		{ "kind: stack\nname: x\nversion: \"1\"\nover: ../x\n", "over must name a stack" },
		{ "kind: [\n", "r.yaml:2:1" },
		{ "", "empty" },
	};
	AUTO_TREE char *dir = tree_new();
	AUTO_FREE char *path = tree_at(dir, "r.yaml");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		tree_file(dir, "r.yaml", bad[i].text, 0644);
		struct err err = { 0 };
		CLEANUP(recipe_clear) struct recipe r = { 0 };
		if (recipe_read(path, &r, &err) != -EINVAL)
			fail_msg("accepted: %s", bad[i].text);
		assert_says(&err, bad[i].says);
	}
}

static void versions_and_references(void **state)
{
	(void)state;
	static const char *const rising[] = { "3.9", "3.11", "3.11.2", "3.11.2-1", "20.1", "20.10", "22" };
	for (size_t i = 0; i + 1 < ARRAY_LEN(rising); i++) {
		assert_true(version_compare(rising[i], rising[i + 1]) < 0);
		assert_true(version_compare(rising[i + 1], rising[i]) > 0);
		assert_int_equal(version_compare(rising[i], rising[i]), 0);
	}
	assert_true(version_covers("22", "22.1.3") && version_covers("12", "12-abc") && version_covers("3.11", "3.11"));
	assert_false(version_covers("2", "22.1") || version_covers("3.1", "3.11"));
	struct err err = { 0 };
	static const char *const bad[] = { "", "@1", "a@", "A@1", "a@../x", "a@1/2", "a@.1" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_FREE char *name = NULL, *version = NULL;
		assert_int_equal(image_ref_parse(bad[i], &name, &version, &err), -EINVAL);
	}
	AUTO_TREE char *cache = tree_new();
	AUTO_IMAGE struct image none = { 0 };
	assert_int_equal(runtime_find(cache, "node@20", &none, &err), -ENOENT);
	assert_says(&err, "no runtime 'node@20'");
	assert_string_equal(err.hint, "build it first: dialtone runtime build node@20");
	tree_file(cache, "stacks/x/1.json", "{\"name\":\"x\"}", 0644);
	assert_int_equal(stack_find(cache, "x", &none, &err), -EBADMSG);
	assert_says(&err, "1.json' is corrupted");
}

// What a slip of the finger meant, of what is there.
static void nearest_is_suggested(void **state)
{
	(void)state;
	AUTO_TREE char *cache = tree_new();
	static const char layer[] = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
	static const char *const there[] = { "flask/2.2.2", "node/20.19.1", "node/22.3.3", "python/3.11.2" };
	for (size_t i = 0; i < ARRAY_LEN(there); i++) {
		const char *slash = strchr(there[i], '/');
		AUTO_FREE char *path = xasprintf("runtimes/%s.json", there[i]);
		AUTO_FREE char *text = xasprintf("{\"name\":\"%.*s\",\"version\":\"%s\",\"layers\":[\"%s\"]}",
						 (int)(slash - there[i]), there[i], slash + 1, layer);
		tree_file(cache, path, text, 0644);
	}
	static const struct {
		const char *asked, *hint;
	} cases[] = {
		{ "falsk", "did you mean 'flask'?" },
		{ "ndoe@22", "did you mean 'node@22'?" },
		{ "ndoe@20.19", "did you mean 'node@20.19'?" },
		{ "ndoe@18", "did you mean 'node@22.3.3'?" },
		{ "pyhton", "did you mean 'python'?" },
		{ "node@18", "choose 'node@22.3.3', or build it: dialtone runtime build node@18" },
		{ "node@222", "choose 'node@22.3.3', or build it: dialtone runtime build node@222" },
		{ "cobol", "build it first: dialtone runtime build cobol" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_IMAGE struct image none = { 0 };
		struct err err = { 0 };
		assert_int_equal(runtime_find(cache, cases[i].asked, &none, &err), -ENOENT);
		assert_says(&err, "there are: flask@2.2.2, node@22.3.3, node@20.19.1, python@3.11.2");
		assert_string_equal(err.hint, cases[i].hint);
	}
}

static void shipped_recipes(void **state)
{
	(void)state;
	static const struct {
		enum image_kind kind;
		const char *ref, *file;
	} cases[] = {
		{ IMAGE_STACK, "minimal", "stacks/minimal.yaml" },
		{ IMAGE_STACK, "minimal@12", "stacks/minimal.yaml" },
		{ IMAGE_RUNTIME, "node", "runtimes/node-22.yaml" },
		{ IMAGE_RUNTIME, "node@20", "runtimes/node-20.yaml" },
		{ IMAGE_RUNTIME, "node@22.23.3", "runtimes/node-22.yaml" },
		{ IMAGE_RUNTIME, "python@3.11", "runtimes/python-3.11.yaml" },
		{ IMAGE_RUNTIME, "python@3", "runtimes/python-3.11.yaml" },
		{ IMAGE_RUNTIME, "none", "runtimes/none.yaml" },
	};
	struct err err = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_FREE char *path = NULL;
		if (recipe_locate(SHARE_DIR, cases[i].kind, cases[i].ref, &path, &err) < 0)
			fail_msg("%s", err.text);
		assert_true(str_ends(path, cases[i].file));
		CLEANUP(recipe_clear) struct recipe r = { 0 };
		CLEANUP(recipe_lock_clear) struct recipe_lock l = { 0 };
		if (recipe_read(path, &r, &err) < 0 || recipe_lock_read(path, &l, &err) < 0)
			fail_msg("%s", err.text);
	}
	AUTO_FREE char *path = NULL;
	assert_int_equal(recipe_locate(SHARE_DIR, IMAGE_RUNTIME, "node@18", &path, &err), -ENOENT);
	assert_says(&err, "there are:");
	assert_says(&err, "node-22");
}

static void check_locked_part(const char *path, const struct layer_recipe *recipe, const struct lock_part *lock)
{
	if ((recipe->packages.n || recipe->n_npm) && !lock->layer[0])
		fail_msg("%s: the lock has no layer", path);
	for (size_t i = 0; i < recipe->packages.n; i++)
		if (!keyed_get(&lock->debian, recipe->packages.items[i]))
			fail_msg("%s: '%s' is not locked", path, recipe->packages.items[i]);
	for (size_t i = 0; i < recipe->n_npm; i++)
		if (!str_starts(keyed_get(&lock->npm, recipe->npm[i].name), recipe->npm[i].version))
			fail_msg("%s: '%s' is not locked", path, recipe->npm[i].name);
}

static void shipped_recipes_are_locked(void **state)
{
	(void)state;
	glob_t found = { 0 };
	assert_int_equal(glob(SHARE_DIR "/*/*.yaml", 0, NULL, &found), 0);
	assert_true(found.gl_pathc >= 10);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		CLEANUP(recipe_clear) struct recipe r = { 0 };
		CLEANUP(recipe_lock_clear) struct recipe_lock l = { 0 };
		struct err err = { 0 };
		assert_int_equal(recipe_read(found.gl_pathv[i], &r, &err), 0);
		assert_int_equal(recipe_lock_read(found.gl_pathv[i], &l, &err), 0);
		check_locked_part(found.gl_pathv[i], &r.layer, &l.main);
		check_locked_part(found.gl_pathv[i], &r.build, &l.build);
	}
	globfree(&found);
}

static void globs(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *path;
		bool matches;
	} cases[] = {
		{ "a", "a", true },
		{ "a", "ab", false },
		{ "*", "abc", true },
		{ "*", "a/b", false },
		{ "a*c", "abbc", true },
		{ "a*c", "abbd", false },
		{ "**/x", "x", true },
		{ "**/x", "a/b/x", true },
		{ "**/x", "ax", false },
		{ "a/**", "a/b/c", true },
		{ "a/**", "a", false },
		{ "a/**/b", "a/b", true },
		{ "a/**/b", "a/x/y/b", true },
		{ "a/**/b", "ab", false },
		{ "?", "a", true },
		{ "?", "/", false },
		{ "[a-c]x", "bx", true },
		{ "[!a-c]x", "bx", false },
		{ "[]]", "]", true },
		{ "[a", "[a", false },
		{ "\\*", "*", true },
		{ "\\*", "a", false },
		{ "a**b", "axxb", true },
		{ "", "", true },
		{ "*.[ch]", "x.c", true },
		{ "usr/share/doc/*/copyright", "usr/share/doc/a/b/copyright", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (ignore_glob(cases[i].pattern, cases[i].path) != cases[i].matches)
			fail_msg("'%s' against '%s'", cases[i].pattern, cases[i].path);
}

static void keystore_is_the_same_each_time(void **state)
{
	(void)state;
	AUTO_TREE char *dir = tree_new();
	tree_file(dir, "none.pem", "nothing\n", 0644);
	AUTO_FREE char *none = tree_at(dir, "none.pem"), *a = tree_at(dir, "a"), *b = tree_at(dir, "b");
	struct err err = { 0 };
	assert_int_equal(keystore_write(none, a, &err), -EINVAL);
	static const char machine[] = "/etc/ssl/certs/ca-certificates.crt";
	if (access(machine, R_OK) < 0)
		return; // no certificates on this machine
	assert_int_equal(keystore_write(machine, a, &err), 0);
	assert_int_equal(keystore_write(machine, b, &err), 0);
	AUTO_FREE char *compare = xasprintf("cmp -s %s %s", a, b);
	assert_int_equal(system(compare), 0);
	AUTO_FREE char *text = tree_text(dir, "a");
	assert_memory_equal(text, "\xfe\xed\xfe\xed\0\0\0\2", 8);
}

int main(void)
{
	if (geteuid() != 0) {
		puts("skipped: layers belong to root, so this needs to be root");
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layers_are_named_by_content),
		cmocka_unit_test(corrupted_layers_are_named),
		cmocka_unit_test(layers_hold_no_devices),
		cmocka_unit_test(builds_stack_and_runtime),
		cmocka_unit_test(building_again_does_nothing),
		cmocka_unit_test(own_recipes_find_their_stack),
		cmocka_unit_test(same_recipe_same_digest),
		cmocka_unit_test(redefinition_is_said),
		cmocka_unit_test(locks_hold),
		cmocka_unit_test(recipes_are_checked),
		cmocka_unit_test(versions_and_references),
		cmocka_unit_test(nearest_is_suggested),
		cmocka_unit_test(shipped_recipes),
		cmocka_unit_test(shipped_recipes_are_locked),
		cmocka_unit_test(globs),
		cmocka_unit_test(keystore_is_the_same_each_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
