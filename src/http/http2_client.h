// The HTTP/2 socket driver of a client: one connection to one address, many calls on it, plain or over TLS. Runs on its
// loop's thread; every callback (of calls too) comes from the loop or from http2_client_free and http2_client_pump.
#pragma once

#include "base/err.h"
#include "http/http2.h"
#include "http/tls.h"
#include "io/loop.h"
#include "io/socket.h"

struct http2_client;

struct http2_client_config {
	struct address address;
	const char *authority;  // for requests, and whom the peer's certificate must name (without the port); copied
	struct tls_config *tls; // NULL: plain
	unsigned connect_ms;    // from the start until the peer has shown that it speaks HTTP/2; 0: 1,000
	unsigned ping_ms;    // silence after which the peer is asked for a sign of life, while calls are open; 0: 5,500
	unsigned silence_ms; // and how long it may take over it; 0: 2,000
	void (*on_up)(void *arg);                          // once, when the peer has shown itself
	void (*on_down)(void *arg, const struct err *err); // once; all calls have ended. The client may be freed in it
	void *arg;
};

// Starts connecting; never calls back before it has returned.
struct http2_client *http2_client_new(struct loop *loop, const struct http2_client_config *config);
// Ends what is open as HTTP2_REFUSED or HTTP2_BROKEN; no on_down. Also from within a callback. NULL is fine.
void http2_client_free(struct http2_client *client);

bool http2_client_up(const struct http2_client *client); // takes calls: not down, not leaving

// For how long nothing has come from the peer.
uint64_t http2_client_silent_ms(const struct http2_client *client);

// spec without scheme and authority, and deadline_ms as milliseconds from now. Calls made before the connection is up
// wait for it. NULL when it is down or leaving.
struct http2_call *http2_client_call(struct http2_client *client, const struct http2_call_spec *spec);

// For the time after the loop has ended: waits up to ms for the socket and does what is to be done.
void http2_client_pump(struct http2_client *client, int ms);
