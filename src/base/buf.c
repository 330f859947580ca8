#include "base/buf.h"

#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

void buf_clear(struct buf *b)
{
	free(b->bytes);
	*b = (struct buf){ .max = b->max };
}

void buf_reset(struct buf *b)
{
	b->start = b->end = 0;
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= buf_len(b));
	b->start += n;
	if (b->start == b->end)
		b->start = b->end = 0;
}

// One byte beyond what was asked for is always there, for buf_str's NUL.
static void make_room(struct buf *b, size_t n)
{
	size_t len = buf_len(b);
	if (b->size - b->end > n)
		return;
	if (b->start && b->size > len + n && b->start >= len) {
		memmove(b->bytes, b->bytes + b->start, len);
		b->start = 0;
		b->end = len;
		return;
	}
	size_t size = b->size ? b->size : 64;
	while (size <= len + n)
		size *= 2;
	char *bytes = xmalloc(size);
	if (len)
		memcpy(bytes, b->bytes + b->start, len);
	free(b->bytes);
	*b = (struct buf){ .bytes = bytes, .start = 0, .end = len, .size = size, .max = b->max };
}

int buf_reserve(struct buf *b, size_t n, char **ret)
{
	if (n > b->max || buf_len(b) > b->max - n)
		return -ENOBUFS;
	make_room(b, n);
	*ret = b->bytes + b->end;
	return 0;
}

void buf_commit(struct buf *b, size_t n)
{
	assert(b->end + n <= b->size);
	b->end += n;
}

int buf_add(struct buf *b, const void *bytes, size_t n)
{
	char *to;
	int r = buf_reserve(b, n, &to);
	if (r < 0)
		return r;
	if (n)
		memcpy(to, bytes, n);
	buf_commit(b, n);
	return 0;
}

int buf_add_str(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	va_list again;
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	assert(n >= 0);

	char *to;
	int r = buf_reserve(b, (size_t)n, &to);
	if (r == 0) {
		vsnprintf(to, (size_t)n + 1, fmt, again);
		buf_commit(b, (size_t)n);
	}
	va_end(again);
	return r;
}

const char *buf_str(struct buf *b)
{
	make_room(b, 0);
	b->bytes[b->end] = '\0';
	return buf_data(b);
}

char *buf_take(struct buf *b)
{
	size_t len = buf_len(b);
	buf_str(b);
	if (b->start)
		memmove(b->bytes, b->bytes + b->start, len + 1);
	char *s = b->bytes;
	*b = (struct buf){ .max = b->max };
	return s;
}
