// npm packages that carry binaries, fetched by npm itself with the machine's registry settings. No script of theirs
// runs.
#include "image/making.h"

#include "base/str.h"
#include "image/archive.h"
#include "image/paths.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define PACK_TIMEOUT_MS (10u * 60 * 1000)

static char *cached_path(const struct making *m, const struct npm_package *p)
{
	char *path = xasprintf("%s/npm/%s-%s.tgz", m->cache, p->name, p->version);
	for (char *c = path + strlen(m->cache) + 5; *c; c++)
		if (*c == '/')
			*c = '+';
	return path;
}

static int find_archive(const char *dir, char **ret, struct err *err)
{
	DIR *d = opendir(dir);
	if (!d)
		return err_set_errno(err, -errno, "cannot read '%s'", dir);
	for (struct dirent *e; !*ret && (e = readdir(d));)
		if (str_ends(e->d_name, ".tgz"))
			*ret = xasprintf("%s/%s", dir, e->d_name);
	closedir(d);
	return *ret ? 0 : err_set(err, -EIO, "npm pack left no archive in '%s'", dir);
}

static int download(const struct making *m, const struct npm_package *p, const char *to, struct err *err)
{
	AUTO_FREE char *dir = xasprintf("%s/npm-pack", m->scratch);
	AUTO_FREE char *folder = xasprintf("%s/npm", m->cache);
	AUTO_FREE char *spec = xasprintf("%s@%s", p->name, p->version);
	AUTO_FREE char *found = NULL;
	int r = dir_make(dir, 0755, err);
	if (r == 0)
		r = dir_make(folder, 0755, err);
	if (r < 0)
		return r;
	making_say(m, "npm package %s", spec);
	const char *const argv[] = { "npm", "pack", "--ignore-scripts", "--loglevel=error", spec, NULL };
	r = making_run(dir, argv, PACK_TIMEOUT_MS, err);
	if (r < 0) {
		err_wrap(err, "npm package %s", spec);
		return r == -ENOENT
			       ? r
			       : err_hint(err, "check that npm is installed and reaches its registry (npm view %s)",
					  p->name);
	}
	r = find_archive(dir, &found, err);
	if (r == 0 && rename(found, to) < 0)
		r = err_set_errno(err, -errno, "cannot write '%s'", to);
	tree_remove(dir, NULL);
	return r;
}

static int file_digest(const char *path, char digest[DIGEST_SIZE], struct err *err)
{
	uint64_t size;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : fd_digest(fd, &size, digest);
	return r < 0 ? err_set_errno(err, r, "cannot read '%s'", path) : 0;
}

static int check_lock(struct making *m, const struct npm_package *p, const char *path, struct err *err)
{
	char digest[DIGEST_SIZE];
	int r = file_digest(path, digest, err);
	if (r < 0)
		return r;
	AUTO_FREE char *value = xasprintf("%s %s", p->version, digest);
	const char *locked = m->lock ? keyed_get(&m->lock->npm, p->name) : NULL;
	bool same_version = locked && str_starts(locked, p->version) && locked[strlen(p->version)] == ' ';
	if (same_version && !str_eq(locked, value)) {
		unlink(path);
		return err_set(err, -EBADMSG, "npm package %s@%s has another content (%s) than the lock says", p->name,
			       p->version, digest);
	}
	if (m->strict && !same_version)
		return err_set(err, -EINVAL, "the lock does not name npm package %s@%s", p->name, p->version);
	keyed_add(&m->resolved.npm, p->name, value);
	return 0;
}

static int take_path(struct making *m, const char *package, const struct keyed_item *take, struct err *err)
{
	bool whole = str_eq(take->key, ".");
	AUTO_FREE char *from = xasprintf("%s%s%s", package, whole ? "" : "/", whole ? "" : take->key);
	AUTO_FREE char *to = xasprintf("%s%s", m->root, take->value);
	int r = making_parent(m, take->value, err);
	if (r == 0 && rename(from, to) < 0)
		r = err_set_errno(err, -errno, "cannot take '%s' of the package to '%s'", take->key, take->value);
	return r;
}

static int install(struct making *m, const struct npm_package *p, struct err *err)
{
	AUTO_FREE char *archive = cached_path(m, p);
	int r = file_exists(archive) == 1 ? 0 : download(m, p, archive, err);
	if (r == 0)
		r = check_lock(m, p, archive, err);
	if (r < 0)
		return r;
	AUTO_FREE char *dir = xasprintf("%s/npm-content", m->scratch);
	AUTO_FREE char *package = xasprintf("%s/package", dir);
	r = dir_make(dir, 0755, err);
	if (r == 0)
		r = archive_unpack(archive, dir, NULL, err);
	for (size_t i = 0; i < p->take.n && r == 0; i++)
		r = take_path(m, package, &p->take.items[i], err);
	tree_remove(dir, NULL);
	return r;
}

int making_npm(struct making *m, struct err *err)
{
	int r = 0;
	for (size_t i = 0; i < m->recipe->n_npm && r == 0; i++)
		r = install(m, &m->recipe->npm[i], err);
	return r;
}
