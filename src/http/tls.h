// TLS (1.2 or later) as a state machine over OpenSSL with memory BIOs, for either side: bytes in, bytes out. A client
// always verifies its peer's certificate, chain and name; a server asks for one as it is told to.
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

struct tls_config; // may be shared by threads
struct tls;        // belongs to one

enum tls_ask { TLS_ASK_NOTHING, TLS_ASK_OPTIONAL, TLS_ASK_REQUIRED };

struct tls_spec {
	bool server;
	const char *alpn;     // the one protocol spoken: "h2", "http/1.1"
	enum tls_ask ask;     // servers: whether a client shall have a certificate
	bool believe_anybody; // a client: verifies nothing. For asking what is then checked by other means
	bool no_authority;    // a client: trusts nobody as yet; to be reloaded
	const char *ca; // PEM: who signs the peer's certificate; NULL: for a client the system's, for a server nobody
	const char *chain; // PEM: our certificate, and what stands between it and its authority; NULL: none
	const char *key;   // PEM: and its key
};

int tls_config_new(const struct tls_spec *spec, struct tls_config **ret, struct err *err); // copies what it needs
// For a client that speaks h2, out of files. ca: NULL for the system's; cert and key: who we are, NULL for nobody (key
// NULL: it is in cert).
int tls_config_read(const char *ca, const char *cert, const char *key, struct tls_config **ret, struct err *err);
// The same with other certificates (server and alpn stay): connections made from now on use them, those there are go
// on. What a client remembers of servers is forgotten; clients of a server still resume. After an error all is as it
// was.
int tls_config_reload(struct tls_config *config, const struct tls_spec *spec, struct err *err);
void tls_config_free(struct tls_config *config); // sessions may outlive it; NULL is fine

// name, for a client: whom the peer's certificate must be for: a host name, an IP address, or, when it has a "://", a
// URI; one that ends in '/' stands for all that begin so. For a server: NULL.
struct tls *tls_new(struct tls_config *config, const char *name);
void tls_free(struct tls *tls); // NULL is fine

// Bytes from the socket; what they decrypt to is appended to plain (which has room for twice of n, and 32 KiB).
// -ECONNRESET at the peer's proper end, -EPROTO, -EACCES (the certificate is not good, or ours was refused), -ENOBUFS.
// After an error tls_take may still have something to tell the peer.
int tls_feed(struct tls *tls, const char *bytes, size_t n, struct buf *plain, struct err *err);
// Encrypts plain (kept and sent once the handshake is through). -EPROTO.
int tls_write(struct tls *tls, const char *plain, size_t n, struct err *err);
// Tells the peer that nothing more comes from us; we may still be given something.
void tls_end(struct tls *tls);
// Appends what is to go to the socket. -ENOBUFS.
int tls_take(struct tls *tls, struct buf *out);

bool tls_through(const struct tls *tls); // the handshake is done, and the peer is who it should be
bool tls_resumed(const struct tls *tls);
bool tls_current(const struct tls *tls); // its settings have not been reloaded since
// Who the peer is by its verified certificate: its first URI, or else its common name; NULL: it has shown none.
const char *tls_peer(const struct tls *tls);

// Whether bytes may be how a peer begins that speaks TLS.
bool tls_begins(const char *bytes, size_t n);
