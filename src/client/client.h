// The one client of the platform API. Two faces over the same wire: struct client blocks (CLI, and the agent's pool
// threads), struct client_link lives on a loop (agent, router). An answer of 400 and above becomes a struct err: the
// text is the problem's title and detail (RFC 9457), the hint its hint. Addresses: "http://127.0.0.1:7070", "unix:PATH".
#pragma once

#include "base/err.h"
#include "http/sse.h"
#include "io/loop.h"

#include <jansson.h>
#include <stdbool.h>

struct http_call;

// What came back. Zero it first; clear it afterwards. Filled in also when the status is an error, as far as it came.
struct client_answer {
	unsigned status; // 0: no answer at all
	json_t *json;	 // the body when it is JSON (a problem too); NULL otherwise
	char *etag;	 // NULL: none
};

void client_answer_clear(struct client_answer *answer);
#define AUTO_ANSWER CLEANUP(client_answer_clear)

// The errno that stands for a status of 400 and above: -EINVAL (400, 422), -EACCES (401, 403), -ENOENT (404), -EEXIST
// (409), -ESTALE (410, 412), -EFBIG (413), -EAGAIN (429, 503), -ETIMEDOUT (504), -EIO (others).
int client_status_errno(unsigned status);

// ---- Blocking. One client may not be used by two threads at once. ----

struct client;

// address may be several, of the servers of one platform, with commas between them: a call that one does not take, or
// loses or hangs on and that may be sent twice, is made at the next. The highest revision that an answer named is sent
// along from then on (Dialtone-Revision), so that each server shows what was changed at another.
// token may be NULL: no Authorization header. Nothing is connected yet. -EINVAL: the address is not one.
struct client *client_new(const char *address, const char *token, struct err *err);
void client_free(struct client *client); // NULL is fine
const char *client_address(const struct client *client); // of the server in use

// For how long a call is made again when nobody listens (a server that is being restarted), or when the connection broke
// before the answer began and the request may be sent twice. 0, as at first: not at all. Uploads are never made again.
void client_patience(struct client *client, unsigned ms);

struct client_request {
	const char *method, *path;	// path: target with query, already encoded
	const json_t *body;		// sent as application/json; NULL: none
	const char *if_match;		// NULL: none
	bool repeatable;		// sent twice does the same as sent once; GET and HEAD always are
	unsigned timeout_ms;		// until the answer begins, and between its bytes; 0: 30,000
	// Or an upload: called whenever more may be sent; fills up to size bytes, returns how many, 0 at the end, or a
	// negative errno, which ends the call with that code. Sent chunked as content_type.
	ssize_t (*upload)(char *bytes, size_t size, void *arg);
	const char *content_type;
	void *upload_arg;
};

// 0 for a status below 400. -ECONNREFUSED and -ENOENT of the socket say that no platform listens there, with a hint.
// answer may be NULL.
int client_send(struct client *client, const struct client_request *request, struct client_answer *answer,
		struct err *err);

// client_send of the common form.
int client_call(struct client *client, const char *method, const char *path, const json_t *body,
		struct client_answer *answer, struct err *err);

// The answer's body as it comes, of any type; a write that returns a negative errno ends the call with it. An error
// status is an error and writes nothing.
int client_download(struct client *client, const char *path, int (*write)(const char *bytes, size_t n, void *arg),
		    void *arg, struct err *err);

// Reads a stream of server-sent events. on_event returns 0 to go on, a positive value to stop (returned), a negative
// errno to fail with it. -EPIPE: the stream ended before on_event said stop. With reconnect: a lost connection (not an
// error status) is opened again with Last-Event-ID, after a pause that grows to 2 s; on_lost (may be NULL) hears of each
// loss and may return a negative errno to give up. -ETIMEDOUT: the deadline passed, however silent the stream was.
struct client_stream {
	struct client_request request;
	bool reconnect, insist;
	uint64_t deadline_ms; // monotonic; 0: none
	int (*on_event)(const struct sse_event *event, void *arg);
	int (*on_lost)(const struct err *err, void *arg);
	void *arg;
};

int client_stream(struct client *client, const struct client_stream *stream, struct err *err);

// POSTs body with "Upgrade: protocol"; at 101 the socket (blocking again) is the caller's, with what came behind the
// head appended to early.
int client_upgrade(struct client *client, const char *path, const char *protocol, const json_t *body, struct buf *early,
		   int *ret_fd, struct err *err);

// ---- On a loop. Callbacks come later, never from inside the call that asked for them. ----

struct client_link;

struct client_link *client_link_new(struct loop *loop, const char *address, const char *token, struct err *err);
// Ends everything open without further callbacks; watches must have been stopped. NULL is fine.
void client_link_free(struct client_link *link);

// err is NULL for a status below 400. answer is valid during the call.
typedef void client_done(const struct client_answer *answer, const struct err *err, void *arg);
// done may be NULL. body is written out before this returns.
void client_link_call(struct client_link *link, const char *method, const char *path, const json_t *body,
		      client_done *done, void *arg);

// A stream of server-sent events that is opened again for ever, after a jittered pause of 50 ms growing to 2 s (back to
// 50 ms after the first event), with the Last-Event-ID of the last event. 45 s without a byte counts as lost: servers
// send a comment every 15 s. An answer of 410 forgets the id, so that the stream starts whole.
struct client_watch;

struct client_watch_spec {
	const char *path; // copied
	size_t max_event; // bytes; 0: 64 MiB
	void (*on_event)(const struct sse_event *event, void *arg);
	// connected: the head of a good answer came. Otherwise lost or refused, and why. Called at each change and for
	// each failed attempt whose reason differs from the last. May be NULL.
	void (*on_state)(bool connected, const struct err *err, void *arg);
	void *arg;
};

struct client_watch *client_watch_start(struct client_link *link, const struct client_watch_spec *spec);
// Where it reads, or tries to; NULL while it moves.
struct client_link *client_watch_link(const struct client_watch *watch);
void client_watch_stop(struct client_watch *watch); // frees, also from inside its own callbacks; NULL is fine
