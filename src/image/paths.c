#include "image/paths.h"

#include "base/str.h"
#include "io/file.h"

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

static bool plain_byte(unsigned char c)
{
	return c > 0x20 && c < 0x7f && c != '%';
}

int path_escape(struct buf *out, const char *s)
{
	int r = 0;
	for (; *s && r == 0; s++) {
		unsigned char c = (unsigned char)*s;
		r = plain_byte(c) ? buf_add(out, s, 1) : buf_addf(out, "%%%02X", c);
	}
	return r;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

char *path_unescape(const char *text)
{
	AUTO_FREE char *out = xmalloc(strlen(text) + 1);
	size_t n = 0;
	for (const char *p = text; *p; p++) {
		if (plain_byte((unsigned char)*p)) {
			out[n++] = *p;
			continue;
		}
		int high = *p == '%' ? hex_value(p[1]) : -1;
		int low = high >= 0 ? hex_value(p[2]) : -1;
		if (low < 0)
			return NULL;
		int c = high * 16 + low;
		if (c == 0 || plain_byte((unsigned char)c))
			return NULL;
		out[n++] = (char)c;
		p += 2;
	}
	out[n] = '\0';
	return TAKE_PTR(out);
}

int cache_scratch(const char *cache, char **ret_path, struct err *err)
{
	// The path goes into mount options and hooks of mmdebstrap, where some characters have a meaning.
	for (const char *c = cache; *c; c++)
		if (!strchr("/._+-@", *c) && !(*c >= '0' && *c <= '9') && !((*c | 32) >= 'a' && (*c | 32) <= 'z'))
			return err_set(err, -EINVAL,
				       "the cache's path '%s' holds '%c'; only letters, digits and /._+-@ may be in it",
				       cache, *c);
	char id[UID_SIZE];
	uid_new(id);
	AUTO_FREE char *path = xasprintf("%s/tmp/%s", cache, id);
	int r = dir_make(path, 0755, err);
	if (r < 0)
		return r;
	*ret_path = TAKE_PTR(path);
	return 0;
}
