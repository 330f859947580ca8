#include "http/connection.h"

#include "base/clock.h"
#include "base/str.h"
#include "http/handover.h"

#include <assert.h>
#include <errno.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#define HEADERS_MAX (32 << 10)

struct http_exchange *exchange_new(struct connection *c)
{
	struct http_exchange *x = xcalloc(1, sizeof(*x));
	x->connection = c;
	x->headers = BUF_INIT(HEADERS_MAX);
	return x;
}

void exchange_finish(struct connection *c, bool complete)
{
	struct http_exchange *x = TAKE_PTR(c->x);
	c->closing |= !x->keep || c->server->draining;
	c->discarding = !x->request_done && !c->closing;
	c->server->bodies -= x->counted;
	if (x->gone)
		x->gone(x, complete);
	buf_clear(&x->body);
	buf_clear(&x->headers);
	free(x);
}

const struct http_request *http_exchange_request(const struct http_exchange *x)
{
	return &x->connection->parser.request;
}

void http_exchange_peer(const struct http_exchange *x, char text[ADDRESS_TEXT_SIZE])
{
	address_write(&x->connection->peer, text);
}

bool http_exchange_is_tls(const struct http_exchange *x)
{
	return x->connection->channel.tls != NULL;
}

const char *http_exchange_identity(const struct http_exchange *x)
{
	const struct tls *tls = x->connection->channel.tls;
	return tls ? tls_peer(tls) : NULL;
}

void http_exchange_set_arg(struct http_exchange *x, void *arg)
{
	x->arg = arg;
}

void *http_exchange_arg(const struct http_exchange *x)
{
	return x->arg;
}

struct loop *http_exchange_loop(const struct http_exchange *x)
{
	return x->connection->server->loop;
}

void http_exchange_on_gone(struct http_exchange *x, void (*gone)(struct http_exchange *x, bool complete))
{
	x->gone = gone;
}

void http_exchange_on_drain(struct http_exchange *x, void (*drain)(struct http_exchange *x))
{
	x->drain = drain;
}

static void wake(struct http_exchange *x)
{
	if (!x->connection->dead)
		task_wake(&x->connection->task);
}

static void emit(struct http_exchange *x, const void *bytes, size_t n)
{
	if (buf_add(&x->connection->out, bytes, n) < 0)
		x->connection->broken = true;
}

static void ask_for_body(struct http_exchange *x, enum body_mode mode)
{
	struct connection *c = x->connection;
	assert(x->mode == BODY_NOT_ASKED);
	x->mode = mode;
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	if (c->parser.expect_continue && !x->started && buf_len(&c->in) == 0)
		emit(x, go_on, sizeof(go_on) - 1);
	wake(x);
}

static void body_too_long(struct http_exchange *x)
{
	char reason[96];
	snprintf(reason, sizeof(reason), "the request's body is longer than the %zu bytes allowed", x->body.max);
	exchange_refuse(x, 413, reason);
}

// Whether there is room for a body that will have this many bytes.
static bool body_fits(struct http_exchange *x, uint64_t n)
{
	const struct http_server *server = x->connection->server;
	size_t others = server->bodies - x->counted;
	if (n <= CONNECTION_SMALL_BODY ||
	    (others < server->config.max_bodies && n <= server->config.max_bodies - others))
		return true;
	http_exchange_set_header(x, "Retry-After", "1");
	exchange_refuse(x, 503, "too many large requests at a time: ask again in a moment");
	return false;
}

static void collect(struct http_exchange *x, const char *bytes, size_t n)
{
	if (buf_len(&x->body) + n > x->body.max) {
		body_too_long(x);
		return;
	}
	if (!body_fits(x, buf_len(&x->body) + n))
		return;
	buf_add(&x->body, bytes, n);
	x->counted += n;
	x->connection->server->bodies += n;
}

void http_exchange_read_body(struct http_exchange *x, size_t max,
			     void (*done)(struct http_exchange *x, const char *body, size_t n))
{
	x->done = done;
	x->body = BUF_INIT(max);
	uint64_t length = x->connection->parser.content_length;
	if (length != UINT64_MAX && length > max && !x->ended)
		body_too_long(x);
	else if (length == UINT64_MAX || x->ended || body_fits(x, length))
		ask_for_body(x, BODY_COLLECT);
}

void http_exchange_stream_body(struct http_exchange *x,
			       void (*data)(struct http_exchange *x, const char *bytes, size_t n),
			       void (*end)(struct http_exchange *x))
{
	x->data = data;
	x->end = end;
	ask_for_body(x, BODY_STREAM);
}

void http_exchange_pause(struct http_exchange *x)
{
	x->paused = true;
}

void http_exchange_resume(struct http_exchange *x)
{
	x->paused = false;
	wake(x);
}

void exchange_give_body(struct http_exchange *x, const char *bytes, size_t n)
{
	if (x->ended)
		return;
	if (x->mode == BODY_STREAM)
		x->data(x, bytes, n);
	else
		collect(x, bytes, n);
}

void exchange_tell_end(struct http_exchange *x)
{
	if (x->mode == BODY_NOT_ASKED || x->end_told || x->ended || x->paused)
		return;
	x->end_told = true;
	if (x->mode == BODY_STREAM) {
		x->end(x);
		return;
	}
	AUTO_BUF struct buf body = x->body; // done may end the exchange
	x->body = BUF_INIT(0);
	x->done(x, buf_str(&body), buf_len(&body));
}

void http_exchange_set_header(struct http_exchange *x, const char *name, const char *value)
{
	static const char *const ours[] = { "content-length", "transfer-encoding", "connection", "date" };
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (strcasecmp(name, ours[i]) == 0)
			return;
	http1_write_header(&x->headers, name, value);
}

static const char *date(struct http_server *server)
{
	uint64_t now_s = realtime_ms() / 1000;
	if (server->date_s != now_s) {
		struct tm tm;
		time_t t = (time_t)now_s;
		gmtime_r(&t, &tm);
		strftime(server->date, sizeof(server->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		server->date_s = now_s;
	}
	return server->date;
}

// Whether the connection can carry another request after this answer. What remains of the request's body must then be
// read: a little of it is, for the sake of the connection.
static bool may_keep(const struct http_exchange *x)
{
	const struct connection *c = x->connection;
	const struct http1_parser *p = &c->parser;
	if (!p->keep_alive || c->server->draining || c->closing)
		return false;
	if (x->request_done || p->framing == HTTP1_NO_BODY)
		return true;
	bool waits = p->expect_continue && x->mode == BODY_NOT_ASKED;
	return p->framing == HTTP1_LENGTH && p->content_length <= CONNECTION_DISCARD_MAX && !waits;
}

static void write_connection(struct http_exchange *x, struct buf *out)
{
	unsigned minor = x->connection->parser.request.minor;
	if (!x->keep)
		http1_write_header(out, "Connection", "close");
	else if (minor == 0)
		http1_write_header(out, "Connection", "keep-alive");
}

// length: UINT64_MAX when the body comes piece by piece.
static void write_head(struct http_exchange *x, unsigned status, const char *content_type, uint64_t length)
{
	struct connection *c = x->connection;
	struct buf *out = &c->out;
	assert(!x->started && status >= 200);
	x->started = true;
	x->keep = may_keep(x);
	bool bodiless = status == 204 || status == 304;
	x->no_content = bodiless || str_eq(c->parser.request.method, "HEAD");
	bool unknown = length == UINT64_MAX && !bodiless;
	x->chunked = unknown && c->parser.request.minor == 1;
	if (unknown && !x->chunked && !x->no_content)
		x->keep = false;

	http1_write_status_line(out, status);
	http1_write_header(out, "Date", date(c->server));
	emit(x, buf_data(&x->headers), buf_len(&x->headers));
	if (content_type && !bodiless)
		http1_write_header(out, "Content-Type", content_type);
	if (x->chunked)
		http1_write_header(out, "Transfer-Encoding", "chunked");
	else if (!unknown && !bodiless)
		http1_write_header_u64(out, "Content-Length", length);
	write_connection(x, out);
	if (http1_write_head_end(out) < 0)
		c->broken = true;
	x->chunked = x->chunked && !x->no_content;
}

static void answer(struct http_exchange *x, unsigned status, const char *content_type, const void *body, size_t n)
{
	write_head(x, status, content_type, n);
	if (!x->no_content && n)
		emit(x, body, n);
	x->ended = true;
	wake(x);
}

// After the driver's own answer (a time-out, a body too long) the handler may not yet know that its own comes too late.
void http_respond(struct http_exchange *x, unsigned status, const char *content_type, const void *body, size_t n)
{
	if (!x->refused)
		answer(x, status, content_type, body, n);
}

void http_respond_start(struct http_exchange *x, unsigned status, const char *content_type)
{
	if (x->refused)
		return;
	write_head(x, status, content_type, UINT64_MAX);
	wake(x);
}

size_t http_respond_write(struct http_exchange *x, const void *bytes, size_t n)
{
	struct connection *c = x->connection;
	if (x->refused)
		return 0;
	assert(x->started && !x->ended);
	if (!x->no_content && n) {
		int r = x->chunked ? http1_write_chunk(&c->out, bytes, n) : buf_add(&c->out, bytes, n);
		if (r < 0)
			c->broken = true;
	}
	if (buf_len(&c->out) > HTTP_HIGH_WATER)
		x->above_high = true;
	wake(x);
	return buf_len(&c->out);
}

void http_respond_end(struct http_exchange *x)
{
	if (x->refused)
		return;
	assert(x->started && !x->ended);
	if (x->chunked && http1_write_last_chunk(&x->connection->out) < 0)
		x->connection->broken = true;
	x->ended = true;
	wake(x);
}

void http_respond_abort(struct http_exchange *x)
{
	x->connection->broken = true;
	wake(x);
}

// RFC 9457. Reasons are our own and llhttp's static texts.
static size_t write_problem(char text[512], unsigned status, const char *reason)
{
	int n = snprintf(text, 512, "{\"title\":\"%s\",\"status\":%u,\"detail\":\"%s\"}\n", http_status_text(status),
			 status, strpbrk(reason, "\"\\") ? "the request is malformed" : reason);
	return n < 512 ? (size_t)n : 511;
}

void exchange_refuse(struct http_exchange *x, unsigned status, const char *reason)
{
	if (x->ended) {
		x->connection->closing = true;
		return;
	}
	if (x->started) {
		http_respond_abort(x);
		return;
	}
	char text[512];
	x->refused = true;
	x->connection->closing = true; // what follows cannot be trusted, or would have to be read for nothing
	answer(x, status, "application/problem+json", text, write_problem(text, status, reason));
}

void connection_refuse(struct connection *c, unsigned status, const char *reason)
{
	char text[512];
	size_t n = write_problem(text, status, reason);
	http1_write_status_line(&c->out, status);
	http1_write_header(&c->out, "Date", date(c->server));
	http1_write_header(&c->out, "Content-Type", "application/problem+json");
	http1_write_header_u64(&c->out, "Content-Length", n);
	http1_write_header(&c->out, "Connection", "close");
	http1_write_head_end(&c->out);
	if (buf_add(&c->out, text, n) < 0)
		c->broken = true;
	c->closing = true;
}

// Everything that waits, in one go.
static int send_all(struct connection *c)
{
	ssize_t n = channel_send(&c->channel, buf_data(&c->out), buf_len(&c->out));
	if (n < 0)
		return (int)n;
	return (size_t)n == buf_len(&c->out) ? 0 : -EAGAIN;
}

static int write_switch(struct http_exchange *x, const char *protocol)
{
	struct connection *c = x->connection;
	assert(!x->started || x->refused);
	if (!x->request_done && c->parser.framing != HTTP1_NO_BODY)
		return -EPROTO;
	if (x->refused)
		return -EPIPE;
	http1_write_status_line(&c->out, 101);
	emit(x, buf_data(&x->headers), buf_len(&x->headers));
	http1_write_header(&c->out, "Connection", "Upgrade");
	http1_write_header(&c->out, "Upgrade", protocol);
	http1_write_head_end(&c->out);
	return c->broken ? -EPIPE : send_all(c);
}

static int give_socket(struct connection *c, int *ret_fd)
{
	if (c->channel.tls)
		return handover_start(c->server->loop, &c->server->handovers, &c->channel, NULL, NULL, ret_fd);
	*ret_fd = TAKE_FD(c->channel.fd);
	return 0;
}

int http_exchange_upgrade(struct http_exchange *x, const char *protocol, struct buf *early, int *ret_fd)
{
	struct connection *c = x->connection;
	int r = write_switch(x, protocol);
	if (r == 0)
		r = buf_add(early, buf_data(&c->in), buf_len(&c->in));
	poll_stop(&c->poll);
	AUTO_CLOSE int fd = -1;
	if (r == 0)
		r = give_socket(c, &fd);
	c->switched = r == 0;
	c->broken = true; // for what is left here
	connection_close(c);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
