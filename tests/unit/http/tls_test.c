// TLS between two state machines, without a socket: what each says is carried to the other in pieces.
#include "base/clock.h"
#include "base/rng.h"
#include "base/str.h"
#include "certs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HOUR 3600
#define SERVER_URI "dialtone://p/server/a"
#define NODE_URI "dialtone://p/node/n1"

enum { PIECE_MAX = 8 << 10 };

struct end {
	struct tls *tls;
	struct buf plain; // come here
	struct buf out;
	int r;
	struct err err;
};

struct pair {
	struct end client, server;
	struct rng rng;
	size_t piece; // most bytes of one feed; 0: all there is
};

static void end_clear(struct end *end)
{
	tls_free(end->tls);
	buf_clear(&end->plain);
	buf_clear(&end->out);
}

static void pair_clear(struct pair *p)
{
	end_clear(&p->client);
	end_clear(&p->server);
}
#define AUTO_PAIR CLEANUP(pair_clear)

static struct end end_new(struct tls_config *config, const char *name)
{
	return (struct end){ .tls = tls_new(config, name), .plain = BUF_INIT(64 << 20), .out = BUF_INIT(64 << 20) };
}

static bool carry(struct pair *p, struct end *from, struct end *to)
{
	tls_take(from->tls, &from->out);
	size_t n = buf_len(&from->out);
	if (!n || to->r < 0)
		return false;
	if (p->piece && n > p->piece)
		n = 1 + rng_below(&p->rng, p->piece);
	to->r = tls_feed(to->tls, buf_data(&from->out), n, &to->plain, &to->err);
	buf_consume(&from->out, n);
	return true;
}

// Until neither has anything to say.
static void settle(struct pair *p)
{
	for (bool moved = true; moved;) {
		moved = carry(p, &p->client, &p->server);
		moved |= carry(p, &p->server, &p->client);
	}
}

static struct pair join(struct tls_config *client, struct tls_config *server, const char *name)
{
	struct pair p = { .client = end_new(client, name), .server = end_new(server, NULL) };
	settle(&p);
	return p;
}

static void write_to(struct end *end, const char *text)
{
	assert_int_equal(tls_write(end->tls, text, strlen(text), &end->err), 0);
}

static void expect_talk(struct pair *p)
{
	assert_true(tls_through(p->client.tls));
	assert_true(tls_through(p->server.tls));
	write_to(&p->client, "ping");
	write_to(&p->server, "pong");
	settle(p);
	assert_string_equal(buf_str(&p->server.plain), "ping");
	assert_string_equal(buf_str(&p->client.plain), "pong");
	buf_reset(&p->server.plain);
	buf_reset(&p->client.plain);
}

static void expect_refused(struct end *end, int code, const char *phrase)
{
	assert_int_equal(end->r, code);
	if (!strstr(end->err.text, phrase))
		fail_msg("'%s' is not in '%s'", phrase, end->err.text);
}

// ---- the usual set

static struct certs certs;
static struct own server_own, node_own;

static struct tls_spec server_spec(enum tls_ask ask)
{
	return (struct tls_spec){ .server = true,
				  .alpn = "http/1.1",
				  .ask = ask,
				  .ca = certs.authority,
				  .chain = server_own.cert,
				  .key = server_own.key };
}

static struct tls_spec client_spec(const struct own *own)
{
	return (struct tls_spec){
		.alpn = "http/1.1", .ca = certs.authority, .chain = own ? own->cert : NULL, .key = own ? own->key : NULL
	};
}

static int make_certs(void **state)
{
	(void)state;
	certs_init(&certs);
	server_own = certs_own(&certs, SERVER_URI, "127.0.0.1", 0, HOUR);
	node_own = certs_own(&certs, NODE_URI, NULL, 0, HOUR);
	return 0;
}

static int drop_certs(void **state)
{
	(void)state;
	own_clear(&server_own);
	own_clear(&node_own);
	certs_clear(&certs);
	return 0;
}

static void cleanup_config(struct tls_config **config)
{
	tls_config_free(*config);
}
#define AUTO_CONFIG CLEANUP(cleanup_config)

static struct tls_config *server_config(enum tls_ask ask)
{
	struct tls_spec spec = server_spec(ask);
	return certs_config(&spec);
}

static struct tls_config *client_config(const struct own *own)
{
	struct tls_spec spec = client_spec(own);
	return certs_config(&spec);
}

// ---- who is who

static void test_names(void **state)
{
	(void)state;
	AUTO_CONFIG struct tls_config *server = server_config(TLS_ASK_NOTHING), *client = client_config(NULL);
	static const char *const good[] = { "127.0.0.1", "localhost", SERVER_URI, "dialtone://p/server/" };
	static const char *const bad[] = { "127.0.0.2",          "other.example",        "dialtone://p/server/b",
					   "dialtone://p/node/", "dialtone://q/server/", "dialtone://p/server" };
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		AUTO_PAIR struct pair p = join(client, server, good[i]);
		expect_talk(&p);
		assert_string_equal(tls_peer(p.client.tls), SERVER_URI);
		assert_null(tls_peer(p.server.tls));
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_PAIR struct pair p = join(client, server, bad[i]);
		expect_refused(&p.client, -EACCES, "the peer's certificate is not good");
		assert_false(tls_through(p.client.tls));
	}
}

static void test_wrong_authority(void **state)
{
	(void)state;
	struct certs other;
	certs_init(&other);
	AUTO_CONFIG struct tls_config *server = server_config(TLS_ASK_NOTHING);
	struct tls_spec spec = { .alpn = "http/1.1", .ca = other.authority };
	AUTO_CONFIG struct tls_config *client = certs_config(&spec);
	AUTO_PAIR struct pair p = join(client, server, "127.0.0.1");
	expect_refused(&p.client, -EACCES, "the peer's certificate is not good");
	expect_refused(&p.server, -EACCES, "the peer refuses our certificate");
	certs_clear(&other);
}

static void test_expired(void **state)
{
	(void)state;
	AUTO_OWN struct own old = certs_own(&certs, SERVER_URI, "127.0.0.1", 2 * HOUR, HOUR);
	struct tls_spec spec = server_spec(TLS_ASK_NOTHING);
	spec.chain = old.cert;
	spec.key = old.key;
	AUTO_CONFIG struct tls_config *server = certs_config(&spec), *client = client_config(NULL);
	AUTO_PAIR struct pair p = join(client, server, "127.0.0.1");
	expect_refused(&p.client, -EACCES, "expired");
}

static void test_role(void **state)
{
	(void)state;
	// A node's certificate is of the same authority, but no server's.
	struct tls_spec spec = server_spec(TLS_ASK_NOTHING);
	spec.chain = node_own.cert;
	spec.key = node_own.key;
	AUTO_CONFIG struct tls_config *server = certs_config(&spec), *client = client_config(NULL);
	AUTO_PAIR struct pair p = join(client, server, NODE_URI);
	expect_refused(&p.client, -EACCES, "the peer's certificate is not good");
}

static void test_client_certificate(void **state)
{
	(void)state;
	struct certs other;
	certs_init(&other);
	AUTO_OWN struct own foreign = certs_own(&other, NODE_URI, NULL, 0, HOUR);
	AUTO_OWN struct own old = certs_own(&certs, NODE_URI, NULL, 2 * HOUR, HOUR);
	for (enum tls_ask ask = TLS_ASK_OPTIONAL; ask <= TLS_ASK_REQUIRED; ask++) {
		AUTO_CONFIG struct tls_config *server = server_config(ask);
		AUTO_CONFIG struct tls_config *known = client_config(&node_own), *unknown = client_config(NULL);
		AUTO_CONFIG struct tls_config *stranger = client_config(&foreign), *late = client_config(&old);
		AUTO_PAIR struct pair a = join(known, server, "127.0.0.1");
		expect_talk(&a);
		assert_string_equal(tls_peer(a.server.tls), NODE_URI);
		AUTO_PAIR struct pair b = join(unknown, server, "127.0.0.1");
		if (ask == TLS_ASK_OPTIONAL) {
			expect_talk(&b);
			assert_null(tls_peer(b.server.tls));
		} else {
			expect_refused(&b.server, -EACCES, "the peer shows no certificate");
			expect_refused(&b.client, -EACCES, "the peer asks for a certificate, and we have none");
		}
		AUTO_PAIR struct pair c = join(stranger, server, "127.0.0.1");
		expect_refused(&c.server, -EACCES, "the peer's certificate is not good");
		expect_refused(&c.client, -EACCES, "the peer refuses our certificate");
		AUTO_PAIR struct pair d = join(late, server, "127.0.0.1");
		expect_refused(&d.server, -EACCES, "expired");
		expect_refused(&d.client, -EACCES, "the peer refuses our certificate");
	}
	certs_clear(&other);
}

static void test_alpn(void **state)
{
	(void)state;
	AUTO_CONFIG struct tls_config *server = server_config(TLS_ASK_NOTHING);
	struct tls_spec spec = client_spec(NULL);
	spec.alpn = "h2";
	AUTO_CONFIG struct tls_config *client = certs_config(&spec);
	AUTO_PAIR struct pair p = join(client, server, "127.0.0.1");
	expect_refused(&p.client, -EPROTO, "no application protocol");
}

static void test_plain(void **state)
{
	(void)state;
	AUTO_CONFIG struct tls_config *server = server_config(TLS_ASK_NOTHING), *client = client_config(NULL);
	AUTO_PAIR struct pair p = { .client = end_new(client, "127.0.0.1"), .server = end_new(server, NULL) };
	struct end *ends[] = { &p.client, &p.server };
	for (size_t i = 0; i < 2; i++) {
		ends[i]->r = tls_feed(ends[i]->tls, "HTTP/1.1 400 Bad", 16, &ends[i]->plain, &ends[i]->err);
		expect_refused(ends[i], -EPROTO, "the peer does not speak TLS");
	}
}

// ---- settings that change, sessions that resume

static void test_reload(void **state)
{
	(void)state;
	AUTO_CONFIG struct tls_config *server = server_config(TLS_ASK_OPTIONAL), *client = client_config(NULL);
	AUTO_PAIR struct pair before = join(client, server, "127.0.0.1");
	AUTO_OWN struct own next = certs_own(&certs, "dialtone://p/server/next", "127.0.0.1", 0, HOUR);
	struct tls_spec spec = server_spec(TLS_ASK_OPTIONAL);
	struct err err = { 0 };
	spec.key = next.key; // not of that certificate
	assert_int_equal(tls_config_reload(server, &spec, &err), -EINVAL);
	spec.chain = next.cert;
	assert_int_equal(tls_config_reload(server, &spec, &err), 0);
	expect_talk(&before);
	AUTO_CONFIG struct tls_config *fresh = client_config(NULL);
	AUTO_PAIR struct pair after = join(fresh, server, "127.0.0.1");
	assert_string_equal(tls_peer(after.client.tls), "dialtone://p/server/next");
}

static void test_resume(void **state)
{
	(void)state;
	AUTO_CONFIG struct tls_config *server = server_config(TLS_ASK_REQUIRED), *client = client_config(&node_own);
	AUTO_PAIR struct pair a = join(client, server, "127.0.0.1");
	expect_talk(&a);
	assert_false(tls_resumed(a.client.tls));
	AUTO_PAIR struct pair b = join(client, server, "127.0.0.1");
	expect_talk(&b);
	assert_true(tls_resumed(b.client.tls));
	assert_string_equal(tls_peer(b.server.tls), NODE_URI);
	assert_string_equal(tls_peer(b.client.tls), SERVER_URI);
	// A session is of the name under which it was made.
	AUTO_PAIR struct pair other = join(client, server, "dialtone://p/server/b");
	expect_refused(&other.client, -EACCES, "not good");
	// The server's new certificate does not end sessions; a client's new identity does.
	struct err err = { 0 };
	struct tls_spec spec = server_spec(TLS_ASK_REQUIRED);
	assert_int_equal(tls_config_reload(server, &spec, &err), 0);
	AUTO_PAIR struct pair c = join(client, server, "127.0.0.1");
	assert_true(tls_resumed(c.client.tls));
	AUTO_OWN struct own next = certs_own(&certs, "dialtone://p/node/n2", NULL, 0, HOUR);
	struct tls_spec renewed = client_spec(&next);
	assert_int_equal(tls_config_reload(client, &renewed, &err), 0);
	AUTO_PAIR struct pair d = join(client, server, "127.0.0.1");
	assert_false(tls_resumed(d.client.tls));
	assert_string_equal(tls_peer(d.server.tls), "dialtone://p/node/n2");
}

// A session does not outlive the certificate it was made with.
static void test_resume_expired(void **state)
{
	(void)state;
	AUTO_OWN struct own brief = certs_own(&certs, NODE_URI, NULL, 0, 2);
	AUTO_CONFIG struct tls_config *server = server_config(TLS_ASK_REQUIRED), *client = client_config(&brief);
	AUTO_PAIR struct pair first = join(client, server, "127.0.0.1");
	expect_talk(&first);
	uint64_t deadline_ms = monotonic_ms() + 10000;
	for (bool refused = false; !refused;) {
		AUTO_PAIR struct pair p = join(client, server, "127.0.0.1");
		assert_true(tls_resumed(p.client.tls));
		refused = p.server.r < 0;
		if (refused)
			expect_refused(&p.server, -EACCES, "expired");
		assert_true(monotonic_ms() < deadline_ms);
		usleep(20000);
	}
}

static void test_end(void **state)
{
	(void)state;
	AUTO_CONFIG struct tls_config *server = server_config(TLS_ASK_NOTHING), *client = client_config(NULL);
	AUTO_PAIR struct pair p = join(client, server, "127.0.0.1");
	write_to(&p.client, "last");
	tls_end(p.client.tls);
	settle(&p);
	assert_string_equal(buf_str(&p.server.plain), "last");
	expect_refused(&p.server, -ECONNRESET, "the peer closed");
	write_to(&p.server, "answer"); // the other direction goes on
	settle(&p);
	assert_string_equal(buf_str(&p.client.plain), "answer");
}

// ---- however the bytes come

static void random_text(struct rng *rng, struct buf *to, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char byte = (char)rng_next(rng);
		buf_add(to, &byte, 1);
	}
}

static void test_pieces(void **state)
{
	(void)state;
	AUTO_CONFIG struct tls_config *server = server_config(TLS_ASK_REQUIRED), *client = client_config(&node_own);
	for (uint64_t seed = 1; seed <= 60; seed++) {
		AUTO_PAIR struct pair p = { .client = end_new(client, "localhost"),
					    .server = end_new(server, NULL),
					    .rng = { seed } };
		p.piece = 1 + rng_below(&p.rng, seed % 2 ? 40 : PIECE_MAX);
		AUTO_BUF struct buf up = BUF_INIT(1 << 20), down = BUF_INIT(1 << 20);
		random_text(&p.rng, &up, rng_below(&p.rng, 60000));
		random_text(&p.rng, &down, rng_below(&p.rng, 60000));
		size_t sent[2] = { 0 };
		while (sent[0] < buf_len(&up) || sent[1] < buf_len(&down)) {
			size_t n = rng_below(&p.rng, buf_len(&up) - sent[0] + 1);
			assert_int_equal(tls_write(p.client.tls, buf_data(&up) + sent[0], n, &p.client.err), 0);
			sent[0] += n;
			n = rng_below(&p.rng, buf_len(&down) - sent[1] + 1);
			assert_int_equal(tls_write(p.server.tls, buf_data(&down) + sent[1], n, &p.server.err), 0);
			sent[1] += n;
			for (uint64_t i = rng_below(&p.rng, 20); i; i--)
				rng_below(&p.rng, 2) ? carry(&p, &p.client, &p.server)
						     : carry(&p, &p.server, &p.client);
		}
		settle(&p);
		if (p.client.r < 0 || p.server.r < 0)
			fail_msg("seed %lu: %s %s", seed, p.client.err.text, p.server.err.text);
		assert_int_equal(buf_len(&p.server.plain), buf_len(&up));
		assert_int_equal(buf_len(&p.client.plain), buf_len(&down));
		assert_memory_equal(buf_str(&p.server.plain), buf_str(&up), buf_len(&up));
		assert_memory_equal(buf_str(&p.client.plain), buf_str(&down), buf_len(&down));
	}
}

// One byte on the way is changed: never is anything delivered that was not sent.
static void test_damage(void **state)
{
	(void)state;
	AUTO_CONFIG struct tls_config *server = server_config(TLS_ASK_OPTIONAL), *client = client_config(&node_own);
	static const char text[] = "what was sent";
	for (uint64_t seed = 1; seed <= 120; seed++) {
		AUTO_PAIR struct pair p = { .client = end_new(client, "localhost"),
					    .server = end_new(server, NULL),
					    .rng = { seed },
					    .piece = 300 };
		write_to(&p.client, text);
		uint64_t when = rng_below(&p.rng, 12);
		bool moved = true;
		for (uint64_t turn = 0; moved; turn++) {
			tls_take(p.client.tls, &p.client.out);
			tls_take(p.server.tls, &p.server.out);
			struct buf *hit = seed % 2 ? &p.client.out : &p.server.out;
			if (turn == when && buf_len(hit))
				buf_data(hit)[rng_below(&p.rng, buf_len(hit))] ^= (char)(1 << rng_below(&p.rng, 8));
			moved = carry(&p, &p.client, &p.server);
			moved |= carry(&p, &p.server, &p.client);
		}
		size_t n = buf_len(&p.server.plain);
		assert_true(n == 0 || n == sizeof(text) - 1);
		assert_memory_equal(buf_str(&p.server.plain), text, n);
		assert_int_equal(buf_len(&p.client.plain), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_wrong_authority),
		cmocka_unit_test(test_expired),
		cmocka_unit_test(test_role),
		cmocka_unit_test(test_client_certificate),
		cmocka_unit_test(test_alpn),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_resume),
		cmocka_unit_test(test_resume_expired),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_damage),
	};
	return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
