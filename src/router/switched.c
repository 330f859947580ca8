#include "router/switched.h"

#include <sys/socket.h>

void switched_start(struct downstream *c, const char *bytes, size_t n)
{
	struct exchange *x = &c->x;
	c->state = DOWN_TUNNEL;
	c->close_after = false;
	downstream_allow(c, c->worker->limits.tunnel_ms);
	buf_consume(&x->to_up, x->sent);
	x->sent = 0;
	bool room = buf_add(&c->out, bytes, n) == 0 &&
		    buf_add(&x->to_up, buf_len(&c->in) ? buf_data(&c->in) : "", buf_len(&c->in)) == 0;
	buf_clear(&c->in);
	if (!room) {
		downstream_close(c);
		return;
	}
	exchange_flush(c);
	if (!c->closed)
		downstream_flush(c);
}

void switched_from_client(struct downstream *c, const char *bytes, size_t n)
{
	downstream_allow(c, c->worker->limits.tunnel_ms);
	if (buf_add(&c->x.to_up, bytes, n) < 0)
		downstream_close(c);
	else
		exchange_flush(c);
}

void switched_from_up(struct downstream *c, const char *bytes, size_t n)
{
	downstream_allow(c, c->worker->limits.tunnel_ms);
	if (buf_add(&c->out, bytes, n) < 0)
		downstream_close(c);
	else
		downstream_flush(c);
}

void switched_client_closed(struct downstream *c)
{
	c->x.client_eof = true;
	exchange_flush(c);
	downstream_update(c);
}

void switched_up_closed(struct downstream *c, bool error)
{
	c->x.up_eof = true;
	if (error)
		downstream_close(c);
	else
		downstream_flush(c);
}

static void close_if_through(struct downstream *c)
{
	const struct exchange *x = &c->x;
	if (x->up_eof && x->client_eof && !buf_len(&c->out) && !buf_len(&x->to_up))
		downstream_close(c);
}

void switched_sent_up(struct downstream *c)
{
	struct exchange *x = &c->x;
	if (x->write_broken) { // it takes no more: as if the client had nothing more to say
		buf_reset(&x->to_up);
		x->client_eof = true;
	}
	if (x->client_eof && !buf_len(&x->to_up))
		shutdown(x->up->poll.fd, SHUT_WR);
	close_if_through(c);
}

void switched_sent_down(struct downstream *c)
{
	if (c->x.up_eof)
		shutdown(c->poll.fd, SHUT_WR);
	close_if_through(c);
}
