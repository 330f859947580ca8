// Private to src/http: a socket as its drivers see it, plain or under TLS. Owns the descriptor. Over TLS it holds at
// most some 48 KiB that were decrypted and not yet asked for, and CHANNEL_OUT that wait for the socket.
#pragma once

#include "base/buf.h"
#include "http/tls.h"

#include <sys/types.h>

#define CHANNEL_OUT (64 << 10)

struct channel {
	int fd;
	struct tls *tls; // NULL: plain
	struct buf plain, out;
	bool heard;     // a byte has come
	bool may_plain; // a peer that begins in plain is met in plain
	bool ended;     // the peer's proper end has come
	bool cut;       // or its connection was closed without it
	struct err err; // why TLS failed; code 0 while it has not
};

void channel_init(struct channel *ch, int fd, struct tls *tls); // takes both
void channel_clear(struct channel *ch);                         // closes

// As recv and send, but return a negative errno. -EPROTO and -EACCES: see err, and call channel_flush once more, so
// that the peer hears why. channel_recv returns 0 at the end, also when the connection was cut.
ssize_t channel_recv(struct channel *ch, char *to, size_t n);
ssize_t channel_send(struct channel *ch, const char *bytes, size_t n);
int channel_flush(struct channel *ch); // sends what waits: 0, -EAGAIN, or what broke

// The handshake of a client is done, or there is none.
bool channel_through(const struct channel *ch);
// channel_recv has something although the socket may be silent.
bool channel_unread(const struct channel *ch);
bool channel_unsent(const struct channel *ch);

// Reads what the socket gives and drops it, for who only waits for the close: as recv.
ssize_t channel_drop(struct channel *ch);

// No more comes from us; after channel_flush. Then the other direction goes on.
int channel_end(struct channel *ch);

// Nothing has come from the peer and it is still there; for one that has nothing to say at present.
bool channel_is_quiet(struct channel *ch);
