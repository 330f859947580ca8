// Certificates for tests, made anew each time.
#pragma once

#include "http/pki.h"
#include "http/tls.h"

struct certs {
	char *authority, *authority_key;
};

void certs_init(struct certs *c);
void certs_clear(struct certs *c);

struct own {
	char *cert, *key;
};

// host NULL: a client's. age_s, lasts_s: issued that long ago, for that long.
struct own certs_own(const struct certs *c, const char *uri, const char *host, uint64_t age_s, uint64_t lasts_s);
void own_clear(struct own *own);
#define AUTO_OWN __attribute__((cleanup(own_clear)))

struct tls_config *certs_config(const struct tls_spec *spec);
