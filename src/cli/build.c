// `stack build` and `runtime build`: need no platform, fill the cache.
#include "cli/commands.h"
#include "cli/output.h"

#include "base/str.h"
#include "image/build.h"
#include "image/recipe.h"
#include "io/file.h"

#include <errno.h>

// Where the shipped recipes are: $DIALTONE_SHARE, beside an installed binary, or in the source tree.
static char *share_folder(void)
{
	const char *given = getenv("DIALTONE_SHARE");
	if (given)
		return xstrdup(given);
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (n > 0) {
		exe[n] = '\0';
		char *slash = strrchr(exe, '/');
		*slash = '\0';
		char *installed = xasprintf("%s/../share/dialtone", exe);
		if (file_exists(installed) == 1)
			return installed;
		free(installed);
	}
	return xstrdup(DIALTONE_SOURCE_SHARE);
}

static void show_line(void *arg, const char *line)
{
	const struct cli *cli = arg;
	if (cli->quiet)
		return;
	print_safe(stderr, line);
	putc('\n', stderr);
}

// A recipe is a file, or the name of a shipped one.
static int find_recipe(const char *share, enum image_kind kind, const char *word, char **ret, struct err *err)
{
	if (strchr(word, '/') || str_ends(word, ".yaml")) {
		if (file_exists(word) != 1) {
			err_set(err, -ENOENT, "there is no recipe file '%s'", word);
			return err_hint(err, "without a '/' it is the name of one that comes with dialtone");
		}
		*ret = xstrdup(word);
		return 0;
	}
	int r = recipe_locate(share, kind, word, ret, err);
	return r == -ENOENT ? err_hint(err, "name one of these, or a recipe file of your own") : r;
}

// What is built goes into the cache that all apps share: not what was not meant.
static int check_kind(const char *path, enum image_kind kind, struct err *err)
{
	CLEANUP(recipe_clear) struct recipe recipe = { 0 };
	int r = recipe_read(path, &recipe, err);
	if (r < 0 || recipe.kind == kind)
		return r;
	bool is_stack = recipe.kind == IMAGE_STACK;
	err_set(err, -EINVAL, "%s is the recipe of a %s, not of a %s", path, is_stack ? "stack" : "runtime",
		is_stack ? "runtime" : "stack");
	return err_hint(err, "dialtone %s build %s", is_stack ? "stack" : "runtime", path);
}

static int build_image(struct cli *cli, enum image_kind kind)
{
	if (!str_eq(cli->args[0], "build"))
		return cli_usage(cli, "'%s' knows only 'build', not '%s'", cli->command->name, cli->args[0]);
	const char *cache = cli_get(cli, "cache");
	if (cli_get(cli, "locked") && cli_get(cli, "update-lock"))
		return cli_usage(cli, "--locked and --update-lock contradict each other");
	AUTO_FREE char *share = share_folder();
	struct image_build_options options = {
		.share = share,
		.lock = cli_get(cli, "locked")        ? LOCK_STRICT
			: cli_get(cli, "update-lock") ? LOCK_UPDATE
						      : LOCK_PREFER,
		.with_build = true,
		.progress = show_line,
		.arg = cli,
	};
	struct err err = { 0 };
	AUTO_FREE char *recipe = NULL;
	AUTO_IMAGE struct image image = { 0 };
	bool built = false;
	int r = find_recipe(share, kind, cli->args[1], &recipe, &err);
	if (r == 0)
		r = check_kind(recipe, kind, &err);
	if (r == 0)
		r = image_build(recipe, cache ? cache : "/var/cache/dialtone", &options, &image, &built, &err);
	if (r < 0)
		return cli_fail(cli, &err);
	const char *digest = image.n_layers ? image.layers[0] : "-";
	if (cli->json) {
		json_t *out = json_pack("{s:s, s:s, s:s, s:b}", "name", image.name, "version", image.version, "digest",
					digest, "built", (int)built);
		print_json(out);
		json_decref(out);
		return CLI_OK;
	}
	printf("%s %s@%s %s, %s\n", cli->command->name, image.name, image.version,
	       built ? "built" : "is in the cache already", digest);
	return CLI_OK;
}

int command_stack(struct cli *cli)
{
	return build_image(cli, IMAGE_STACK);
}

int command_runtime(struct cli *cli)
{
	return build_image(cli, IMAGE_RUNTIME);
}
