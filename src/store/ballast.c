#include "store/ballast.h"

#include "base/str.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { BALLAST_MAX = 4 << 20, PART = 6 };

void ballast_init(struct ballast *ballast, const char *dir)
{
	*ballast = (struct ballast){ .path = xasprintf("%s/ballast", dir) };
}

void ballast_clear(struct ballast *ballast)
{
	free(ballast->path);
	*ballast = (struct ballast){ 0 };
}

bool ballast_take(struct ballast *ballast)
{
	AUTO_CLOSE int fd = open(ballast->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct statvfs disk;
	struct stat st;
	if (fd < 0 || fstatvfs(fd, &disk) < 0 || fstat(fd, &st) < 0)
		return false;
	uint64_t whole = (uint64_t)disk.f_blocks * disk.f_frsize;
	uint64_t bytes = whole / PART < BALLAST_MAX ? whole / PART : BALLAST_MAX;
	uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize + (uint64_t)st.st_blocks * 512;
	// What was given up must not be taken for room that somebody has made.
	if (room >= 2 * bytes && fallocate(fd, 0, 0, (off_t)bytes) == 0) {
		ballast->bytes = bytes;
		return true;
	}
	ballast_give(ballast);
	return false;
}

void ballast_give(struct ballast *ballast)
{
	unlink(ballast->path);
	ballast->bytes = 0;
}
