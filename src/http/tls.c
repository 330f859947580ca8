#include "http/tls.h"

#include "base/str.h"
#include "http/tls_config.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

enum { EARLY_MAX = 64 << 20, RECORD = 16 << 10 };

struct tls {
	struct tls_config *config;
	SSL *ssl;
	BIO *in, *out; // owned by ssl
	char *name;    // of a server; NULL: we are one
	char *peer;
	struct buf early;
	unsigned generation;
	bool heard, through; // a byte has come; the handshake is done
};

static bool is_ip(const char *name)
{
	unsigned char bytes[16];
	return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static bool is_uri(const char *name)
{
	return strstr(name, "://") != NULL;
}

static void expect(struct tls *tls)
{
	SSL_set_connect_state(tls->ssl);
	if (is_ip(tls->name)) {
		X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), tls->name);
	} else if (!is_uri(tls->name)) {
		SSL_set1_host(tls->ssl, tls->name);
		SSL_set_tlsext_host_name(tls->ssl, tls->name);
	}
	SSL_do_handshake(tls->ssl); // the first message is now in out
}

struct tls *tls_new(struct tls_config *config, const char *name)
{
	assert(tls_config_is_server(config) == !name);
	struct tls *tls = xcalloc(1, sizeof(*tls));
	tls_config_ref(config);
	tls->config = config;
	tls->name = name ? xstrdup(name) : NULL;
	tls->early = BUF_INIT(EARLY_MAX);
	tls->generation = tls_config_generation(config);
	tls->ssl = tls_config_open(config, name);
	tls->in = BIO_new(BIO_s_mem());
	tls->out = BIO_new(BIO_s_mem());
	if (!tls->in || !tls->out)
		abort(); // out of memory
	BIO_set_mem_eof_return(tls->in, -1);
	SSL_set_bio(tls->ssl, tls->in, tls->out);
	SSL_set_app_data(tls->ssl, tls);
	ERR_clear_error();
	if (name)
		expect(tls);
	else
		SSL_set_accept_state(tls->ssl);
	return tls;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	SSL_set_app_data(tls->ssl, NULL);
	// However the connection ended, its session may be resumed; OpenSSL would forbid that without a proper end.
	if (tls->through)
		SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(tls->ssl);
	tls_config_free(tls->config);
	buf_clear(&tls->early);
	free(tls->name);
	free(tls->peer);
	free(tls);
}

int tls_remember(SSL *ssl, SSL_SESSION *session)
{
	const struct tls *tls = SSL_get_app_data(ssl);
	if (tls && tls->name)
		tls_config_remember(tls->config, tls->name, ssl, session);
	return 0; // no reference taken by this
}

// ---- what went wrong

static int bad_certificate(long verified, struct err *err)
{
	ERR_clear_error();
	err_set(err, -EACCES, "the peer's certificate is not good: %s", X509_verify_cert_error_string(verified));
	return err_hint(err, "check which authority signs it, and that it names the address in use");
}

// What the peer complains of; RFC 8446, 6.2.
static bool is_about_certificate(int alert)
{
	return (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN) || alert == SSL_AD_UNKNOWN_CA ||
	       alert == SSL_AD_ACCESS_DENIED;
}

static int broken(struct tls *tls, const char *what, struct err *err)
{
	long verified = SSL_get_verify_result(tls->ssl);
	if (verified != X509_V_OK)
		return bad_certificate(verified, err);
	int reason = ERR_GET_REASON(ERR_peek_error()), alert = reason - SSL_AD_REASON_OFFSET;
	if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		return tls_fail(err, -EACCES, "the peer shows no certificate");
	if (alert == SSL_AD_CERTIFICATE_REQUIRED) {
		tls_fail(err, -EACCES, "the peer asks for a certificate, and we have none");
		return err_hint(err, "name one that the peer's authority has issued");
	}
	if (is_about_certificate(alert))
		return tls_fail(err, -EACCES, "the peer refuses our certificate");
	return tls_fail(err, -EPROTO, what);
}

// ---- who the peer is

// The n-th URI of the certificate; "" for one that is none, NULL at the end. Of names.
static const char *uri_at(const GENERAL_NAMES *names, int n)
{
	if (n >= sk_GENERAL_NAME_num(names))
		return NULL;
	const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, n);
	if (name->type != GEN_URI)
		return "";
	const ASN1_IA5STRING *text = name->d.uniformResourceIdentifier;
	const char *uri = (const char *)ASN1_STRING_get0_data(text);
	return strlen(uri) == (size_t)ASN1_STRING_length(text) ? uri : ""; // a NUL in it is a trick
}

static char *common_name(const X509 *cert)
{
	char text[128];
	int n = X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, text, sizeof(text));
	return n > 0 && strlen(text) == (size_t)n ? xstrdup(text) : NULL;
}

static bool uri_fits(const char *uri, const char *wanted)
{
	return str_ends(wanted, "/") ? str_starts(uri, wanted) : str_eq(uri, wanted);
}

static int wrong_uri(const struct tls *tls, struct err *err)
{
	err_set(err, -EACCES, "the peer's certificate is not good: it is for '%s', not for '%s%s'",
		tls->peer ? tls->peer : "nobody", tls->name, str_ends(tls->name, "/") ? "…" : "");
	return err_hint(err, "check that the address in use is that of the platform meant");
}

static int meet(struct tls *tls, struct err *err)
{
	X509 *cert = SSL_get0_peer_certificate(tls->ssl);
	if (!cert)
		return 0;
	// A resumed session may be older than what became of the certificate.
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
		return bad_certificate(X509_V_ERR_CERT_HAS_EXPIRED, err);
	bool fits = !tls->name || !is_uri(tls->name) || tls_config_believes_anybody(tls->config);
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	const char *uri;
	for (int i = 0; (uri = uri_at(names, i)); i++) {
		if (*uri && !tls->peer)
			tls->peer = xstrdup(uri);
		fits = fits || (*uri && uri_fits(uri, tls->name));
	}
	GENERAL_NAMES_free(names);
	if (!tls->peer)
		tls->peer = common_name(cert);
	return fits ? 0 : wrong_uri(tls, err);
}

const char *tls_peer(const struct tls *tls)
{
	return tls->through ? tls->peer : NULL;
}

bool tls_through(const struct tls *tls)
{
	return tls->through;
}

bool tls_current(const struct tls *tls)
{
	return tls->generation == tls_config_generation(tls->config);
}

bool tls_resumed(const struct tls *tls)
{
	return SSL_session_reused(tls->ssl);
}

// ---- bytes

static int shake(struct tls *tls, struct err *err)
{
	int r = SSL_do_handshake(tls->ssl);
	if (r != 1) {
		int why = SSL_get_error(tls->ssl, r);
		return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0
										 : broken(tls, "TLS handshake", err);
	}
	r = meet(tls, err);
	if (r < 0)
		return r;
	tls->through = true;
	size_t n = buf_len(&tls->early);
	r = n ? tls_write(tls, buf_data(&tls->early), n, err) : 0;
	buf_clear(&tls->early);
	return r;
}

static int decrypt(struct tls *tls, struct buf *plain, struct err *err)
{
	for (;;) {
		char *room;
		if (buf_reserve(plain, RECORD, &room) < 0)
			return err_set(err, -ENOBUFS, "too much waits to be read");
		int n = SSL_read(tls->ssl, room, RECORD);
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

bool tls_begins(const char *bytes, size_t n)
{
	enum { ALERT = 21, HANDSHAKE = 22, MAJOR = 3 }; // RFC 8446, 5.1
	return n && (bytes[0] == ALERT || bytes[0] == HANDSHAKE) && (n == 1 || bytes[1] == MAJOR);
}

static int not_tls(const struct tls *tls, struct err *err)
{
	err_set(err, -EPROTO, "the peer does not speak TLS");
	return tls->name ? err_hint(err, "is it the right port? An address that begins with http:// is for plain HTTP")
			 : -EPROTO;
}

int tls_feed(struct tls *tls, const char *bytes, size_t n, struct buf *plain, struct err *err)
{
	if (!tls->heard && n && !tls_begins(bytes, n))
		return not_tls(tls, err);
	tls->heard |= n > 0;
	int written = n ? BIO_write(tls->in, bytes, (int)n) : 0;
	assert(written == (int)n);
	ERR_clear_error(); // SSL_get_error looks at the thread's queue
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
	ERR_clear_error();
	while (n) {
		int r = SSL_write(tls->ssl, plain, n > INT32_MAX ? INT32_MAX : (int)n);
		if (r <= 0)
			return broken(tls, "TLS", err); // a memory BIO takes all
		plain += r;
		n -= (size_t)r;
	}
	return 0;
}

void tls_end(struct tls *tls)
{
	ERR_clear_error();
	if (tls->through)
		SSL_shutdown(tls->ssl);
	ERR_clear_error();
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
