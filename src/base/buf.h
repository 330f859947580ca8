// A byte buffer that grows up to a maximum it has from birth. Consumed from the front without copying each time.
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

struct buf {
	char *bytes; // allocation; readable part is bytes[start, end)
	size_t start, end, size;
	size_t max; // of readable bytes; an append that would pass it fails whole
};

#define BUF_INIT(max_) ((struct buf){ .max = (max_) })

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}

static inline char *buf_data(const struct buf *b)
{
	return b->bytes ? b->bytes + b->start : NULL; // adding to a null pointer is undefined, even zero
}

void buf_clear(struct buf *b);		 // frees; usable again afterwards with the same max
void buf_reset(struct buf *b);		 // forgets the content, keeps the allocation
void buf_consume(struct buf *b, size_t n); // drops n <= buf_len bytes from the front

// All of these return 0, or -ENOBUFS (nothing appended) when the content would pass max.
int buf_add(struct buf *b, const void *bytes, size_t n);
int buf_add_str(struct buf *b, const char *s);
int buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

// Room for at least n more bytes at *ret (then buf_commit what was written); -ENOBUFS when that would pass max.
int buf_reserve(struct buf *b, size_t n, char **ret);
void buf_commit(struct buf *b, size_t n);

// The content as a NUL-terminated string owned by b, valid until the next call on b.
const char *buf_str(struct buf *b);

// The content as a NUL-terminated heap string; b is empty afterwards.
char *buf_take(struct buf *b);

#define AUTO_BUF CLEANUP(buf_clear)
