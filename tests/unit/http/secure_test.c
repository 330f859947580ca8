// The socket drivers under TLS: server and client on one loop, and raw peers that do it wrong.
#include "base/clock.h"
#include "base/str.h"
#include "certs.h"
#include "http/client.h"
#include "http/server.h"
#include "rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#define HOUR 3600
enum { BIG = 8 << 20, PIECE = 100000 };

struct bench {
	struct rig rig;
	struct certs certs;
	struct own server_own, node_own;
	struct tls_config *server_tls, *client_tls;
	struct http_server *server;
	struct http_client *client;
	struct address address;
	struct http_exchange *streaming;
	size_t written, most_waiting;
	unsigned requests, gone;
	int upgraded;
	struct buf early;
	bool over;
};

struct seen {
	unsigned status, ends;
	struct buf body;
	struct err err;
	struct http_call *call;
	size_t pause_at;
	int fd;
	struct buf early;
};

static struct bench *bench;

// ---- the server's side

static void gone(struct http_exchange *x, UNUSED bool complete)
{
	bench->gone++;
	if (bench->streaming == x)
		bench->streaming = NULL;
}

static void write_more(struct http_exchange *x)
{
	static char piece[PIECE];
	memset(piece, 'x', sizeof(piece));
	size_t waiting = 0;
	while (bench->written < BIG && waiting <= HTTP_HIGH_WATER) {
		size_t n = BIG - bench->written < PIECE ? BIG - bench->written : PIECE;
		waiting = http_respond_write(x, piece, n);
		bench->written += n;
		bench->most_waiting = waiting > bench->most_waiting ? waiting : bench->most_waiting;
	}
	if (bench->written == BIG) {
		bench->written++;
		http_respond_end(x);
	}
}

static void echo(struct http_exchange *x, const char *body, size_t n)
{
	http_respond(x, 200, "text/plain", body, n);
}

static void on_request(struct http_exchange *x, UNUSED void *arg)
{
	const char *path = http_exchange_request(x)->path;
	bench->requests++;
	http_exchange_on_gone(x, gone);
	if (str_eq(path, "/who")) {
		const char *who = http_exchange_identity(x);
		http_exchange_set_header(x, "X-Tls", http_exchange_is_tls(x) ? "yes" : "no");
		http_respond(x, 200, "text/plain", who ? who : "nobody", strlen(who ? who : "nobody"));
	} else if (str_eq(path, "/echo")) {
		http_exchange_read_body(x, 64 << 20, echo);
	} else if (str_eq(path, "/big")) {
		bench->written = bench->most_waiting = 0;
		http_respond_start(x, 200, "text/plain");
		http_exchange_on_drain(x, write_more);
		write_more(x);
	} else if (str_eq(path, "/stream")) {
		bench->streaming = x;
		http_respond_start(x, 200, "text/event-stream");
		http_respond_write(x, "data: 1\n\n", 9);
	} else if (str_eq(path, "/cut")) {
		http_respond_start(x, 200, "text/plain");
		http_respond_write(x, "half", 4);
		http_respond_abort(x);
	} else {
		assert_int_equal(http_exchange_upgrade(x, "test", &bench->early, &bench->upgraded), 0);
	}
}

// ---- the client's side

static void on_head(struct http_call *call, const struct http_response *response)
{
	struct seen *seen = http_call_arg(call);
	seen->status = response->status;
	if (response->status == 101)
		seen->fd = http_call_take_socket(call, &seen->early);
}

static void on_data(struct http_call *call, const char *bytes, size_t n)
{
	struct seen *seen = http_call_arg(call);
	buf_add(&seen->body, bytes, n);
	if (seen->pause_at && buf_len(&seen->body) >= seen->pause_at) {
		seen->pause_at = 0;
		http_call_pause(call);
	}
}

static void on_end(struct http_call *call, const struct err *err)
{
	struct seen *seen = http_call_arg(call);
	seen->ends++;
	if (err)
		seen->err = *err;
}

static void begin(struct http_client *client, struct seen *seen, struct http_call_spec spec)
{
	seen->body = BUF_INIT(64 << 20);
	seen->early = BUF_INIT(1 << 20);
	seen->fd = -1;
	spec.method = spec.method ? spec.method : "GET";
	spec.on_head = on_head;
	spec.on_data = on_data;
	spec.on_end = on_end;
	spec.arg = seen;
	seen->call = http_client_call(client, &spec);
}

#define BEGIN(client, seen, ...) begin(client, seen, (struct http_call_spec){ __VA_ARGS__ })

static bool has_ended(void *arg)
{
	return ((struct seen *)arg)->ends;
}

static void seen_clear(struct seen *seen)
{
	buf_clear(&seen->body);
	buf_clear(&seen->early);
}

static void expect_answer(struct seen *seen, unsigned status, const char *body)
{
	assert_true(rig_wait(&bench->rig, has_ended, seen));
	if (seen->err.code)
		fail_msg("%s", seen->err.text);
	assert_int_equal(seen->status, status);
	assert_string_equal(buf_str(&seen->body), body);
	seen_clear(seen);
}

static void expect_error(struct seen *seen, int code, const char *phrase)
{
	assert_true(rig_wait(&bench->rig, has_ended, seen));
	if (seen->err.code != code || !strstr(seen->err.text, phrase))
		fail_msg("expected %d '%s', got %d '%s'", code, phrase, seen->err.code, seen->err.text);
	seen_clear(seen);
}

static void expect_who(struct http_client *client, const char *who)
{
	struct seen seen = { 0 };
	BEGIN(client, &seen, .target = "/who");
	expect_answer(&seen, 200, who);
}

// ---- the bench

static struct tls_spec server_spec(const struct bench *b)
{
	return (struct tls_spec){ .server = true,
				  .alpn = "http/1.1",
				  .ask = TLS_ASK_OPTIONAL,
				  .ca = b->certs.authority,
				  .chain = b->server_own.cert,
				  .key = b->server_own.key };
}

static struct tls_config *client_config(const struct bench *b, const struct own *own)
{
	return certs_config(&(struct tls_spec){ .alpn = "http/1.1",
						.ca = b->certs.authority,
						.chain = own ? own->cert : NULL,
						.key = own ? own->key : NULL });
}

static struct bench start(struct http_server_config config)
{
	struct bench b = { .early = BUF_INIT(1 << 20), .upgraded = -1 };
	rig_init(&b.rig);
	certs_init(&b.certs);
	b.server_own = certs_own(&b.certs, "dialtone://p/server/a", "127.0.0.1", 0, HOUR);
	b.node_own = certs_own(&b.certs, "dialtone://p/node/n1", NULL, 0, HOUR);
	struct tls_spec spec = server_spec(&b);
	b.server_tls = certs_config(&spec);
	b.client_tls = client_config(&b, &b.node_own);
	config.on_request = on_request;
	config.tls = b.server_tls;
	b.server = http_server_new(b.rig.loop, &config);
	struct err err = { 0 };
	assert_int_equal(http_server_listen(b.server, rig_listen(&b.address), &err), 0);
	b.client = http_client_new(b.rig.loop, &b.address, 2);
	http_client_secure(b.client, b.client_tls, "127.0.0.1");
	return b;
}

static void stop(struct bench *b)
{
	http_client_free(b->client);
	http_server_free(b->server);
	assert_int_equal(b->gone, b->requests);
	tls_config_free(b->client_tls);
	tls_config_free(b->server_tls);
	own_clear(&b->server_own);
	own_clear(&b->node_own);
	certs_clear(&b->certs);
	buf_clear(&b->early);
	rig_clear(&b->rig);
}

#define WITH_SERVER(...)                                                                                               \
	struct bench b = start((struct http_server_config){ __VA_ARGS__ });                                            \
	bench = &b

// ---- tests

static void test_answers(UNUSED void **state)
{
	WITH_SERVER();
	expect_who(b.client, "dialtone://p/node/n1");
	expect_who(b.client, "dialtone://p/node/n1"); // over the same connection, tickets or not
	struct seen seen = { 0 };
	AUTO_FREE char *body = xmalloc(BIG + 1);
	memset(body, 'y', BIG);
	body[BIG] = '\0';
	BEGIN(b.client, &seen, .method = "POST", .target = "/echo", .body = body, .body_len = BIG);
	expect_answer(&seen, 200, body);
	struct tls_config *nobody = client_config(&b, NULL);
	struct http_client *client = http_client_new(b.rig.loop, &b.address, 1);
	http_client_secure(client, nobody, "dialtone://p/server/");
	expect_who(client, "nobody");
	http_client_free(client);
	tls_config_free(nobody);
	stop(&b);
}

static bool is_held(void *arg)
{
	struct seen *seen = arg;
	return !seen->pause_at;
}

static bool was_quiet(void *arg)
{
	static size_t last;
	static uint64_t since_ms;
	size_t *written = arg;
	if (last != *written || !since_ms) {
		last = *written;
		since_ms = monotonic_ms();
	}
	return monotonic_ms() - since_ms > 100;
}

// A reader that pauses stops the writer, with little in memory; and goes on.
static void test_back_pressure(UNUSED void **state)
{
	WITH_SERVER();
	struct seen seen = { .pause_at = 1000 };
	BEGIN(b.client, &seen, .target = "/big");
	assert_true(rig_wait(&b.rig, is_held, &seen));
	assert_true(rig_wait(&b.rig, was_quiet, &b.written));
	assert_true(b.written < BIG);
	assert_true(b.most_waiting <= HTTP_HIGH_WATER + 2 * PIECE);
	assert_true(buf_len(&seen.body) < 256 << 10);
	http_call_resume(seen.call);
	assert_true(rig_wait(&b.rig, has_ended, &seen));
	assert_int_equal(seen.err.code, 0);
	assert_int_equal(buf_len(&seen.body), BIG);
	seen_clear(&seen);
	stop(&b);
}

static bool has_event(void *arg)
{
	struct seen *seen = arg;
	return memmem(buf_data(&seen->body), buf_len(&seen->body), "data: 2", 7);
}

static bool all_gone(UNUSED void *arg)
{
	return bench->gone == bench->requests;
}

static void test_stream(UNUSED void **state)
{
	WITH_SERVER();
	struct seen seen = { 0 };
	BEGIN(b.client, &seen, .target = "/stream");
	assert_true(rig_wait(&b.rig, is_held, &seen));
	while (!b.streaming)
		expect_who(b.client, "dialtone://p/node/n1");
	http_respond_write(b.streaming, "data: 2\n\n", 9);
	assert_true(rig_wait(&b.rig, has_event, &seen));
	http_call_cancel(seen.call); // and the server hears of it
	assert_true(rig_wait(&b.rig, all_gone, NULL));
	seen_clear(&seen);
	struct seen cut = { 0 };
	BEGIN(b.client, &cut, .target = "/cut");
	expect_error(&cut, -ECONNRESET, "closed the connection");
	stop(&b);
}

// ---- upgraded

static bool is_upgraded(UNUSED void *arg)
{
	return bench->upgraded >= 0;
}

struct flow {
	int from, to;
	size_t sent, got;
	bool shut, ended;
};

static bool has_flown(void *arg)
{
	struct flow *f = arg;
	char bytes[8192] = { 0 };
	ssize_t n;
	while (f->sent < BIG && (n = send(f->from, bytes, sizeof(bytes), MSG_NOSIGNAL)) > 0)
		f->sent += (size_t)n;
	if (f->sent >= BIG && !f->shut) {
		shutdown(f->from, SHUT_WR);
		f->shut = true;
	}
	while ((n = recv(f->to, bytes, sizeof(bytes), 0)) > 0)
		f->got += (size_t)n;
	f->ended |= n == 0;
	return f->ended;
}

static void set_over(UNUSED void *arg)
{
	bench->over = true;
}

static bool is_over(UNUSED void *arg)
{
	return bench->over;
}

static void test_upgrade(UNUSED void **state)
{
	WITH_SERVER();
	struct seen seen = { 0 };
	const struct http_header headers[] = { { "Connection", "Upgrade" }, { "Upgrade", "test" } };
	http_client_on_over(b.client, set_over, NULL);
	BEGIN(b.client, &seen, .method = "POST", .target = "/upgrade", .headers = headers, .n_headers = 2);
	assert_true(rig_wait(&b.rig, has_ended, &seen));
	assert_int_equal(seen.status, 101);
	assert_true(rig_wait(&b.rig, is_upgraded, NULL));
	// Each direction on its own: one ends, the other still carries.
	struct flow up = { .from = seen.fd, .to = b.upgraded }, down = { .from = b.upgraded, .to = seen.fd };
	assert_true(rig_wait(&b.rig, has_flown, &up));
	assert_int_equal(up.got, up.sent);
	assert_false(b.over);
	assert_true(rig_wait(&b.rig, has_flown, &down));
	assert_int_equal(down.got, down.sent);
	assert_true(rig_wait(&b.rig, is_over, NULL));
	close(seen.fd);
	close(b.upgraded);
	seen_clear(&seen);
	stop(&b);
}

static bool reads_last(void *arg)
{
	struct seen *seen = arg;
	char bytes[64];
	ssize_t n = recv(seen->fd, bytes, sizeof(bytes), 0);
	if (n > 0)
		buf_add(&seen->body, bytes, (size_t)n);
	return n == 0;
}

// What was written before a close still comes, also to one that is writing at that time.
static void test_upgrade_closed(UNUSED void **state)
{
	WITH_SERVER();
	struct seen seen = { 0 };
	const struct http_header headers[] = { { "Connection", "Upgrade" }, { "Upgrade", "test" } };
	BEGIN(b.client, &seen, .target = "/upgrade", .headers = headers, .n_headers = 2);
	assert_true(rig_wait(&b.rig, has_ended, &seen));
	assert_true(rig_wait(&b.rig, is_upgraded, NULL));
	assert_int_equal(send(seen.fd, "unheard", 7, MSG_NOSIGNAL), 7);
	assert_int_equal(send(b.upgraded, "last words", 10, MSG_NOSIGNAL), 10);
	close(b.upgraded);
	assert_true(rig_wait(&b.rig, reads_last, &seen));
	assert_string_equal(buf_str(&seen.body), "last words");
	close(seen.fd);
	seen_clear(&seen);
	stop(&b);
}

// ---- peers that do it wrong

static void test_plain_request(UNUSED void **state)
{
	WITH_SERVER();
	struct raw raw = raw_connect(&b.address);
	raw_send(&raw, "GET /who HTTP/1.1\r\nHost: a\r\n\r\n");
	raw_expect(&b.rig, &raw, "HTTP/1.1 400 Bad Request\r\n");
	raw_expect(&b.rig, &raw, "this port speaks TLS, and the request came in plain: use https:// in the address");
	raw_expect_closed(&b.rig, &raw);
	raw_clear(&raw);
	assert_int_equal(b.requests, 0);
	stop(&b);
}

static void test_plain_on_loopback(UNUSED void **state)
{
	WITH_SERVER(.plain_on_loopback = true);
	struct raw raw = raw_connect(&b.address);
	raw_send(&raw, "GET /who HTTP/1.1\r\nHost: a\r\n\r\n");
	raw_expect(&b.rig, &raw, "HTTP/1.1 200 OK\r\n");
	raw_expect(&b.rig, &raw, "X-Tls: no\r\n");
	raw_expect(&b.rig, &raw, "nobody");
	raw_clear(&raw);
	expect_who(b.client, "dialtone://p/node/n1");
	stop(&b);
}

static void test_client_meets_plain(UNUSED void **state)
{
	WITH_SERVER();
	struct http_server *plain =
		http_server_new(b.rig.loop, &(struct http_server_config){ .on_request = on_request });
	struct err err = { 0 };
	struct address address;
	assert_int_equal(http_server_listen(plain, rig_listen(&address), &err), 0);
	struct http_client *client = http_client_new(b.rig.loop, &address, 1);
	http_client_secure(client, b.client_tls, "127.0.0.1");
	struct seen seen = { 0 };
	BEGIN(client, &seen, .target = "/who");
	expect_error(&seen, -EPROTO, "the peer does not speak TLS");
	http_client_free(client);
	http_server_free(plain);
	stop(&b);
}

static void test_strangers(UNUSED void **state)
{
	WITH_SERVER();
	struct certs other;
	certs_init(&other);
	struct own foreign = certs_own(&other, "dialtone://p/node/n1", NULL, 0, HOUR);
	struct own old = certs_own(&b.certs, "dialtone://p/node/n1", NULL, 2 * HOUR, HOUR);
	const struct own *const owns[] = { &foreign, &old };
	for (size_t i = 0; i < ARRAY_LEN(owns); i++) {
		struct tls_config *config = client_config(&b, owns[i]);
		struct http_client *client = http_client_new(b.rig.loop, &b.address, 1);
		http_client_secure(client, config, "127.0.0.1");
		struct seen seen = { 0 };
		BEGIN(client, &seen, .target = "/who");
		expect_error(&seen, -EACCES, "the peer refuses our certificate");
		http_client_free(client);
		tls_config_free(config);
	}
	struct http_client *client = http_client_new(b.rig.loop, &b.address, 1);
	http_client_secure(client, b.client_tls, "127.0.0.9");
	struct seen seen = { 0 };
	BEGIN(client, &seen, .target = "/who");
	expect_error(&seen, -EACCES, "the peer's certificate is not good");
	http_client_free(client);
	assert_int_equal(b.requests, 0);
	own_clear(&foreign);
	own_clear(&old);
	certs_clear(&other);
	stop(&b);
}

static void test_handshake_timeout(UNUSED void **state)
{
	WITH_SERVER(.handshake_timeout_ms = 50);
	struct raw silent = raw_connect(&b.address), slow = raw_connect(&b.address);
	raw_send(&slow, "\x16\x03\x01");
	raw_expect_closed(&b.rig, &silent);
	raw_expect_closed(&b.rig, &slow);
	raw_clear(&silent);
	raw_clear(&slow);
	expect_who(b.client, "dialtone://p/node/n1");
	stop(&b);
}

static void test_reload(UNUSED void **state)
{
	WITH_SERVER();
	struct seen streaming = { 0 };
	BEGIN(b.client, &streaming, .target = "/stream");
	while (!b.streaming)
		expect_who(b.client, "dialtone://p/node/n1");
	struct own next = certs_own(&b.certs, "dialtone://p/server/b", "127.0.0.1", 0, HOUR);
	struct tls_spec spec = server_spec(&b);
	spec.chain = next.cert;
	spec.key = next.key;
	struct err err = { 0 };
	assert_int_equal(tls_config_reload(b.server_tls, &spec, &err), 0);
	struct http_client *client = http_client_new(b.rig.loop, &b.address, 1);
	struct tls_config *fresh = client_config(&b, NULL);
	http_client_secure(client, fresh, "dialtone://p/server/b");
	expect_who(client, "nobody");
	http_respond_write(b.streaming, "data: 2\n\n", 9);
	http_respond_end(b.streaming);
	expect_answer(&streaming, 200, "data: 1\n\ndata: 2\n\n");
	http_client_free(client);
	tls_config_free(fresh);
	own_clear(&next);
	stop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_back_pressure),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_upgrade),
		cmocka_unit_test(test_upgrade_closed),
		cmocka_unit_test(test_plain_request),
		cmocka_unit_test(test_plain_on_loopback),
		cmocka_unit_test(test_client_meets_plain),
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_handshake_timeout),
		cmocka_unit_test(test_reload),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
