#include "http/pki.h"

#include "base/id.h"
#include "base/str.h"
#include "http/tls_config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

enum { SKEW_S = 60 * 60, SERIAL_BYTES = 16 }; // clocks of machines may differ

#define CLEANUP_OF(type, name, release)                                                                                \
	static void cleanup_##name(type **p)                                                                           \
	{                                                                                                              \
		release(*p);                                                                                           \
	}
CLEANUP_OF(BIO, bio, BIO_free_all)
CLEANUP_OF(EVP_PKEY, key, EVP_PKEY_free)
CLEANUP_OF(X509, x509, X509_free)
CLEANUP_OF(X509_REQ, request, X509_REQ_free)
#define AUTO_BIO CLEANUP(cleanup_bio)
#define AUTO_KEY CLEANUP(cleanup_key)
#define AUTO_X509 CLEANUP(cleanup_x509)
#define AUTO_REQUEST_PEM CLEANUP(cleanup_request)

// ---- PEM

static BIO *reading(const char *text)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	if (!bio)
		abort(); // out of memory
	ERR_clear_error();
	return bio;
}

static BIO *writing(void)
{
	BIO *bio = BIO_new(BIO_s_mem());
	if (!bio)
		abort(); // out of memory
	return bio;
}

static char *written(BIO *bio)
{
	char *bytes;
	long n = BIO_get_mem_data(bio, &bytes);
	return xstrndup(bytes, (size_t)n);
}

static EVP_PKEY *read_key(const char *text, struct err *err)
{
	AUTO_BIO BIO *bio = reading(text);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, tls_no_passphrase, NULL);
	if (!key)
		tls_fail(err, -EINVAL, "the key is malformed");
	return key;
}

static X509 *read_cert(const char *text, struct err *err)
{
	AUTO_BIO BIO *bio = reading(text);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (!cert)
		tls_fail(err, -EINVAL, "the certificate is malformed");
	return cert;
}

static int write_cert(X509 *cert, char **ret, struct err *err)
{
	AUTO_BIO BIO *bio = writing();
	if (PEM_write_bio_X509(bio, cert) != 1)
		return tls_fail(err, -EIO, "cannot write a certificate");
	*ret = written(bio);
	return 0;
}

int pki_key_new(char **ret_key, struct err *err)
{
	AUTO_KEY EVP_PKEY *key = EVP_EC_gen("P-256");
	AUTO_BIO BIO *bio = writing();
	if (!key || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		return tls_fail(err, -EIO, "cannot make a key");
	*ret_key = written(bio);
	return 0;
}

// ---- certificates

static bool set_serial(X509 *cert)
{
	unsigned char bytes[SERIAL_BYTES];
	random_bytes(bytes, sizeof(bytes));
	bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); // positive, and not short
	BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
	bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
	BN_free(number);
	return ok;
}

static bool set_times(X509 *cert, uint64_t now_s, uint64_t lasts_s)
{
	return ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(now_s - SKEW_S)) &&
	       ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(now_s + lasts_s));
}

// The common name is for people; 64 characters at most.
static bool set_subject(X509 *cert, const char *uri)
{
	const char *scheme = strstr(uri, "://");
	AUTO_FREE char *text = xstrndup(scheme ? scheme + 3 : uri, 64);
	X509_NAME *name = X509_get_subject_name(cert);
	return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)"Dialtone", -1, -1, 0) &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0);
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	bool ok = extension && X509_add_ext(cert, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok;
}

static bool push_name(GENERAL_NAMES *names, int type, const void *bytes, size_t n)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_STRING *text = ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
	if (!name || !text || !ASN1_STRING_set(text, bytes, (int)n))
		abort(); // out of memory
	GENERAL_NAME_set0_value(name, type, text);
	return sk_GENERAL_NAME_push(names, name) > 0;
}

// By their values, not as OpenSSL's configuration text: there is nothing to escape.
static bool add_names(X509 *cert, const char *uri, const char *const *list, size_t n)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	bool ok = names && push_name(names, GEN_URI, uri, strlen(uri));
	for (size_t i = 0; ok && i < n; i++) {
		unsigned char ip[16];
		if (inet_pton(AF_INET, list[i], ip) == 1)
			ok = push_name(names, GEN_IPADD, ip, 4);
		else if (inet_pton(AF_INET6, list[i], ip) == 1)
			ok = push_name(names, GEN_IPADD, ip, 16);
		else
			ok = push_name(names, GEN_DNS, list[i], strlen(list[i]));
	}
	ok = ok && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
	GENERAL_NAMES_free(names);
	return ok;
}

static bool begin(X509 *cert, const char *uri, uint64_t now_s, uint64_t lasts_s)
{
	return X509_set_version(cert, X509_VERSION_3) && set_serial(cert) && set_times(cert, now_s, lasts_s) &&
	       set_subject(cert, uri);
}

int pki_authority_new(const char *key_text, const char *uri, uint64_t now_s, uint64_t lasts_s, char **ret_cert,
		      struct err *err)
{
	AUTO_KEY EVP_PKEY *key = read_key(key_text, err);
	if (!key)
		return -EINVAL;
	AUTO_X509 X509 *cert = X509_new();
	bool ok = cert && begin(cert, uri, now_s, lasts_s) && X509_set_issuer_name(cert, X509_get_subject_name(cert)) &&
		  X509_set_pubkey(cert, key) &&
		  add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
		  add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
		  add_extension(cert, cert, NID_subject_key_identifier, "hash") && add_names(cert, uri, NULL, 0) &&
		  X509_sign(cert, key, EVP_sha256());
	if (!ok)
		return tls_fail(err, -EIO, "cannot make an authority's certificate");
	return write_cert(cert, ret_cert, err);
}

int pki_request_new(const char *key_text, char **ret_request, struct err *err)
{
	AUTO_KEY EVP_PKEY *key = read_key(key_text, err);
	if (!key)
		return -EINVAL;
	AUTO_REQUEST_PEM X509_REQ *request = X509_REQ_new();
	AUTO_BIO BIO *bio = writing();
	bool ok = request && X509_REQ_set_version(request, X509_REQ_VERSION_1) && X509_REQ_set_pubkey(request, key) &&
		  X509_REQ_sign(request, key, EVP_sha256()) && PEM_write_bio_X509_REQ(bio, request) == 1;
	if (!ok)
		return tls_fail(err, -EIO, "cannot make a request for a certificate");
	*ret_request = written(bio);
	return 0;
}

static bool is_ours(const EVP_PKEY *key)
{
	char group[32];
	return key && EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
	       str_eq(group, SN_X9_62_prime256v1);
}

static int read_request(const char *text, X509_REQ **ret, struct err *err)
{
	if (strlen(text) > PKI_REQUEST_MAX)
		return err_set(err, -EINVAL, "the request is longer than the %d bytes allowed", PKI_REQUEST_MAX);
	AUTO_BIO BIO *bio = reading(text);
	AUTO_REQUEST_PEM X509_REQ *request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	if (!request)
		return tls_fail(err, -EINVAL, "the request is not PKCS #10 in PEM");
	EVP_PKEY *key = X509_REQ_get0_pubkey(request);
	if (!is_ours(key))
		return err_set(err, -EINVAL, "the request's key is not ECDSA on P-256");
	if (X509_REQ_verify(request, key) != 1)
		return tls_fail(err, -EINVAL, "the request is not signed by its key");
	*ret = TAKE_PTR(request);
	return 0;
}

static bool fill(X509 *cert, const struct pki_issue *issue, X509 *authority, X509_REQ *request)
{
	return begin(cert, issue->uri, issue->now_s, issue->lasts_s) &&
	       X509_set_issuer_name(cert, X509_get_subject_name(authority)) &&
	       X509_set_pubkey(cert, X509_REQ_get0_pubkey(request)) &&
	       add_extension(cert, authority, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(cert, authority, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(cert, authority, NID_ext_key_usage,
			     issue->server ? "serverAuth,clientAuth" : "clientAuth") &&
	       add_extension(cert, authority, NID_subject_key_identifier, "hash") &&
	       add_extension(cert, authority, NID_authority_key_identifier, "keyid:always") &&
	       add_names(cert, issue->uri, issue->names, issue->n_names);
}

int pki_issue(const struct pki_issue *issue, const char *request_text, char **ret_cert, struct err *err)
{
	AUTO_REQUEST_PEM X509_REQ *request = NULL;
	int r = read_request(request_text, &request, err);
	if (r < 0)
		return r;
	AUTO_X509 X509 *authority = read_cert(issue->authority, err);
	AUTO_KEY EVP_PKEY *key = authority ? read_key(issue->authority_key, err) : NULL;
	if (!key)
		return err_wrap(err, "the platform's authority");
	AUTO_X509 X509 *cert = X509_new();
	if (!cert || !fill(cert, issue, authority, request) || !X509_sign(cert, key, EVP_sha256()))
		return tls_fail(err, -EIO, "cannot issue a certificate");
	return write_cert(cert, ret_cert, err);
}

// ---- reading

static uint64_t seconds_of(const ASN1_TIME *time)
{
	struct tm tm = { 0 };
	if (ASN1_TIME_to_tm(time, &tm) != 1)
		return 0;
	time_t t = timegm(&tm);
	return t < 0 ? 0 : (uint64_t)t;
}

static void read_uri(const X509 *cert, char uri[PKI_URI_SIZE])
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	uri[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !uri[0]; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type == GEN_URI && ASN1_STRING_length(name->d.uniformResourceIdentifier) < PKI_URI_SIZE)
			snprintf(uri, PKI_URI_SIZE, "%s",
				 (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier));
	}
	GENERAL_NAMES_free(names);
}

int pki_read(const char *text, struct pki_facts *ret, struct err *err)
{
	AUTO_X509 X509 *cert = read_cert(text, err);
	if (!cert)
		return -EINVAL;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n;
	if (X509_digest(cert, EVP_sha256(), digest, &n) != 1)
		return tls_fail(err, -EIO, "cannot read a certificate");
	*ret = (struct pki_facts){
		.from_s = seconds_of(X509_get0_notBefore(cert)),
		.until_s = seconds_of(X509_get0_notAfter(cert)),
		.authority = X509_check_ca(cert) == 1,
	};
	hex_write(digest, n, ret->fingerprint);
	read_uri(cert, ret->uri);
	return 0;
}

uint64_t pki_renew_s(const struct pki_facts *facts)
{
	return facts->from_s + (facts->until_s - facts->from_s) / 3 * 2;
}
