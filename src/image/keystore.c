// Java's keystore format JKS as sun.security.provider.JavaKeyStore reads it. Written here because keytool puts the time
// of writing into it, so that no two would be the same.
#include "image/making.h"

#include "base/buf.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#define KEYSTORE_MAX (16u << 20)
#define SHA1_SIZE 20
static const char password[] = "changeit"; // Java's well-known default: it protects nothing here

static void add_number(struct buf *out, uint64_t value, unsigned bytes)
{
	while (bytes--) {
		char c = (char)(value >> (8 * bytes));
		buf_add(out, &c, 1);
	}
}

static void add_text(struct buf *out, const char *text)
{
	add_number(out, strlen(text), 2);
	buf_add_str(out, text);
}

static void add_certificate(struct buf *out, unsigned number, const unsigned char *der, size_t n)
{
	char alias[32];
	snprintf(alias, sizeof(alias), "debian-%04u", number);
	add_number(out, 2, 4); // a trusted certificate
	add_text(out, alias);
	add_number(out, 0, 8); // when it was added
	add_text(out, "X.509");
	add_number(out, n, 4);
	buf_add(out, der, n);
}

// SHA-1 over the password in UTF-16, a fixed phrase, and the store.
static void add_check(struct buf *out)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sum[SHA1_SIZE];
	EVP_DigestInit_ex(ctx, EVP_sha1(), NULL);
	for (const char *c = password; *c; c++) {
		const char wide[2] = { 0, *c };
		EVP_DigestUpdate(ctx, wide, 2);
	}
	EVP_DigestUpdate(ctx, "Mighty Aphrodite", 16);
	EVP_DigestUpdate(ctx, buf_data(out), buf_len(out));
	EVP_DigestFinal_ex(ctx, sum, NULL);
	EVP_MD_CTX_free(ctx);
	buf_add(out, sum, sizeof(sum));
}

int keystore_write(const char *pem_path, const char *to, struct err *err)
{
	AUTO_BUF struct buf entries = BUF_INIT(KEYSTORE_MAX);
	BIO *in = BIO_new_file(pem_path, "r");
	if (!in)
		return err_set(err, -ENOENT, "cannot read the certificates '%s'", pem_path);
	unsigned n = 0;
	for (X509 *cert; (cert = PEM_read_bio_X509(in, NULL, NULL, NULL));) {
		unsigned char *der = NULL;
		int size = i2d_X509(cert, &der);
		if (size > 0)
			add_certificate(&entries, n++, der, (size_t)size);
		OPENSSL_free(der);
		X509_free(cert);
	}
	BIO_free(in);
	if (!n)
		return err_set(err, -EINVAL, "'%s' holds no certificate", pem_path);

	AUTO_BUF struct buf store = BUF_INIT(KEYSTORE_MAX + 64);
	add_number(&store, 0xfeedfeed, 4);
	add_number(&store, 2, 4);
	add_number(&store, n, 4);
	buf_add(&store, buf_data(&entries), buf_len(&entries));
	add_check(&store);
	return file_write_atomic(to, buf_data(&store), buf_len(&store), 0644, err);
}
