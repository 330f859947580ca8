// The client's side of TLS (1.2 or later, ALPN "h2") as a state machine over OpenSSL with memory BIOs: bytes in, bytes
// out. The peer's certificate is always verified, chain and name.
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct tls_config;
struct tls;

// PEM files. ca: what signs servers, NULL for the system's; cert and key: who we are, NULL for nobody.
int tls_config_new(const char *ca, const char *cert, const char *key, struct tls_config **ret, struct err *err);
void tls_config_free(struct tls_config *config); // sessions may outlive it; NULL is fine

// name: the host name or IP address that the peer's certificate must be for.
struct tls *tls_new(struct tls_config *config, const char *name);
void tls_free(struct tls *tls); // NULL is fine

// Bytes from the socket; what they decrypt to is appended to plain. -ECONNRESET at the peer's proper end, -EPROTO,
// -EACCES (the certificate is not good, or ours was refused), -ENOBUFS.
int tls_feed(struct tls *tls, const char *bytes, size_t n, struct buf *plain, struct err *err);
// Encrypts plain (kept and sent once the handshake is through). -EPROTO.
int tls_write(struct tls *tls, const char *plain, size_t n, struct err *err);
// Appends what is to go to the socket. -ENOBUFS.
int tls_take(struct tls *tls, struct buf *out);
