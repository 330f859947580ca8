// A server-sent event stream as the answer to a request. It has no queue of its own: what it shows is a state, so while
// the reader is slow the writer skips, and writes the state of the moment when there is room again.
#pragma once

#include "base/list.h"
#include "server/request.h"

struct stream {
	struct request *rq;             // NULL: not open
	bool full;                      // above HTTP_HIGH_WATER: do not write
	struct list link;               // on the server's list, for the comment that keeps it alive
	void (*room)(struct stream *s); // may be written again; may be NULL
	void (*closed)(struct stream *s, struct server *server); // the reader has gone; the stream is no longer open
};

enum { STREAM_PING_MS = 10000 };

// Answers rq with 200 text/event-stream. The stream keeps a reference to rq. False when the client has gone already.
bool stream_open(struct stream *s, struct request *rq, void (*room)(struct stream *),
		 void (*closed)(struct stream *, struct server *));

static inline bool stream_writable(const struct stream *s)
{
	return s->rq && !s->full;
}

// Writes one event with data as JSON (stolen). id 0: none. Does nothing when the stream is not open.
void stream_event(struct stream *s, const char *event, uint64_t id, json_t *data);
void stream_raw(struct stream *s, const void *bytes, size_t n);

// Ends the answer; closed is not called. Zeroed or closed is fine.
void stream_close(struct stream *s);

// Ends every open stream of the list; their owners are told as if the readers had gone.
void streams_end(struct list *streams);

// Writes a comment to every open stream of the list.
void streams_ping(struct list *streams);
