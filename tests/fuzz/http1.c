// The HTTP/1.1 parser, requests and responses: however the bytes are cut, it must say the same; what it accepts must,
// written again by our writers, be understood as the same; and llhttp alone must see the same bodies in it.
#include "http/http1.h"
#include "base/str.h"

#include <assert.h>
#include <llhttp.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#define BIG (16UL << 20)

// What was understood. log: heads, bodies and ends as text. again: the accepted messages, written by us.
struct story {
	struct http1_parser parser;
	const char *method; // NULL: requests
	struct buf log, bodies, again;
	bool in_body, failed, over;
	size_t ends;
};

static void story_init(struct story *s, const char *method)
{
	*s = (struct story){ .method = method, .log = BUF_INIT(BIG), .bodies = BUF_INIT(BIG), .again = BUF_INIT(BIG) };
	http1_parser_init(&s->parser, method != NULL);
	if (method)
		http1_parser_answers(&s->parser, method);
}

static void story_clear(struct story *s)
{
	http1_parser_clear(&s->parser);
	buf_clear(&s->log);
	buf_clear(&s->bodies);
	buf_clear(&s->again);
}

static void tell_headers(struct story *s, const struct http_headers *headers)
{
	for (size_t i = 0; i < headers->n; i++) {
		const struct http_header *h = &headers->items[i];
		assert(http1_header_valid(h->name, h->value));
		buf_addf(&s->log, "%s=%s\n", h->name, h->value);
		int r = http1_write_header(&s->again, h->name, h->value);
		assert(r == 0);
	}
	int r = http1_write_head_end(&s->again);
	assert(r == 0);
}

static void tell_head(struct story *s)
{
	const struct http1_parser *p = &s->parser;
	if (s->method) {
		buf_addf(&s->log, "HEAD %u %u\n", p->response.status, p->response.minor);
		buf_addf(&s->again, "HTTP/1.%u %u \r\n", p->response.minor, p->response.status);
		tell_headers(s, &p->response.headers);
	} else {
		const struct http_request *r = &p->request;
		assert(strlen(r->path) + strlen(r->query) <= strlen(r->target) + 1);
		buf_addf(&s->log, "HEAD %s %s %s %s %s %u\n", r->method, r->target, r->path, r->query, r->host,
			 r->minor);
		buf_addf(&s->again, "%s %s HTTP/1.%u\r\n", r->method, r->target, r->minor);
		tell_headers(s, &r->headers);
	}
	buf_addf(&s->log, "%d %d %d %d\n", p->framing, p->keep_alive, p->upgrade, p->expect_continue);
}

static void tell_body(struct story *s)
{
	const struct http1_parser *p = &s->parser;
	assert(p->body_len > 0);
	s->in_body = true;
	buf_add(&s->log, p->body, p->body_len);
	buf_add(&s->bodies, p->body, p->body_len);
	if (p->framing == HTTP1_CHUNKED)
		http1_write_chunk(&s->again, p->body, p->body_len);
	else
		buf_add(&s->again, p->body, p->body_len);
}

static void tell(struct story *s, enum http1_event event)
{
	if (event == HTTP1_BODY) {
		tell_body(s);
		return;
	}
	if (s->in_body && event != HTTP1_NEED) {
		buf_add_str(&s->log, "\n");
		s->in_body = false;
	}
	if (event == HTTP1_HEAD) {
		tell_head(s);
	} else if (event == HTTP1_END) {
		buf_addf(&s->log, "END\n");
		buf_add_str(&s->bodies, "\n--\n");
		s->ends++;
		if (s->parser.framing == HTTP1_CHUNKED)
			http1_write_last_chunk(&s->again);
		s->over = s->parser.upgrade;
	} else if (event == HTTP1_ERROR) {
		assert(s->parser.status && *s->parser.reason);
		s->failed = s->over = true;
	}
}

static void feed(struct story *s, const uint8_t *bytes, size_t n)
{
	// Exactly as long, so that a read past the end is seen.
	AUTO_FREE char *copy = xmalloc(n + 1);
	memcpy(copy, bytes, n);
	copy = xreallocarray(copy, n ? n : 1, 1);
	for (size_t at = 0; !s->over;) {
		size_t used = 0;
		enum http1_event event = http1_parse(&s->parser, copy + at, n - at, &used);
		assert(used <= n - at);
		at += used;
		tell(s, event);
		if (event == HTTP1_NEED) {
			assert(at == n);
			return;
		}
	}
}

static void finish(struct story *s)
{
	if (!s->over)
		tell(s, http1_parse_close(&s->parser));
}

static void tell_story(struct story *s, const char *method, const uint8_t *bytes, size_t n, unsigned cut)
{
	story_init(s, method);
	size_t piece = cut ? cut : n;
	for (size_t at = 0; at < n && !s->over; at += piece)
		feed(s, bytes + at, n - at < piece ? n - at : piece);
	finish(s);
}

static void check_same(const struct story *a, struct story *b)
{
	assert(a->failed == b->failed && a->ends == b->ends);
	assert(buf_len(&a->log) == buf_len(&b->log));
	assert(buf_len(&a->log) == 0 || memcmp(buf_data(&a->log), buf_data(&b->log), buf_len(&a->log)) == 0);
	assert(a->parser.status == b->parser.status);
}

static int see_body(llhttp_t *llhttp, const char *at, size_t n)
{
	buf_add(llhttp->data, at, n);
	return 0;
}

static int see_end(llhttp_t *llhttp)
{
	buf_add_str(llhttp->data, "\n--\n");
	return 0;
}

// Requests only (a response's meaning needs the method), and as long as nothing switches protocols.
static void check_against_llhttp(const struct story *s, const uint8_t *bytes, size_t n)
{
	llhttp_settings_t settings = { .on_body = see_body, .on_message_complete = see_end };
	llhttp_t llhttp;
	AUTO_BUF struct buf seen = BUF_INIT(BIG);
	llhttp_init(&llhttp, HTTP_REQUEST, &settings);
	llhttp.data = &seen;
	llhttp_errno_t r = llhttp_execute(&llhttp, (const char *)bytes, n);
	if (r == HPE_CLOSED_CONNECTION || r == HPE_PAUSED_UPGRADE)
		return;
	// It may refuse more: it reads meaning into trailers, which we drop.
	size_t common = buf_len(&seen) < buf_len(&s->bodies) ? buf_len(&seen) : buf_len(&s->bodies);
	assert(r != HPE_OK || common == buf_len(&s->bodies));
	assert(memcmp(buf_str(&seen), buf_data(&s->bodies), common) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static const char *const methods[] = { NULL, "GET", "HEAD", "CONNECT" };
	if (n < 2 || n > 200000)
		return 0;
	const char *method = methods[bytes[0] % ARRAY_LEN(methods)];
	unsigned cut = bytes[1] % 32 + 1;
	bytes += 2;
	n -= 2;

	struct story whole, cut_up, again;
	tell_story(&whole, method, bytes, n, 0);
	tell_story(&cut_up, method, bytes, n, cut);
	check_same(&whole, &cut_up);
	if (!whole.failed && !(whole.parser.upgrade && whole.over)) {
		tell_story(&again, method, (const uint8_t *)buf_str(&whole.again), buf_len(&whole.again), 0);
		check_same(&whole, &again);
		story_clear(&again);
	}
	if (!method && buf_len(&whole.bodies) && !whole.over)
		check_against_llhttp(&whole, bytes, n);
	story_clear(&whole);
	story_clear(&cut_up);
	return 0;
}
