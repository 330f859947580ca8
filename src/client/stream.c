// The blocking face: streams of server-sent events.
#include "base/str.h"
#include "client/wait.h"

#include <errno.h>

struct reading {
	const struct client_stream *stream;
	struct sse_parser *parser;
	char *last_id;
	int stopped;
	bool heard; // an event came on this connection
	bool met;   // the platform has answered, on this or an earlier one
};

static void on_stream_event(const struct sse_event *event, void *arg)
{
	struct reading *reading = arg;
	if (reading->stopped != 0)
		return;
	reading->heard = true;
	free(reading->last_id);
	reading->last_id = xstrdup(event->id);
	reading->stopped = reading->stream->on_event(event, reading->stream->arg);
}

static int stream_data(struct wait *wait, const char *bytes, size_t n)
{
	struct reading *reading = wait->arg;
	int r = sse_parse(reading->parser, bytes, n);
	return reading->stopped != 0 ? reading->stopped : r;
}

// One connection: a positive value or a negative errno; *ret_lost says that the connection broke, not the caller's
// wish.
static int stream_once(struct client *client, struct reading *reading, bool *ret_lost, struct err *err)
{
	struct client_headers headers;
	client_headers_init(&headers, &client->wire, "text/event-stream");
	client_headers_add(&headers, "Last-Event-ID", str_empty(reading->last_id) ? NULL : reading->last_id);
	reading->parser = sse_parser_new(CLIENT_ANSWER_MAX, on_stream_event, reading);
	reading->heard = false;
	struct wait wait = {
		.client = client,
		.request = &reading->stream->request,
		.data = stream_data,
		.arg = reading,
		.endless = true,
		.deadline_ms = reading->stream->deadline_ms,
	};
	AUTO_ANSWER struct client_answer answer = { 0 };
	int r = wait_run(&wait, &headers, &answer, err);
	sse_parser_free(reading->parser);
	reading->met = reading->met || answer.status != 0;
	*ret_lost = wait.stopped == 0 && (answer.status < 400 || answer.status == 503);
	return r != 0 ? r : err_set(err, -EPIPE, "%s ended the stream early", client->wire.text);
}

int client_stream(struct client *client, const struct client_stream *stream, struct err *err)
{
	struct reading reading = { .stream = stream };
	struct err why = { 0 };
	unsigned delay_ms = 50;
	int r;
	for (;;) {
		bool lost = false;
		r = stream_once(client, &reading, &lost, &why);
		if (!lost || !stream->reconnect || (!reading.met && !stream->insist))
			break;
		int given_up = stream->on_lost ? stream->on_lost(&why, stream->arg) : 0;
		if (given_up < 0)
			break;
		if (reading.heard)
			delay_ms = 50;
		client_pause(delay_ms);
		delay_ms = delay_ms < 1000 ? delay_ms * 2 : 2000;
	}
	free(reading.last_id);
	if (r < 0 && err)
		*err = why;
	return r;
}
