#include "image/paths.h"

#include "base/str.h"

#include <assert.h>
#include <errno.h>

#define READ_SIZE (256u << 10)

void digest_file_name(const char *digest, char name[DIGEST_SIZE])
{
	assert(digest_valid(digest));
	snprintf(name, DIGEST_SIZE, "sha256-%s", digest + 7);
}

int fd_digest(int fd, uint64_t *ret_size, char digest[DIGEST_SIZE])
{
	AUTO_FREE char *buffer = xmalloc(READ_SIZE);
	struct digest *d = digest_new();
	uint64_t size = 0;
	for (;;) {
		ssize_t n = read(fd, buffer, READ_SIZE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int r = -errno;
			digest_abort(d);
			return r;
		}
		if (n == 0)
			break;
		digest_add(d, buffer, (size_t)n);
		size += (uint64_t)n;
	}
	digest_finish(d, digest);
	*ret_size = size;
	return 0;
}
