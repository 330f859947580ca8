#include "store/etcd/grpc.h"

#include "base/str.h"

#include <assert.h>
#include <errno.h>

enum { PREFIX = 5 }; // one byte of flags, four of length

struct grpc_call {
	struct http2_call *http;
	const ProtobufCMessageDescriptor *answer;
	void (*on_message)(struct grpc_call *call, const ProtobufCMessage *message);
	void (*on_end)(struct grpc_call *call, const struct grpc_end *end);
	void *arg;
	struct buf in;
	struct grpc_end end;
	bool *gone; // set when the call is cancelled while it is on the stack
};

static void call_free(struct grpc_call *call)
{
	if (call->gone)
		*call->gone = true;
	buf_clear(&call->in);
	free(call);
}

// "%XX" in grpc-message.
static void decode_text(const char *from, char *to, size_t size)
{
	size_t n = 0;
	for (; *from && n + 1 < size; from++) {
		unsigned byte;
		if (from[0] == '%' && sscanf(from + 1, "%2x", &byte) == 1 && from[1] && from[2]) {
			to[n++] = (char)byte;
			from += 2;
		} else {
			to[n++] = *from;
		}
	}
	to[n] = '\0';
}

static void header_came(struct http2_call *http, const char *name, const char *value)
{
	struct grpc_call *call = http2_call_arg(http);
	if (str_eq(name, "grpc-status"))
		call->end.code = atoi(value);
	else if (str_eq(name, "grpc-message"))
		decode_text(value, call->end.text, sizeof(call->end.text));
	else if (str_eq(name, ":status") && !str_eq(value, "200") && !*call->end.text)
		snprintf(call->end.text, sizeof(call->end.text), "the peer answered HTTP status %s", value);
}

// Ends the call on our own account.
static void give_up(struct grpc_call *call, const char *why)
{
	http2_call_cancel(call->http);
	call->end.end = HTTP2_BROKEN;
	call->end.code = GRPC_NO_CODE;
	snprintf(call->end.text, sizeof(call->end.text), "%s", why);
	call->on_end(call, &call->end);
	call_free(call);
}

static bool give_message(struct grpc_call *call, const uint8_t *bytes, size_t n)
{
	bool gone = false;
	ProtobufCMessage *message = protobuf_c_message_unpack(call->answer, NULL, n, bytes);
	if (!message) {
		give_up(call, "the peer sent a message that cannot be read");
		return false;
	}
	call->gone = &gone;
	if (call->on_message)
		call->on_message(call, message);
	protobuf_c_message_free_unpacked(message, NULL);
	if (gone)
		return false;
	call->gone = NULL;
	return true;
}

static void data_came(struct http2_call *http, const char *bytes, size_t n)
{
	struct grpc_call *call = http2_call_arg(http);
	if (buf_add(&call->in, bytes, n) < 0) {
		give_up(call, "the peer sent too large a message");
		return;
	}
	while (buf_len(&call->in) >= PREFIX) {
		const uint8_t *p = (const uint8_t *)buf_data(&call->in);
		size_t len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
		if (p[0] || len > GRPC_MESSAGE_MAX - PREFIX) {
			give_up(call,
				p[0] ? "the peer sent a compressed message" : "the peer sent too large a message");
			return;
		}
		if (buf_len(&call->in) < PREFIX + len)
			return;
		if (!give_message(call, p + PREFIX, len))
			return;
		buf_consume(&call->in, PREFIX + len);
	}
}

static void ended(struct http2_call *http, enum http2_end how)
{
	static const char *const texts[] = {
		[HTTP2_DONE] = "the peer's answer has no status", [HTTP2_REFUSED] = "not sent",
		[HTTP2_RESET] = "the peer gave up on it",         [HTTP2_EXPIRED] = "no answer in time",
		[HTTP2_BROKEN] = "the connection was lost",
	};
	struct grpc_call *call = http2_call_arg(http);
	struct grpc_end *end = &call->end;
	// A status that has come is the server's word, however the stream ended.
	end->end = end->code == GRPC_NO_CODE ? how : HTTP2_DONE;
	if (end->code == GRPC_NO_CODE && !*end->text)
		snprintf(end->text, sizeof(end->text), "%s", texts[how]);
	call->on_end(call, end);
	call_free(call);
}

static void frame(struct buf *out, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	char *room;
	int r = buf_reserve(out, PREFIX + len, &room);
	assert(r == 0);
	room[0] = 0;
	for (int i = 0; i < 4; i++)
		room[1 + i] = (char)(len >> (24 - 8 * i));
	protobuf_c_message_pack(message, (uint8_t *)room + PREFIX);
	buf_commit(out, PREFIX + len);
}

struct grpc_call *grpc_call(struct http2_client *client, const struct grpc_spec *spec)
{
	// hasleader: a member that is cut off from the others refuses at once instead of waiting or answering stale.
	static const struct http_header headers[] = {
		{ "content-type", "application/grpc" },
		{ "te", "trailers" },
		{ "user-agent", "dialtone/" DIALTONE_VERSION },
		{ "hasleader", "true" },
	};
	AUTO_BUF struct buf body = BUF_INIT(HTTP2_CALL_OUT_MAX);
	if (spec->first)
		frame(&body, spec->first);
	struct grpc_call *call = xcalloc(1, sizeof(*call));
	*call = (struct grpc_call){
		.answer = spec->answer,
		.on_message = spec->on_message,
		.on_end = spec->on_end,
		.arg = spec->arg,
		.in = BUF_INIT(GRPC_MESSAGE_MAX),
		.end.code = GRPC_NO_CODE,
	};
	call->http = http2_client_call(client, &(struct http2_call_spec){
						       .path = spec->path,
						       .headers = headers,
						       .n_headers = ARRAY_LEN(headers),
						       .body = buf_data(&body),
						       .len = buf_len(&body),
						       .open = spec->stream,
						       .deadline_ms = spec->timeout_ms,
						       .on_header = header_came,
						       .on_data = data_came,
						       .on_end = ended,
						       .arg = call,
					       });
	if (!call->http) {
		free(call);
		return NULL;
	}
	return call;
}

void *grpc_arg(const struct grpc_call *call)
{
	return call->arg;
}

int grpc_send(struct grpc_call *call, const ProtobufCMessage *message)
{
	AUTO_BUF struct buf out = BUF_INIT(HTTP2_CALL_OUT_MAX);
	frame(&out, message);
	return http2_call_write(call->http, buf_data(&out), buf_len(&out));
}

void grpc_cancel(struct grpc_call *call)
{
	http2_call_cancel(call->http);
	call_free(call);
}
