// Private to src/http: what client.c (the pool, the public calls) and call.c (one connection at work) share. Events and
// public calls only store facts and wake a task; callbacks come from tasks (and from http_client_free) only.
#pragma once

#include "base/list.h"
#include "http/channel.h"
#include "http/client.h"
#include "http/http1.h"

#define CALL_IN_MAX (64 << 10)
#define CALL_OUT_MAX (64UL << 20)
#define CALL_LOW_WATER (64 << 10)

struct http_client {
	struct loop *loop;
	struct address address;
	char text[ADDRESS_TEXT_SIZE];
	struct tls_config *tls; // NULL: plain
	char *name;             // of the peer, for TLS
	struct list handovers;
	void (*on_over)(void *arg);
	void *on_over_arg;
	size_t max_connections, n_connections;
	struct list connections;     // all
	struct list idle;            // the youngest first
	struct list waiting, active; // calls
	struct task task;            // finds connections for those that wait
	bool freeing;
};

struct http_call {
	struct http_client *client;
	struct list link;
	struct call_connection *connection; // NULL while waiting
	struct http_call_spec spec;         // the pointers in it are ended; callbacks and times stay
	char *method, *target;
	struct buf request; // kept whole while it may be sent again
	size_t sent;
	struct timer timer;
	bool streams, all_written, may_repeat, repeated;
	bool head_seen, asked_upgrade, paused, above_high;
	struct err failure; // found outside of a task; told by one
};

struct call_connection {
	struct http_client *client;
	struct list link, idle; // idle: empty unless on client->idle
	struct channel channel;
	int events;
	struct poll poll;
	struct task task;
	struct timer expiry; // of the handshake, and of idleness
	struct http1_parser parser;
	struct buf in;
	struct http_call *call;
	bool connecting, reused, answered; // answered: a byte of the answer has come
	bool readable, blocked, eof;
	bool send_broken; // the peer takes no more; it may still have answered
	int error;        // negative errno that broke it
	bool running, dead;
};

// Starts connecting, or fails: nothing is left then.
int call_connection_open(struct http_client *client, struct http_call *call, struct err *err);
void call_connection_assign(struct call_connection *k, struct http_call *call); // an idle one
bool call_connection_is_alive(struct call_connection *k);
void call_connection_close(struct call_connection *k); // its call, if any, must have been taken off

// Detaches the call from everything, tells on_end, frees it. err: NULL for a proper end.
void call_end(struct http_call *call, const struct err *err);
void call_arm_timer(struct http_call *call, bool renew);
size_t call_unsent(const struct http_call *call);
// The connection broke before any byte of the answer: queue the call once more, if it may be. False: it may not.
bool call_repeat(struct http_call *call);
