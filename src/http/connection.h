// Private to src/http: what server.c, connection.c and exchange.c share. Events and public calls only store facts and
// wake the connection's task; the task (connection.c) reads, parses, calls the handler and writes.
#pragma once

#include "base/list.h"
#include "http/channel.h"
#include "http/http1.h"
#include "http/server.h"

#define CONNECTION_IN_MAX (64 << 10)       // bytes read but not parsed
#define CONNECTION_OUT_MAX (64UL << 20)    // bytes to be written; an answer beyond it is cut
#define CONNECTION_LOW_WATER (64 << 10)    // on_drain comes when no more wait
#define CONNECTION_SMALL_BODY (64 << 10)   // is collected however many large ones there are
#define CONNECTION_DISCARD_MAX (256 << 10) // an unread request body up to this is read and dropped, else: close

struct http_server {
	struct loop *loop;
	struct http_server_config config;
	struct list listeners, connections, handovers;
	size_t n_connections;
	size_t bodies; // bytes of collected ones, until their exchanges end: what was made of them is about as large
	struct timer accept_again;
	bool draining;
	uint64_t date_s;
	char date[64];
};

enum body_mode { BODY_NOT_ASKED, BODY_COLLECT, BODY_STREAM };

struct http_exchange {
	struct connection *connection;
	void *arg;
	void (*gone)(struct http_exchange *x, bool complete);
	void (*drain)(struct http_exchange *x);
	void (*done)(struct http_exchange *x, const char *body, size_t n);
	void (*data)(struct http_exchange *x, const char *bytes, size_t n);
	void (*end)(struct http_exchange *x);
	enum body_mode mode;
	struct buf body;    // collected
	size_t counted;     // of it, in the server's sum
	struct buf headers; // of the answer, as lines
	bool paused, request_done, end_told;
	bool refused; // the driver has answered
	bool started, ended, keep, no_content, chunked, above_high;
};

enum wait { WAIT_NOTHING, WAIT_HANDSHAKE, WAIT_IDLE, WAIT_HEAD, WAIT_BODY, WAIT_WRITE, WAIT_LINGER };

struct connection {
	struct http_server *server;
	struct list link;
	struct channel channel;
	int events;
	struct poll poll;
	struct task task;
	struct timer timer;
	enum wait wait; // what the timer stands for
	bool renew;     // and that it starts anew
	struct address peer;
	struct http1_parser parser;
	struct buf in, out;
	struct http_exchange *x;
	bool readable, blocked; // there may be bytes; the last write did not take all
	bool met;               // TLS or plain: what is spoken is settled
	bool eof, broken, closing, lingering, discarding;
	bool switched;      // to another protocol; the socket has been handed over
	bool running, dead; // the task is on the stack; freed when it is done
};

void connection_new(struct http_server *server, int fd, const struct address *peer); // takes fd
void connection_close(struct connection *c); // the exchange, if any, gets on_gone
bool connection_is_idle(const struct connection *c);
bool connection_is_sent(const struct connection *c); // to the socket, all of it

struct http_exchange *exchange_new(struct connection *c);
void exchange_finish(struct connection *c, bool complete); // on_gone, free
// Calls what the handler asked for; a body that is too long is answered here.
void exchange_give_body(struct http_exchange *x, const char *bytes, size_t n);
void exchange_tell_end(struct http_exchange *x);

// Answers with a problem document, or cuts the connection when the answer has begun.
void exchange_refuse(struct http_exchange *x, unsigned status, const char *reason);
// The same without an exchange, for a head that cannot be parsed.
void connection_refuse(struct connection *c, unsigned status, const char *reason);
