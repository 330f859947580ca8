// Which recipe a name means.
#include "image/locate.h"
#include "base/buf.h"
#include "base/str.h"
#include "image/build.h"
#include "image/recipe.h"

#include <dirent.h>
#include <errno.h>

// "node-22.yaml" is node 22, "minimal.yaml" is minimal. What is behind the name sorts as a version.
static bool recipe_means(const char *file, const char *name, const char *version, char **ret_version)
{
	size_t n = strlen(name), all = strlen(file);
	if (strncmp(file, name, n) != 0 || !str_ends(file, ".yaml"))
		return false;
	const char *rest = file + n;
	size_t length = all - n - 5;
	if (length && (*rest != '-' || rest[1] < '0' || rest[1] > '9'))
		return false;
	AUTO_FREE char *have = length ? xstrndup(rest + 1, length - 1) : xstrdup("");
	if (version && *have && !version_covers(version, have) && !version_covers(have, version))
		return false;
	*ret_version = TAKE_PTR(have);
	return true;
}

int recipe_locate(const char *share, enum image_kind kind, const char *ref, char **ret, struct err *err)
{
	AUTO_FREE char *name = NULL, *version = NULL, *best = NULL, *best_version = NULL;
	int r = image_ref_parse(ref, &name, &version, err);
	if (r < 0)
		return r;
	AUTO_FREE char *dir = xasprintf("%s/%s", share, kind == IMAGE_STACK ? "stacks" : "runtimes");
	DIR *d = opendir(dir);
	if (!d)
		return err_set_errno(err, -errno, "cannot read the recipes in '%s'", dir);
	AUTO_BUF struct buf names = BUF_INIT(400);
	for (struct dirent *e; (e = readdir(d));) {
		char *have = NULL;
		if (str_ends(e->d_name, ".yaml"))
			buf_addf(&names, " %.*s", (int)strlen(e->d_name) - 5, e->d_name);
		if (!recipe_means(e->d_name, name, version, &have))
			continue;
		bool better = !best || version_compare(have, best_version) > 0;
		free(better ? best_version : have);
		if (better) {
			best_version = have;
			free(best);
			best = xasprintf("%s/%s", dir, e->d_name);
		}
	}
	closedir(d);
	if (!best)
		return err_set(err, -ENOENT, "there is no recipe for '%s'; there are:%s", ref, buf_str(&names));
	*ret = TAKE_PTR(best);
	return 0;
}

// A recipe that takes its version from a package has no version before it is built.
static bool recipe_has_version(const char *path, const char *version)
{
	CLEANUP(recipe_clear) struct recipe r = { 0 };
	if (recipe_read(path, &r, NULL) < 0)
		return true; // building it says what is wrong with it
	return !r.version || version_covers(version, r.version);
}

int recipe_of_stack(const char *share, const char *ref, char **ret)
{
	AUTO_FREE char *path = NULL;
	int r = share ? recipe_locate(share, IMAGE_STACK, ref, &path, NULL) : -ENOENT;
	if (r < 0)
		return r;
	const char *at = strchr(ref, '@');
	if (at && !recipe_has_version(path, at + 1))
		return -ENOENT;
	*ret = TAKE_PTR(path);
	return 0;
}
