// The HTTP/1.1 socket driver of a server: connections on the loop, keep-alive, limits, timeouts, back-pressure. It
// carries the platform API, the agent's endpoint and whatever else answers requests; the router has its own. Runs on
// its loop's thread. The protocol itself is in the sans-I/O parser and writer (http1.h).
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "http/message.h"
#include "http/tls.h"
#include "io/loop.h"
#include "io/socket.h"

struct http_server;
struct http_exchange; // one request and its answer

struct http_server_config {
	// The request's head is complete. Answer now or later; the exchange lives until on_gone.
	void (*on_request)(struct http_exchange *x, void *arg);
	void *arg;
	struct tls_config *tls; // borrowed, reloaded by its owner at will; NULL: plain. A plain request is then answered 400
	bool plain_on_loopback; // with tls: but from 127.0.0.0/8 and ::1 it is served
	size_t max_connections;   // 0: 10,000; beyond it, new connections are refused
	size_t max_bodies;        // 0: 128 MiB of collected bodies at a time; beyond it, large ones are answered 503
	unsigned handshake_timeout_ms; // 0: 10,000
	unsigned head_timeout_ms;      // 0: 10,000
	unsigned body_timeout_ms; // 0: 30,000 without a byte
	unsigned idle_timeout_ms; // 0: 75,000 between requests
};

struct http_server *http_server_new(struct loop *loop, const struct http_server_config *config);
// Connections accepted from now on are under TLS, as with tls and plain_on_loopback of the config.
void http_server_secure(struct http_server *server, struct tls_config *tls, bool plain_on_loopback);
// Takes fd (listening, non-blocking). May be called for several sockets.
int http_server_listen(struct http_server *server, int fd, struct err *err);
// Stops accepting, closes idle connections; busy ones close after their answer. Then http_server_free cuts the rest
// (each open exchange gets on_gone).
void http_server_drain(struct http_server *server);
void http_server_free(struct http_server *server);

const struct http_request *http_exchange_request(const struct http_exchange *x);
void http_exchange_peer(const struct http_exchange *x, char text[ADDRESS_TEXT_SIZE]);
bool http_exchange_is_tls(const struct http_exchange *x);
// Who the peer is by the certificate it has shown (tls_peer); NULL: it has shown none.
const char *http_exchange_identity(const struct http_exchange *x);
void http_exchange_set_arg(struct http_exchange *x, void *arg);
void *http_exchange_arg(const struct http_exchange *x);
struct loop *http_exchange_loop(const struct http_exchange *x);

// The last callback of an exchange, exactly once: after the answer was written to the end, or when the connection broke
// (complete: false). After it x is gone. Set it before returning from on_request if anything must be freed.
void http_exchange_on_gone(struct http_exchange *x, void (*gone)(struct http_exchange *x, bool complete));

// Collects the whole body (at most max bytes: beyond it the driver answers 413 itself and done is not called), then
// calls done once. The body is valid during done only and has a NUL behind it.
void http_exchange_read_body(struct http_exchange *x, size_t max,
			     void (*done)(struct http_exchange *x, const char *body, size_t n));

// Or takes it as it comes; back-pressure by http_exchange_pause and _resume. "100 Continue" is sent by either call.
void http_exchange_stream_body(struct http_exchange *x,
			       void (*data)(struct http_exchange *x, const char *bytes, size_t n),
			       void (*end)(struct http_exchange *x));
void http_exchange_pause(struct http_exchange *x);
void http_exchange_resume(struct http_exchange *x);

// A header of the answer to come; copied. Date and the framing headers (Content-Length, Transfer-Encoding, Connection)
// are the driver's: they are left out here, and so is what cannot be sent (a name that is no token, control
// characters).
void http_exchange_set_header(struct http_exchange *x, const char *name, const char *value);

// The whole answer at once; copied. content_type NULL: no body header (for 204, 304 …). When the driver has answered by
// itself meanwhile (413, 408, a malformed body), this and the calls below do nothing; on_gone follows.
void http_respond(struct http_exchange *x, unsigned status, const char *content_type, const void *body, size_t n);

// Or piece by piece: start, any number of writes, end. http_respond_write returns how many bytes now wait to be sent:
// above HTTP_HIGH_WATER the caller should stop until on_drain. http_respond_abort cuts the connection, so that the peer
// sees the answer as incomplete. A peer that closes its side before the answer has ended counts as gone.
void http_respond_start(struct http_exchange *x, unsigned status, const char *content_type);
size_t http_respond_write(struct http_exchange *x, const void *bytes, size_t n);
void http_exchange_on_drain(struct http_exchange *x, void (*drain)(struct http_exchange *x));
void http_respond_end(struct http_exchange *x);
void http_respond_abort(struct http_exchange *x);

// Answers "101 Switching Protocols" with "Upgrade: protocol" and the headers set, then hands over the socket
// (non-blocking) with what the client already sent behind its request appended to early. The request must have been
// read to its end. on_gone is called first, and x is gone on return, also with an error. Blocks never: the 101 head is
// written at once or an error comes back (-EPIPE …). Under TLS the socket is one end of a pair, and the other side of it
// lives until http_server_free.
int http_exchange_upgrade(struct http_exchange *x, const char *protocol, struct buf *early, int *ret_fd);
