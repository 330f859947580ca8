#include "http/channel.h"

#include "base/str.h"

#include <errno.h>
#include <sys/socket.h>

enum { RAW = 16 << 10, PLAIN_MAX = 128 << 10, OUT_MAX = 1 << 20, RECORD = 16 << 10 };

void channel_init(struct channel *ch, int fd, struct tls *tls)
{
	*ch = (struct channel){ .fd = fd, .tls = tls, .plain = BUF_INIT(PLAIN_MAX), .out = BUF_INIT(OUT_MAX) };
}

void channel_clear(struct channel *ch)
{
	if (ch->fd >= 0)
		close(ch->fd);
	ch->fd = -1;
	tls_free(TAKE_PTR(ch->tls));
	buf_clear(&ch->plain);
	buf_clear(&ch->out);
}

static ssize_t recv_raw(struct channel *ch, char *to, size_t n)
{
	for (;;) {
		ssize_t got = recv(ch->fd, to, n, 0);
		if (got >= 0 || errno != EINTR)
			return got < 0 ? -errno : got;
	}
}

// What the socket gave goes through TLS. Only 0 and what ends the connection come back.
static int feed(struct channel *ch, const char *bytes, size_t n)
{
	int r = tls_feed(ch->tls, bytes, n, &ch->plain, &ch->err);
	if (tls_take(ch->tls, &ch->out) < 0)
		return ch->err.code ? ch->err.code : err_set(&ch->err, -ENOBUFS, "the peer asks for too many answers");
	if (r == -ECONNRESET) {
		ch->ended = true;
		ch->err = (struct err){ 0 };
		return 0;
	}
	return r;
}

ssize_t channel_drop(struct channel *ch)
{
	char raw[RAW];
	buf_clear(&ch->plain);
	return recv_raw(ch, raw, sizeof(raw));
}

static ssize_t take_plain(struct channel *ch, char *to, size_t n)
{
	size_t got = buf_len(&ch->plain) < n ? buf_len(&ch->plain) : n;
	memcpy(to, buf_data(&ch->plain), got);
	buf_consume(&ch->plain, got);
	if (!buf_len(&ch->plain))
		buf_clear(&ch->plain);
	return (ssize_t)got;
}

// A peer that does not begin with TLS and may go on without: what it said is what it says.
static bool falls_back(struct channel *ch, const char *bytes, size_t n)
{
	if (ch->heard || !ch->may_plain || tls_begins(bytes, n))
		return false;
	tls_free(TAKE_PTR(ch->tls));
	buf_reset(&ch->out);
	buf_add(&ch->plain, bytes, n);
	return true;
}

ssize_t channel_recv(struct channel *ch, char *to, size_t n)
{
	if (buf_len(&ch->plain))
		return take_plain(ch, to, n);
	if (!ch->tls)
		return recv_raw(ch, to, n);
	if (ch->err.code)
		return ch->err.code;
	if (ch->ended || ch->cut)
		return 0;
	char raw[RAW];
	ssize_t got = recv_raw(ch, raw, sizeof(raw));
	if (got < 0)
		return got;
	if (got == 0) {
		ch->cut = true;
		return 0;
	}
	if (falls_back(ch, raw, (size_t)got))
		return take_plain(ch, to, n);
	ch->heard = true;
	int r = feed(ch, raw, (size_t)got);
	int sent = channel_flush(ch);
	if (buf_len(&ch->plain))
		return take_plain(ch, to, n);
	if (r < 0)
		return r;
	if (ch->ended)
		return 0;
	return sent < 0 && sent != -EAGAIN ? sent : -EAGAIN;
}

int channel_flush(struct channel *ch)
{
	while (buf_len(&ch->out)) {
		ssize_t n = send(ch->fd, buf_data(&ch->out), buf_len(&ch->out), MSG_NOSIGNAL);
		if (n >= 0)
			buf_consume(&ch->out, (size_t)n);
		else if (errno != EINTR)
			return -errno;
	}
	buf_clear(&ch->out);
	return 0;
}

static ssize_t encrypt(struct channel *ch, const char *bytes, size_t n)
{
	size_t take = n < RECORD ? n : RECORD;
	int r = tls_write(ch->tls, bytes, take, &ch->err);
	if (r == 0 && tls_take(ch->tls, &ch->out) < 0)
		r = -ENOBUFS;
	return r < 0 ? r : (ssize_t)take;
}

ssize_t channel_send(struct channel *ch, const char *bytes, size_t n)
{
	if (!ch->tls) {
		ssize_t sent = send(ch->fd, bytes, n, MSG_NOSIGNAL);
		return sent < 0 ? -errno : sent;
	}
	if (!tls_through(ch->tls))
		return -EAGAIN;
	size_t done = 0;
	while (done < n) {
		int r = buf_len(&ch->out) >= CHANNEL_OUT ? channel_flush(ch) : 0;
		ssize_t taken = r < 0 ? r : encrypt(ch, bytes + done, n - done);
		if (taken < 0 && taken != -EAGAIN)
			return taken;
		if (taken < 0)
			return done ? (ssize_t)done : -EAGAIN;
		done += (size_t)taken;
	}
	int r = channel_flush(ch);
	return r < 0 && r != -EAGAIN ? r : (ssize_t)done;
}

bool channel_through(const struct channel *ch)
{
	return !ch->tls || tls_through(ch->tls);
}

bool channel_unread(const struct channel *ch)
{
	return buf_len(&ch->plain) || ch->ended || ch->cut || ch->err.code;
}

bool channel_unsent(const struct channel *ch)
{
	return buf_len(&ch->out) > 0;
}

int channel_end(struct channel *ch)
{
	if (ch->tls) {
		tls_end(ch->tls);
		tls_take(ch->tls, &ch->out);
		channel_flush(ch); // a socket that takes no 40 bytes now is not worth waiting for
	}
	return shutdown(ch->fd, SHUT_WR) < 0 ? -errno : 0;
}

bool channel_is_quiet(struct channel *ch)
{
	char byte;
	if (ch->tls && !tls_current(ch->tls))
		return false; // another certificate is to be shown, or another authority believed
	if (!ch->tls)
		return recv(ch->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
	// Tickets and new keys come unasked, and mean nothing to the caller.
	char raw[RAW];
	ssize_t n;
	while ((n = recv_raw(ch, raw, sizeof(raw))) > 0 && feed(ch, raw, (size_t)n) == 0 && !ch->ended &&
	       !buf_len(&ch->plain))
		;
	channel_flush(ch);
	return n == -EAGAIN && !ch->err.code;
}
