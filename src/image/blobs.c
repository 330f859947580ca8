#include "image/blobs.h"

#include "base/clock.h"
#include "base/str.h"
#include "image/paths.h"
#include "image/tar.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define MISSING_MAX 1000

struct blobs {
	char *dir;
};

static char *blob_path(const struct blobs *b, const char *folder, const char *digest)
{
	char name[DIGEST_SIZE];
	digest_file_name(digest, name);
	return xasprintf("%s/%s/%s", b->dir, folder, name);
}

int blobs_open(const char *dir, struct blobs **ret, struct err *err)
{
	static const char *const folders[] = { "files", "artifacts", "tmp" };
	AUTO_FREE char *tmp = xasprintf("%s/tmp", dir);
	int r = tree_remove(tmp, err);
	for (size_t i = 0; i < ARRAY_LEN(folders) && r == 0; i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", dir, folders[i]);
		r = dir_make(path, 0700, err);
	}
	if (r < 0)
		return err_wrap(err, "blob store '%s'", dir);
	struct blobs *b = xcalloc(1, sizeof(*b));
	b->dir = xstrdup(dir);
	*ret = b;
	return 0;
}

void blobs_close(struct blobs *b)
{
	if (!b)
		return;
	free(b->dir);
	free(b);
}

bool blobs_has(const struct blobs *b, const char *digest)
{
	if (!digest_valid(digest))
		return false;
	AUTO_FREE char *path = blob_path(b, "files", digest);
	return file_exists(path) == 1;
}

int blobs_open_file(const struct blobs *b, const char *digest, int *ret_fd, uint64_t *ret_size, struct err *err)
{
	if (!digest_valid(digest))
		return err_set(err, -EINVAL, "'%.80s' is not a digest", digest);
	AUTO_FREE char *path = blob_path(b, "files", digest);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return err_set(err, -ENOENT, "there is no blob %s", digest);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set_errno(err, -errno, "cannot open '%s'", path);
	*ret_size = (uint64_t)st.st_size;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

// Whether it is there; if so it is young again, so that a sweep under way does not take it from those who rely on it
// now.
static bool touch(const struct blobs *b, const char *digest)
{
	if (!digest_valid(digest))
		return false;
	AUTO_FREE char *path = blob_path(b, "files", digest);
	return utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW) == 0;
}

size_t blobs_missing(const struct blobs *b, const char *const *digests, size_t n, size_t *ret)
{
	size_t missing = 0;
	for (size_t i = 0; i < n; i++)
		if (!touch(b, digests[i]))
			ret[missing++] = i;
	return missing;
}

static int check_digest(const char *digest, const void *bytes, size_t n, struct err *err)
{
	if (!digest_valid(digest))
		return err_set(err, -EINVAL, "'%.80s' is not a digest", digest);
	char have[DIGEST_SIZE];
	digest_of(bytes, n, have);
	if (!str_eq(have, digest))
		return err_set(err, -EBADMSG, "what was sent as %s is %s", digest, have);
	return 0;
}

static void add_missing(const char *digest, char ***list, size_t *n)
{
	*list = xreallocarray(*list, *n + 1, sizeof(**list));
	(*list)[(*n)++] = xstrdup(digest);
}

// Sizes are part of the manifest's text: one that is not the content's would fail only when it is unpacked, again and
// again.
static int check_sizes(const struct blobs *b, const struct artifact *a, struct err *err)
{
	for (size_t i = 0; i < a->n; i++) {
		const struct artifact_entry *entry = &a->entries[i];
		if (entry->kind != ARTIFACT_FILE)
			continue;
		AUTO_FREE char *path = blob_path(b, "files", entry->digest);
		struct stat st;
		if (stat(path, &st) < 0)
			return err_set_errno(err, -errno, "cannot read '%s'", path);
		if ((uint64_t)st.st_size != entry->size)
			return err_set(err, -EBADMSG, "artifact manifest: '%s' has %llu bytes, not %llu", entry->path,
				       (unsigned long long)st.st_size, (unsigned long long)entry->size);
	}
	return 0;
}

int blobs_put_artifact(struct blobs *b, const char *digest, const char *text, size_t n, char ***ret_missing,
		       size_t *ret_n_missing, struct err *err)
{
	*ret_missing = NULL;
	*ret_n_missing = 0;
	int r = check_digest(digest, text, n, err);
	if (r < 0)
		return r;
	AUTO_ARTIFACT struct artifact a = { 0 };
	r = artifact_parse(text, n, &a, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < a.n && *ret_n_missing < MISSING_MAX; i++)
		if (a.entries[i].kind == ARTIFACT_FILE && !touch(b, a.entries[i].digest))
			add_missing(a.entries[i].digest, ret_missing, ret_n_missing);
	if (*ret_n_missing)
		return err_set(err, -ENOENT, "the content of %zu files is missing, the first is %s", *ret_n_missing,
			       (*ret_missing)[0]);
	r = check_sizes(b, &a, err);
	if (r < 0)
		return r;
	AUTO_FREE char *path = blob_path(b, "artifacts", digest);
	return file_exists(path) == 1 ? 0 : file_write_durable(path, text, n, 0600, err);
}

int blobs_get_artifact(const struct blobs *b, const char *digest, struct artifact *ret, struct err *err)
{
	if (!digest_valid(digest))
		return err_set(err, -EINVAL, "'%.80s' is not a digest", digest);
	AUTO_FREE char *path = blob_path(b, "artifacts", digest);
	AUTO_BUF struct buf text = BUF_INIT(ARTIFACT_TEXT_MAX);
	int r = file_read(path, &text, err);
	if (r == -ENOENT)
		return err_set(err, -ENOENT, "there is no artifact %s", digest);
	if (r < 0)
		return r;
	char have[DIGEST_SIZE];
	digest_of(buf_data(&text), buf_len(&text), have);
	if (!str_eq(have, digest))
		return err_set(err, -EBADMSG, "'%s' is corrupted: its content is %s", path, have);
	return artifact_parse(buf_str(&text), buf_len(&text), ret, err);
}

struct sweep {
	bool (*keep)(void *arg, const char *digest);
	void *arg;
	uint64_t before_ms; // unix time
	size_t removed;
};

static int sweep_folder(struct blobs *b, const char *folder, struct sweep *s, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/%s", b->dir, folder);
	DIR *d = opendir(path);
	if (!d)
		return err_set_errno(err, -errno, "cannot read '%s'", path);
	int r = 0;
	for (struct dirent *e; r == 0 && (e = readdir(d));) {
		char digest[DIGEST_SIZE + 256];
		struct stat st;
		snprintf(digest, sizeof(digest), "sha256:%s", e->d_name + (str_starts(e->d_name, "sha256-") ? 7 : 0));
		if (!str_starts(e->d_name, "sha256-") || !digest_valid(digest) || s->keep(s->arg, digest))
			continue;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    (uint64_t)st.st_mtim.tv_sec * 1000 > s->before_ms)
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) < 0)
			r = err_set_errno(err, -errno, "cannot remove '%s/%s'", path, e->d_name);
		else
			s->removed++;
	}
	closedir(d);
	return r;
}

int blobs_sweep(struct blobs *b, bool (*keep)(void *arg, const char *digest), void *arg, uint64_t min_age_ms,
		size_t *ret_removed, struct err *err)
{
	uint64_t now = realtime_ms();
	struct sweep s = { .keep = keep, .arg = arg, .before_ms = now > min_age_ms ? now - min_age_ms : 0 };
	// Manifests first: what they name is then wanted by nobody.
	int r = sweep_folder(b, "artifacts", &s, err);
	if (r == 0)
		r = sweep_folder(b, "files", &s, err);
	*ret_removed = s.removed;
	return r;
}

// --- receiving -------------------------------------------------------------------------------------------------------

struct blob_receiver {
	struct blobs *blobs;
	struct tar_reader *tar;
	char *tmp;    // folder of what was received, under its final names
	char **names; // digests received, in order
	size_t n, room;
	int fd; // of the file being received; -1: it is here already, only compared
	struct digest *digest;
	char wanted[DIGEST_SIZE];
};

static int receive_begin(void *arg, const struct tar_entry *e, struct err *err)
{
	struct blob_receiver *r = arg;
	if (e->kind != TAR_FILE || !digest_valid(e->path))
		return err_set(err, -EBADMSG, "'%.200s' is not a file named by its digest", e->path);
	int code = r->n ? 0 : dir_make(r->tmp, 0700, err);
	if (code < 0)
		return code;
	memcpy(r->wanted, e->path, DIGEST_SIZE);
	r->digest = digest_new();
	char name[DIGEST_SIZE];
	digest_file_name(e->path, name);
	if (blobs_has(r->blobs, e->path))
		return 0;
	AUTO_FREE char *path = xasprintf("%s/%s", r->tmp, name);
	r->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (r->fd < 0 && errno == EEXIST)
		return err_set(err, -EBADMSG, "%s is in the stream twice", e->path);
	return r->fd < 0 ? err_set_errno(err, -errno, "cannot write '%s'", path) : 0;
}

static int receive_data(void *arg, const void *bytes, size_t n, struct err *err)
{
	struct blob_receiver *r = arg;
	digest_add(r->digest, bytes, n);
	int code = r->fd >= 0 ? write_all(r->fd, bytes, n) : 0;
	return code < 0 ? err_set_errno(err, code, "cannot write %s", r->wanted) : 0;
}

static int receive_end(void *arg, struct err *err)
{
	struct blob_receiver *r = arg;
	char have[DIGEST_SIZE];
	digest_finish(r->digest, have);
	r->digest = NULL;
	AUTO_CLOSE int fd = TAKE_FD(r->fd);
	if (!str_eq(have, r->wanted))
		return err_set(err, -EBADMSG, "what was sent as %s is %s", r->wanted, have);
	if (fd < 0)
		return 0;
	if (r->n == r->room) {
		r->room = r->room ? r->room * 2 : 64;
		r->names = xreallocarray(r->names, r->room, sizeof(*r->names));
	}
	r->names[r->n++] = xstrdup(r->wanted);
	return 0;
}

struct blob_receiver *blob_receiver_new(struct blobs *b, uint64_t max_bytes)
{
	struct blob_receiver *r = xcalloc(1, sizeof(*r));
	char id[UID_SIZE];
	uid_new(id);
	r->blobs = b;
	r->fd = -1;
	r->tmp = xasprintf("%s/tmp/%s", b->dir, id);
	struct tar_sink sink = { receive_begin, receive_data, receive_end, r, ARTIFACT_ENTRIES_MAX, max_bytes };
	r->tar = tar_reader_new(&sink);
	return r;
}

int blob_receiver_push(struct blob_receiver *r, const void *bytes, size_t n, struct err *err)
{
	return tar_reader_push(r->tar, bytes, n, err);
}

// All contents reach the disk before any gets its name, all names before success: two waits, not two for each.
static int settle(struct blob_receiver *r, struct err *err)
{
	AUTO_CLOSE int dir = open(r->tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || syncfs(dir) < 0)
		return err_set_errno(err, -errno, "cannot write '%s'", r->tmp);
	for (size_t i = 0; i < r->n; i++) {
		char name[DIGEST_SIZE];
		digest_file_name(r->names[i], name);
		AUTO_FREE char *to = blob_path(r->blobs, "files", r->names[i]);
		if (renameat(dir, name, AT_FDCWD, to) < 0)
			return err_set_errno(err, -errno, "cannot write '%s'", to);
	}
	AUTO_FREE char *files = xasprintf("%s/files", r->blobs->dir);
	return dir_sync(files, err);
}

int blob_receiver_finish(struct blob_receiver *r, size_t *ret_stored, struct err *err)
{
	int code = tar_reader_finish(r->tar, err);
	if (code == 0 && r->n)
		code = settle(r, err);
	if (code == 0)
		*ret_stored = r->n;
	return code;
}

void blob_receiver_free(struct blob_receiver *r)
{
	if (!r)
		return;
	tar_reader_free(r->tar);
	digest_abort(r->digest);
	if (r->fd >= 0)
		close(r->fd);
	tree_remove(r->tmp, NULL);
	for (size_t i = 0; i < r->n; i++)
		free(r->names[i]);
	free(r->names);
	free(r->tmp);
	free(r);
}
