// What of a message's head is passed on, and what is added.
#include "base/str.h"
#include "router/forward.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HEAD_MAX (64 << 10)
#define H "Host: a.test\r\n"

// The head of a request as the instance gets it; NULL: refused.
static char *forwarded(const char *request, const char *peer_ip)
{
	struct http1_parser p;
	size_t used;
	http1_parser_init(&p, false);
	assert_int_equal(http1_parse(&p, request, strlen(request), &used), HTTP1_HEAD);
	AUTO_BUF struct buf out = BUF_INIT(HEAD_MAX);
	bool passed = forward_request(&out, &p, peer_ip);
	http1_parser_clear(&p);
	return passed ? buf_take(&out) : NULL;
}

static bool has_line(const char *head, const char *line)
{
	AUTO_FREE char *whole = xasprintf("\r\n%s\r\n", line);
	return strstr(head, whole) != NULL;
}

static void passes(const char *request, const char *line)
{
	AUTO_FREE char *head = forwarded(request, "192.0.2.1");
	assert_non_null(head);
	if (!has_line(head, line))
		fail_msg("no '%s' in\n%s", line, head);
}

static void drops(const char *request, const char *text)
{
	AUTO_FREE char *head = forwarded(request, "192.0.2.1");
	assert_non_null(head);
	if (strstr(head, text))
		fail_msg("'%s' in\n%s", text, head);
}

static void begins(const char *request, const char *line)
{
	AUTO_FREE char *head = forwarded(request, "192.0.2.1");
	assert_non_null(head);
	if (!str_starts(head, line))
		fail_msg("not '%s' but\n%s", line, head);
}

static void test_targets(UNUSED void **state)
{
	begins("GET /a?b HTTP/1.1\r\n" H "\r\n", "GET /a?b HTTP/1.1\r\nhost: a.test\r\n");
	begins("GET //a//..%2f HTTP/1.0\r\n" H "\r\n", "GET //a//..%2f HTTP/1.1\r\n");
	begins("GET http://a.test/x?y HTTP/1.1\r\n" H "\r\n", "GET /x?y HTTP/1.1\r\nhost: a.test\r\n");
	begins("GET HTTP://A.test:80/x HTTP/1.1\r\nHost: a.test:80\r\n\r\n", "GET /x HTTP/1.1\r\nhost: A.test:80\r\n");
	begins("GET http://a.test?y HTTP/1.1\r\n" H "\r\n", "GET /?y HTTP/1.1\r\n");
	begins("GET http://a.test HTTP/1.1\r\n" H "\r\n", "GET / HTTP/1.1\r\n");
	begins("GET http://a.test/http://b/ HTTP/1.1\r\n" H "\r\n", "GET /http://b/ HTTP/1.1\r\n");
	begins("OPTIONS http://a.test HTTP/1.1\r\n" H "\r\n", "OPTIONS * HTTP/1.1\r\n");
	begins("OPTIONS * HTTP/1.1\r\n" H "\r\n", "OPTIONS * HTTP/1.1\r\n");
}

#define GET(fields) "GET / HTTP/1.1\r\n" H fields "\r\n"

static void test_provenance(UNUSED void **state)
{
	const char *spoofed = GET("X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n"
				  "x_forwarded_for: 6.6.6.6\r\nX-Forwarded-Port: 6666\r\n");
	passes(spoofed, "x-forwarded-for: 192.0.2.1");
	passes(spoofed, "x-forwarded-proto: http");
	passes(spoofed, "x-forwarded-host: a.test");
	passes(spoofed, "forwarded: for=192.0.2.1;host=\"a.test\";proto=http");
	passes(spoofed, "via: 1.1 dialtone");
	drops(spoofed, "666");
	drops(spoofed, "6.6.6.6");
	passes("GET / HTTP/1.0\r\n" H "\r\n", "via: 1.0 dialtone");

	// RFC 7239, 6: an IPv6 address stands in brackets and quotes; a port in the host needs the quotes as well.
	AUTO_FREE char *head = forwarded("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "2001:db8::1");
	assert_true(has_line(head, "forwarded: for=\"[2001:db8::1]\";host=\"[::1]:80\";proto=http"));
	assert_true(has_line(head, "x-forwarded-for: 2001:db8::1"));
}

static void test_hop_by_hop(UNUSED void **state)
{
	drops(GET("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n"), "eep-");
	drops(GET("Connection: close\r\n"), "connection");
	drops(GET("Connection: x-one, X-Two\r\nConnection: x-three\r\nX-One: secret\r\nX-TWO: secret\r\nX-Three: "
		  "secret\r\n"),
	      "secret");
	drops(GET("TE: secret\r\nTrailer: secret\r\nProxy-Connection: secret\r\nProxy-Authenticate: secret\r\n"),
	      "secret");
	drops(GET("Upgrade: secret\r\n"), "secret");
	drops(GET("Connection: upgrade\r\nUpgrade: H2C\r\n"), "pgrade");
	passes(GET("Connection: Upgrade, x\r\nUpgrade: websocket\r\n"), "connection: upgrade");
	passes(GET("Connection: Upgrade, x\r\nUpgrade: websocket\r\n"), "upgrade: websocket");
	passes(GET("Connection: x\r\nX-Other: kept\r\n"), "x-other: kept");
	passes(GET("Via: 1.1 other\r\n"), "via: 1.1 other");
	passes(GET("A:  b c \t\r\n"), "a: b c");
}

static void test_connection_may_not_drop_all(UNUSED void **state)
{
	static const char *const names[] = { "host",   "Content-Length",  "AUTHORIZATION",
					     "cookie", "x-forwarded-for", "forwarded" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO_FREE char *alone = xasprintf("GET / HTTP/1.1\r\n" H "Connection: %s\r\n\r\n", names[i]);
		AUTO_FREE char *hidden =
			xasprintf("GET / HTTP/1.1\r\n" H "Connection: close\r\nConnection: x ,\t%s\r\n\r\n", names[i]);
		assert_null(forwarded(alone, "192.0.2.1"));
		assert_null(forwarded(hidden, "192.0.2.1"));
	}
}

#define POST(fields) "POST / HTTP/1.1\r\n" H fields "\r\n"

static void test_framing(UNUSED void **state)
{
	passes(POST("Content-Length: 0005\r\n"), "content-length: 5");
	passes(POST("Content-Length: 0\r\n"), "content-length: 0");
	drops(POST("Content-Length: 5\r\n"), "transfer-encoding");
	passes(POST("Transfer-Encoding: Chunked\r\n"), "transfer-encoding: chunked");
	drops(POST("Transfer-Encoding: chunked\r\n"), "content-length");
	drops(POST("Content_Length: 5\r\nTransfer_Encoding: chunked\r\n"), "ontent");
	drops(POST("Transfer_Encoding: chunked\r\n"), "chunked");
	drops("GET / HTTP/1.1\r\n" H "\r\n", "content-length");
}

struct answer_case {
	const char *answer;
	unsigned to_minor;
	bool is_head, close;
	enum body_form form;
	const char *line, *absent;
};

static void check_answer(const struct answer_case *c)
{
	struct http1_parser p;
	size_t used;
	http1_parser_init(&p, true);
	http1_parser_answers(&p, c->is_head ? "HEAD" : "GET");
	assert_int_equal(http1_parse(&p, c->answer, strlen(c->answer), &used), HTTP1_HEAD);
	AUTO_BUF struct buf out = BUF_INIT(HEAD_MAX);
	enum body_form form;
	forward_response(&out, &p, c->to_minor, c->is_head, c->close, &form);
	http1_parser_clear(&p);
	const char *head = buf_str(&out);
	assert_int_equal(form, c->form);
	if (c->line && !has_line(head, c->line))
		fail_msg("no '%s' in\n%s", c->line, head);
	if (c->absent && strstr(head, c->absent))
		fail_msg("'%s' in\n%s", c->absent, head);
}

#define OK "HTTP/1.1 200 OK\r\n"

static void test_answers(UNUSED void **state)
{
	static const struct answer_case cases[] = {
		{ OK "Content-Length: 5\r\n\r\n", 1, false, false, BODY_AS_IS, "content-length: 5", "connection" },
		{ OK "Content-Length: 5\r\n\r\n", 0, false, false, BODY_AS_IS, "connection: keep-alive", NULL },
		{ OK "Content-Length: 5\r\n\r\n", 1, false, true, BODY_AS_IS, "connection: close", NULL },
		{ OK "Content-Length: 0\r\n\r\n", 1, false, false, BODY_NONE, "content-length: 0", NULL },
		{ OK "Content-Length: 5\r\n\r\n", 1, true, false, BODY_NONE, "content-length: 5", NULL },
		{ OK "Transfer-Encoding: chunked\r\n\r\n", 1, false, false, BODY_CHUNKED, "transfer-encoding: chunked",
		  "connection" },
		{ OK "Transfer-Encoding: chunked\r\n\r\n", 0, false, false, BODY_UNTIL_CLOSE, "connection: close",
		  "chunked" },
		{ OK "Transfer-Encoding: chunked\r\n\r\n", 1, true, false, BODY_NONE, "transfer-encoding: chunked",
		  NULL },
		{ OK "\r\n", 1, false, false, BODY_CHUNKED, "transfer-encoding: chunked", "connection" },
		{ OK "\r\n", 0, false, false, BODY_UNTIL_CLOSE, "connection: close", "chunked" },
		{ "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 1, false, false, BODY_NONE, NULL,
		  "content-length" },
		{ "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 1, false, false, BODY_NONE,
		  "content-length: 5", NULL },
		{ OK "Connection: x-own\r\nX-Own: secret\r\nContent-Length: 0\r\n\r\n", 1, false, false, BODY_NONE,
		  NULL, "secret" },
		{ OK "X-Dialtone-Error: no-route\r\nContent-Length: 0\r\n\r\n", 1, false, false, BODY_NONE, NULL,
		  "dialtone" },
		{ OK "Date: then\r\nContent-Length: 0\r\n\r\n", 1, false, false, BODY_NONE, "date: then", "GMT" },
		{ "HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 1, false, true, BODY_NONE,
		  "upgrade: x", "close" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_answer(&cases[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),    cmocka_unit_test(test_provenance),
		cmocka_unit_test(test_hop_by_hop), cmocka_unit_test(test_connection_may_not_drop_all),
		cmocka_unit_test(test_framing),    cmocka_unit_test(test_answers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
