#include "image/layer.h"

#include "base/buf.h"
#include "base/str.h"
#include "image/paths.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define MANIFEST_MAX (256u << 20)

struct line {
	char *path; // as sorted, unescaped; "." for the top
	char *text;
};

struct walk {
	const char *root;
	struct line *lines;
	size_t n, room;
	uint64_t bytes;
	bool settle; // set owner, mode and times on the way
};

char *layer_path(const char *cache, const char *digest)
{
	char name[DIGEST_SIZE];
	digest_file_name(digest, name);
	return xasprintf("%s/layers/%s/root", cache, name);
}

static char *layer_file(const char *cache, const char *digest, const char *file)
{
	char name[DIGEST_SIZE];
	digest_file_name(digest, name);
	return xasprintf("%s/layers/%s%s%s", cache, name, *file ? "/" : "", file);
}

bool layer_ready(const char *cache, const char *digest)
{
	if (!digest_valid(digest))
		return false;
	AUTO_FREE char *mark = layer_file(cache, digest, ".ready");
	return file_exists(mark) == 1;
}

static void walk_clear(struct walk *w)
{
	for (size_t i = 0; i < w->n; i++) {
		free(w->lines[i].path);
		free(w->lines[i].text);
	}
	free(w->lines);
}

static void add_line(struct walk *w, const char *path, const struct stat *st, char type, const char *what)
{
	if (w->n == w->room) {
		w->room = w->room ? w->room * 2 : 1024;
		w->lines = xreallocarray(w->lines, w->room, sizeof(*w->lines));
	}
	AUTO_BUF struct buf text = BUF_INIT(1 << 20);
	buf_addf(&text, "%c %o %u %u ", type, type == 'L' ? 0777 : st->st_mode & 07777, st->st_uid, st->st_gid);
	path_escape(&text, what);
	buf_add_str(&text, " ");
	path_escape(&text, path);
	buf_add_str(&text, "\n");
	w->lines[w->n++] = (struct line){ xstrdup(path), buf_take(&text) };
}

// Overlay's own marks and file capabilities: neither is content, both would act in a container.
static int strip_xattrs(int fd)
{
	char names[4096];
	ssize_t n = flistxattr(fd, names, sizeof(names));
	for (ssize_t i = 0; i < n; i += (ssize_t)strlen(names + i) + 1)
		if (fremovexattr(fd, names + i) < 0 && errno != ENODATA)
			return -errno;
	return n < 0 && errno != ENOTSUP ? -errno : 0;
}

static int settle_fd(int fd, struct stat *st)
{
	static const struct timespec times[2] = { { .tv_sec = LAYER_TIME }, { .tv_sec = LAYER_TIME } };
	mode_t mode = st->st_mode & 01777;
	if (fchown(fd, 0, 0) < 0 || fchmod(fd, mode) < 0 || futimens(fd, times) < 0)
		return -errno;
	st->st_mode = (st->st_mode & S_IFMT) | mode;
	st->st_uid = st->st_gid = 0;
	return strip_xattrs(fd);
}

static int walk_link(struct walk *w, int dirfd, const char *name, const char *path, struct stat *st, struct err *err)
{
	static const struct timespec times[2] = { { .tv_sec = LAYER_TIME }, { .tv_sec = LAYER_TIME } };
	char target[4097];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);
	if (n < 0)
		return err_set_errno(err, -errno, "cannot read the link '%s/%s'", w->root, path);
	target[n] = '\0';
	if (w->settle) {
		if (fchownat(dirfd, name, 0, 0, AT_SYMLINK_NOFOLLOW) < 0 ||
		    utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
			return err_set_errno(err, -errno, "cannot set owner and time of '%s/%s'", w->root, path);
		st->st_uid = st->st_gid = 0;
	}
	add_line(w, path, st, 'L', target);
	return 0;
}

static int walk_file(struct walk *w, int dirfd, const char *name, const char *path, struct stat *st, struct err *err)
{
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot read '%s/%s'", w->root, path);
	char digest[DIGEST_SIZE];
	uint64_t size;
	int r = fd_digest(fd, &size, digest);
	if (r == 0 && w->settle)
		r = settle_fd(fd, st);
	if (r < 0)
		return err_set_errno(err, r, "cannot read '%s/%s'", w->root, path);
	w->bytes += size;
	add_line(w, path, st, 'F', digest);
	return 0;
}

static int walk_dir(struct walk *w, int dirfd, const char *path, struct err *err);

static int walk_one(struct walk *w, int dirfd, const char *name, const char *path, struct err *err)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set_errno(err, -errno, "cannot look at '%s/%s'", w->root, path);
	if (S_ISREG(st.st_mode))
		return walk_file(w, dirfd, name, path, &st, err);
	if (S_ISLNK(st.st_mode))
		return walk_link(w, dirfd, name, path, &st, err);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -EINVAL, "'%s/%s' is a device, socket or FIFO; a layer holds none", w->root, path);
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot open '%s/%s'", w->root, path);
	return walk_dir(w, fd, path, err);
}

// Owns fd. The directory itself comes last, since its times change while what is in it is set.
static int walk_dir(struct walk *w, int fd, const char *path, struct err *err)
{
	DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_set_errno(err, -ENOMEM, "cannot read '%s/%s'", w->root, path);
	}
	int r = 0;
	struct dirent *entry;
	for (errno = 0; r == 0 && (entry = readdir(d)); errno = 0) {
		if (str_eq(entry->d_name, ".") || str_eq(entry->d_name, ".."))
			continue;
		AUTO_FREE char *below = *path ? xasprintf("%s/%s", path, entry->d_name) : xstrdup(entry->d_name);
		r = walk_one(w, fd, entry->d_name, below, err);
	}
	if (r == 0 && errno)
		r = err_set_errno(err, -errno, "cannot read '%s/%s'", w->root, path);
	struct stat st;
	if (r == 0 && (fstat(fd, &st) < 0 || (w->settle && settle_fd(fd, &st) < 0)))
		r = err_set_errno(err, -errno, "cannot set owner and time of '%s/%s'", w->root, path);
	if (r == 0)
		add_line(w, *path ? path : ".", &st, 'D', "-");
	closedir(d);
	return r;
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(((const struct line *)a)->path, ((const struct line *)b)->path);
}

static int walk_tree(struct walk *w, struct buf *ret_text, struct err *err)
{
	int fd = open(w->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot open '%s'", w->root);
	int r = walk_dir(w, fd, "", err);
	if (r < 0)
		return r;
	qsort(w->lines, w->n, sizeof(*w->lines), compare_lines);
	for (size_t i = 0; i < w->n && r == 0; i++)
		r = buf_add_str(ret_text, w->lines[i].text);
	return r < 0 ? err_set(err, -E2BIG, "'%s' holds too many files", w->root) : 0;
}

int layer_manifest(const char *root, char **ret_text, uint64_t *ret_bytes, struct err *err)
{
	CLEANUP(walk_clear) struct walk w = { .root = root };
	AUTO_BUF struct buf text = BUF_INIT(MANIFEST_MAX);
	int r = walk_tree(&w, &text, err);
	if (r < 0)
		return r;
	*ret_bytes = w.bytes;
	*ret_text = buf_take(&text);
	return 0;
}

// Scratch holds root/, manifest and .ready: it becomes the layer's folder in one rename.
static int put_in_place(const char *cache, const char *scratch, const char *digest, struct err *err)
{
	AUTO_CLOSE int fd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || syncfs(fd) < 0)
		return err_set_errno(err, -errno, "cannot write '%s'", scratch);
	AUTO_FREE char *mark = xasprintf("%s/.ready", scratch);
	int r = file_write_durable(mark, "", 0, 0644, err);
	if (r < 0)
		return r;
	AUTO_FREE char *layers = xasprintf("%s/layers", cache);
	AUTO_FREE char *to = layer_file(cache, digest, "");
	r = dir_make(layers, 0755, err);
	if (r < 0)
		return r;
	if (rename(scratch, to) < 0) {
		if (layer_ready(cache, digest))
			return 0; // another process made the same layer
		r = tree_remove(to, err);
		if (r < 0)
			return r;
		if (rename(scratch, to) < 0)
			return err_set_errno(err, -errno, "cannot rename '%s' to '%s'", scratch, to);
	}
	return dir_sync(layers, err);
}

int layer_commit(const char *cache, const char *dir, char ret_digest[DIGEST_SIZE], uint64_t *ret_bytes, struct err *err)
{
	CLEANUP(walk_clear) struct walk w = { .root = dir, .settle = true };
	AUTO_BUF struct buf text = BUF_INIT(MANIFEST_MAX);
	int r = walk_tree(&w, &text, err);
	if (r < 0)
		return r;
	char digest[DIGEST_SIZE];
	digest_of(buf_data(&text), buf_len(&text), digest);

	AUTO_FREE char *scratch = NULL;
	r = layer_ready(cache, digest) ? 1 : cache_scratch(cache, &scratch, err);
	if (r == 0) {
		AUTO_FREE char *root = xasprintf("%s/root", scratch);
		AUTO_FREE char *manifest = xasprintf("%s/manifest", scratch);
		r = file_write_atomic(manifest, buf_data(&text), buf_len(&text), 0644, err);
		if (r == 0 && (rename(dir, root) < 0 || chmod(scratch, 0755) < 0))
			r = err_set_errno(err, -errno, "cannot rename '%s' to '%s'", dir, root);
		if (r == 0)
			r = put_in_place(cache, scratch, digest, err);
		tree_remove(scratch, NULL);
	}
	if (r < 0)
		return r;
	tree_remove(dir, NULL);
	memcpy(ret_digest, digest, DIGEST_SIZE);
	*ret_bytes = w.bytes;
	return 0;
}

// Lines of both texts are sorted by path, the last field.
static const char *line_path(const char *line)
{
	size_t n = strcspn(line, "\n");
	const char *path = line + n;
	while (path > line && path[-1] != ' ')
		path--;
	return path;
}

static int compare_line_paths(const char *a, const char *b)
{
	const char *x = line_path(a), *y = line_path(b);
	AUTO_FREE char *p = xstrndup(x, strcspn(x, "\n"));
	AUTO_FREE char *q = xstrndup(y, strcspn(y, "\n"));
	AUTO_FREE char *left = path_unescape(p);
	AUTO_FREE char *right = path_unescape(q);
	return strcmp(left ? left : p, right ? right : q);
}

static int name_difference(const char *want, const char *have, const char *root, struct err *err)
{
	while (*want || *have) {
		size_t n = strcspn(want, "\n"), m = strcspn(have, "\n");
		if (n == m && memcmp(want, have, n) == 0) {
			want += n + (want[n] != '\0');
			have += m + (have[m] != '\0');
			continue;
		}
		int order = !*want ? 1 : !*have ? -1 : compare_line_paths(want, have);
		const char *path = line_path(order > 0 ? have : want);
		return err_set(err, -EBADMSG, "'%s/%.*s' %s", root, (int)strcspn(path, "\n"), path,
			       order > 0   ? "does not belong to this layer"
			       : order < 0 ? "is missing"
					   : "is corrupted: its content, mode or owner has changed");
	}
	return err_set(err, -EBADMSG, "'%s' differs from its manifest", root);
}

int layer_verify(const char *cache, const char *digest, struct err *err)
{
	if (!layer_ready(cache, digest))
		return err_set(err, -ENOENT, "layer %.80s is not in '%s'", digest, cache);
	AUTO_FREE char *root = layer_path(cache, digest);
	AUTO_FREE char *path = layer_file(cache, digest, "manifest");
	AUTO_BUF struct buf want = BUF_INIT(MANIFEST_MAX);
	int r = file_read(path, &want, err);
	if (r < 0)
		return r;
	char have_digest[DIGEST_SIZE];
	digest_of(buf_data(&want), buf_len(&want), have_digest);
	if (!str_eq(have_digest, digest))
		return err_set(err, -EBADMSG, "'%s' is corrupted: not the manifest of %s", path, digest);
	AUTO_FREE char *have = NULL;
	uint64_t bytes;
	r = layer_manifest(root, &have, &bytes, err);
	if (r < 0)
		return r;
	return str_eq(have, buf_str(&want)) ? 0 : name_difference(buf_str(&want), have, root, err);
}
