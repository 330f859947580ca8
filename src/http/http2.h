// The client's side of an HTTP/2 connection (RFC 9113) as a state machine over nghttp2: bytes in, bytes out. No socket
// and no clock; http2_client.h is the driver with both. Requests are POSTs whose body may be open-ended, as gRPC needs.
//
// Callbacks run inside http2_feed, http2_take, http2_expire and http2_free only. Inside them calls may be made,
// written to and cancelled; the session itself may not be freed.
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "http/message.h"

struct http2;
struct http2_call;

enum http2_end {
	HTTP2_DONE,    // the answer came to its proper end
	HTTP2_REFUSED, // certainly not seen by the peer's application: never sent, or refused by the protocol
	HTTP2_RESET,   // the peer gave up on it
	HTTP2_EXPIRED, // no end within its time
	HTTP2_BROKEN,  // the connection was lost, or the peer did not follow the protocol
};

struct http2_call_spec {
	const char *scheme, *authority, *path;
	const struct http_header *headers;
	size_t n_headers;
	const void *body; // copied
	size_t len;
	bool open;            // more follows by http2_call_write, until http2_call_end
	uint64_t deadline_ms; // by the caller's clock, see http2_expire; 0: none

	// Each header and trailer of the answer, ":status" among them; valid during the call only. May be NULL.
	void (*on_header)(struct http2_call *call, const char *name, const char *value);
	void (*on_data)(struct http2_call *call, const char *bytes, size_t n);
	// The last callback, exactly once; frees the call.
	void (*on_end)(struct http2_call *call, enum http2_end end);
	void *arg;
};

enum {
	HTTP2_STREAM_WINDOW = 4 << 20, // what the peer may send ahead: on one stream,
	HTTP2_WINDOW = 16 << 20,       // and on all together
	HTTP2_CALL_OUT_MAX = 16 << 20, // bytes of a body that wait for the peer's window
};

struct http2 *http2_new(void (*wake)(void *arg), void *arg); // wake: there may be something for http2_take
// Ends open calls as HTTP2_BROKEN, or HTTP2_REFUSED when nothing_sent or they were never taken.
void http2_free(struct http2 *h, bool nothing_sent);

// -EPROTO: the peer does not speak HTTP/2 properly; nothing more may be fed.
int http2_feed(struct http2 *h, const char *bytes, size_t n);
// Appends what is to be sent until out has about `enough` bytes. -EPROTO, -ENOBUFS.
int http2_take(struct http2 *h, struct buf *out, size_t enough);

bool http2_ready(const struct http2 *h);             // the peer's settings have come: it is alive and speaks HTTP/2
bool http2_leaving(const struct http2 *h);           // the peer takes no new calls (GOAWAY)
size_t http2_calls(const struct http2 *h);           // open ones
void http2_ping(struct http2 *h);                    // the answer counts as bytes received, no more
bool http2_expire(struct http2 *h, uint64_t now_ms); // ends what is over its deadline; true: some still have one

struct http2_call *http2_call(struct http2 *h, const struct http2_call_spec *spec);
void *http2_call_arg(const struct http2_call *call);
int http2_call_write(struct http2_call *call, const void *bytes, size_t n); // -ENOBUFS
void http2_call_end(struct http2_call *call);
void http2_call_cancel(struct http2_call *call); // no further callback; the call is gone
