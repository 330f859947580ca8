#include "server/stream.h"

#include "base/str.h"
#include "http/sse.h"
#include "server/core.h"

static void forget(struct stream *s)
{
	struct request *rq = TAKE_PTR(s->rq);
	list_remove(&s->link);
	rq->on_gone = NULL;
	if (rq->x)
		http_exchange_on_drain(rq->x, NULL);
	rq->arg = NULL;
	request_unref(rq);
}

static void gone(struct request *rq)
{
	struct stream *s = rq->arg;
	struct server *server = rq->server;
	forget(s);
	s->closed(s, server);
}

static void drained(struct http_exchange *x)
{
	struct request *rq = http_exchange_arg(x);
	struct stream *s = rq->arg;
	s->full = false;
	if (s->room)
		s->room(s);
}

bool stream_open(struct stream *s, struct request *rq, void (*room)(struct stream *),
		 void (*closed)(struct stream *, struct server *))
{
	if (!rq->x || rq->answered)
		return false;
	*s = (struct stream){ .rq = request_ref(rq), .room = room, .closed = closed };
	list_append(&rq->server->streams, &s->link);
	rq->answered = true;
	rq->arg = s;
	rq->on_gone = gone;
	http_exchange_on_drain(rq->x, drained);
	http_exchange_set_header(rq->x, "Cache-Control", "no-store");
	http_respond_start(rq->x, 200, "text/event-stream");
	return true;
}

void stream_raw(struct stream *s, const void *bytes, size_t n)
{
	if (s->rq && http_respond_write(s->rq->x, bytes, n) > HTTP_HIGH_WATER)
		s->full = true;
}

void stream_event(struct stream *s, const char *event, uint64_t id, json_t *data)
{
	AUTO_FREE char *text = s->rq ? json_to_text(data) : NULL;
	json_decref(data);
	if (!text)
		return;
	char id_text[24];
	snprintf(id_text, sizeof(id_text), "%llu", (unsigned long long)id);
	AUTO_BUF struct buf out = BUF_INIT(SIZE_MAX);
	sse_write(&out, event, id ? id_text : NULL, text, strlen(text));
	stream_raw(s, buf_data(&out), buf_len(&out));
}

void stream_close(struct stream *s)
{
	if (!s->rq)
		return;
	struct request *rq = request_ref(s->rq);
	forget(s);
	if (rq->x)
		http_respond_end(rq->x);
	request_unref(rq);
}

void streams_end(struct list *streams)
{
	while (!list_empty(streams)) {
		struct stream *s = LIST_ENTRY(streams->next, struct stream, link);
		struct server *server = s->rq->server;
		http_respond_end(s->rq->x);
		forget(s);
		s->closed(s, server);
	}
}

void streams_ping(struct list *streams)
{
	struct stream *s;
	LIST_EACH(s, streams, link)
		stream_raw(s, ": \n\n", 4);
}
