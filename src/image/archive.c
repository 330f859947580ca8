#include "image/archive.h"

#include "base/str.h"
#include "image/artifact.h"
#include "io/file.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define BLOCK_SIZE (64u << 10)
#define RATIO_FROM (16ull << 20)

struct link {
	char *path, *target;
};

struct unpacking {
	struct archive *in;
	const char *name; // of the archive, for messages
	const struct archive_limits *limits;
	int dir;
	uint64_t entries, bytes;
	struct link *links; // made last, so that nothing is ever written through one
	size_t n_links;
	char *buffer;
};

static int refuse(struct unpacking *u, const char *path, const char *why, struct err *err)
{
	return err_set(err, -EBADMSG, "archive '%s': '%.300s': %s", u->name, path, why);
}

static int broken(struct unpacking *u, struct err *err)
{
	const char *why = archive_error_string(u->in);
	return err_set(err, -EBADMSG, "archive '%s' cannot be read: %s", u->name, why ? why : "unknown reason");
}

// "./a/b/" is a/b; "." itself is the top.
static char *clean_path(const char *path)
{
	while (str_starts(path, "./"))
		path += 2 + strspn(path + 2, "/");
	size_t n = strlen(path);
	while (n && path[n - 1] == '/')
		n--;
	return n == 1 && *path == '.' ? xstrdup("") : xstrndup(path, n);
}

static int make_folders(struct unpacking *u, const char *path, bool whole, struct err *err)
{
	AUTO_FREE char *part = whole ? xasprintf("%s/", path) : xstrdup(path);
	for (char *slash = strchr(part, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		struct stat st;
		if (mkdirat(u->dir, part, 0755) < 0) {
			if (errno != EEXIST)
				return err_set_errno(err, -errno, "archive '%s': cannot make '%s'", u->name, part);
			if (fstatat(u->dir, part, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
				return refuse(u, path, "lies inside something that is not a folder", err);
		} else {
			fchmodat(u->dir, part, 0755, 0);
		}
		*slash = '/';
	}
	return 0;
}

static int count_bytes(struct unpacking *u, const char *path, uint64_t file, size_t n, struct err *err)
{
	u->bytes += n;
	if (file + n > u->limits->file_bytes)
		return err_set(err, -E2BIG, "archive '%s': '%.300s' is larger than %llu bytes", u->name, path,
			       (unsigned long long)u->limits->file_bytes);
	if (u->bytes > u->limits->bytes)
		return err_set(err, -E2BIG, "archive '%s': unpacks to more than %llu bytes (at '%.300s')", u->name,
			       (unsigned long long)u->limits->bytes, path);
	int64_t packed = archive_filter_bytes(u->in, -1);
	if (u->bytes > RATIO_FROM && packed > 0 && u->bytes / (uint64_t)packed > u->limits->ratio)
		return err_set(
			err, -E2BIG,
			"archive '%s': unpacks to more than %u times its size (at '%.300s'); a decompression bomb",
			u->name, u->limits->ratio, path);
	return 0;
}

static int write_content(struct unpacking *u, const char *path, int fd, struct err *err)
{
	uint64_t size = 0;
	for (;;) {
		la_ssize_t n = archive_read_data(u->in, u->buffer, BLOCK_SIZE);
		if (n < 0)
			return broken(u, err);
		if (n == 0)
			return 0;
		int r = count_bytes(u, path, size, (size_t)n, err);
		if (r == 0 && (r = write_all(fd, u->buffer, (size_t)n)) < 0)
			r = err_set_errno(err, r, "cannot write '%s'", path);
		if (r < 0)
			return r;
		size += (uint64_t)n;
	}
}

static int unpack_file(struct unpacking *u, struct archive_entry *e, const char *path, struct err *err)
{
	AUTO_CLOSE int fd = openat(u->dir, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && (errno == EEXIST || errno == EISDIR))
		return refuse(u, path, "is in it twice", err);
	if (fd < 0 || fchmod(fd, archive_entry_perm(e) & 0111 ? 0755 : 0644) < 0)
		return err_set_errno(err, -errno, "archive '%s': cannot make '%s'", u->name, path);
	return write_content(u, path, fd, err);
}

static int unpack_hard_link(struct unpacking *u, struct archive_entry *e, const char *path, struct err *err)
{
	const char *named = archive_entry_hardlink(e);
	AUTO_FREE char *target = clean_path(named ? named : "");
	const char *fault = artifact_path_fault(target);
	struct stat st;
	if (fault)
		return refuse(u, path, "hard link that leads out", err);
	if (fstatat(u->dir, target, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return refuse(u, path, "hard link to something that is not a file before it", err);
	if (linkat(u->dir, target, u->dir, path, 0) < 0)
		return errno == EEXIST ? refuse(u, path, "is in it twice", err)
				       : err_set_errno(err, -errno, "archive '%s': cannot make '%s'", u->name, path);
	return 0;
}

static int note_link(struct unpacking *u, struct archive_entry *e, const char *path, struct err *err)
{
	const char *target = archive_entry_symlink(e);
	if (!target || !artifact_link_inside(path, target))
		return refuse(u, path, "link that leads out", err);
	u->links = xreallocarray(u->links, u->n_links + 1, sizeof(*u->links));
	u->links[u->n_links++] = (struct link){ xstrdup(path), xstrdup(target) };
	return 0;
}

static int unpack_entry(struct unpacking *u, struct archive_entry *e, struct err *err)
{
	const char *named = archive_entry_pathname(e);
	if (++u->entries > u->limits->entries)
		return err_set(err, -E2BIG, "archive '%s': more than %llu entries", u->name,
			       (unsigned long long)u->limits->entries);
	if (!named)
		return refuse(u, "?", "has a name that cannot be read", err);
	AUTO_FREE char *path = clean_path(named);
	bool is_dir = archive_entry_filetype(e) == AE_IFDIR;
	if (!*path && is_dir && *named != '/')
		return 0;
	const char *fault = artifact_path_fault(path);
	if (fault)
		return refuse(u, named, fault, err);
	int r = make_folders(u, path, is_dir, err);
	if (r < 0 || is_dir)
		return r;
	if (archive_entry_hardlink(e))
		return unpack_hard_link(u, e, path, err);
	if (archive_entry_filetype(e) == AE_IFLNK)
		return note_link(u, e, path, err);
	if (archive_entry_filetype(e) != AE_IFREG)
		return refuse(u, path, "is a device, socket or FIFO", err);
	return unpack_file(u, e, path, err);
}

static int make_links(struct unpacking *u, struct err *err)
{
	for (size_t i = 0; i < u->n_links; i++) {
		const struct link *l = &u->links[i];
		if (symlinkat(l->target, u->dir, l->path) < 0)
			return errno == EEXIST ? refuse(u, l->path, "is in it twice", err)
					       : err_set_errno(err, -errno, "archive '%s': cannot make the link '%s'",
							       u->name, l->path);
	}
	return 0;
}

static int unpack_all(struct unpacking *u, struct err *err)
{
	for (;;) {
		struct archive_entry *e;
		int r = archive_read_next_header(u->in, &e);
		if (r == ARCHIVE_EOF)
			return make_links(u, err);
		if (r < ARCHIVE_WARN)
			return broken(u, err);
		r = unpack_entry(u, e, err);
		if (r < 0)
			return r;
	}
}

static struct archive *new_reader(void)
{
	struct archive *in = archive_read_new();
	if (!in)
		abort();
	archive_read_support_format_tar(in);
	archive_read_support_format_zip(in);
	archive_read_support_filter_gzip(in);
	archive_read_support_filter_bzip2(in);
	archive_read_support_filter_xz(in);
	archive_read_support_filter_zstd(in);
	return in;
}

static int unpack_opened(struct archive *in, int opened, const char *name, const char *dir,
			 const struct archive_limits *limits, struct err *err)
{
	static const struct archive_limits defaults = ARCHIVE_LIMITS_DEFAULT;
	AUTO_FREE char *buffer = xmalloc(BLOCK_SIZE);
	AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct unpacking u = { in, name, limits ? limits : &defaults, .dir = fd, .buffer = buffer };
	int r = 0;
	if (fd < 0)
		r = err_set_errno(err, -errno, "cannot open '%s'", dir);
	else if (opened != ARCHIVE_OK)
		r = broken(&u, err);
	if (r == 0)
		r = unpack_all(&u, err);
	for (size_t i = 0; i < u.n_links; i++) {
		free(u.links[i].path);
		free(u.links[i].target);
	}
	free(u.links);
	archive_read_free(in);
	return r;
}

int archive_unpack(const char *path, const char *dir, const struct archive_limits *limits, struct err *err)
{
	struct archive *in = new_reader();
	int opened = archive_read_open_filename(in, path, BLOCK_SIZE);
	return unpack_opened(in, opened, path, dir, limits, err);
}

int archive_unpack_bytes(const void *bytes, size_t n, const char *name, const char *dir,
			 const struct archive_limits *limits, struct err *err)
{
	struct archive *in = new_reader();
	int opened = archive_read_open_memory(in, bytes, n);
	return unpack_opened(in, opened, name, dir, limits, err);
}
