#include "base/id.h"

#include "base/str.h"

#include <assert.h>
#include <openssl/evp.h>
#include <sys/random.h>

void random_bytes(void *out, size_t n)
{
	char *to = out;
	while (n) {
		ssize_t got = getrandom(to, n, 0);
		if (got < 0)
			continue; // EINTR is the only error for a valid buffer
		to += got;
		n -= (size_t)got;
	}
}

void uid_new(char uid[UID_SIZE])
{
	static const char alphabet[32] = "abcdefghijklmnopqrstuvwxyz234567";
	unsigned char bytes[UID_SIZE - 1];
	random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		uid[i] = alphabet[bytes[i] & 31];
	uid[UID_SIZE - 1] = '\0';
}

struct digest {
	EVP_MD_CTX *evp;
};

struct digest *digest_new(void)
{
	struct digest *d = xcalloc(1, sizeof(*d));
	d->evp = EVP_MD_CTX_new();
	assert(d->evp);
	int ok = EVP_DigestInit_ex(d->evp, EVP_sha256(), NULL);
	assert(ok == 1);
	return d;
}

void digest_add(struct digest *d, const void *bytes, size_t n)
{
	int ok = EVP_DigestUpdate(d->evp, bytes, n);
	assert(ok == 1);
}

void digest_finish(struct digest *d, char digest[DIGEST_SIZE])
{
	unsigned char sum[32];
	unsigned n = 0;
	int ok = EVP_DigestFinal_ex(d->evp, sum, &n);
	assert(ok == 1 && n == sizeof(sum));
	memcpy(digest, "sha256:", 7);
	hex_write(sum, sizeof(sum), digest + 7);
	digest_abort(d);
}

void digest_abort(struct digest *d)
{
	if (!d)
		return;
	EVP_MD_CTX_free(d->evp);
	free(d);
}

void digest_of(const void *bytes, size_t n, char digest[DIGEST_SIZE])
{
	struct digest *d = digest_new();
	digest_add(d, bytes, n);
	digest_finish(d, digest);
}

int digest_valid(const char *text)
{
	return strlen(text) == DIGEST_SIZE - 1 && str_starts(text, "sha256:") && strspn(text + 7, "0123456789abcdef") == 64;
}
