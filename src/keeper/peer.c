#include "base/log.h"
#include "base/str.h"
#include "io/socket.h"
#include "keeper/hold.h"

#include <errno.h>

#define PEERS 64

static void peer_free(struct peer *p)
{
	poll_stop(&p->poll);
	close(p->fd);
	list_remove(&p->link);
	free(p);
}

static struct keeper_event event_of(const struct keeper_exit *record)
{
	struct keeper_event event = {
		.magic = KEEPER_MAGIC,
		.kind = KEEPER_EXIT,
		.pid = record->pid,
		.start_ticks = record->start_ticks,
		.status = record->status,
		.known = record->known,
		.time_ms = record->time_ms,
	};
	memcpy(event.id, record->id, sizeof(event.id));
	return event;
}

// False: the peer cannot take it (gone, or far behind); it is to be dropped and will hear everything when it comes
// back.
static bool send_event(const struct peer *p, const struct keeper_event *event)
{
	return packet_send(p->fd, event, sizeof(*event), NULL, 0) == 0;
}

void peers_tell_exit(struct keeper *k, const struct keeper_exit *record)
{
	struct keeper_event event = event_of(record);
	struct peer *p;
	LIST_EACH(p, &k->peers, link)
		if (p->subscribed && !send_event(p, &event))
			peer_free(p);
}

static bool subscribe(struct peer *p)
{
	const char *id;
	void *value;
	p->subscribed = true;
	for (size_t at = 0; map_next(&p->keeper->instances, &at, &id, &value);) {
		const struct instance *i = value;
		struct keeper_event event = event_of(&i->exit);
		if (i->has_exit && !send_event(p, &event))
			return false;
	}
	return true;
}

static int obey(struct keeper *k, const struct keeper_request *request, int fd)
{
	switch (request->verb) {
	case KEEPER_SUBSCRIBE:
	case KEEPER_STOP:
		return 0; // acted upon after the answer
	case KEEPER_RESUME:
		return fd >= 0 ? hold_resume(k, fd) : -EINVAL;
	case KEEPER_OUTPUT:
	case KEEPER_WATCH:
	case KEEPER_FORGET:
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (!instance_id_valid(request->id))
		return -EINVAL;
	if (request->verb == KEEPER_OUTPUT)
		return instance_output(k, request->id);
	if (request->verb == KEEPER_FORGET)
		return instance_forget(k, request->id);
	return request->pid > 0 ? instance_watch(k, request->id, request->pid, request->start_ticks) : -EINVAL;
}

// False: the peer is to be dropped. An EXIT that obey() gives rise to may drop it too, so it is looked up again.
static bool answer(struct keeper *k, struct peer *p, const struct keeper_request *request, int fd)
{
	bool was_subscribed = p->subscribed;
	p->subscribed = false; // its own EXIT comes behind the answer
	struct keeper_event event = { .magic = KEEPER_MAGIC, .kind = KEEPER_ANSWER, .serial = request->serial };
	memcpy(event.id, request->id, sizeof(event.id));
	event.result = obey(k, request, fd);
	p->subscribed = was_subscribed;
	if (!send_event(p, &event))
		return false;
	if (request->verb == KEEPER_SUBSCRIBE)
		return subscribe(p);
	const struct instance *i = request->verb == KEEPER_WATCH ? instance_get(k, event.id) : NULL;
	if (i && i->has_exit && p->subscribed) {
		struct keeper_event exit = event_of(&i->exit);
		return send_event(p, &exit);
	}
	return true;
}

static void peer_ready(struct poll *poll, UNUSED int events)
{
	struct peer *p = CONTAINER_OF(poll, struct peer, poll);
	struct keeper *k = p->keeper;
	struct keeper_request request;
	AUTO_CLOSE int fd = -1;
	size_t n_fds = 1;
	ssize_t n = packet_recv(p->fd, &request, sizeof(request), &fd, &n_fds);
	if (n == -EAGAIN)
		return;
	bool sound = n == (ssize_t)sizeof(request) && request.magic == KEEPER_MAGIC &&
		     memchr(request.id, '\0', sizeof(request.id));
	if (n > 0 && !sound)
		log_warn("peer dropped reason=\"not a request of this protocol\"");
	if (!sound || !answer(k, p, &request, fd))
		peer_free(p);
	if (sound && request.verb == KEEPER_STOP) {
		log_info("stopping reason=asked");
		parts_stop(k);
	}
}

static void accept_peer(struct poll *poll, UNUSED int events)
{
	struct keeper *k = CONTAINER_OF(poll, struct keeper, accepts);
	AUTO_CLOSE int fd = -1;
	if (socket_accept(k->socket_fd, NULL, &fd) < 0)
		return;
	unsigned count = 0;
	struct peer *p;
	LIST_EACH(p, &k->peers, link)
		count++;
	if (count >= PEERS) {
		log_warn("peer refused reason=\"%d are connected\"", PEERS);
		return;
	}
	p = xcalloc(1, sizeof(*p));
	*p = (struct peer){ .keeper = k, .fd = fd };
	list_init(&p->link);
	if (poll_start(&p->poll, k->loop, fd, POLL_READ, peer_ready) < 0) {
		free(p);
		return;
	}
	TAKE_FD(fd);
	list_append(&k->peers, &p->link);
}

int peers_listen(struct keeper *k, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/run/keeper.sock", k->data);
	int r = packet_listen(path, &k->socket_fd, err);
	if (r < 0)
		return r;
	r = poll_start(&k->accepts, k->loop, k->socket_fd, POLL_READ, accept_peer);
	return r < 0 ? err_set_errno(err, r, "cannot wait for connections on '%s'", path) : 0;
}

void peers_free(struct keeper *k)
{
	struct peer *p;
	LIST_EACH(p, &k->peers, link)
		peer_free(p);
	poll_stop(&k->accepts);
	cleanup_close(&k->socket_fd);
}
