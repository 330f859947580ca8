#include "agent/reserve.h"

#include "base/str.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { RESERVE_MAX = 2 << 20, RESERVE_MIN = 64 << 10, FULL_BYTES = 1 << 20 };

void reserve_keep(const char *data)
{
	AUTO_FREE char *path = xasprintf("%s/node/reserve", data);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size >= RESERVE_MAX)
		return;
	for (off_t size = RESERVE_MAX; size > st.st_size && size >= RESERVE_MIN; size /= 2) {
		if (fallocate(fd, 0, 0, size) == 0)
			return;
		if (ftruncate(fd, st.st_size) < 0) // it may have got a part
			return;
	}
}

bool reserve_give(const char *data)
{
	struct statvfs disk;
	if (statvfs(data, &disk) < 0 || (uint64_t)disk.f_bavail * disk.f_frsize >= FULL_BYTES)
		return false;
	AUTO_FREE char *path = xasprintf("%s/node/reserve", data);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 || ftruncate(fd, 0) == 0;
}
