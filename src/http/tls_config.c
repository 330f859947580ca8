#include "http/tls_config.h"

#include "base/map.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
	PEM_MAX = 1 << 20,
	SESSIONS_MAX = 64,       // names whose sessions are kept
	SESSION_S = 2 * 60 * 60, // a certificate that has become bad is noticed by then
	ALPN_MAX = 32,
};

struct tls_config {
	atomic_uint refs, generation;
	atomic_bool believes_anybody;
	bool server;
	unsigned char alpn[ALPN_MAX]; // as in the handshake: length, name
	size_t alpn_len;
	pthread_mutex_t lock; // over what follows
	SSL_CTX *ctx;
	struct map sessions; // name → SSL_SESSION *
};

int tls_fail(struct err *err, int code, const char *what)
{
	char text[256];
	unsigned long e = ERR_get_error();
	ERR_error_string_n(e, text, sizeof(text));
	const char *reason = ERR_reason_error_string(e);
	ERR_clear_error();
	return err_set(err, code, "%s: %s", what, !e ? "no reason given" : reason ? reason : text);
}

int tls_no_passphrase(char *to, int size, int writing, void *arg)
{
	(void)to, (void)size, (void)writing, (void)arg;
	return -1;
}

static void cleanup_bio(BIO **bio)
{
	BIO_free(*bio);
}
#define AUTO_BIO CLEANUP(cleanup_bio)

static void cleanup_x509(X509 **x509)
{
	X509_free(*x509);
}
#define AUTO_X509 CLEANUP(cleanup_x509)

static BIO *text_bio(const char *text)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	if (!bio)
		abort(); // out of memory
	return bio;
}

static int use_ca(SSL_CTX *ctx, const struct tls_spec *spec, struct err *err)
{
	AUTO_BIO BIO *bio = text_bio(spec->ca);
	int n = 0;
	for (;; n++) {
		AUTO_X509 X509 *ca = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		if (!ca)
			break;
		if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca) != 1 ||
		    (spec->server && SSL_CTX_add_client_CA(ctx, ca) != 1))
			return tls_fail(err, -EINVAL, "cannot use the certificates to trust");
	}
	if (!n)
		return tls_fail(err, -EINVAL, "cannot use the certificates to trust");
	ERR_clear_error(); // of the end of the text
	return 0;
}

static int use_chain(SSL_CTX *ctx, const struct tls_spec *spec, struct err *err)
{
	AUTO_BIO BIO *bio = text_bio(spec->chain);
	AUTO_X509 X509 *own = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (!own || SSL_CTX_use_certificate(ctx, own) != 1)
		return tls_fail(err, -EINVAL, "cannot use our certificate");
	for (;;) {
		AUTO_X509 X509 *next = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		if (!next)
			break;
		if (SSL_CTX_add1_chain_cert(ctx, next) != 1)
			return tls_fail(err, -EINVAL, "cannot use our certificate's chain");
	}
	ERR_clear_error();
	AUTO_BIO BIO *key_bio = text_bio(spec->key ? spec->key : spec->chain);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, tls_no_passphrase, NULL);
	bool fits = key && SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;
	EVP_PKEY_free(key);
	return fits ? 0 : tls_fail(err, -EINVAL, "cannot use our certificate's key");
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in,
		       unsigned in_len, void *arg)
{
	(void)ssl;
	const struct tls_config *config = arg;
	unsigned char *chosen;
	int r = SSL_select_next_proto(&chosen, len, config->alpn, (unsigned)config->alpn_len, in, in_len);
	*out = chosen;
	return r == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void set_common(SSL_CTX *ctx)
{
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_timeout(ctx, SESSION_S);
}

static void set_server(struct tls_config *config, SSL_CTX *ctx, const struct tls_spec *spec)
{
	static const unsigned char id[] = "dialtone";
	static const int modes[] = {
		[TLS_ASK_NOTHING] = SSL_VERIFY_NONE,
		[TLS_ASK_OPTIONAL] = SSL_VERIFY_PEER,
		[TLS_ASK_REQUIRED] = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
	};
	SSL_CTX_set_verify(ctx, modes[spec->ask], NULL);
	SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); // tickets: nothing is kept here
	SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, config);
}

static void set_client(struct tls_config *config, SSL_CTX *ctx, const struct tls_spec *spec)
{
	SSL_CTX_set_verify(ctx, spec->believe_anybody ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_alpn_protos(ctx, config->alpn, (unsigned)config->alpn_len);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, tls_remember);
}

static int make_ctx(struct tls_config *config, const struct tls_spec *spec, SSL_CTX **ret, struct err *err)
{
	SSL_CTX *ctx = SSL_CTX_new(config->server ? TLS_server_method() : TLS_client_method());
	if (!ctx)
		abort(); // out of memory
	ERR_clear_error();
	set_common(ctx);
	if (config->server)
		set_server(config, ctx, spec);
	else
		set_client(config, ctx, spec);
	int r = 0;
	if (spec->ca)
		r = use_ca(ctx, spec, err);
	else if (!config->server && !spec->no_authority && !SSL_CTX_set_default_verify_paths(ctx))
		r = tls_fail(err, -EINVAL, "cannot use the system's certificates");
	if (r == 0 && spec->chain)
		r = use_chain(ctx, spec, err);
	if (r < 0)
		SSL_CTX_free(ctx);
	else
		*ret = ctx;
	return r;
}

int tls_config_new(const struct tls_spec *spec, struct tls_config **ret, struct err *err)
{
	struct tls_config *config = xcalloc(1, sizeof(*config));
	atomic_init(&config->refs, 1);
	atomic_init(&config->believes_anybody, spec->believe_anybody);
	config->server = spec->server;
	size_t n = strlen(spec->alpn);
	if (n >= ALPN_MAX)
		abort();
	config->alpn[0] = (unsigned char)n;
	memcpy(config->alpn + 1, spec->alpn, n);
	config->alpn_len = n + 1;
	pthread_mutex_init(&config->lock, NULL);
	int r = make_ctx(config, spec, &config->ctx, err);
	if (r < 0) {
		tls_config_free(config);
		return r;
	}
	*ret = config;
	return 0;
}

static int read_pem(const char *path, char **ret, struct err *err)
{
	if (!path)
		return 0;
	AUTO_BUF struct buf text = BUF_INIT(PEM_MAX);
	int r = file_read(path, &text, err);
	if (r < 0)
		return r;
	*ret = buf_take(&text);
	return 0;
}

int tls_config_read(const char *ca, const char *cert, const char *key, struct tls_config **ret, struct err *err)
{
	AUTO_FREE char *ca_text = NULL;
	AUTO_FREE char *cert_text = NULL;
	AUTO_FREE char *key_text = NULL;
	int r = read_pem(ca, &ca_text, err);
	if (r == 0)
		r = read_pem(cert, &cert_text, err);
	if (r == 0)
		r = read_pem(key, &key_text, err);
	if (r < 0)
		return r;
	return tls_config_new(&(struct tls_spec){ .alpn = "h2", .ca = ca_text, .chain = cert_text, .key = key_text },
			      ret, err);
}

static void forget_sessions(struct tls_config *config)
{
	size_t at = 0;
	const char *name;
	void *session;
	while (map_next(&config->sessions, &at, &name, &session))
		SSL_SESSION_free(session);
	map_clear(&config->sessions);
}

// The tickets that clients hold stay good.
static void carry_ticket_keys(SSL_CTX *from, SSL_CTX *to)
{
	unsigned char keys[256];
	long n = SSL_CTX_get_tlsext_ticket_keys(from, NULL, 0);
	if (n > 0 && n <= (long)sizeof(keys) && SSL_CTX_get_tlsext_ticket_keys(from, keys, n) == 1)
		SSL_CTX_set_tlsext_ticket_keys(to, keys, n);
	OPENSSL_cleanse(keys, sizeof(keys));
}

int tls_config_reload(struct tls_config *config, const struct tls_spec *spec, struct err *err)
{
	SSL_CTX *ctx = NULL;
	int r = make_ctx(config, spec, &ctx, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&config->lock);
	if (config->server)
		carry_ticket_keys(config->ctx, ctx);
	SSL_CTX *old = config->ctx;
	config->ctx = ctx;
	forget_sessions(config);
	atomic_store(&config->believes_anybody, spec->believe_anybody);
	atomic_fetch_add(&config->generation, 1);
	pthread_mutex_unlock(&config->lock);
	SSL_CTX_free(old); // connections that use it hold it
	return 0;
}

void tls_config_ref(struct tls_config *config)
{
	atomic_fetch_add(&config->refs, 1);
}

void tls_config_free(struct tls_config *config)
{
	if (!config || atomic_fetch_sub(&config->refs, 1) != 1)
		return;
	forget_sessions(config);
	SSL_CTX_free(config->ctx);
	pthread_mutex_destroy(&config->lock);
	free(config);
}

unsigned tls_config_generation(const struct tls_config *config)
{
	return atomic_load(&config->generation);
}

bool tls_config_believes_anybody(const struct tls_config *config)
{
	return atomic_load(&config->believes_anybody);
}

bool tls_config_is_server(const struct tls_config *config)
{
	return config->server;
}

SSL *tls_config_open(struct tls_config *config, const char *name)
{
	pthread_mutex_lock(&config->lock);
	SSL *ssl = SSL_new(config->ctx);
	if (!ssl)
		abort(); // out of memory
	SSL_SESSION *session = name ? map_get(&config->sessions, name) : NULL;
	if (session)
		SSL_set_session(ssl, session);
	pthread_mutex_unlock(&config->lock);
	return ssl;
}

void tls_config_remember(struct tls_config *config, const char *name, const SSL *ssl, SSL_SESSION *session)
{
	pthread_mutex_lock(&config->lock);
	if (SSL_get_SSL_CTX(ssl) == config->ctx) { // not of a connection older than the last reload
		if (config->sessions.count >= SESSIONS_MAX && !map_get(&config->sessions, name))
			forget_sessions(config);
		SSL_SESSION_up_ref(session);
		SSL_SESSION_free(map_set(&config->sessions, name, session));
	}
	pthread_mutex_unlock(&config->lock);
}
