#include "image/content.h"

#include "base/buf.h"
#include "base/str.h"
#include "image/paths.h"
#include "image/reuse.h"
#include "image/tar.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct unpacker {
	struct tar_reader *tar;
	char *dir; // where unpacked artifacts are
	char *tmp; // of this one, in dir
	char wanted[DIGEST_SIZE];
	int app; // tmp/root/app
	bool in_manifest, parsed;
	struct buf text;
	struct artifact a;
	size_t next;
	struct reuse *base; // has the files that the stream leaves out; NULL: none

	int fd; // of the file being written
	struct digest *digest;
};

char *unpacked_path(const char *dir, const char *digest)
{
	char name[DIGEST_SIZE];
	digest_file_name(digest, name);
	return xasprintf("%s/%s", dir, name);
}

bool unpacked_ready(const char *dir, const char *digest)
{
	if (!digest_valid(digest))
		return false;
	AUTO_FREE char *path = unpacked_path(dir, digest);
	AUTO_FREE char *ready = xasprintf("%s/.ready", path);
	return file_exists(ready) == 1;
}

static int begin_manifest(struct unpacker *u, const struct tar_entry *e, struct err *err)
{
	if (e->kind != TAR_FILE || !str_eq(e->path, "manifest"))
		return err_set(err, -EBADMSG, "the stream begins with '%.200s', not with its manifest", e->path);
	if (e->size > ARTIFACT_TEXT_MAX)
		return err_set(err, -E2BIG, "manifest longer than %u bytes", ARTIFACT_TEXT_MAX);
	u->in_manifest = true;
	return 0;
}

// Makes the folders above path. Nothing in a parsed manifest lies inside a link, and the tree is ours alone.
static int make_folders(int app, const char *path, struct err *err)
{
	AUTO_FREE char *part = xstrdup(path);
	for (char *slash = strchr(part, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		int r = mkdirat(app, part, 0755);
		if (r < 0 && errno != EEXIST)
			return err_set_errno(err, -errno, "cannot make the folder '%s'", part);
		if (r == 0)
			fchmodat(app, part, 0755, 0);
		*slash = '/';
	}
	return 0;
}

static const char *entry_fault(const struct artifact_entry *want, const struct tar_entry *e)
{
	static const enum tar_kind kinds[] = {
		[ARTIFACT_FILE] = TAR_FILE, [ARTIFACT_DIR] = TAR_DIR, [ARTIFACT_LINK] = TAR_LINK
	};
	if (!want)
		return "is not in the manifest";
	if (!str_starts(e->path, "app/") || !str_eq(e->path + 4, want->path))
		return "is not the next entry of the manifest";
	if (e->kind != kinds[want->kind])
		return "is not of the kind that the manifest says";
	if (e->kind == TAR_FILE && e->size != want->size)
		return "has not the size that the manifest says";
	if (e->kind == TAR_LINK && !str_eq(e->target, want->target))
		return "leads elsewhere than the manifest says";
	return NULL;
}

static int make_entry(struct unpacker *u, const struct artifact_entry *want, struct err *err)
{
	int r = make_folders(u->app, want->path, err);
	if (r < 0)
		return r;
	switch (want->kind) {
	case ARTIFACT_DIR:
		r = mkdirat(u->app, want->path, 0755);
		if (r == 0)
			r = fchmodat(u->app, want->path, 0755, 0);
		break;
	case ARTIFACT_LINK:
		r = symlinkat(want->target, u->app, want->path);
		break;
	case ARTIFACT_FILE:
		u->fd = openat(u->app, want->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		r = u->fd < 0 ? -1 : fchmod(u->fd, want->mode);
		u->digest = digest_new();
	}
	return r < 0 ? err_set_errno(err, -errno, "cannot make '%s'", want->path) : 0;
}

// The entries up to the next one that the stream has.
static int take_from_base(struct unpacker *u, struct err *err)
{
	int r = 0;
	while (u->base && r == 0 && u->next < u->a.n) {
		const struct artifact_entry *want = &u->a.entries[u->next];
		if (want->kind != ARTIFACT_FILE || !reuse_has(u->base, want->digest))
			break;
		u->next++;
		r = make_folders(u->app, want->path, err);
		if (r == 0)
			r = reuse_take(u->base, want, u->app, err);
	}
	return r;
}

static int unpack_begin(void *arg, const struct tar_entry *e, struct err *err)
{
	struct unpacker *u = arg;
	if (!u->parsed)
		return begin_manifest(u, e, err);
	int r = take_from_base(u, err);
	if (r < 0)
		return r;
	const struct artifact_entry *want = u->next < u->a.n ? &u->a.entries[u->next++] : NULL;
	const char *fault = entry_fault(want, e);
	if (fault)
		return err_set(err, -EBADMSG, "'%.200s' %s", e->path, fault);
	return make_entry(u, want, err);
}

static int unpack_data(void *arg, const void *bytes, size_t n, struct err *err)
{
	struct unpacker *u = arg;
	if (u->in_manifest)
		return buf_add(&u->text, bytes, n) < 0 ? err_set(err, -E2BIG, "manifest too long") : 0;
	digest_add(u->digest, bytes, n);
	int r = write_all(u->fd, bytes, n);
	return r < 0 ? err_set_errno(err, r, "cannot write '%s'", u->a.entries[u->next - 1].path) : 0;
}

static int end_manifest(struct unpacker *u, struct err *err)
{
	u->in_manifest = false;
	u->parsed = true;
	int r = artifact_parse(buf_str(&u->text), buf_len(&u->text), &u->a, err);
	if (r < 0)
		return r;
	if (!str_eq(u->a.digest, u->wanted))
		return err_set(err, -EBADMSG, "asked for %s, got the manifest of %s", u->wanted, u->a.digest);
	AUTO_FREE char *path = xasprintf("%s/manifest", u->tmp);
	r = file_write_atomic(path, u->a.text, u->a.text_len, 0644, err);
	buf_clear(&u->text);
	return r;
}

static int unpack_end(void *arg, struct err *err)
{
	struct unpacker *u = arg;
	if (u->in_manifest)
		return end_manifest(u, err);
	if (u->fd < 0)
		return 0;
	const struct artifact_entry *want = &u->a.entries[u->next - 1];
	char have[DIGEST_SIZE];
	digest_finish(TAKE_PTR(u->digest), have);
	if (close(TAKE_FD(u->fd)) < 0)
		return err_set_errno(err, -errno, "cannot write '%s'", want->path);
	if (!str_eq(have, want->digest))
		return err_set(err, -EBADMSG, "'%s' is corrupted: %s instead of %s", want->path, have, want->digest);
	return 0;
}

static int open_app(struct unpacker *u, struct err *err)
{
	AUTO_FREE char *root = xasprintf("%s/root", u->tmp);
	AUTO_FREE char *app = xasprintf("%s/app", root);
	int r = dir_make(app, 0755, err);
	if (r < 0)
		return r;
	// Whatever the umask is: instances run as other users.
	if (chmod(u->tmp, 0755) < 0 || chmod(root, 0755) < 0 || chmod(app, 0755) < 0)
		return err_set_errno(err, -errno, "cannot set the mode of '%s'", app);
	u->app = open(app, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return u->app < 0 ? err_set_errno(err, -errno, "cannot open '%s'", app) : 0;
}

int unpacker_new(const char *dir, const char *digest, struct unpacker **ret, struct err *err)
{
	if (!digest_valid(digest))
		return err_set(err, -EINVAL, "'%.80s' is not a digest", digest);
	struct unpacker *u = xcalloc(1, sizeof(*u));
	char id[UID_SIZE];
	uid_new(id);
	u->dir = xstrdup(dir);
	u->tmp = xasprintf("%s/.tmp-%s", dir, id);
	u->fd = u->app = -1;
	u->text = BUF_INIT(ARTIFACT_TEXT_MAX);
	memcpy(u->wanted, digest, DIGEST_SIZE);
	struct tar_sink sink = { unpack_begin,
				 unpack_data,
				 unpack_end,
				 u,
				 ARTIFACT_ENTRIES_MAX + 1,
				 ARTIFACT_BYTES_MAX + ARTIFACT_TEXT_MAX };
	u->tar = tar_reader_new(&sink);
	int r = open_app(u, err);
	if (r < 0) {
		unpacker_free(u);
		return r;
	}
	*ret = u;
	return 0;
}

int unpacker_base(struct unpacker *u, const char *digest, struct err *err)
{
	return reuse_open(u->dir, digest, &u->base, err);
}

int unpacker_push(struct unpacker *u, const void *bytes, size_t n, struct err *err)
{
	int r = tar_reader_push(u->tar, bytes, n, err);
	return r < 0 ? err_wrap(err, "artifact %.19s", u->wanted) : 0;
}

static int put_in_place(struct unpacker *u, struct err *err)
{
	// Content first, then the mark that says that it is there.
	if (syncfs(u->app) < 0)
		return err_set_errno(err, -errno, "cannot write '%s'", u->tmp);
	AUTO_FREE char *mark = xasprintf("%s/.ready", u->tmp);
	int r = file_write_durable(mark, "", 0, 0644, err);
	if (r < 0)
		return r;
	AUTO_FREE char *path = unpacked_path(u->dir, u->wanted);
	if (rename(u->tmp, path) < 0) {
		if (unpacked_ready(u->dir, u->wanted))
			return 0; // another was faster
		r = tree_remove(path, err);
		if (r < 0)
			return r;
		if (rename(u->tmp, path) < 0)
			return err_set_errno(err, -errno, "cannot rename '%s' to '%s'", u->tmp, path);
	}
	return dir_sync(u->dir, err);
}

int unpacker_finish(struct unpacker *u, struct err *err)
{
	int r = tar_reader_finish(u->tar, err);
	if (r == 0 && u->parsed)
		r = take_from_base(u, err);
	if (r == 0 && (!u->parsed || u->next < u->a.n))
		r = err_set(err, -EBADMSG, "'%s' is missing from the stream",
			    u->parsed ? u->a.entries[u->next].path : "manifest");
	if (r == 0)
		r = put_in_place(u, err);
	return r < 0 ? err_wrap(err, "artifact %.19s", u->wanted) : 0;
}

void unpacker_free(struct unpacker *u)
{
	if (!u)
		return;
	tar_reader_free(u->tar);
	digest_abort(u->digest);
	if (u->fd >= 0)
		close(u->fd);
	if (u->app >= 0)
		close(u->app);
	tree_remove(u->tmp, NULL);
	artifact_clear(&u->a);
	reuse_free(u->base);
	buf_clear(&u->text);
	free(u->dir);
	free(u->tmp);
	free(u);
}

int unpacked_verify(const char *dir, const char *digest, struct err *err)
{
	if (!unpacked_ready(dir, digest))
		return err_set(err, -ENOENT, "artifact %.80s is not unpacked in '%s'", digest, dir);
	AUTO_FREE char *path = unpacked_path(dir, digest);
	AUTO_FREE char *manifest = xasprintf("%s/manifest", path);
	AUTO_FREE char *root = xasprintf("%s/root", path);
	AUTO_BUF struct buf text = BUF_INIT(ARTIFACT_TEXT_MAX);
	int r = file_read(manifest, &text, err);
	if (r < 0)
		return r;
	AUTO_ARTIFACT struct artifact a = { 0 };
	r = artifact_parse(buf_str(&text), buf_len(&text), &a, err);
	if (r < 0 || !str_eq(a.digest, digest))
		return err_set(err, -EBADMSG, "'%s' is corrupted: not the manifest of %s", manifest, digest);
	return artifact_verify(&a, root, err);
}
