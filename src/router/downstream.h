// Connections of clients, and the one exchange that each has in flight: request to an instance, its answer back.
#pragma once

#include "router/forward.h"
#include "router/worker.h"

#define TRIES_MAX 8
#define OUT_HIGH (256 << 10) // bytes for a client above which nothing more is produced for it

struct exchange {
	struct downstream *downstream;
	bool active;
	struct table *table; // by which it was routed: a reference
	const struct route *route;
	struct upstream_connection *up;    // NULL: between two attempts
	struct upstream *tried[TRIES_MAX]; // references
	uint32_t n_tried;
	struct buf to_up; // request bytes; the first `sent` of them have left for the current attempt
	size_t sent;
	bool sent_any;       // a byte of the request left for the current attempt
	bool replayable;     // to_up still holds the whole request so far, and sending it twice does no harm
	bool broke;          // has been sent a second time already
	bool heard;          // bytes of an answer have come
	bool request_done;   // the client's message is complete
	bool write_broken;   // the instance takes no more; its answer may still come
	bool response_begun; // a part of the answer was passed on
	bool is_head;
	bool html;      // for answers of our own
	unsigned minor; // of the client's HTTP/1.minor
	enum body_form form;
	bool up_eof, client_eof; // tunnel: which side has ended
};

enum downstream_state { DOWN_HEAD, DOWN_CONNECT, DOWN_EXCHANGE, DOWN_TUNNEL, DOWN_LINGER };

struct downstream {
	struct worker *worker;
	struct list link;
	struct poll poll;
	int events; // what the poll waits for now
	enum downstream_state state;
	struct http1_parser parser;
	struct buf in;  // read, not yet parsed
	struct buf out; // to be sent to the client
	struct exchange x;
	bool close_after; // when the answer is sent
	bool closed;      // is gone; freed by the worker's reaper
	uint64_t deadline_ms;
	char peer_ip[ADDRESS_TEXT_SIZE];
};

// Takes the accepted socket.
void downstream_new(struct worker *worker, int fd, const struct address *peer);
void downstream_close(struct downstream *c);

// Ends those that are past their deadline and takes memory from the idle ones; called a few times a second.
void downstreams_check(struct worker *worker);

// Ends idle connections; the others end after their answer.
void downstreams_drain(struct worker *worker);

// ---- between downstream.c and exchange.c

// Routes the request whose head has just been parsed, and starts it.
void exchange_begin(struct downstream *c);
void exchange_body(struct downstream *c, const char *bytes, size_t n);
void exchange_request_end(struct downstream *c);
// Sends what waits for the instance.
void exchange_flush(struct downstream *c);
// The client took bytes of the answer.
void exchange_taken(struct downstream *c);
// The client sent what is no request, perhaps in the middle of one: ends it, and when the answer has begun already the
// connection as well.
void exchange_bad_request(struct downstream *c);
// The time allowed for connect, answer or the next byte is over.
void exchange_timeout(struct downstream *c);
// Ends it without another word: the client is gone.
void exchange_abort(struct downstream *c);
// Reads from the instance only while the client takes it.
void exchange_update(struct downstream *c);

// Sends what waits for the client, and goes on to the next request or the close when an answer is complete.
void downstream_flush(struct downstream *c);
// Sets what the poll waits for, after anything changed.
void downstream_update(struct downstream *c);
// The next thing has ms from now.
void downstream_allow(struct downstream *c, uint64_t ms);
// The exchange is over (its answer is in c->out): on to the next request.
void downstream_next(struct downstream *c);
