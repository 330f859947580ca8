#include "http/handover.h"

#include "base/str.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

enum { ROOM = 64 << 10 };

struct handover {
	struct list link;
	struct channel far;
	int near;
	struct poll far_poll, near_poll;
	struct task task;
	struct buf in;              // decrypted, for the taker
	struct buf out;             // from the taker, to be encrypted
	bool far_ended, near_ended; // nothing more comes from there
	bool near_told, far_told;   // and the other one knows
	bool far_blocked, near_blocked;
	bool deaf; // the taker has closed; what it wrote before still goes out
	void (*on_over)(void *arg);
	void *arg;
};

static void stop(struct handover *h)
{
	poll_stop(&h->far_poll);
	poll_stop(&h->near_poll);
	task_clear(&h->task);
	close(h->near);
	channel_clear(&h->far);
	buf_clear(&h->in);
	buf_clear(&h->out);
	list_remove(&h->link);
	free(h);
}

void handovers_stop(struct list *all)
{
	while (!list_empty(all))
		stop(LIST_ENTRY(all->next, struct handover, link));
}

static void far_ready(struct poll *poll, int events)
{
	struct handover *h = CONTAINER_OF(poll, struct handover, far_poll);
	if (events & POLL_WRITE)
		h->far_blocked = false;
	task_wake(&h->task);
}

static void near_ready(struct poll *poll, int events)
{
	struct handover *h = CONTAINER_OF(poll, struct handover, near_poll);
	if (events & POLL_WRITE)
		h->near_blocked = false;
	task_wake(&h->task);
}

static bool is_temporary(ssize_t n)
{
	return n == -EAGAIN || n == -EINTR;
}

// Up to ROOM from there; false when it broke.
static bool read_far(struct handover *h)
{
	while (!h->far_ended && buf_len(&h->in) < ROOM) {
		char *room;
		if (buf_reserve(&h->in, ROOM, &room) < 0)
			return true;
		ssize_t n = channel_recv(&h->far, room, ROOM);
		if (n > 0)
			buf_commit(&h->in, (size_t)n);
		else if (n == 0 && h->far.cut)
			return false; // not its proper end: the connection is gone
		else if (n == 0)
			h->far_ended = true;
		else
			return is_temporary(n);
	}
	return true;
}

static void write_near(struct handover *h)
{
	if (h->deaf)
		buf_reset(&h->in);
	while (buf_len(&h->in) && !h->near_blocked) {
		ssize_t n = send(h->near, buf_data(&h->in), buf_len(&h->in), MSG_NOSIGNAL);
		if (n >= 0)
			buf_consume(&h->in, (size_t)n);
		else if (errno == EAGAIN)
			h->near_blocked = true;
		else if (errno != EINTR)
			h->deaf = h->near_told = true;
		if (h->deaf)
			buf_reset(&h->in);
	}
	if (h->far_ended && !buf_len(&h->in) && !h->near_told) {
		h->near_told = true;
		shutdown(h->near, SHUT_WR);
	}
}

static void read_near(struct handover *h)
{
	while (!h->near_ended && buf_len(&h->out) < ROOM) {
		char *room;
		if (buf_reserve(&h->out, ROOM, &room) < 0)
			return;
		ssize_t n = recv(h->near, room, ROOM, 0);
		if (n > 0)
			buf_commit(&h->out, (size_t)n);
		else if (n == 0 || !is_temporary(-errno))
			h->near_ended = true;
		else
			return;
	}
	struct pollfd near = { .fd = h->near };
	if (h->near_ended && poll(&near, 1, 0) > 0 && near.revents & POLLHUP)
		h->deaf = h->near_told = true; // not only ended, but closed
}

static bool write_far(struct handover *h)
{
	ssize_t n = h->far_blocked ? -EAGAIN : channel_flush(&h->far);
	while (n >= 0 && buf_len(&h->out)) {
		n = channel_send(&h->far, buf_data(&h->out), buf_len(&h->out));
		if (n > 0)
			buf_consume(&h->out, (size_t)n);
	}
	h->far_blocked = is_temporary(n) || channel_unsent(&h->far);
	if (n < 0 && !is_temporary(n))
		return false;
	if (h->near_ended && !buf_len(&h->out) && !channel_unsent(&h->far) && !h->far_told) {
		h->far_told = true;
		return channel_end(&h->far) == 0;
	}
	return true;
}

static void set_polls(struct handover *h)
{
	bool to_send = buf_len(&h->out) || channel_unsent(&h->far);
	poll_set(&h->far_poll, (!h->far_ended && buf_len(&h->in) < ROOM ? POLL_READ : 0) |
				       (to_send && h->far_blocked ? POLL_WRITE : 0));
	poll_set(&h->near_poll, (!h->near_ended && buf_len(&h->out) < ROOM ? POLL_READ : 0) |
					(h->near_ended && !h->deaf ? POLL_HANGUP : 0) |
					(buf_len(&h->in) && h->near_blocked ? POLL_WRITE : 0));
}

static void carry(struct task *task)
{
	struct handover *h = CONTAINER_OF(task, struct handover, task);
	bool alive = read_far(h);
	write_near(h);
	read_near(h);
	alive = alive && write_far(h);
	if (alive && !(h->near_told && h->far_told)) {
		set_polls(h);
		if ((buf_len(&h->out) && !h->far_blocked) || (buf_len(&h->in) && !h->near_blocked) ||
		    (channel_unread(&h->far) && !h->far_ended && buf_len(&h->in) < ROOM))
			task_wake(&h->task);
		return;
	}
	void (*on_over)(void *arg) = h->on_over;
	void *arg = h->arg;
	stop(h);
	if (on_over)
		on_over(arg);
}

int handover_start(struct loop *loop, struct list *all, struct channel *ch, void (*on_over)(void *arg), void *arg,
		   int *ret_fd)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	struct handover *h = xcalloc(1, sizeof(*h));
	*h = (struct handover){ .far = *ch,
				.near = pair[0],
				.in = BUF_INIT(4 * ROOM),
				.out = BUF_INIT(4 * ROOM),
				.on_over = on_over,
				.arg = arg };
	channel_init(ch, -1, NULL);
	list_append(all, &h->link);
	task_init(&h->task, loop, "tls handover", carry);
	int r = poll_start(&h->near_poll, loop, h->near, POLL_READ, near_ready);
	if (r == 0)
		r = poll_start(&h->far_poll, loop, h->far.fd, POLL_READ, far_ready);
	if (r < 0) {
		stop(h);
		close(pair[1]);
		return r;
	}
	task_wake(&h->task);
	*ret_fd = pair[1];
	return 0;
}
