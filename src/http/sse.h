// Server-sent events (WHATWG HTML, 9.2): a parser fed with bytes in any pieces, and a writer.
#pragma once

#include "base/buf.h"

struct sse_event {
	const char *id;    // the last id seen; "" at first
	const char *event; // "message" when not named
	const char *data;  // NUL-terminated; lines joined by '\n'
	size_t data_len;
};

struct sse_parser;

// max_event: bytes of one event's data and names; a longer one ends parsing with -EMSGSIZE.
struct sse_parser *sse_parser_new(size_t max_event, void (*on_event)(const struct sse_event *event, void *arg),
				  void *arg);
void sse_parser_free(struct sse_parser *parser);                       // also inside on_event, which is then the last
int sse_parse(struct sse_parser *parser, const char *bytes, size_t n); // 0 or -EMSGSIZE

// Appends one event; event and id may be NULL. data is split into lines as needed. -ENOBUFS as of buf_add.
int sse_write(struct buf *out, const char *event, const char *id, const char *data, size_t n);
