#include "io/file.h"

#include "base/id.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

int file_read(const char *path, struct buf *buf, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot open '%s'", path);
	for (;;) {
		size_t room = buf->max - buf_len(buf);
		size_t want = room < 65536 ? room : 65536;
		char *to;
		if (!want) {
			char one;
			if (read(fd, &one, 1) > 0)
				return err_set(err, -EFBIG, "'%s' is larger than the %zu bytes allowed", path, buf->max);
			return 0;
		}
		int r = buf_reserve(buf, want, &to);
		if (r < 0)
			return err_set_errno(err, r, "cannot read '%s'", path);
		ssize_t n = read(fd, to, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(err, -errno, "cannot read '%s'", path);
		if (n == 0)
			return 0;
		buf_commit(buf, (size_t)n);
	}
}

int write_all(int fd, const void *bytes, size_t n)
{
	const char *from = bytes;
	while (n) {
		ssize_t written = write(fd, from, n);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		from += written;
		n -= (size_t)written;
	}
	return 0;
}

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return xstrdup(".");
	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

int dir_sync(const char *path, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot open folder '%s'", path);
	if (fsync(fd) < 0)
		return err_set_errno(err, -errno, "cannot sync folder '%s'", path);
	return 0;
}

static int write_temp(const char *temp, const void *bytes, size_t n, mode_t mode, bool durable)
{
	AUTO_CLOSE int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	int r = write_all(fd, bytes, n);
	if (r == 0 && fchmod(fd, mode) < 0) // whatever the umask is
		r = -errno;
	if (r == 0 && durable && fsync(fd) < 0)
		r = -errno;
	return r;
}

static int write_file(const char *path, const void *bytes, size_t n, mode_t mode, bool durable, struct err *err)
{
	uint32_t salt;
	random_bytes(&salt, sizeof(salt));
	AUTO_FREE char *temp = xasprintf("%s.%08x.tmp", path, salt);
	int r = write_temp(temp, bytes, n, mode, durable);
	if (r == 0 && rename(temp, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(temp);
		return err_set_errno(err, r, "cannot write '%s'", path);
	}
	if (!durable)
		return 0;
	AUTO_FREE char *folder = folder_of(path);
	return dir_sync(folder, err);
}

int file_write_durable(const char *path, const void *bytes, size_t n, mode_t mode, struct err *err)
{
	return write_file(path, bytes, n, mode, true, err);
}

int file_write_atomic(const char *path, const void *bytes, size_t n, mode_t mode, struct err *err)
{
	return write_file(path, bytes, n, mode, false, err);
}

static int write_over(const char *path, const void *bytes, size_t n)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	int r = write_all(fd, bytes, n);
	return r == 0 && ftruncate(fd, (off_t)n) < 0 ? -errno : r;
}

int file_write_atomic_or_over(const char *path, const void *bytes, size_t n, mode_t mode, struct err *err)
{
	struct err why = { 0 };
	int r = file_write_atomic(path, bytes, n, mode, &why);
	if ((r == -ENOSPC || r == -EDQUOT) && write_over(path, bytes, n) == 0)
		return 0;
	if (r < 0 && err)
		*err = why;
	return r;
}

int file_exists(const char *path)
{
	struct stat st;
	if (stat(path, &st) == 0)
		return 1;
	return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

int dir_make(const char *path, mode_t mode, struct err *err)
{
	AUTO_FREE char *copy = xstrdup(path);
	for (char *slash = strchr(copy + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return err_set_errno(err, -errno, "cannot make folder '%s'", copy);
		if (!slash)
			break;
		*slash = '/';
	}
	struct stat st;
	if (stat(path, &st) < 0)
		return err_set_errno(err, -errno, "cannot make folder '%s'", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR, "cannot make folder '%s': a file of that name is in the way", path);
	return 0;
}

static int remove_at(int parent, const char *name, dev_t device);

static int remove_content(int fd, dev_t device)
{
	DIR *dir = fdopendir(fd);
	if (!dir) {
		int r = -errno;
		close(fd);
		return r;
	}
	int first = 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (str_eq(entry->d_name, ".") || str_eq(entry->d_name, ".."))
			continue;
		int r = remove_at(dirfd(dir), entry->d_name, device);
		if (r < 0 && first == 0)
			first = r;
	}
	closedir(dir);
	return first;
}

static int remove_at(int parent, const char *name, dev_t device)
{
	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct stat st;
	if (fstat(fd, &st) < 0 || st.st_dev != device) {
		close(fd);
		return -EXDEV;
	}
	int r = remove_content(fd, device);
	if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT && r == 0)
		r = -errno;
	return r;
}

int tree_remove(const char *path, struct err *err)
{
	AUTO_FREE char *folder = folder_of(path);
	AUTO_CLOSE int parent = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0 && errno == ENOENT)
		return 0;
	struct stat st;
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	if (parent < 0 || fstat(parent, &st) < 0)
		return err_set_errno(err, -errno, "cannot remove '%s'", path);
	int r = remove_at(parent, name, st.st_dev);
	if (r == -EXDEV)
		return err_set(err, r, "cannot remove '%s': a file system is mounted below it", path);
	if (r < 0)
		return err_set_errno(err, r, "cannot remove '%s'", path);
	return 0;
}
