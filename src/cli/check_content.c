#include "cli/content.h"

#include "base/id.h"
#include "base/str.h"
#include "image/content.h"
#include "image/layer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

struct check {
	const char *cache, *data;
	size_t *read;
	void (*found)(void *arg, const struct damage *damage);
	void *arg;
};

// Calls visit for each name "sha256-HEX" in folder, with the digest that it stands for.
static void each_digest(struct check *check, const char *folder,
			void (*visit)(struct check *check, const char *folder, const char *digest))
{
	DIR *dir = opendir(folder);
	if (!dir)
		return;
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (strlen(entry->d_name) != DIGEST_SIZE - 1 || !str_starts(entry->d_name, "sha256-"))
			continue;
		AUTO_FREE char *digest = xstrdup(entry->d_name);
		digest[6] = ':';
		if (digest_valid(digest))
			visit(check, folder, digest);
	}
	closedir(dir);
}

static void report(struct check *check, int r, const char *what, const struct err *err, const char *mend)
{
	(*check->read)++;
	if (r < 0)
		check->found(check->arg, &(struct damage){ what, err->text, mend });
}

static void check_layer(struct check *check, UNUSED const char *folder, const char *digest)
{
	struct err err = { 0 };
	int r = layer_verify(check->cache, digest, &err);
	AUTO_FREE char *mend = xasprintf("remove %s/layers/sha256-%s and build its stack or runtime again", check->cache,
					 digest + 7);
	report(check, r, "layer", &err, mend);
}

static void check_unpacked(struct check *check, const char *folder, const char *digest)
{
	struct err err = { 0 };
	int r = unpacked_verify(folder, digest, &err);
	AUTO_FREE char *mend = xasprintf("remove %s/sha256-%s and restart its apps: it is fetched again", folder, digest + 7);
	report(check, r, "artifact", &err, mend);
}

static int digest_file(const char *path, char digest[DIGEST_SIZE], struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot open '%s'", path);
	struct digest *d = digest_new();
	char bytes[65536];
	ssize_t n;
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		digest_add(d, bytes, (size_t)n);
	int r = n < 0 ? -errno : 0;
	digest_finish(d, digest);
	return r < 0 ? err_set_errno(err, r, "cannot read '%s'", path) : 0;
}

// Uploaded files and manifests alike are named by their content.
static void check_blob(struct check *check, const char *folder, const char *digest)
{
	struct err err = { 0 };
	char found[DIGEST_SIZE];
	AUTO_FREE char *path = xasprintf("%s/sha256-%s", folder, digest + 7);
	int r = digest_file(path, found, &err);
	if (r == 0 && !str_eq(found, digest))
		r = err_set(&err, -EBADMSG, "'%s' is damaged: its content has digest %s", path, found);
	report(check, r, "file", &err, "remove it and push the app again: it is then uploaded anew");
}

static void check_tenants(struct check *check)
{
	AUTO_FREE char *all = xasprintf("%s/blobs", check->data);
	DIR *dir = opendir(all);
	if (!dir)
		return;
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (!str_is_label(entry->d_name))
			continue;
		AUTO_FREE char *files = xasprintf("%s/%s/files", all, entry->d_name);
		AUTO_FREE char *artifacts = xasprintf("%s/%s/artifacts", all, entry->d_name);
		each_digest(check, files, check_blob);
		each_digest(check, artifacts, check_blob);
	}
	closedir(dir);
}

void check_content(const char *cache, const char *data, size_t *ret_read,
		   void (*found)(void *arg, const struct damage *damage), void *arg)
{
	struct check check = { cache, data, ret_read, found, arg };
	AUTO_FREE char *layers = xasprintf("%s/layers", cache);
	AUTO_FREE char *unpacked = xasprintf("%s/node/artifacts", data);
	each_digest(&check, layers, check_layer);
	each_digest(&check, unpacked, check_unpacked);
	check_tenants(&check);
}
