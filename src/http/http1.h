// HTTP/1.1 (RFC 9112) without I/O: a parser for requests or responses, fed with bytes, and writers into a struct buf.
// The parser hands out one event a call, so that its caller can stop anywhere. It rejects what is malformed or
// ambiguous and never repairs: bare CR or LF, NUL, folded lines, Content-Length beside Transfer-Encoding, codings other
// than exactly "chunked", chunk extensions, a missing or second Host … (llhttp, compiled strict, with stricter checks
// around it).
//
// The head is copied once into a buffer that the parser keeps and reuses; body slices point into the caller's bytes.
// Trailers are checked and dropped. No thread of its own; one parser belongs to one thread.
#pragma once

#include "base/buf.h"
#include "http/message.h"

#define HTTP1_HEAD_MAX (64 << 10)
#define HTTP1_TARGET_MAX (8 << 10)
#define HTTP1_HEADERS_MAX 100

enum http1_event {
	HTTP1_NEED,  // all bytes were taken and there is no event: feed more
	HTTP1_HEAD,  // request or response is filled in, and what stands below it
	HTTP1_BODY,  // body, body_len: a slice of the bytes given
	HTTP1_END,   // the message is complete
	HTTP1_ERROR, // status and reason; every later call says the same
};

enum http1_framing {
	HTTP1_NO_BODY,
	HTTP1_LENGTH, // content_length bytes, at least one
	HTTP1_CHUNKED,
	HTTP1_UNTIL_CLOSE, // responses only
};

struct http1_parser {
	// From HTTP1_HEAD on. The strings live until a byte of the next head is parsed, http1_parser_rest, or _clear.
	struct http_request request;
	struct http_response response;
	enum http1_framing framing;
	uint64_t content_length; // as declared; UINT64_MAX when no Content-Length was there
	bool keep_alive;         // the sender lets the connection be used again after this message
	bool upgrade;         // request: asks for another protocol (Upgrade, or CONNECT); response: has switched to it
	bool expect_continue; // request: waits for "100 Continue" before it sends the body
	bool interim;         // response: 1xx (not 101): no END follows, but the next head

	const char *body;
	size_t body_len;

	unsigned status;    // after HTTP1_ERROR: what to answer (of a bad response: 502)
	const char *reason; // static text

	// Private.
	int state;
	bool is_response, to_head, to_connect, skipped_line;
	uint64_t left;  // of a Content-Length body
	size_t line;    // where the head's line being gathered starts
	size_t trailer; // bytes of trailers seen
	int trailer_state;
	struct http1_head *head; // NULL at rest
};

void http1_parser_init(struct http1_parser *p, bool is_response);
void http1_parser_clear(struct http1_parser *p); // zeroed is fine

// Between messages: gives back the head's memory (a few KiB), for connections that stay idle. Views end.
void http1_parser_rest(struct http1_parser *p);

// A response parser must know what is answered, before the response's first byte: the method decides about the body.
void http1_parser_answers(struct http1_parser *p, const char *method);

// Takes at most n bytes, *ret_used of them, and returns the next event. Call again with the rest until HTTP1_NEED, also
// with n = 0: HTTP1_END may be due without another byte. A response whose upgrade is true ends with HTTP1_END; what
// follows it is not HTTP. A request that asks for an upgrade is followed by whatever comes behind its body: stop there
// until it is decided.
enum http1_event http1_parse(struct http1_parser *p, const char *bytes, size_t n, size_t *ret_used);

// The peer closed: HTTP1_END (a body that lasts until the close), HTTP1_NEED (between messages: a clean close) or
// HTTP1_ERROR (cut off in the middle).
enum http1_event http1_parse_close(struct http1_parser *p);

// True from the first byte of a head until the message's END was returned.
bool http1_parser_in_message(const struct http1_parser *p);

// Writers. All return 0, -ENOBUFS as buf_add, or -EINVAL (nothing appended) for what would break the framing: control
// characters, a name that is no token. Hop-by-hop rules are the caller's.
int http1_write_request_line(struct buf *out, const char *method, const char *target); // HTTP/1.1
int http1_write_status_line(struct buf *out, unsigned status);                         // HTTP/1.1
int http1_write_header(struct buf *out, const char *name, const char *value);
int http1_write_header_u64(struct buf *out, const char *name, uint64_t value);
int http1_write_date(struct buf *out); // Date: now
int http1_write_head_end(struct buf *out);
bool http1_header_valid(const char *name, const char *value);

// One chunk with its framing; n = 0 writes nothing.
int http1_write_chunk(struct buf *out, const void *bytes, size_t n);
int http1_write_last_chunk(struct buf *out); // "0", no trailers

// For writev: the size line of a chunk of n > 0 bytes, which must be followed by the bytes and "\r\n". Returns its
// length.
#define HTTP1_CHUNK_LINE_SIZE 20
size_t http1_chunk_line(char line[HTTP1_CHUNK_LINE_SIZE], size_t n);
