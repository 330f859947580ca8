// What `run` and `exec` pass on, with -o json: one object a line, {"type":"output","stream":"out"|"err","text":…} for
// each piece as it comes, and {"type":"exit","exit":N} at the end. A character is never divided between two pieces;
// bytes that are not UTF-8 become U+FFFD.
#pragma once

#include "base/buf.h"

#define CHUNK_MAX (1u << 20)

struct chunks {
	struct buf out, err; // what is not a whole character yet, and room for a piece
};

#define CHUNKS_INIT                                                                                                    \
	{                                                                                                              \
		.out = BUF_INIT(CHUNK_MAX + 8), .err = BUF_INIT(CHUNK_MAX + 8)                                         \
	}

void chunks_clear(struct chunks *c);
void chunks_print(struct chunks *c, bool is_err, const char *bytes, size_t n); // n: at most CHUNK_MAX
void chunks_end(struct chunks *c, int status);
