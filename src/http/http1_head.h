// Private to src/http: the grammar and the meaning of one complete head, and what http1.c shares with it.
#pragma once

#include "http/http1.h"

#include <llhttp.h>

struct http1_head {
	llhttp_t llhttp;
	struct buf bytes;           // the head as received, cut into strings in place; a tail behind it holds copies
	char *name_end, *value_end; // to be cut when llhttp is past them
	bool zero_chunk;
	size_t n;
	struct http_header items[HTTP1_HEADERS_MAX];
};

// Parses and judges the head gathered in p->head->bytes; fills in what HTTP1_HEAD promises. False: failed.
bool http1_head_parse(struct http1_parser *p);

// Remembers the error and returns false. status is what a server would answer; a response's is always 502.
bool http1_fail(struct http1_parser *p, unsigned status, const char *reason);

// The lower-case form of a token character (RFC 9110, 5.6.2); 0 for any other byte.
extern const char http1_token_chars[256];

bool http1_list_has(const char *list, const char *token);
