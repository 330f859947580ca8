#include "base/clock.h"
#include "base/str.h"
#include "http/client.h"
#include "rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct seen {
	unsigned status, heads, ends, drains;
	struct buf body;
	struct err err;
	struct http_call *call;
	bool cancel_on_head, cancel_on_data, pause_on_data, take;
	struct buf early;
	int fd;
	struct http_client *free_on_end;
	bool returned;
};

struct bench {
	struct rig rig;
	struct address address;
	int listen_fd;
	struct http_client *client;
};

static void on_head(struct http_call *call, const struct http_response *response)
{
	struct seen *seen = http_call_arg(call);
	assert_true(seen->returned);
	seen->heads++;
	seen->status = response->status;
	if (seen->take)
		seen->fd = http_call_take_socket(call, &seen->early);
	if (seen->cancel_on_head)
		http_call_cancel(call);
}

static void on_data(struct http_call *call, const char *bytes, size_t n)
{
	struct seen *seen = http_call_arg(call);
	buf_add(&seen->body, bytes, n);
	if (seen->pause_on_data)
		http_call_pause(call);
	if (seen->cancel_on_data)
		http_call_cancel(call);
}

static void on_drain(struct http_call *call)
{
	struct seen *seen = http_call_arg(call);
	seen->drains++;
}

static void on_end(struct http_call *call, const struct err *err)
{
	struct seen *seen = http_call_arg(call);
	assert_true(seen->returned);
	seen->ends++;
	if (err)
		seen->err = *err;
	http_client_free(seen->free_on_end);
}

static struct bench start(size_t max_connections)
{
	struct bench b = { 0 };
	rig_init(&b.rig);
	b.listen_fd = rig_listen(&b.address);
	b.client = http_client_new(b.rig.loop, &b.address, max_connections);
	return b;
}

static void stop(struct bench *b)
{
	http_client_free(b->client);
	if (b->listen_fd >= 0)
		close(b->listen_fd);
	rig_clear(&b->rig);
}

static void begin(struct bench *b, struct seen *seen, struct http_call_spec spec)
{
	*seen = (struct seen){
		.body = BUF_INIT(64 << 20),
		.early = BUF_INIT(1 << 20),
		.fd = -1,
		.cancel_on_head = seen->cancel_on_head,
		.cancel_on_data = seen->cancel_on_data,
		.pause_on_data = seen->pause_on_data,
		.take = seen->take,
	};
	spec.method = spec.method ? spec.method : "GET";
	spec.target = spec.target ? spec.target : "/";
	spec.on_head = on_head;
	spec.on_data = on_data;
	spec.on_drain = on_drain;
	spec.on_end = on_end;
	spec.arg = seen;
	seen->call = http_client_call(b->client, &spec);
	seen->returned = true;
}

#define BEGIN(seen, ...) begin(&b, seen, (struct http_call_spec){ __VA_ARGS__ })

static bool has_ended(void *arg)
{
	struct seen *seen = arg;
	return seen->ends;
}

static bool has_head(void *arg)
{
	struct seen *seen = arg;
	return seen->heads;
}

static bool has_body(void *arg)
{
	struct seen *seen = arg;
	return buf_len(&seen->body);
}

static void expect_answer(struct bench *b, struct seen *seen, unsigned status, const char *body)
{
	assert_true(rig_wait(&b->rig, has_ended, seen));
	if (seen->err.code)
		fail_msg("%s", seen->err.text);
	assert_int_equal(seen->status, status);
	assert_string_equal(buf_str(&seen->body), body);
	assert_int_equal(seen->ends, 1);
	buf_clear(&seen->body);
	buf_clear(&seen->early);
}

static void expect_error(struct bench *b, struct seen *seen, int code, const char *phrase)
{
	assert_true(rig_wait(&b->rig, has_ended, seen));
	assert_int_equal(seen->err.code, code);
	if (!strstr(seen->err.text, phrase))
		fail_msg("'%s' has no '%s'", seen->err.text, phrase);
	buf_clear(&seen->body);
	buf_clear(&seen->early);
}

static void test_keep_alive(UNUSED void **state)
{
	struct bench b = start(0);
	struct seen seen = { 0 };
	BEGIN(&seen, .target = "/a?b", .host = "h", .headers = (struct http_header[]){ { "X", "y" } }, .n_headers = 1);
	struct raw raw = raw_accepted(&b.rig, b.listen_fd);
	raw_expect(&b.rig, &raw, "GET /a?b HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n");
	raw_send(&raw, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
	expect_answer(&b, &seen, 200, "hi");
	// The same connection again, byte by byte, and a body of ours.
	BEGIN(&seen, .method = "POST", .body = "abc", .body_len = 3);
	raw_expect(&b.rig, &raw, "Content-Length: 3\r\n\r\nabc");
	for (const char *c = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n2\r\nyz\r\n0\r\n\r\n";
	     *c; c++) {
		raw_send(&raw, (char[]){ *c, '\0' });
		raw_expect_len(&b.rig, &raw, 0);
	}
	expect_answer(&b, &seen, 201, "xyz");
	BEGIN(&seen, .method = "HEAD");
	raw_expect(&b.rig, &raw, "HEAD / HTTP/1.1\r\nHost: 127.0.0.1:");
	raw_send(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
	expect_answer(&b, &seen, 200, "");
	BEGIN(&seen, .method = "POST");
	raw_expect(&b.rig, &raw, "Content-Length: 0\r\n\r\n");
	raw_send(&raw, "HTTP/1.1 200 OK\r\n\r\nuntil the end");
	assert_true(rig_wait(&b.rig, has_body, &seen));
	assert_false(seen.ends);
	raw_clear(&raw);
	expect_answer(&b, &seen, 200, "until the end");
	stop(&b);
}

static void test_pool(UNUSED void **state)
{
	struct bench b = start(2);
	struct seen seen[3] = { 0 };
	for (int i = 0; i < 3; i++)
		BEGIN(&seen[i]);
	struct raw one = raw_accepted(&b.rig, b.listen_fd), two = raw_accepted(&b.rig, b.listen_fd);
	raw_expect(&b.rig, &one, "\r\n\r\n");
	raw_expect(&b.rig, &two, "\r\n\r\n");
	assert_int_equal(socket_accept(b.listen_fd, NULL, &(int){ 0 }), -EAGAIN);
	raw_send(&two, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
	raw_expect(&b.rig, &two, "\r\n\r\n"); // the third call
	raw_send(&two, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n3");
	raw_expect_closed(&b.rig, &two);
	raw_send(&one, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
	for (int i = 0; i < 3; i++)
		assert_true(rig_wait(&b.rig, has_ended, &seen[i]));
	expect_answer(&b, &seen[2], 200, "3");
	buf_clear(&seen[0].body);
	buf_clear(&seen[1].body);
	raw_clear(&one);
	raw_clear(&two);
	stop(&b);
}

// The server closes just as the second request arrives: it must see it twice, the caller must see nothing of it.
static void stale(const char *method, bool reset, bool repeated)
{
	struct bench b = start(0);
	struct seen seen = { 0 };
	BEGIN(&seen);
	struct raw raw = raw_accepted(&b.rig, b.listen_fd);
	raw_send(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
	expect_answer(&b, &seen, 200, "hi");
	raw_expect(&b.rig, &raw, "\r\n\r\n");
	BEGIN(&seen, .method = method, .target = "/again");
	raw_expect(&b.rig, &raw, "/again HTTP/1.1\r\n");
	struct linger now = { .l_onoff = 1 };
	if (reset)
		setsockopt(raw.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	raw_clear(&raw);
	if (repeated) {
		raw = raw_accepted(&b.rig, b.listen_fd);
		raw_expect(&b.rig, &raw, "/again HTTP/1.1\r\n");
		raw_send(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nyo");
		expect_answer(&b, &seen, 200, "yo");
		raw_clear(&raw);
	} else {
		expect_error(&b, &seen, -ECONNRESET, "POST /again");
	}
	stop(&b);
}

static void test_stale(UNUSED void **state)
{
	stale("GET", false, true);
	stale("GET", true, true);
	stale("DELETE", false, true);
	stale("POST", false, false);
	stale("POST", true, false);
}

static void test_idle_close_seen(UNUSED void **state)
{
	struct bench b = start(0);
	struct seen seen = { 0 };
	BEGIN(&seen);
	struct raw raw = raw_accepted(&b.rig, b.listen_fd);
	raw_send(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
	expect_answer(&b, &seen, 200, "hi");
	raw_clear(&raw); // closed before the next call: not even a POST may meet it
	BEGIN(&seen, .method = "POST");
	raw = raw_accepted(&b.rig, b.listen_fd);
	raw_send(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	expect_answer(&b, &seen, 200, "");
	// What a server says unasked must not become the next answer.
	raw_send(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
	raw_expect_closed(&b.rig, &raw);
	raw_clear(&raw);
	stop(&b);
}

static void test_errors(UNUSED void **state)
{
	struct bench b = start(0);
	struct seen seen = { 0 };
	BEGIN(&seen);
	struct raw raw = raw_accepted(&b.rig, b.listen_fd);
	raw_send(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi");
	assert_true(rig_wait(&b.rig, has_body, &seen));
	raw_expect(&b.rig, &raw, "\r\n\r\n"); // with bytes unread, the close would be a reset
	raw_clear(&raw);
	expect_error(&b, &seen, -ECONNRESET, "in the middle of its answer");

	BEGIN(&seen);
	raw = raw_accepted(&b.rig, b.listen_fd);
	raw_expect(&b.rig, &raw, "\r\n\r\n");
	raw_clear(&raw); // a fresh connection: not repeated
	expect_error(&b, &seen, -ECONNRESET, "without an answer");

	BEGIN(&seen);
	raw = raw_accepted(&b.rig, b.listen_fd);
	raw_send(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
	expect_error(&b, &seen, -EPROTO, "malformed");
	raw_clear(&raw);

	BEGIN(&seen, .target = "/a b");
	expect_error(&b, &seen, -EINVAL, "GET /a b");
	BEGIN(&seen, .headers = (struct http_header[]){ { "X", "a\r\nY: b" } }, .n_headers = 1);
	expect_error(&b, &seen, -EINVAL, "cannot be sent");
	BEGIN(&seen, .headers = (struct http_header[]){ { "Content-Length", "3" } }, .n_headers = 1);
	expect_error(&b, &seen, -EINVAL, "cannot be sent");

	close(b.listen_fd);
	b.listen_fd = -1;
	BEGIN(&seen);
	expect_error(&b, &seen, -ECONNREFUSED, "cannot connect to 127.0.0.1:");
	stop(&b);
}

static void test_timeouts(UNUSED void **state)
{
	struct bench b = start(1);
	struct seen seen = { 0 }, waiting = { 0 };
	BEGIN(&seen, .head_timeout_ms = 100);
	BEGIN(&waiting, .head_timeout_ms = 50);
	expect_error(&b, &waiting, -ETIMEDOUT, "no answer from 127.0.0.1:");
	expect_error(&b, &seen, -ETIMEDOUT, "within 100 ms");
	struct raw raw = raw_accepted(&b.rig, b.listen_fd);
	raw_clear(&raw);

	BEGIN(&seen, .idle_timeout_ms = 100);
	raw = raw_accepted(&b.rig, b.listen_fd);
	raw_send(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi");
	expect_error(&b, &seen, -ETIMEDOUT, "stopped for 100 ms");
	raw_clear(&raw);
	stop(&b);
}

static bool is_full(void *arg)
{
	struct seen *seen = arg;
	static char bytes[65536];
	return http_call_write(seen->call, bytes, sizeof(bytes)) > HTTP_HIGH_WATER;
}

static bool has_drained(void *arg)
{
	struct seen *seen = arg;
	return seen->drains;
}

struct draining {
	struct seen *seen;
	struct raw *raw;
};

static bool reads_until_drained(void *arg)
{
	struct draining *d = arg;
	raw_read(d->raw);
	return has_drained(d->seen);
}

static void test_streamed_body(UNUSED void **state)
{
	struct bench b = start(0);
	struct seen seen = { 0 };
	BEGIN(&seen, .method = "PUT", .stream_body = true, .head_timeout_ms = 200);
	http_call_write(seen.call, "abc", 3);
	struct raw raw = raw_accepted(&b.rig, b.listen_fd);
	raw_expect(&b.rig, &raw, "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
	assert_true(rig_wait(&b.rig, is_full, &seen));
	assert_int_equal(seen.drains, 0);
	assert_true(rig_wait(&b.rig, reads_until_drained, &(struct draining){ &seen, &raw }));
	http_call_end(seen.call);
	raw_expect(&b.rig, &raw, "\r\n0\r\n\r\n");
	raw_send(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	expect_answer(&b, &seen, 200, "ok");
	// An answer before the body's end is the end of the call, and of the connection.
	BEGIN(&seen, .method = "PUT", .stream_body = true);
	http_call_write(seen.call, "abc", 3);
	raw_expect(&b.rig, &raw, "abc\r\n");
	raw_send(&raw, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
	expect_answer(&b, &seen, 413, "");
	raw_expect_closed(&b.rig, &raw);
	raw_clear(&raw);
	stop(&b);
}

struct flood {
	struct raw *raw;
	size_t left;
	unsigned stalled;
};

static bool flood(struct flood *f)
{
	static char bytes[65536];
	size_t want = f->left < sizeof(bytes) ? f->left : sizeof(bytes);
	ssize_t n = send(f->raw->fd, bytes, want, MSG_NOSIGNAL | MSG_DONTWAIT);
	f->stalled = n > 0 ? 0 : f->stalled + 1;
	f->left -= n > 0 ? (size_t)n : 0;
	return f->left == 0;
}

static bool floods_until_stalled(void *arg)
{
	struct flood *f = arg;
	return flood(f) || f->stalled == 200;
}

static bool floods_all(void *arg)
{
	return flood(arg);
}

static bool is_past(void *arg)
{
	return monotonic_ms() > *(uint64_t *)arg;
}

static void test_pause(UNUSED void **state)
{
	struct bench b = start(0);
	struct seen seen = { .pause_on_data = true };
	BEGIN(&seen, .idle_timeout_ms = 2000);
	struct raw raw = raw_accepted(&b.rig, b.listen_fd);
	raw_send(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 33554432\r\n\r\n");
	struct flood f = { .raw = &raw, .left = 32 << 20 };
	assert_true(rig_wait(&b.rig, floods_until_stalled, &f));
	assert_true(f.left > 0);
	assert_in_range(buf_len(&seen.body), 1, 64 << 10);
	uint64_t until_ms = monotonic_ms() + 2500;
	assert_true(rig_wait(&b.rig, is_past, &until_ms));
	assert_false(seen.ends); // the idle time does not run meanwhile
	seen.pause_on_data = false;
	http_call_resume(seen.call);
	assert_true(rig_wait(&b.rig, floods_all, &f));
	assert_true(rig_wait(&b.rig, has_ended, &seen));
	assert_int_equal(seen.err.code, 0);
	assert_int_equal(buf_len(&seen.body), 32 << 20);
	buf_clear(&seen.body);
	raw_clear(&raw);
	stop(&b);
}

static void test_cancel(UNUSED void **state)
{
	struct bench b = start(1);
	struct seen seen = { 0 }, waiting = { 0 };
	BEGIN(&seen);
	BEGIN(&waiting);
	http_call_cancel(waiting.call); // not yet begun
	struct raw raw = raw_accepted(&b.rig, b.listen_fd);
	raw_expect(&b.rig, &raw, "\r\n\r\n");
	http_call_cancel(seen.call);
	raw_expect_closed(&b.rig, &raw);
	raw_clear(&raw);

	for (int i = 0; i < 2; i++) {
		struct seen s = { .cancel_on_head = i == 0, .cancel_on_data = i == 1 };
		BEGIN(&s);
		raw = raw_accepted(&b.rig, b.listen_fd);
		raw_send(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
		raw_expect_closed(&b.rig, &raw);
		assert_int_equal(s.heads, 1);
		assert_int_equal(s.ends, 0);
		buf_clear(&s.body);
		raw_clear(&raw);
	}
	stop(&b);
}

static void test_upgrade(UNUSED void **state)
{
	struct bench b = start(0);
	struct seen seen = { .take = true };
	const struct http_header headers[] = { { "Connection", "Upgrade" }, { "Upgrade", "test" } };
	BEGIN(&seen, .method = "POST", .headers = headers, .n_headers = 2, .body = "{}", .body_len = 2);
	struct raw raw = raw_accepted(&b.rig, b.listen_fd);
	raw_expect(&b.rig, &raw, "Connection: Upgrade\r\nUpgrade: test\r\nContent-Length: 2\r\n\r\n{}");
	raw_send(&raw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\nearly");
	assert_true(rig_wait(&b.rig, has_ended, &seen));
	assert_int_equal(seen.err.code, 0);
	assert_int_equal(seen.status, 101);
	assert_string_equal(buf_str(&seen.early), "early");
	assert_int_equal(write(seen.fd, "own", 3), 3);
	raw_expect(&b.rig, &raw, "own");
	close(seen.fd);
	raw_clear(&raw);
	buf_clear(&seen.early);

	seen.take = false;
	BEGIN(&seen, .headers = headers, .n_headers = 2);
	raw = raw_accepted(&b.rig, b.listen_fd);
	raw_send(&raw, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
	expect_error(&b, &seen, -EPROTO, "not taken up");
	raw_clear(&raw);
	BEGIN(&seen);
	raw = raw_accepted(&b.rig, b.listen_fd);
	raw_send(&raw, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
	expect_error(&b, &seen, -EPROTO, "unasked");
	raw_clear(&raw);
	stop(&b);
}

static void test_free_ends(UNUSED void **state)
{
	struct bench b = start(1);
	struct seen open = { 0 }, waiting = { 0 };
	BEGIN(&open);
	BEGIN(&waiting);
	struct raw raw = raw_accepted(&b.rig, b.listen_fd);
	raw_send(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
	assert_true(rig_wait(&b.rig, has_head, &open));
	http_client_free(TAKE_PTR(b.client));
	assert_int_equal(open.ends, 1);
	assert_int_equal(waiting.ends, 1);
	assert_int_equal(open.err.code, -ECANCELED);
	raw_clear(&raw);

	// Freed from inside a callback.
	b.client = http_client_new(b.rig.loop, &b.address, 1);
	BEGIN(&open);
	BEGIN(&waiting);
	open.free_on_end = TAKE_PTR(b.client);
	raw = raw_accepted(&b.rig, b.listen_fd);
	raw_send(&raw, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_true(rig_wait(&b.rig, has_ended, &open));
	assert_int_equal(open.err.code, 0);
	assert_int_equal(waiting.err.code, -ECANCELED);
	raw_clear(&raw);
	stop(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keep_alive),    cmocka_unit_test(test_pool),
		cmocka_unit_test(test_stale),         cmocka_unit_test(test_idle_close_seen),
		cmocka_unit_test(test_errors),        cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_streamed_body), cmocka_unit_test(test_pause),
		cmocka_unit_test(test_cancel),        cmocka_unit_test(test_upgrade),
		cmocka_unit_test(test_free_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
