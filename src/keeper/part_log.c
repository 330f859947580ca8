#include "keeper/part_log.h"

#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define START_BYTES (16 << 20) // put aside at a start
#define LIMIT_BYTES (64 << 20) // put aside while it is written

int part_log_open(const char *data, const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/log/%s.log", data, name);
	struct stat st;
	if (stat(path, &st) == 0 && st.st_size > START_BYTES) {
		AUTO_FREE char *old = xasprintf("%s.1", path);
		rename(path, old);
	}
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

void part_log_limit(const char *data, const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/log/%s.log", data, name);
	AUTO_FREE char *old = xasprintf("%s.1", path);
	AUTO_CLOSE int from = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	if (from < 0 || fstat(from, &st) < 0 || st.st_size <= LIMIT_BYTES)
		return;
	AUTO_CLOSE int to = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	// Only as much as is kept; on a full disk, nothing.
	off_t at = st.st_size - START_BYTES;
	while (to >= 0 && sendfile(to, from, &at, 1 << 20) > 0)
		;
	if (ftruncate(from, 0) < 0)
		log_warn("cannot bound log file=%s error=\"%s\"", path, strerror(errno));
	else
		log_warn("log put aside file=%s bytes=%lld", path, (long long)st.st_size);
}
