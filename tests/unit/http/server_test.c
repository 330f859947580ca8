#include "base/str.h"
#include "http/server.h"
#include "rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define H "Host: a\r\n"

struct bench {
	struct rig rig;
	struct address address;
	struct http_server *server;
	unsigned gone, completed, requests, drains;
	size_t streamed, written;
	bool end_seen, free_on_gone;
	struct http_exchange *held;
	struct buf early;
	int upgraded_fd, upgrade_result;
};

static struct bench *bench; // of the test that runs

static void on_gone(struct http_exchange *x, bool complete)
{
	bench->gone++;
	bench->completed += complete;
	if (bench->held == x)
		bench->held = NULL;
	if (bench->free_on_gone)
		http_server_free(TAKE_PTR(bench->server));
}

static void echo(struct http_exchange *x, const char *body, size_t n)
{
	assert_int_equal(body[n], '\0');
	http_respond(x, 200, "text/plain", body, n);
}

static void say_length(struct http_exchange *x, UNUSED const char *body, size_t n)
{
	char text[32];
	snprintf(text, sizeof(text), "%zu bytes", n);
	http_respond(x, 200, "text/plain", text, strlen(text));
}

static void count_data(struct http_exchange *x, UNUSED const char *bytes, size_t n)
{
	bench->streamed += n;
	if (str_eq(http_exchange_arg(x), "pause"))
		http_exchange_pause(x);
}

static void count_end(struct http_exchange *x)
{
	char text[32];
	snprintf(text, sizeof(text), "streamed %zu", bench->streamed);
	bench->end_seen = true;
	http_respond(x, 200, "text/plain", text, strlen(text));
}

static void write_some(struct http_exchange *x)
{
	static char bytes[100000];
	memset(bytes, 'x', sizeof(bytes));
	while (bench->written < 8 << 20) {
		size_t n = sizeof(bytes);
		bench->written += n;
		if (http_respond_write(x, bytes, n) > HTTP_HIGH_WATER)
			return;
	}
	http_respond_end(x);
}

static void drained(struct http_exchange *x)
{
	bench->drains++;
	write_some(x);
}

static void on_request(struct http_exchange *x, UNUSED void *arg)
{
	const char *path = http_exchange_request(x)->path;
	bench->requests++;
	http_exchange_on_gone(x, on_gone);
	http_exchange_set_header(x, "X-Path", path);
	http_exchange_set_header(x, "X-Bad", "a\r\nInjected: yes");
	http_exchange_set_header(x, "Content-Length", "999");
	if (str_eq(path, "/echo")) {
		http_exchange_read_body(x, 1000, echo);
	} else if (str_eq(path, "/stream") || str_eq(path, "/pause")) {
		bench->held = x;
		http_exchange_set_arg(x, (char *)path + 1);
		http_exchange_stream_body(x, count_data, count_end);
	} else if (str_eq(path, "/big")) {
		http_exchange_on_drain(x, drained);
		http_respond_start(x, 200, "text/plain");
		write_some(x);
	} else if (str_eq(path, "/chunks")) {
		http_respond_start(x, 200, "text/plain");
		http_respond_write(x, "one", 3);
		http_respond_write(x, "", 0);
		http_respond_write(x, "three", 5);
		http_respond_end(x);
	} else if (str_eq(path, "/cut")) {
		http_respond_start(x, 200, "text/plain");
		http_respond_write(x, "one", 3);
		http_respond_abort(x);
	} else if (str_eq(path, "/large")) {
		http_exchange_read_body(x, 100000, say_length);
	} else if (str_eq(path, "/hold")) {
		bench->held = x;
	} else if (str_eq(path, "/empty")) {
		http_respond(x, 204, NULL, NULL, 0);
	} else if (str_eq(path, "/refused")) {
		http_exchange_read_body(x, 3, echo); // answers 413
		http_respond_start(x, 200, "text/plain");
		http_respond_write(x, "late", 4);
		http_respond_end(x);
		http_respond(x, 200, "text/plain", "late", 4);
	} else if (str_eq(path, "/upgrade")) {
		bench->upgrade_result = http_exchange_upgrade(x, "test", &bench->early, &bench->upgraded_fd);
	} else {
		http_respond(x, 200, "text/plain", "hello", 5);
	}
}

static struct bench start(const struct http_server_config *config)
{
	struct bench b = { .early = BUF_INIT(1 << 20), .upgraded_fd = -1 };
	rig_init(&b.rig);
	struct http_server_config c = *config;
	c.on_request = on_request;
	b.server = http_server_new(b.rig.loop, &c);
	struct err err = { 0 };
	assert_int_equal(http_server_listen(b.server, rig_listen(&b.address), &err), 0);
	return b;
}

static void stop(struct bench *b)
{
	http_server_free(b->server);
	buf_clear(&b->early);
	rig_clear(&b->rig);
}

// A bench and one raw client, for most tests.
#define WITH_SERVER(...)                                                                                               \
	struct bench b = start(&(struct http_server_config){ __VA_ARGS__ });                                           \
	bench = &b;                                                                                                    \
	struct raw raw = raw_connect(&b.address)

#define DONE()                                                                                                         \
	raw_clear(&raw);                                                                                               \
	stop(&b);                                                                                                      \
	assert_int_equal(b.gone, b.requests)

static bool all_gone(void *arg)
{
	struct bench *b = arg;
	return b->requests && b->gone == b->requests;
}

static bool holds_one(void *arg)
{
	struct bench *b = arg;
	return b->held;
}

static void test_answers(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "GET /x HTTP/1.1\r\n" H "\r\n");
	raw_expect(&b.rig, &raw, "HTTP/1.1 200 OK\r\nDate: ");
	raw_expect(&b.rig, &raw, "X-Path: /x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
	raw_send(&raw, "HEAD / HTTP/1.1\r\n" H "\r\nGET /empty HTTP/1.1\r\n" H "\r\n");
	raw_expect(&b.rig, &raw, "Content-Length: 5\r\n\r\nHTTP/1.1 204 No Content\r\n");
	raw_expect(&b.rig, &raw, "X-Path: /empty\r\n\r\n");
	raw_send(&raw, "GET /x HTTP/1.0\r\n\r\n");
	raw_expect(&b.rig, &raw, "Connection: close\r\n\r\nhello");
	raw_expect_closed(&b.rig, &raw);
	assert_false(raw.reset);
	assert_true(rig_wait(&b.rig, all_gone, &b));
	assert_int_equal(b.completed, 4);
	DONE();
}

static void test_old_keep_alive(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	raw_expect(&b.rig, &raw, "Connection: keep-alive\r\n\r\nhello");
	raw_send(&raw, "GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	raw_expect(&b.rig, &raw, "Connection: close\r\n\r\nonethree");
	raw_expect_closed(&b.rig, &raw);
	DONE();
}

static void test_byte_by_byte(UNUSED void **state)
{
	WITH_SERVER();
	static const char text[] =
		"POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
		"GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n";
	raw_send(&raw, "GET / HTTP/1.1\r\n" H "\r\n");
	raw_expect(&b.rig, &raw, "hello");
	for (const char *c = text; *c; c++) {
		raw_send(&raw, (char[]){ *c, '\0' });
		raw_expect_len(&b.rig, &raw, 0); // a turn or two of the loop
	}
	raw_expect(&b.rig, &raw, "\r\n\r\nabcde");
	raw_expect(&b.rig, &raw, "hello");
	raw_expect_closed(&b.rig, &raw);
	DONE();
}

static void test_pipelined(UNUSED void **state)
{
	WITH_SERVER();
	AUTO_BUF struct buf text = BUF_INIT(1 << 20);
	for (int i = 0; i < 500; i++)
		buf_addf(&text, "GET /%d HTTP/1.1\r\n" H "\r\n", i);
	buf_addf(&text, "POST /echo HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nlastGET /chunks HTTP/1.1\r\n" H "\r\n");
	raw_send(&raw, buf_str(&text));
	for (int i = 0; i < 500; i++) {
		char path[32];
		snprintf(path, sizeof(path), "X-Path: /%d\r\n", i);
		raw_expect(&b.rig, &raw, path);
		raw_expect(&b.rig, &raw, "\r\n\r\nhello");
	}
	raw_expect(&b.rig, &raw, "\r\n\r\nlast");
	raw_expect(&b.rig, &raw, "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n5\r\nthree\r\n0\r\n\r\n");
	DONE();
}

static void test_half_closed(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "GET /x HTTP/1.1\r\n" H "\r\nGET /y HTTP/1.1\r\n" H "\r\n");
	shutdown(raw.fd, SHUT_WR);
	raw_expect(&b.rig, &raw, "X-Path: /x\r\n");
	raw_expect(&b.rig, &raw, "X-Path: /y\r\n");
	raw_expect(&b.rig, &raw, "hello");
	raw_expect_closed(&b.rig, &raw);
	DONE();
}

static void test_bad_request(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "GET / HTTP/1.1\r\n" H "\r\nGET / HTTP/1.1\r\nContent-Length: x\r\n\r\n");
	raw_expect(&b.rig, &raw, "hello");
	raw_expect(&b.rig, &raw, "HTTP/1.1 400 Bad Request\r\n");
	raw_expect(&b.rig, &raw, "Content-Type: application/problem+json\r\n");
	raw_expect(&b.rig, &raw, "Connection: close\r\n\r\n{\"title\":\"Bad Request\",\"status\":400,");
	raw_expect_closed(&b.rig, &raw);
	assert_false(raw.reset);
	assert_int_equal(b.requests, 1);
	DONE();
}

static void test_bad_body(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n");
	raw_expect(&b.rig, &raw, "HTTP/1.1 400 ");
	raw_expect_closed(&b.rig, &raw);
	assert_true(rig_wait(&b.rig, all_gone, &b));
	DONE();
}

// What all connections together may hold has a limit; small requests are answered all the same.
static void test_many_bodies(UNUSED void **state)
{
	WITH_SERVER(.max_bodies = 100000);
	AUTO_FREE char *body = xcalloc(1, 70001);
	memset(body, 'x', 69999);
	raw_send(&raw, "POST /large HTTP/1.1\r\n" H "Content-Length: 70000\r\nExpect: 100-continue\r\n\r\n");
	raw_expect(&b.rig, &raw, "HTTP/1.1 100 ");
	raw_send(&raw, body);

	static const char *const ends[] = { "Content-Length: 70000\r\n\r\n",
					    "Transfer-Encoding: chunked\r\n\r\n1116f\r\n" };
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		struct raw second = raw_connect(&b.address);
		raw_send(&second, "POST /large HTTP/1.1\r\n" H);
		raw_send(&second, ends[i]);
		raw_send(&second, body);
		raw_expect(&b.rig, &second, "HTTP/1.1 503 ");
		raw_expect(&b.rig, &second, "Retry-After: 1\r\n");
		raw_expect(&b.rig, &second, "too many large requests");
		raw_clear(&second);
	}
	struct raw small = raw_connect(&b.address);
	raw_send(&small, "POST /large HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx");
	raw_expect(&b.rig, &small, "1 bytes");
	raw_send(&raw, "x");
	raw_expect(&b.rig, &raw, "70000 bytes");
	raw_send(&small, "POST /large HTTP/1.1\r\n" H "Content-Length: 69999\r\n\r\n");
	raw_send(&small, body);
	raw_expect(&b.rig, &small, "69999 bytes");
	raw_clear(&small);
	DONE();
}

static void test_too_long(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "POST /echo HTTP/1.1\r\n" H "Content-Length: 1001\r\n\r\n");
	raw_expect(&b.rig, &raw, "HTTP/1.1 413 ");
	raw_expect(&b.rig, &raw, "Connection: close\r\n");
	raw_expect_closed(&b.rig, &raw);
	raw_clear(&raw);

	raw = raw_connect(&b.address);
	AUTO_FREE char *body = xcalloc(1, 1002);
	memset(body, 'x', 1001);
	raw_send(&raw, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3e9\r\n");
	raw_send(&raw, body);
	raw_expect(&b.rig, &raw, "HTTP/1.1 413 ");
	raw_expect(&b.rig, &raw, "\"status\":413");
	raw_expect_closed(&b.rig, &raw);
	assert_false(raw.reset);
	raw_clear(&raw);

	raw = raw_connect(&b.address);
	body[1000] = '\0';
	raw_send(&raw, "POST /echo HTTP/1.1\r\n" H "Content-Length: 1000\r\n\r\n");
	raw_send(&raw, body);
	raw_expect(&b.rig, &raw, "HTTP/1.1 200 ");
	DONE();
}

static void test_expect_continue(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
	raw_expect(&b.rig, &raw, "HTTP/1.1 100 Continue\r\n\r\n");
	raw_send(&raw, "abc");
	raw_expect(&b.rig, &raw, "\r\n\r\nabc");
	// Refused without the body: nobody knows whether it comes, so the connection ends.
	raw_send(&raw, "POST /x HTTP/1.1\r\n" H "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
	raw_expect(&b.rig, &raw, "HTTP/1.1 200 OK");
	raw_expect(&b.rig, &raw, "Connection: close\r\n");
	raw_expect_closed(&b.rig, &raw);
	DONE();
}

static void test_unread_body(UNUSED void **state)
{
	WITH_SERVER();
	// A short body that nobody asked for is dropped and the connection lives on.
	raw_send(&raw, "POST /x HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nab");
	raw_expect(&b.rig, &raw, "\r\n\r\nhello");
	raw_send(&raw, "cdeGET /y HTTP/1.1\r\n" H "\r\n");
	raw_expect(&b.rig, &raw, "X-Path: /y\r\n");
	// A long one ends it, and the answer arrives all the same.
	raw_send(&raw, "POST /x HTTP/1.1\r\n" H "Content-Length: 50000000\r\n\r\nab");
	raw_expect(&b.rig, &raw, "Connection: close\r\n\r\nhello");
	raw_expect_closed(&b.rig, &raw);
	assert_false(raw.reset);
	DONE();
}

static size_t send_some(struct raw *raw, size_t n)
{
	static char bytes[65536];
	ssize_t sent = send(raw->fd, bytes, n < sizeof(bytes) ? n : sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);
	return sent > 0 ? (size_t)sent : 0;
}

struct upload {
	struct raw *raw;
	size_t left, stalled;
};

static bool is_sent(void *arg)
{
	struct upload *u = arg;
	u->left -= send_some(u->raw, u->left);
	return u->left == 0;
}

// Holds when nothing could be sent for 200 looks in a row: buffers are full.
static bool is_stalled(void *arg)
{
	struct upload *u = arg;
	size_t sent = send_some(u->raw, u->left);
	u->left -= sent;
	u->stalled = sent ? 0 : u->stalled + 1;
	return u->stalled == 200 || u->left == 0;
}

static void test_request_back_pressure(UNUSED void **state)
{
	WITH_SERVER();
	struct upload u = { .raw = &raw, .left = 64 << 20 };
	raw_send(&raw, "POST /pause HTTP/1.1\r\n" H "Content-Length: 67108864\r\n\r\n");
	assert_true(rig_wait(&b.rig, is_stalled, &u));
	assert_true(u.left > 0);
	assert_true(b.streamed <= 64 << 10); // paused in the first piece
	http_exchange_set_arg(b.held, NULL);
	http_exchange_resume(b.held);
	assert_true(rig_wait(&b.rig, is_sent, &u));
	raw_expect(&b.rig, &raw, "\r\n\r\nstreamed 67108864");
	DONE();
}

static void test_answer_back_pressure(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "GET /big HTTP/1.0\r\n\r\n");
	raw_expect(&b.rig, &raw, "\r\n\r\n");
	raw_expect_closed(&b.rig, &raw);
	assert_int_equal(buf_len(&raw.got), b.written);
	assert_true(b.drains > 3);
	DONE();
}

static void test_cut_answer(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "GET /cut HTTP/1.1\r\n" H "\r\n");
	raw_expect_closed(&b.rig, &raw);
	assert_false(str_ends(buf_str(&raw.got), "0\r\n\r\n"));
	assert_true(rig_wait(&b.rig, all_gone, &b));
	assert_int_equal(b.completed, 0);
	DONE();
}

static void test_peer_leaves(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "GET /hold HTTP/1.1\r\n" H "\r\n");
	assert_true(rig_wait(&b.rig, holds_one, &b));
	raw_clear(&raw);
	assert_true(rig_wait(&b.rig, all_gone, &b));
	assert_int_equal(b.gone, 1);
	assert_int_equal(b.completed, 0);

	raw = raw_connect(&b.address);
	raw_send(&raw, "POST /stream HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\nabc");
	assert_true(rig_wait(&b.rig, holds_one, &b));
	raw_clear(&raw);
	assert_true(rig_wait(&b.rig, all_gone, &b));
	assert_false(b.end_seen);
	DONE();
}

static void test_later_answer(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "POST /hold HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabcGET /x HTTP/1.1\r\n" H "\r\n");
	assert_true(rig_wait(&b.rig, holds_one, &b));
	char peer[ADDRESS_TEXT_SIZE];
	http_exchange_peer(b.held, peer);
	assert_true(str_starts(peer, "127.0.0.1:"));
	assert_ptr_equal(http_exchange_loop(b.held), b.rig.loop);
	http_exchange_read_body(b.held, 10, echo);
	raw_expect(&b.rig, &raw, "\r\n\r\nabc");
	raw_expect(&b.rig, &raw, "hello");
	DONE();
}

static void test_upgrade(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "GET /upgrade HTTP/1.1\r\n" H "Connection: upgrade\r\nUpgrade: test\r\n\r\nearly bytes");
	raw_expect(&b.rig, &raw, "HTTP/1.1 101 Switching Protocols\r\n");
	raw_expect(&b.rig, &raw, "Connection: Upgrade\r\nUpgrade: test\r\n\r\n");
	assert_int_equal(b.upgrade_result, 0);
	assert_string_equal(buf_str(&b.early), "early bytes");
	assert_int_equal(b.gone, 1);
	assert_int_equal(b.completed, 1);
	assert_int_equal(write(b.upgraded_fd, "own", 3), 3);
	raw_expect(&b.rig, &raw, "own");
	close(b.upgraded_fd);
	DONE();
}

static void test_upgrade_with_body(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "POST /upgrade HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc");
	raw_expect_closed(&b.rig, &raw);
	assert_int_equal(b.upgrade_result, -EPROTO);
	assert_int_equal(b.gone, 1);
	assert_int_equal(b.completed, 0);
	DONE();
}

static void test_too_late(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "POST /refused HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nabcd");
	raw_expect(&b.rig, &raw, "HTTP/1.1 413 ");
	raw_expect_closed(&b.rig, &raw);
	assert_null(strstr(buf_str(&raw.got), "late"));
	DONE();
}

static void test_timeouts(UNUSED void **state)
{
	WITH_SERVER(.head_timeout_ms = 50, .body_timeout_ms = 60, .idle_timeout_ms = 70);
	raw_expect_closed(&b.rig, &raw); // idle
	assert_int_equal(buf_len(&raw.got), 0);
	raw_clear(&raw);

	raw = raw_connect(&b.address);
	raw_send(&raw, "GET / HTTP/1.1\r\n");
	raw_expect(&b.rig, &raw, "HTTP/1.1 408 ");
	raw_expect_closed(&b.rig, &raw);
	raw_clear(&raw);

	raw = raw_connect(&b.address);
	raw_send(&raw, "POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nab");
	raw_expect(&b.rig, &raw, "HTTP/1.1 408 ");
	raw_expect_closed(&b.rig, &raw);
	assert_true(rig_wait(&b.rig, all_gone, &b));
	DONE();
}

static void test_stalled_reader(UNUSED void **state)
{
	WITH_SERVER(.body_timeout_ms = 100);
	int small = 4096;
	setsockopt(raw.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	raw_send(&raw, "GET /big HTTP/1.1\r\n" H "\r\n");
	assert_true(rig_wait(&b.rig, all_gone, &b)); // although nobody reads
	assert_int_equal(b.completed, 0);
	DONE();
}

static void test_connection_limit(UNUSED void **state)
{
	WITH_SERVER(.max_connections = 1);
	raw_send(&raw, "GET /x HTTP/1.1\r\n" H "\r\n");
	raw_expect(&b.rig, &raw, "hello");
	struct raw second = raw_connect(&b.address);
	raw_expect_closed(&b.rig, &second);
	raw_clear(&second);
	raw_send(&raw, "GET /x HTTP/1.1\r\n" H "\r\n");
	raw_expect(&b.rig, &raw, "hello");
	DONE();
}

static void test_drain(UNUSED void **state)
{
	WITH_SERVER();
	struct raw idle = raw_connect(&b.address);
	raw_send(&idle, "GET /x HTTP/1.1\r\n" H "\r\n");
	raw_expect(&b.rig, &idle, "hello");
	raw_send(&raw, "GET /hold HTTP/1.1\r\n" H "\r\n");
	assert_true(rig_wait(&b.rig, holds_one, &b));
	http_server_drain(b.server);
	raw_expect_closed(&b.rig, &idle);
	raw_clear(&idle);
	http_respond(b.held, 200, "text/plain", "late", 4);
	raw_expect(&b.rig, &raw, "Connection: close\r\n\r\nlate");
	raw_expect_closed(&b.rig, &raw);
	struct raw refused = raw_connect(&b.address);
	char byte;
	assert_int_equal(recv(refused.fd, &byte, 1, 0), -1);
	raw_clear(&refused);
	DONE();
}

static void test_free_cuts(UNUSED void **state)
{
	WITH_SERVER();
	raw_send(&raw, "GET /hold HTTP/1.1\r\n" H "\r\n");
	assert_true(rig_wait(&b.rig, holds_one, &b));
	DONE();
	assert_int_equal(b.gone, 1);
	assert_int_equal(b.completed, 0);
}

static void test_free_inside(UNUSED void **state)
{
	static const char *const requests[] = {
		"GET /x HTTP/1.1\r\n" H "\r\n",
		"GET /cut HTTP/1.1\r\n" H "\r\n",
		"GET /upgrade HTTP/1.1\r\n" H "\r\n",
		"POST /upgrade HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc",
	};
	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		WITH_SERVER();
		b.free_on_gone = true;
		raw_send(&raw, requests[i]);
		assert_true(rig_wait(&b.rig, all_gone, &b));
		if (b.upgraded_fd >= 0)
			close(b.upgraded_fd);
		DONE();
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_old_keep_alive),
		cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_half_closed),
		cmocka_unit_test(test_bad_request),
		cmocka_unit_test(test_bad_body),
		cmocka_unit_test(test_many_bodies),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_expect_continue),
		cmocka_unit_test(test_unread_body),
		cmocka_unit_test(test_request_back_pressure),
		cmocka_unit_test(test_answer_back_pressure),
		cmocka_unit_test(test_cut_answer),
		cmocka_unit_test(test_peer_leaves),
		cmocka_unit_test(test_later_answer),
		cmocka_unit_test(test_upgrade),
		cmocka_unit_test(test_upgrade_with_body),
		cmocka_unit_test(test_too_late),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_stalled_reader),
		cmocka_unit_test(test_connection_limit),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_free_cuts),
		cmocka_unit_test(test_free_inside),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
