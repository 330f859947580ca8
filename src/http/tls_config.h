// Private to src/http: what tls.c and tls_config.c share.
#pragma once

#include "http/tls.h"

#include <openssl/ssl.h>

// A new SSL of the present settings. name: of the server, for a session to resume; NULL for a server.
SSL *tls_config_open(struct tls_config *config, const char *name);
void tls_config_ref(struct tls_config *config);
unsigned tls_config_generation(const struct tls_config *config); // +1 with each reload
bool tls_config_believes_anybody(const struct tls_config *config);
bool tls_config_is_server(const struct tls_config *config);

// Keeps a session of ssl for the next connection to that name; takes a reference of its own.
void tls_config_remember(struct tls_config *config, const char *name, const SSL *ssl, SSL_SESSION *session);
int tls_remember(SSL *ssl, SSL_SESSION *session); // in tls.c; OpenSSL's callback

// For a key that is encrypted: nobody is there to ask. OpenSSL's callback.
int tls_no_passphrase(char *to, int size, int writing, void *arg);

int tls_fail(struct err *err, int code, const char *what); // with OpenSSL's reason; clears its queue
