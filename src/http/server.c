#include "http/server.h"

#include "base/str.h"
#include "http/connection.h"
#include "http/handover.h"

#include <errno.h>

#define ACCEPT_BATCH 64
#define ACCEPT_PAUSE_MS 100

struct listener {
	struct http_server *server;
	struct list link;
	struct poll poll;
	int fd;
};

static unsigned or_default(unsigned value, unsigned fallback)
{
	return value ? value : fallback;
}

static void accept_resumed(struct timer *timer)
{
	struct http_server *server = CONTAINER_OF(timer, struct http_server, accept_again);
	struct listener *l;
	LIST_EACH(l, &server->listeners, link)
		poll_set(&l->poll, POLL_READ);
}

// Out of descriptors: the listening sockets stay readable, so that polling them would spin.
static void accept_paused(struct http_server *server)
{
	struct listener *l;
	LIST_EACH(l, &server->listeners, link)
		poll_set(&l->poll, 0);
	timer_set(&server->accept_again, ACCEPT_PAUSE_MS);
}

static void accept_ready(struct poll *poll, UNUSED int events)
{
	struct listener *l = CONTAINER_OF(poll, struct listener, poll);
	struct http_server *server = l->server;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct address peer;
		int fd = -1;
		int r = socket_accept(l->fd, &peer, &fd);
		if (r == -EAGAIN)
			return;
		if (r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS) {
			accept_paused(server);
			return;
		}
		if (r < 0)
			continue; // that one broke before it was taken
		if (server->n_connections >= server->config.max_connections)
			close(fd);
		else
			connection_new(server, fd, &peer);
	}
}

struct http_server *http_server_new(struct loop *loop, const struct http_server_config *config)
{
	struct http_server *server = xcalloc(1, sizeof(*server));
	server->loop = loop;
	server->config = *config;
	struct http_server_config *c = &server->config;
	c->max_connections = c->max_connections ? c->max_connections : 10000;
	c->max_bodies = c->max_bodies ? c->max_bodies : 128 << 20;
	c->handshake_timeout_ms = or_default(c->handshake_timeout_ms, 10000);
	c->head_timeout_ms = or_default(c->head_timeout_ms, 10000);
	c->body_timeout_ms = or_default(c->body_timeout_ms, 30000);
	c->idle_timeout_ms = or_default(c->idle_timeout_ms, 75000);
	list_init(&server->listeners);
	list_init(&server->connections);
	list_init(&server->handovers);
	timer_init(&server->accept_again, loop, accept_resumed);
	return server;
}

void http_server_secure(struct http_server *server, struct tls_config *tls, bool plain_on_loopback)
{
	server->config.tls = tls;
	server->config.plain_on_loopback = plain_on_loopback;
}

int http_server_listen(struct http_server *server, int fd, struct err *err)
{
	struct listener *l = xcalloc(1, sizeof(*l));
	l->server = server;
	l->fd = fd;
	int r = poll_start(&l->poll, server->loop, fd, POLL_READ, accept_ready);
	if (r < 0) {
		close(fd);
		free(l);
		return err_set_errno(err, r, "cannot watch the listening socket");
	}
	list_append(&server->listeners, &l->link);
	return 0;
}

static void stop_listening(struct http_server *server)
{
	struct listener *l;
	LIST_EACH(l, &server->listeners, link) {
		list_remove(&l->link);
		poll_stop(&l->poll);
		close(l->fd);
		free(l);
	}
	timer_stop(&server->accept_again);
}

void http_server_drain(struct http_server *server)
{
	server->draining = true;
	stop_listening(server);
	struct connection *c;
	LIST_EACH(c, &server->connections, link)
		if (connection_is_idle(c) && !c->running)
			connection_close(c);
}

void http_server_free(struct http_server *server)
{
	if (!server)
		return;
	stop_listening(server);
	while (!list_empty(&server->connections))
		connection_close(LIST_ENTRY(server->connections.next, struct connection, link));
	handovers_stop(&server->handovers);
	timer_clear(&server->accept_again);
	free(server);
}
