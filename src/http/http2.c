#include "http/http2.h"

#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>

enum { HEADERS_MAX = 24 };

struct http2 {
	nghttp2_session *session;
	void (*wake)(void *arg);
	void *arg;
	struct list calls;
	size_t n_calls;
	bool ready, leaving;
};

struct http2_call {
	struct http2 *h;
	struct list link;
	int32_t id;
	struct buf out;
	bool out_ended, waiting; // waiting: nghttp2 has been told that there is nothing now
	uint64_t deadline_ms;
	bool taken; // its head has been given out by http2_take
	void (*on_header)(struct http2_call *call, const char *name, const char *value);
	void (*on_data)(struct http2_call *call, const char *bytes, size_t n);
	void (*on_end)(struct http2_call *call, enum http2_end end);
	void *arg;
};

static void call_free(struct http2_call *call)
{
	list_remove(&call->link);
	call->h->n_calls--;
	buf_clear(&call->out);
	free(call);
}

static void call_finish(struct http2_call *call, enum http2_end end)
{
	nghttp2_session_set_stream_user_data(call->h->session, call->id, NULL);
	call->on_end(call, end);
	call_free(call);
}

static struct http2_call *call_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

// ---- nghttp2's callbacks

static int header_came(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		       UNUSED size_t name_len, const uint8_t *value, UNUSED size_t value_len, UNUSED uint8_t flags,
		       UNUSED void *arg)
{
	struct http2_call *call = call_of(session, frame->hd.stream_id);
	if (call && call->on_header)
		call->on_header(call, (const char *)name, (const char *)value); // nghttp2 ends both with a NUL
	return 0;
}

static int data_came(nghttp2_session *session, UNUSED uint8_t flags, int32_t id, const uint8_t *bytes, size_t n,
		     UNUSED void *arg)
{
	struct http2_call *call = call_of(session, id);
	if (call && call->on_data)
		call->on_data(call, (const char *)bytes, n);
	return 0;
}

static int frame_came(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct http2 *h = arg;
	if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
		h->ready = true;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		h->leaving = true;
	bool bears_end = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
	struct http2_call *call =
		bears_end && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ? call_of(session, frame->hd.stream_id) : NULL;
	if (call && !call->out_ended)
		http2_call_end(call); // the answer is complete: nobody reads the rest of the request
	return 0;
}

static int frame_sent(nghttp2_session *session, const nghttp2_frame *frame, UNUSED void *arg)
{
	struct http2_call *call = frame->hd.type == NGHTTP2_HEADERS ? call_of(session, frame->hd.stream_id) : NULL;
	if (call)
		call->taken = true;
	return 0;
}

// A stream also ends here when it was refused before it was sent.
static int stream_closed(nghttp2_session *session, int32_t id, uint32_t code, UNUSED void *arg)
{
	struct http2_call *call = call_of(session, id);
	if (!call)
		return 0;
	enum http2_end end = HTTP2_RESET;
	if (code == NGHTTP2_NO_ERROR)
		end = HTTP2_DONE;
	else if (code == NGHTTP2_REFUSED_STREAM || !call->taken)
		end = HTTP2_REFUSED;
	call_finish(call, end);
	return 0;
}

static int frame_not_sent(nghttp2_session *session, const nghttp2_frame *frame, UNUSED int reason, UNUSED void *arg)
{
	struct http2_call *call = frame->hd.type == NGHTTP2_HEADERS ? call_of(session, frame->hd.stream_id) : NULL;
	if (call && !call->taken)
		call_finish(call, HTTP2_REFUSED);
	return 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t n, uint32_t *flags,
			 UNUSED nghttp2_data_source *source, UNUSED void *arg)
{
	struct http2_call *call = call_of(session, id);
	if (!call)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; // cancelled
	size_t len = buf_len(&call->out);
	if (!len && !call->out_ended) {
		call->waiting = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (n > len)
		n = len;
	if (n)
		memcpy(to, buf_data(&call->out), n);
	buf_consume(&call->out, n);
	if (n == len && call->out_ended)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

// ---- the session

static nghttp2_session *session_new(struct http2 *h)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_session *session;
	if (nghttp2_session_callbacks_new(&callbacks))
		abort(); // out of memory
	nghttp2_session_callbacks_set_on_header_callback(callbacks, header_came);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data_came);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frame_came);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, frame_sent);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, frame_not_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, stream_closed);
	if (nghttp2_session_client_new(&session, callbacks, h))
		abort();
	nghttp2_session_callbacks_del(callbacks);
	return session;
}

struct http2 *http2_new(void (*wake)(void *arg), void *arg)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 64 << 10 },
	};
	struct http2 *h = xcalloc(1, sizeof(*h));
	h->wake = wake;
	h->arg = arg;
	list_init(&h->calls);
	h->session = session_new(h);
	int r = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
	assert(r == 0);
	r = nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, HTTP2_WINDOW);
	assert(r == 0);
	return h;
}

void http2_free(struct http2 *h, bool nothing_sent)
{
	if (!h)
		return;
	while (!list_empty(&h->calls)) {
		struct http2_call *call = LIST_ENTRY(h->calls.next, struct http2_call, link);
		call_finish(call, nothing_sent || !call->taken ? HTTP2_REFUSED : HTTP2_BROKEN);
	}
	nghttp2_session_del(h->session);
	free(h);
}

int http2_feed(struct http2 *h, const char *bytes, size_t n)
{
	ssize_t r = nghttp2_session_mem_recv(h->session, (const uint8_t *)bytes, n);
	h->wake(h->arg);
	return r < 0 ? -EPROTO : 0;
}

int http2_take(struct http2 *h, struct buf *out, size_t enough)
{
	while (buf_len(out) < enough) {
		const uint8_t *bytes;
		ssize_t n = nghttp2_session_mem_send(h->session, &bytes);
		if (n < 0)
			return -EPROTO;
		if (n == 0)
			break;
		if (buf_add(out, bytes, (size_t)n) < 0)
			return -ENOBUFS;
	}
	bool over = !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session);
	return over ? -EPROTO : 0;
}

bool http2_ready(const struct http2 *h)
{
	return h->ready;
}

bool http2_leaving(const struct http2 *h)
{
	return h->leaving;
}

size_t http2_calls(const struct http2 *h)
{
	return h->n_calls;
}

void http2_ping(struct http2 *h)
{
	nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL);
	h->wake(h->arg);
}

// ---- calls

static nghttp2_nv field(const char *name, const char *value)
{
	return (nghttp2_nv){
		.name = (uint8_t *)name, .value = (uint8_t *)value, .namelen = strlen(name), .valuelen = strlen(value)
	};
}

struct http2_call *http2_call(struct http2 *h, const struct http2_call_spec *spec)
{
	nghttp2_nv fields[HEADERS_MAX] = {
		field(":method", "POST"),
		field(":scheme", spec->scheme),
		field(":authority", spec->authority),
		field(":path", spec->path),
	};
	size_t n = 4;
	assert(n + spec->n_headers <= HEADERS_MAX);
	for (size_t i = 0; i < spec->n_headers; i++)
		fields[n++] = field(spec->headers[i].name, spec->headers[i].value);

	struct http2_call *call = xcalloc(1, sizeof(*call));
	*call = (struct http2_call){
		.h = h,
		.out = BUF_INIT(HTTP2_CALL_OUT_MAX),
		.out_ended = !spec->open,
		.deadline_ms = spec->deadline_ms,
		.on_header = spec->on_header,
		.on_data = spec->on_data,
		.on_end = spec->on_end,
		.arg = spec->arg,
	};
	int r = buf_add(&call->out, spec->body, spec->len);
	assert(r == 0);
	list_append(&h->calls, &call->link);
	h->n_calls++;
	nghttp2_data_provider provider = { .read_callback = read_body };
	call->id = nghttp2_submit_request(h->session, NULL, fields, n, &provider, call);
	assert(call->id > 0); // stream ids run out after 2^30 calls: http2_leaving is set well before, see below
	if (call->id > INT32_MAX - 1000000)
		h->leaving = true;
	h->wake(h->arg);
	return call;
}

void *http2_call_arg(const struct http2_call *call)
{
	return call->arg;
}

static void resume(struct http2_call *call)
{
	if (call->waiting) {
		call->waiting = false;
		nghttp2_session_resume_data(call->h->session, call->id);
	}
	call->h->wake(call->h->arg);
}

int http2_call_write(struct http2_call *call, const void *bytes, size_t n)
{
	assert(!call->out_ended);
	if (buf_add(&call->out, bytes, n) < 0)
		return -ENOBUFS;
	resume(call);
	return 0;
}

void http2_call_end(struct http2_call *call)
{
	call->out_ended = true;
	resume(call);
}

void http2_call_cancel(struct http2_call *call)
{
	struct http2 *h = call->h;
	nghttp2_session_set_stream_user_data(h->session, call->id, NULL);
	nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, call->id, NGHTTP2_CANCEL);
	call_free(call);
	h->wake(h->arg);
}

bool http2_expire(struct http2 *h, uint64_t now_ms)
{
	bool left = false;
	struct list due;
	struct http2_call *call;
	list_init(&due);
	LIST_EACH(call, &h->calls, link) {
		if (call->deadline_ms && call->deadline_ms <= now_ms) {
			list_remove(&call->link);
			list_append(&due, &call->link);
		}
		left |= call->deadline_ms > now_ms;
	}
	while (!list_empty(&due)) {
		call = LIST_ENTRY(due.next, struct http2_call, link);
		enum http2_end end = call->taken ? HTTP2_EXPIRED : HTTP2_REFUSED;
		nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, call->id, NGHTTP2_CANCEL);
		call_finish(call, end); // others may be cancelled meanwhile: they leave the list
		h->wake(h->arg);
	}
	return left;
}
