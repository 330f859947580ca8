#include "image/reuse.h"

#include "base/buf.h"
#include "base/str.h"
#include "image/content.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct reuse {
	struct artifact a;
	const struct artifact_entry **files; // by digest
	size_t n;
	int app;
};

static int by_digest(const void *a, const void *b)
{
	const struct artifact_entry *const *x = a, *const *y = b;
	return strcmp((*x)->digest, (*y)->digest);
}

static int read_manifest(const char *path, const char *digest, struct artifact *ret, struct err *err)
{
	AUTO_FREE char *manifest = xasprintf("%s/manifest", path);
	AUTO_BUF struct buf text = BUF_INIT(ARTIFACT_TEXT_MAX);
	int r = file_read(manifest, &text, err);
	if (r == 0)
		r = artifact_parse(buf_str(&text), buf_len(&text), ret, err);
	if (r == 0 && !str_eq(ret->digest, digest))
		r = err_set(err, -EBADMSG, "'%s' is corrupted: not the manifest of %s", manifest, digest);
	return r;
}

int reuse_open(const char *dir, const char *digest, struct reuse **ret, struct err *err)
{
	if (!unpacked_ready(dir, digest))
		return err_set(err, -ENOENT, "artifact %.80s is not unpacked in '%s'", digest, dir);
	AUTO_FREE char *path = unpacked_path(dir, digest);
	AUTO_FREE char *app = xasprintf("%s/root/app", path);
	struct reuse *reuse = xcalloc(1, sizeof(*reuse));
	reuse->app = open(app, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = reuse->app < 0 ? err_set_errno(err, -errno, "cannot open '%s'", app)
			       : read_manifest(path, digest, &reuse->a, err);
	if (r < 0) {
		reuse_free(reuse);
		return r;
	}
	reuse->files = xcalloc(reuse->a.n + 1, sizeof(*reuse->files));
	for (size_t i = 0; i < reuse->a.n; i++)
		if (reuse->a.entries[i].kind == ARTIFACT_FILE)
			reuse->files[reuse->n++] = &reuse->a.entries[i];
	qsort(reuse->files, reuse->n, sizeof(*reuse->files), by_digest);
	*ret = reuse;
	return 0;
}

void reuse_free(struct reuse *reuse)
{
	if (!reuse)
		return;
	if (reuse->app >= 0)
		close(reuse->app);
	artifact_clear(&reuse->a);
	free(reuse->files);
	free(reuse);
}

static const struct artifact_entry *find(const struct reuse *reuse, const char *digest)
{
	for (size_t low = 0, high = reuse->n; low < high;) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(digest, reuse->files[middle]->digest);
		if (!order)
			return reuse->files[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

bool reuse_has(const struct reuse *reuse, const char *digest)
{
	return find(reuse, digest);
}

// Reads fd to its end for its digest, writing what it reads to `to`, if that is not negative.
static int read_through(int fd, int to, char ret_digest[DIGEST_SIZE])
{
	struct digest *digest = digest_new();
	char bytes[64 << 10];
	ssize_t n;
	int r = 0;
	while (r == 0 && (n = read(fd, bytes, sizeof(bytes))) != 0) {
		if (n < 0 && errno != EINTR)
			r = -errno;
		if (n <= 0)
			continue;
		digest_add(digest, bytes, (size_t)n);
		r = to < 0 ? 0 : write_all(to, bytes, (size_t)n);
	}
	digest_finish(digest, ret_digest);
	return r;
}

static int copy(int from, const struct artifact_entry *want, int app)
{
	char have[DIGEST_SIZE];
	AUTO_CLOSE int to = openat(app, want->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0 || fchmod(to, want->mode) < 0 || lseek(from, 0, SEEK_SET) < 0)
		return -errno;
	int r = read_through(from, to, have);
	return r == 0 && !str_eq(have, want->digest) ? -EBADMSG : r;
}

int reuse_take(const struct reuse *reuse, const struct artifact_entry *want, int app, struct err *err)
{
	const struct artifact_entry *source = find(reuse, want->digest);
	AUTO_CLOSE int fd = openat(reuse->app, source->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set_errno(err, -errno, "cannot read '%s' of artifact %.19s", source->path, reuse->a.digest);
	char have[DIGEST_SIZE];
	int r = S_ISREG(st.st_mode) ? read_through(fd, -1, have) : -EBADMSG;
	if (r == 0 && !str_eq(have, want->digest))
		r = -EBADMSG;
	bool alike = (st.st_mode & 07777) == want->mode && !st.st_uid && !st.st_gid;
	// A copy where there can be no link: too many of them already, or another mode.
	if (r == 0 && (!alike || linkat(reuse->app, source->path, app, want->path, 0) < 0))
		r = copy(fd, want, app);
	if (r == -EBADMSG)
		return err_set(err, r, "'%s' of artifact %.19s is damaged", source->path, reuse->a.digest);
	return r < 0 ? err_set_errno(err, r, "cannot make '%s'", want->path) : 0;
}
