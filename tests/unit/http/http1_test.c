// The HTTP/1.1 parser and writers. Every input is fed whole, byte by byte and split at each place.
#include "base/str.h"
#include "http/http1.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>

#define H "Host: a\r\n"
#define GET "GET / HTTP/1.1\r\n"

// What the parser said, as text: heads, bodies joined, ends, errors; independent of how the input was cut.
struct seen {
	struct buf text;
	bool in_body;
	unsigned status;
};

static void see(struct seen *seen, const struct http1_parser *p, enum http1_event event)
{
	if (event == HTTP1_BODY) {
		assert_true(p->body_len > 0);
		buf_add_str(&seen->text, seen->in_body ? "" : "[");
		buf_add(&seen->text, p->body, p->body_len);
		seen->in_body = true;
		return;
	}
	if (event == HTTP1_NEED)
		return;
	buf_add_str(&seen->text, seen->in_body ? "]" : "");
	seen->in_body = false;
	if (event == HTTP1_HEAD && p->is_response)
		buf_addf(&seen->text, "%u", p->response.status);
	else if (event == HTTP1_HEAD)
		buf_addf(&seen->text, "%s %s|%s|%s", p->request.method, p->request.path, p->request.query,
			 p->request.host);
	else if (event == HTTP1_END)
		buf_addf(&seen->text, " end%s;", p->keep_alive ? "" : " close");
	else
		buf_add_str(&seen->text, "!");
	seen->status = event == HTTP1_ERROR ? p->status : 0;
}

// Returns false when there is nothing more to feed for.
static bool feed(struct http1_parser *p, struct seen *seen, const char *bytes, size_t n)
{
	// On the heap and exactly as long, so that the sanitizer sees a read past the end.
	AUTO_FREE char *copy = xmalloc(n ? n : 1);
	if (n)
		memcpy(copy, bytes, n);
	for (size_t at = 0;;) {
		size_t used = 0;
		enum http1_event event = http1_parse(p, copy + at, n - at, &used);
		assert_true(used <= n - at);
		at += used;
		see(seen, p, event);
		if (event == HTTP1_NEED)
			assert_int_equal(at, n);
		if (event == HTTP1_NEED || event == HTTP1_ERROR)
			return event == HTTP1_NEED;
		if (event == HTTP1_END && p->upgrade)
			return false;
	}
}

// cut: SIZE_MAX for byte by byte.
static struct seen run(const char *answers, const char *bytes, size_t n, size_t cut, bool close)
{
	struct seen seen = { .text = BUF_INIT(1 << 20) };
	struct http1_parser p;
	http1_parser_init(&p, answers != NULL);
	if (answers)
		http1_parser_answers(&p, answers);
	bool more = true;
	if (cut == SIZE_MAX) {
		for (size_t i = 0; i < n && more; i++)
			more = feed(&p, &seen, bytes + i, 1);
	} else {
		more = feed(&p, &seen, bytes, cut) && feed(&p, &seen, bytes + cut, n - cut);
	}
	if (more && close)
		see(&seen, &p, http1_parse_close(&p));
	http1_parser_clear(&p);
	return seen;
}

static void expect(const char *answers, const char *bytes, size_t n, bool close, const char *text, unsigned status)
{
	for (size_t cut = 0; cut <= n + 1; cut++) {
		struct seen seen = run(answers, bytes, n, cut > n ? SIZE_MAX : cut, close);
		if (text && strcmp(buf_str(&seen.text), text) != 0)
			fail_msg("cut at %zu:\n%.300s\n  saw      %s\n  expected %s", cut, bytes, buf_str(&seen.text),
				 text);
		if (seen.status != status)
			fail_msg("cut at %zu: status %u, expected %u:\n%.300s", cut, seen.status, status, bytes);
		buf_clear(&seen.text);
		if (n > 2000 && cut < n)
			cut = n - 1; // long inputs: whole and byte by byte
	}
}

struct bad {
	const char *bytes;
	unsigned status;
	size_t n; // 0: strlen
};

#define WITH_NUL(text) text, 400, sizeof(text) - 1

static const struct bad bad_requests[] = {
	// Framing
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\nabc", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\nabc", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: -3\r\n\r\nabc", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 0x3\r\n\r\nabc", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 3 3\r\n\r\nabc", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 3;\r\n\r\nabc", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\nabc", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: \"3\"\r\n\r\nabc", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 1.0\r\n\r\nabc", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 9999999999999999999\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551617\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", 501 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 501 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 501 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 501 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b"
	  "chunked\r\n\r\n0\r\n\r\n",
	  400 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n0\r\n\r\n", 501 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Transfer\xc2\xa0-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
	{ "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
	{ "CONNECT a:1 HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", 400 },
	{ "CONNECT a:1 HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
	// Lines
	{ "GET / HTTP/1.1\nHost: a\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: a\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\n\n", 400 },
	{ "GET / HTTP/1.1\n\nHost: a\n\n", 400 },
	{ "GET / HTTP/1.1\rHost: a\r\r\n\r\n", 400 },
	{ GET H "X: a\rContent-Length: 5\r\n\r\n", 400 },
	{ GET H "X: a\r\r\n\r\n", 400 },
	{ GET H "X\r: a\r\n\r\n", 400 },
	{ WITH_NUL(GET H "X: a\0b\r\n\r\n") },
	{ WITH_NUL(GET H "X\0: a\r\n\r\n") },
	{ WITH_NUL("GET /\0 HTTP/1.1\r\n" H "\r\n") },
	{ WITH_NUL("G\0T / HTTP/1.1\r\n" H "\r\n") },
	{ GET H "X: a\r\n folded\r\n\r\n", 400 },
	{ GET H "X: a\r\n\tfolded\r\n\r\n", 400 },
	{ GET " X: a\r\n" H "\r\n", 400 },
	{ GET H " \r\n\r\n", 400 },
	{ "\r\n\r\n" GET H "\r\n", 400 },
	{ "\n" GET H "\r\n", 400 },
	{ " " GET H "\r\n", 400 },
	// Fields
	{ GET H "X : a\r\n\r\n", 400 },
	{ GET H "X\t: a\r\n\r\n", 400 },
	{ GET H ": a\r\n\r\n", 400 },
	{ GET H "X\r\n\r\n", 400 },
	{ GET H "X Y: a\r\n\r\n", 400 },
	{ GET H "X(Y): a\r\n\r\n", 400 },
	{ GET H "X\xff: a\r\n\r\n", 400 },
	{ GET H "\"X\": a\r\n\r\n", 400 },
	{ GET H "X: \x01\r\n\r\n", 400 },
	{ GET H "X: a\x7f\r\n\r\n", 400 },
	{ GET H "X: \x1b[2J\r\n\r\n", 400 },
	// Host
	{ GET "\r\n", 400 },
	{ GET "X: a\r\n\r\n", 400 },
	{ GET H H "\r\n", 400 },
	{ GET "Host: a\r\nhost: b\r\n\r\n", 400 },
	{ "GET / HTTP/1.0\r\n" H H "\r\n", 400 },
	{ GET "Host:\r\n\r\n", 400 },
	{ GET "Host: a b\r\n\r\n", 400 },
	{ GET "Host: a/b\r\n\r\n", 400 },
	{ GET "Host: a@b\r\n\r\n", 400 },
	{ GET "Host: a:b\r\n\r\n", 400 },
	{ GET "Host: a:80:80\r\n\r\n", 400 },
	{ GET "Host: a:123456\r\n\r\n", 400 },
	{ GET "Host: [::1\r\n\r\n", 400 },
	{ GET "Host: []\r\n\r\n", 400 },
	{ GET "Host: [::1]x\r\n\r\n", 400 },
	{ GET "Host: :80\r\n\r\n", 400 },
	{ GET "Host: http://a\r\n\r\n", 400 },
	{ "GET http://b/ HTTP/1.1\r\n" H "\r\n", 400 },
	{ "GET http://a:81/ HTTP/1.1\r\n" H "\r\n", 400 },
	{ "GET http://ab/ HTTP/1.1\r\n" H "\r\n", 400 },
	{ "GET http://a/ HTTP/1.1\r\n\r\n", 400 },
	{ "GET http:///x HTTP/1.1\r\n" H "\r\n", 400 },
	{ "GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n", 400 },
	// Request line
	{ "GET / HTTP/1.2\r\n" H "\r\n", 505 },
	{ "GET / HTTP/2.0\r\n" H "\r\n", 505 },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505 },
	{ "GET / HTTP/0.9\r\n" H "\r\n", 505 },
	{ "GET / HTTP/1.10\r\n" H "\r\n", 400 },
	{ "GET / HTTP/11\r\n" H "\r\n", 400 },
	{ "GET / http/1.1\r\n" H "\r\n", 400 },
	{ "GET / RTSP/1.0\r\n" H "\r\n", 400 },
	{ "SOURCE / ICE/1.0\r\n" H "\r\n", 400 },
	{ "GET /\r\n" H "\r\n", 400 },
	{ "GET\r\n" H "\r\n", 400 },
	{ "GET  / HTTP/1.1\r\n" H "\r\n", 400 },
	{ "GET /  HTTP/1.1\r\n" H "\r\n", 400 },
	{ "GET / HTTP/1.1 \r\n" H "\r\n", 400 },
	{ "GET\t/\tHTTP/1.1\r\n" H "\r\n", 400 },
	{ "GET /a b HTTP/1.1\r\n" H "\r\n", 400 },
	{ "GET a HTTP/1.1\r\n" H "\r\n", 400 },
	{ "GET * HTTP/1.1\r\n" H "\r\n", 400 },
	{ "GET /a#b HTTP/1.1\r\n" H "\r\n", 400 },
	{ "GET /\x80 HTTP/1.1\r\n" H "\r\n", 400 },
	{ "GET /\x01 HTTP/1.1\r\n" H "\r\n", 400 },
	{ "GET ftp://a/ HTTP/1.1\r\n" H "\r\n", 400 },
	{ "CONNECT / HTTP/1.1\r\n" H "\r\n", 400 },
	{ "CONNECT a HTTP/1.1\r\n" H "\r\n", 400 },
	{ "get / HTTP/1.1\r\n" H "\r\n", 501 },
	{ "FROB / HTTP/1.1\r\n" H "\r\n", 501 },
	{ "GETT / HTTP/1.1\r\n" H "\r\n", 501 },
	{ "\x16\x03\x01\x02\n", 400 },
	// Expectations
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nExpect: 200-ok\r\n\r\nx", 417 },
};

#define CHUNKED "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"

static const struct bad bad_chunks[] = {
	{ CHUNKED "x\r\n\r\n", 400 },
	{ CHUNKED "\r\n\r\n", 400 },
	{ CHUNKED "-1\r\n\r\n", 400 },
	{ CHUNKED "+1\r\na\r\n0\r\n\r\n", 400 },
	{ CHUNKED "0x1\r\na\r\n0\r\n\r\n", 400 },
	{ CHUNKED " 1\r\na\r\n0\r\n\r\n", 400 },
	{ CHUNKED "1 \r\na\r\n0\r\n\r\n", 400 },
	{ CHUNKED "1\na\r\n0\r\n\r\n", 400 },
	{ CHUNKED "1\r\na\n0\r\n\r\n", 400 },
	{ CHUNKED "1\r\nab\r\n0\r\n\r\n", 400 },
	{ CHUNKED "1\r\na0\r\n\r\n", 400 },
	{ CHUNKED "2\r\na\r\n0\r\n\r\n", 400 },
	{ CHUNKED "1\ra\r\n0\r\n\r\n", 400 },
	{ CHUNKED "1;a=b\r\na\r\n0\r\n\r\n", 400 },
	{ CHUNKED "1;a\r\na\r\n0\r\n\r\n", 400 },
	{ CHUNKED "1;\r\na\r\n0\r\n\r\n", 400 },
	{ CHUNKED "1 ; a\r\na\r\n0\r\n\r\n", 400 },
	{ CHUNKED "0;a\r\n\r\n", 400 },
	{ CHUNKED "1;\na\r\n0\r\n\r\n", 400 },
	{ CHUNKED "1;a=\"\r\n\"\r\na\r\n0\r\n\r\n", 400 },
	{ CHUNKED "10000000000000001\r\na\r\n0\r\n\r\n", 400 },
	{ CHUNKED "ffffffffffffffff1\r\na\r\n0\r\n\r\n", 400 },
	{ CHUNKED "0\n\r\n", 400 },
	{ CHUNKED "0\r\n\n", 400 },
	{ CHUNKED "0\r\n\rX", 400 },
	{ CHUNKED "0\r\nX: a\n\r\n", 400 },
	{ CHUNKED "0\r\nX\r\n\r\n", 400 },
	{ CHUNKED "0\r\nX : a\r\n\r\n", 400 },
	{ CHUNKED "0\r\n: a\r\n\r\n", 400 },
	{ CHUNKED "0\r\n X: a\r\n\r\n", 400 },
	{ CHUNKED "0\r\nX: a\r\n b\r\n\r\n", 400 },
	{ CHUNKED "0\r\nX: a\rb\r\n\r\n", 400 },
	{ CHUNKED "0\r\nX: \x01\r\n\r\n", 400 },
	{ CHUNKED "0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
};

static void refuse(const char *answers, const struct bad *table, size_t n)
{
	for (size_t i = 0; i < n; i++)
		expect(answers, table[i].bytes, table[i].n ? table[i].n : strlen(table[i].bytes), false, NULL,
		       table[i].status);
}

static void test_bad_requests(UNUSED void **state)
{
	refuse(NULL, bad_requests, ARRAY_LEN(bad_requests));
	refuse(NULL, bad_chunks, ARRAY_LEN(bad_chunks));
}

#define OK "HTTP/1.1 200 OK\r\n"

static const struct bad bad_responses[] = {
	{ OK "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 502 },
	{ OK "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 502 },
	{ OK "Content-Length: x\r\n\r\nabc", 502 },
	{ OK "Transfer-Encoding: gzip\r\n\r\n", 502 },
	{ OK "Transfer-Encoding: gzip, chunked\r\n\r\n", 502 },
	{ "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 502 },
	{ OK "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 502 },
	{ OK "X : a\r\n\r\n", 502 },
	{ OK "X: a\r\n b\r\n\r\n", 502 },
	{ "HTTP/1.1 200 OK\nX: a\r\n\r\n", 502 },
	{ "HTTP/1.1 20 OK\r\n\r\n", 502 },
	{ "HTTP/1.1 2000 OK\r\n\r\n", 502 },
	{ "HTTP/1.1 099 OK\r\n\r\n", 502 },
	{ "HTTP/1.1  200 OK\r\n\r\n", 502 },
	{ "HTTP/1.1 200OK\r\n\r\n", 502 },
	{ "HTTP/2.0 200 OK\r\n\r\n", 502 },
	{ "HTTP/1.2 200 OK\r\n\r\n", 502 },
	{ "http/1.1 200 OK\r\n\r\n", 502 },
	{ "ICY 200 OK\r\n\r\n", 502 },
	{ "\r\n" OK "\r\n", 502 },
	{ "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc", 502 },
	{ "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502 },
	{ "HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nabc", 502 },
	{ "GET / HTTP/1.1\r\n\r\n", 502 },
};

static void test_bad_responses(UNUSED void **state)
{
	refuse("GET", bad_responses, ARRAY_LEN(bad_responses));
}

static void good(const char *answers, const char *bytes, bool close, const char *text)
{
	expect(answers, bytes, strlen(bytes), close, text, 0);
}

static void test_good_requests(UNUSED void **state)
{
	good(NULL, GET H "\r\n", true, "GET /||a end;");
	good(NULL, "\r\n" GET H "\r\n", true, "GET /||a end;");
	good(NULL, GET "Host:a\r\nX:\r\nY: \t b \t\r\n\r\n", true, "GET /||a end;");
	good(NULL, "GET /a%20b?x=1?&y HTTP/1.1\r\nHOST: a.b:80\r\n\r\n", true, "GET /a%20b|x=1?&y|a.b:80 end;");
	good(NULL, "GET /? HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", true, "GET /||[::1]:80 end;");
	good(NULL, "GET http://A/b?c HTTP/1.1\r\n" H "\r\n", true, "GET /b|c|A end;");
	good(NULL, "GET http://a?c HTTP/1.1\r\n" H "\r\n", true, "GET /|c|a end;");
	good(NULL, "GET http://a HTTP/1.1\r\n" H "\r\n", true, "GET /||a end;");
	good(NULL, "OPTIONS * HTTP/1.1\r\n" H "\r\n", true, "OPTIONS *||a end;");
	good(NULL, "CONNECT b:443 HTTP/1.1\r\n" H "\r\n", true, "CONNECT ||b:443 end;");
	good(NULL, "GET / HTTP/1.0\r\n\r\n", true, "GET /|| end close;");
	good(NULL, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true, "GET /|| end;");
	good(NULL, GET H "Connection: x, Close\r\n\r\n", true, "GET /||a end close;");
	good(NULL, "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", true, "POST /||a[abc] end;");
	good(NULL, "POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", true, "POST /||a end;");
	good(NULL, CHUNKED "3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n", true, "POST /||a[abc0123456789] end;");
	good(NULL, CHUNKED "0\r\n\r\n", true, "POST /||a end;");
	good(NULL, CHUNKED "1\r\na\r\n0\r\nX: y\r\nContent-Length: 9\r\n\r\n", true, "POST /||a[a] end;");
	good(NULL, "POST / HTTP/1.1\r\n" H "transfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n", true, "POST /||a end;");
	good(NULL, "", true, "");
}

static void test_pipelined(UNUSED void **state)
{
	good(NULL,
	     GET H "\r\n" CHUNKED "3\r\nabc\r\n0\r\n\r\n"
		   "POST / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi" GET H "\r\n",
	     true, "GET /||a end;POST /||a[abc] end;POST /||a[hi] end;GET /||a end;");
	good("GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n", true,
	     "200[a] end;404 end;");
}

static void test_good_responses(UNUSED void **state)
{
	good("GET", OK "Content-Length: 3\r\n\r\nabc", true, "200[abc] end;");
	good("GET", OK "\r\nabc", true, "200[abc] end close;");
	good("GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", true, "200 end;");
	good("GET", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", true, "200 end;");
	good("GET", "HTTP/1.1 200 \xc3\xa9t\xc3\xa9\r\nContent-Length: 0\r\n\r\n", true, "200 end;");
	good("GET", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", true, "200[a] end close;");
	good("GET", OK "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", true, "200[a] end;");
	good("HEAD", OK "Content-Length: 3\r\n\r\n", true, "200 end;");
	good("HEAD", OK "Transfer-Encoding: chunked\r\n\r\n", true, "200 end;");
	good("HEAD", OK "\r\n", true, "200 end;");
	good("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", true, "304 end;");
	good("GET", "HTTP/1.1 204 No Content\r\n\r\n", true, "204 end;");
	good("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", true, "204 end;");
	good("PUT", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" OK "Content-Length: 0\r\n\r\n",
	     true, "100103200 end;");
	good("CONNECT", OK "\r\n", false, "200 end close;");
	good("CONNECT", "HTTP/1.1 403 Forbidden\r\nContent-Length: 1\r\n\r\nx", true, "403[x] end;");
	good("GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", false,
	     "101 end close;");
}

static void test_cut_off(UNUSED void **state)
{
	expect(NULL, "GET / HT", 8, true, NULL, 400);
	expect(NULL, "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nab", 49, true, "POST /||a[ab]!", 400);
	expect("GET", OK "Content-Length: 3\r\n\r\nab", 40, true, "200[ab]!", 502);
	expect("GET", OK "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", 53, true, "200[a]!", 502);
	expect("GET", OK "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", 56, true, "200[a]!", 502);
}

static char *repeat(const char *before, const char *piece, size_t times, const char *after)
{
	struct buf b = BUF_INIT(1 << 20);
	buf_add_str(&b, before);
	for (size_t i = 0; i < times; i++)
		buf_add_str(&b, piece);
	buf_add_str(&b, after);
	return buf_take(&b);
}

static void limit(const char *before, const char *piece, size_t times, const char *after, unsigned status)
{
	AUTO_FREE char *text = repeat(before, piece, times, after);
	expect(NULL, text, strlen(text), false, NULL, status);
}

static void test_limits(UNUSED void **state)
{
	limit(GET H, "X: y\r\n", 99, "\r\n", 0);
	limit(GET H, "X: y\r\n", 100, "\r\n", 431);
	limit("GET /", "a", HTTP1_TARGET_MAX - 1, " HTTP/1.1\r\n" H "\r\n", 0);
	limit("GET /", "a", HTTP1_TARGET_MAX, " HTTP/1.1\r\n" H "\r\n", 414);
	limit("GET http://a/", "a", HTTP1_TARGET_MAX - 11, "?b HTTP/1.1\r\n" H "\r\n", 0);
	limit("GET /", "a", 100000, "", 414);
	limit("", "a", 100000, "", 414);
	limit(GET H "X: ", "a", 65000, "\r\n\r\n", 0);
	limit(GET H "X: ", "a", 65600, "\r\n\r\n", 431);
	limit(GET H "X: ", "a", 200000, "", 431);
	limit(GET H, "Xxxxxxxxx: yyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", 5000, "\r\n", 431);
	limit(CHUNKED "0\r\n", "Xxxxxxxx: yyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", 2000, "\r\n", 431);
}

static void test_flags(UNUSED void **state)
{
	static const struct {
		const char *bytes;
		bool upgrade, expect_continue;
	} cases[] = {
		{ GET H "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n", true, false },
		{ GET H "Upgrade: websocket\r\n\r\n", false, false },
		{ GET H "Connection: upgrade\r\n\r\n", false, false },
		{ "GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", false, false },
		{ "POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\n", false, true },
		{ "POST / HTTP/1.0\r\n" H "Content-Length: 1\r\nExpect: 100-continue\r\n\r\n", false, false },
		{ GET H "Expect: 100-continue\r\n\r\n", false, false },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct http1_parser p;
		http1_parser_init(&p, false);
		size_t used;
		assert_int_equal(http1_parse(&p, cases[i].bytes, strlen(cases[i].bytes), &used), HTTP1_HEAD);
		assert_int_equal(p.upgrade, cases[i].upgrade);
		assert_int_equal(p.expect_continue, cases[i].expect_continue);
		assert_true(http1_parser_in_message(&p));
		http1_parser_clear(&p);
	}
}

static void test_views(UNUSED void **state)
{
	struct http1_parser p;
	http1_parser_init(&p, false);
	static const char bytes[] = "POST /p?q HTTP/1.1\r\nHost: a\r\nX-One:  1 2 \r\nEmpty:\r\nx-one: 3\r\n"
				    "Content-Length: 2\r\n\r\nokGET";
	size_t used, at;
	assert_int_equal(http1_parse(&p, bytes, sizeof(bytes) - 1, &used), HTTP1_HEAD);
	at = used;
	assert_int_equal(http1_parse(&p, bytes + at, sizeof(bytes) - 1 - at, &used), HTTP1_BODY);
	assert_ptr_equal(p.body, bytes + at); // not copied
	assert_int_equal(p.body_len, 2);
	at += used;
	assert_int_equal(http1_parse(&p, bytes + at, sizeof(bytes) - 1 - at, &used), HTTP1_END);
	assert_int_equal(used, 0);
	const struct http_headers *h = &p.request.headers;
	assert_string_equal(p.request.target, "/p?q");
	assert_int_equal(h->n, 5);
	assert_string_equal(h->items[1].name, "x-one");
	assert_string_equal(http_header_get(h, "x-one"), "1 2");
	assert_string_equal(http_header_get(h, "empty"), "");
	assert_string_equal(h->items[3].value, "3");
	assert_null(http_header_get(h, "none"));
	http1_parser_rest(&p);
	assert_int_equal(http1_parse(&p, "GET", 3, &used), HTTP1_NEED);
	http1_parser_clear(&p);
}

static void test_writers(UNUSED void **state)
{
	AUTO_BUF struct buf out = BUF_INIT(4096);
	assert_int_equal(http1_write_request_line(&out, "GET", "/a?b"), 0);
	assert_int_equal(http1_write_header(&out, "Host", "a"), 0);
	assert_int_equal(http1_write_header_u64(&out, "Content-Length", UINT64_MAX), 0);
	assert_int_equal(http1_write_head_end(&out), 0);
	assert_string_equal(buf_str(&out),
			    "GET /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n");
	buf_reset(&out);
	assert_int_equal(http1_write_request_line(&out, "G T", "/"), -EINVAL);
	assert_int_equal(http1_write_request_line(&out, "GET", "/a b"), -EINVAL);
	assert_int_equal(http1_write_request_line(&out, "GET", "/\r\nX: y"), -EINVAL);
	assert_int_equal(http1_write_request_line(&out, "GET", ""), -EINVAL);
	assert_int_equal(http1_write_header(&out, "X", "a\r\nY: b"), -EINVAL);
	assert_int_equal(http1_write_header(&out, "X", "a\nb"), -EINVAL);
	assert_int_equal(http1_write_header(&out, "X:", "a"), -EINVAL);
	assert_int_equal(http1_write_header(&out, "", "a"), -EINVAL);
	assert_int_equal(http1_write_status_line(&out, 42), -EINVAL);
	assert_int_equal(buf_len(&out), 0);
	assert_int_equal(http1_write_status_line(&out, 404), 0);
	assert_string_equal(buf_str(&out), "HTTP/1.1 404 Not Found\r\n");
}

static void test_chunk_writer(UNUSED void **state)
{
	static const size_t sizes[] = { 1, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 65535, 65536, 1 << 20 };
	AUTO_FREE char *bytes = xcalloc(1, 1 << 20);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		AUTO_BUF struct buf out = BUF_INIT(2 << 20);
		http1_write_chunk(&out, bytes, sizes[i]);
		http1_write_chunk(&out, bytes, 0);
		http1_write_last_chunk(&out);
		char *end;
		assert_int_equal(strtoull(buf_str(&out), &end, 16), sizes[i]);
		assert_memory_equal(end, "\r\n", 2);
		assert_int_equal(buf_len(&out), (size_t)(end - buf_data(&out)) + 2 + sizes[i] + 2 + 5);
	}
	AUTO_BUF struct buf small = BUF_INIT(8);
	assert_int_equal(http1_write_chunk(&small, bytes, 8), -ENOBUFS);
	assert_int_equal(buf_len(&small), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_requests),  cmocka_unit_test(test_bad_responses),
		cmocka_unit_test(test_good_requests), cmocka_unit_test(test_good_responses),
		cmocka_unit_test(test_pipelined),     cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_limits),        cmocka_unit_test(test_flags),
		cmocka_unit_test(test_views),         cmocka_unit_test(test_writers),
		cmocka_unit_test(test_chunk_writer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
