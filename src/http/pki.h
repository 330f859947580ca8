// Keys, requests and certificates of the platform's own authority: X.509 (RFC 5280), ECDSA on P-256, all as PEM text.
// Who somebody is stands in a certificate as a URI, "dialtone://PLATFORM/ROLE/NAME" (a subject alternative name). Pure
// but for randomness; made to be called from any thread.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int pki_key_new(char **ret_key, struct err *err);

// An authority of its own: signs others, and nothing but them. uri: "dialtone://PLATFORM".
int pki_authority_new(const char *key, const char *uri, uint64_t now_s, uint64_t lasts_s, char **ret_cert,
		      struct err *err);

// A request (PKCS #10) that proves to have the key. What a certificate says is the authority's affair, so it asks for
// nothing.
int pki_request_new(const char *key, char **ret_request, struct err *err);

enum { PKI_NAMES_MAX = 64, PKI_REQUEST_MAX = 8 << 10 };

struct pki_issue {
	const char *authority, *authority_key;
	const char *uri;          // who it is for
	const char *const *names; // host names and IP addresses that it also stands for; for servers
	size_t n_names;
	bool server; // of TLS; otherwise a client. A server may also be a client
	uint64_t now_s, lasts_s;
};

// A certificate for the key in the request. -EINVAL: the request is malformed, has not signed itself, or its key is
// none of ours (ECDSA on P-256).
int pki_issue(const struct pki_issue *issue, const char *request, char **ret_cert, struct err *err);

#define PKI_FINGERPRINT_SIZE 65
#define PKI_URI_SIZE 256

struct pki_facts {
	char uri[PKI_URI_SIZE];                 // the first; "" when there is none
	char fingerprint[PKI_FINGERPRINT_SIZE]; // SHA-256 of the certificate, lower-case hex
	uint64_t from_s, until_s;
	bool authority;
};

int pki_read(const char *cert, struct pki_facts *ret, struct err *err);

// When to replace a certificate that holds from from_s until until_s: after two thirds of it.
uint64_t pki_renew_s(const struct pki_facts *facts);
