// The HTTP/1.1 socket driver of a client: calls to one address over kept-alive connections. Runs on its loop's thread.
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "http/message.h"
#include "http/tls.h"
#include "io/loop.h"
#include "io/socket.h"

struct http_client;
struct http_call;

struct http_call_spec {
	const char *method, *target; // copied
	const char *host;            // for the Host header; NULL: the address
	const struct http_header *headers;
	size_t n_headers;
	const void *body; // copied; NULL with stream_body
	size_t body_len;
	bool stream_body;         // the body follows by http_call_write and http_call_end (chunked)
	unsigned head_timeout_ms; // until the answer's head, not counting while the request makes progress; 0: 30,000
	unsigned idle_timeout_ms; // between bytes of the answer; 0: none

	// The answer's head (not 1xx). Strings are valid during the call only. May be NULL.
	void (*on_head)(struct http_call *call, const struct http_response *response);
	void (*on_data)(struct http_call *call, const char *bytes, size_t n); // may be NULL
	void (*on_drain)(struct http_call *call); // after http_call_write returned more than HTTP_HIGH_WATER
	// The last callback, exactly once; err is NULL when the answer came to its proper end. Frees the call.
	void (*on_end)(struct http_call *call, const struct err *err);
	void *arg;
};

// Connections above max_connections (0: 16) make calls wait for a free one.
struct http_client *http_client_new(struct loop *loop, const struct address *address, size_t max_connections);
// Before the first call: connections are under TLS (config is borrowed), and the peer is to be name, as in tls_new.
void http_client_secure(struct http_client *client, struct tls_config *config, const char *name);
void http_client_free(struct http_client *client); // ends open calls with an error first

// Never calls back before it has returned. An idempotent call (GET, HEAD, PUT, DELETE without a streamed body) that met
// a kept-alive connection the peer had just closed is sent once more on a new one, unseen.
struct http_call *http_client_call(struct http_client *client, const struct http_call_spec *spec);
void *http_call_arg(const struct http_call *call);
size_t http_call_write(struct http_call *call, const void *bytes, size_t n); // returns the bytes that wait
void http_call_end(struct http_call *call);
void http_call_pause(struct http_call *call); // stop reading the answer
void http_call_resume(struct http_call *call);
void http_call_cancel(struct http_call *call); // no further callback, not even on_end; the call is gone

// Inside on_head with status 101 only: takes the socket (non-blocking) and what came behind the head. on_end follows.
// Under TLS it is one end of a pair, and the other side of it lives on the client's loop, until http_client_free or until
// both directions have ended; http_client_on_over hears of that.
int http_call_take_socket(struct http_call *call, struct buf *early);
void http_client_on_over(struct http_client *client, void (*on_over)(void *arg), void *arg);
