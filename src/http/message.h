// What HTTP messages are made of, shared by the parsers, the writers and the socket drivers. RFC 9110.
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes waiting to be sent above which a writer should stop until it is told that they have drained.
#define HTTP_HIGH_WATER (256 << 10)

struct http_header {
	const char *name;  // lower-case in parsed messages
	const char *value; // without surrounding white space
};

struct http_headers {
	struct http_header *items; // in the order received; repeated names stay repeated
	size_t n;
};

// The first value of that name (given in lower case), or NULL.
const char *http_header_get(const struct http_headers *headers, const char *name);

// True when one of the comma-separated members of any header of that name equals token, ignoring case.
bool http_header_has_token(const struct http_headers *headers, const char *name, const char *token);

struct http_request {
	const char *method; // "GET"
	const char *target; // as sent: "/a%20b?x=1"
	const char *path;   // the target up to '?', as sent, not decoded
	const char *query;  // behind '?', not decoded; "" when there is none
	const char *host;   // of the Host header, or of an absolute target
	struct http_headers headers;
	unsigned minor; // of HTTP/1.minor
};

struct http_response {
	unsigned status;
	struct http_headers headers;
	unsigned minor;
};

const char *http_status_text(unsigned status); // "Not Found"; "" when unknown

// Percent-decodes n bytes into a heap string; NULL for a bad escape or an encoded NUL.
char *http_percent_decode(const char *text, size_t n);

// The decoded value of the first query parameter of that name, on the heap; NULL when absent. "a=1&b" has b = "".
char *http_query_get(const char *query, const char *name);

// Takes the next parameter off *query: its decoded name, on the heap, NULL for a bad escape in name or value. False at
// the end. Empty parameters ("a&&b") are passed over.
bool http_query_next(const char **query, char **ret_name);
