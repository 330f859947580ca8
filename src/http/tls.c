#include "http/tls.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

enum { EARLY_MAX = 64 << 20 };

struct tls_config {
	SSL_CTX *ctx;
};

struct tls {
	SSL *ssl;
	BIO *in, *out; // owned by ssl
	struct buf early;
	bool through; // the handshake
};

static int fail(struct err *err, int code, const char *what)
{
	char text[256];
	unsigned long e = ERR_get_error();
	ERR_error_string_n(e, text, sizeof(text));
	ERR_clear_error();
	return err_set(err, code, "%s: %s", what, e ? text : "no reason given");
}

int tls_config_new(const char *ca, const char *cert, const char *key, struct tls_config **ret, struct err *err)
{
	static const unsigned char h2[] = { 2, 'h', '2' };
	struct tls_config *config = xcalloc(1, sizeof(*config));
	config->ctx = SSL_CTX_new(TLS_client_method());
	if (!config->ctx)
		abort(); // out of memory
	SSL_CTX_set_min_proto_version(config->ctx, TLS1_2_VERSION);
	SSL_CTX_set_verify(config->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(config->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_alpn_protos(config->ctx, h2, sizeof(h2));
	int r = 0;
	if (ca ? !SSL_CTX_load_verify_locations(config->ctx, ca, NULL) : !SSL_CTX_set_default_verify_paths(config->ctx))
		r = fail(err, -EINVAL, "cannot use the certificates to trust");
	else if (cert && SSL_CTX_use_certificate_chain_file(config->ctx, cert) != 1)
		r = fail(err, -EINVAL, "cannot use the client's certificate");
	else if (cert && SSL_CTX_use_PrivateKey_file(config->ctx, key ? key : cert, SSL_FILETYPE_PEM) != 1)
		r = fail(err, -EINVAL, "cannot use the client's key");
	if (r < 0) {
		tls_config_free(config);
		return r;
	}
	*ret = config;
	return 0;
}

void tls_config_free(struct tls_config *config)
{
	if (!config)
		return;
	SSL_CTX_free(config->ctx);
	free(config);
}

static bool is_ip(const char *name)
{
	unsigned char bytes[16];
	return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

struct tls *tls_new(struct tls_config *config, const char *name)
{
	struct tls *tls = xcalloc(1, sizeof(*tls));
	tls->early = BUF_INIT(EARLY_MAX);
	tls->ssl = SSL_new(config->ctx);
	tls->in = BIO_new(BIO_s_mem());
	tls->out = BIO_new(BIO_s_mem());
	if (!tls->ssl || !tls->in || !tls->out)
		abort();
	BIO_set_mem_eof_return(tls->in, -1);
	SSL_set_bio(tls->ssl, tls->in, tls->out);
	SSL_set_connect_state(tls->ssl);
	if (is_ip(name)) {
		X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), name);
	} else {
		SSL_set1_host(tls->ssl, name);
		SSL_set_tlsext_host_name(tls->ssl, name);
	}
	SSL_do_handshake(tls->ssl); // the first message is now in out
	return tls;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	buf_clear(&tls->early);
	free(tls);
}

static int broken(struct tls *tls, const char *what, struct err *err)
{
	long verified = SSL_get_verify_result(tls->ssl);
	if (verified == X509_V_OK)
		return fail(err, -EPROTO, what);
	ERR_clear_error();
	err_set(err, -EACCES, "the peer's certificate is not good: %s", X509_verify_cert_error_string(verified));
	return err_hint(err, "check which authority signs it, and that it names the address in use");
}

static int shake(struct tls *tls, struct err *err)
{
	int r = SSL_do_handshake(tls->ssl);
	if (r != 1) {
		int why = SSL_get_error(tls->ssl, r);
		return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0
										 : broken(tls, "TLS handshake", err);
	}
	tls->through = true;
	size_t n = buf_len(&tls->early);
	int w = n ? tls_write(tls, buf_data(&tls->early), n, err) : 0;
	buf_clear(&tls->early);
	return w;
}

static int decrypt(struct tls *tls, struct buf *plain, struct err *err)
{
	for (;;) {
		char *room;
		if (buf_reserve(plain, 16 << 10, &room) < 0)
			return err_set(err, -ENOBUFS, "too much waits to be read");
		int n = SSL_read(tls->ssl, room, 16 << 10);
		if (n > 0) {
			buf_commit(plain, (size_t)n);
			continue;
		}
		int why = SSL_get_error(tls->ssl, n);
		if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
			return 0;
		if (why == SSL_ERROR_ZERO_RETURN)
			return err_set(err, -ECONNRESET, "the peer closed the connection");
		return broken(tls, "TLS", err);
	}
}

int tls_feed(struct tls *tls, const char *bytes, size_t n, struct buf *plain, struct err *err)
{
	int written = BIO_write(tls->in, bytes, (int)n);
	assert(written == (int)n);
	if (!tls->through) {
		int r = shake(tls, err);
		if (r < 0 || !tls->through)
			return r;
	}
	return decrypt(tls, plain, err);
}

int tls_write(struct tls *tls, const char *plain, size_t n, struct err *err)
{
	if (!tls->through)
		return buf_add(&tls->early, plain, n) < 0 ? err_set(err, -ENOBUFS, "too much waits to be sent") : 0;
	while (n) {
		int r = SSL_write(tls->ssl, plain, n > INT32_MAX ? INT32_MAX : (int)n);
		if (r <= 0)
			return broken(tls, "TLS", err); // a memory BIO takes all
		plain += r;
		n -= (size_t)r;
	}
	return 0;
}

int tls_take(struct tls *tls, struct buf *out)
{
	size_t n = BIO_ctrl_pending(tls->out);
	char *room;
	if (!n)
		return 0;
	if (buf_reserve(out, n, &room) < 0)
		return -ENOBUFS;
	int got = BIO_read(tls->out, room, (int)n);
	if (got > 0)
		buf_commit(out, (size_t)got);
	return 0;
}
