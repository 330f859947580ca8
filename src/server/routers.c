#include "server/routers.h"

#include "base/log.h"
#include "base/str.h"
#include "server/core.h"
#include "server/route.h"
#include "server/route_table.h"

enum { VERSION_BITS = 24 }; // tables one server publishes in its time

void routers_open(struct server *server)
{
	struct routers *routers = &server->routers;
	*routers = (struct routers){ .started_ms = loop_now_ms(server->loop) };
	list_init(&routers->all);
}

static void forget_busy(struct router *router)
{
	for (uint32_t i = 0; i < router->busy_count; i++)
		free(router->busy[i]);
	free(router->busy);
	router->busy = NULL;
	router->busy_count = 0;
}

static void router_free(struct router *router)
{
	stream_close(&router->stream);
	list_remove(&router->link);
	forget_busy(router);
	free(router->name);
	free(router);
}

void routers_close(struct server *server)
{
	if (!server->routers.all.next)
		return;
	struct router *router;
	LIST_EACH(router, &server->routers.all, link)
		router_free(router);
	free(server->routers.text);
}

void routers_begin(struct server *server, uint64_t term)
{
	struct routers *routers = &server->routers;
	routers->started_ms = loop_now_ms(server->loop);
	// Above whatever an earlier one published, without writing it down.
	routers->version = term << VERSION_BITS;
	routers->published = false;
}

void routers_end(struct server *server)
{
	struct router *router;
	LIST_EACH(router, &server->routers.all, link)
		router_free(router);
	server->routers.published = false;
}

static struct router *router_find(struct server *server, const char *name)
{
	struct router *router;
	LIST_EACH(router, &server->routers.all, link)
		if (str_eq(router->name, name))
			return router;
	router = xcalloc(1, sizeof(*router));
	router->name = xstrdup(name);
	router->lost_ms = loop_now_ms(server->loop);
	list_append(&server->routers.all, &router->link);
	return router;
}

bool routers_connected(const struct server *server)
{
	struct router *router;
	LIST_EACH(router, &server->routers.all, link)
		if (!router->lost_ms)
			return true;
	return false;
}

// ---- publishing

static void send_table(struct routers *routers, struct router *router)
{
	if (!routers->published || !stream_writable(&router->stream)) {
		router->dirty = true;
		return;
	}
	AUTO_BUF struct buf out = BUF_INIT(SIZE_MAX / 2);
	buf_addf(&out,
		 "event: routes\nid: %llu\ndata: {\"version\":%llu,\"routes\":", (unsigned long long)routers->version,
		 (unsigned long long)routers->version);
	buf_add_str(&out, routers->text);
	buf_add_str(&out, "}\n\n");
	stream_raw(&router->stream, buf_data(&out), buf_len(&out));
	router->dirty = false;
}

// A router that has been away for long no longer counts.
static void forget_ghosts(struct server *server, uint64_t now)
{
	struct router *router;
	LIST_EACH(router, &server->routers.all, link)
		if (router->lost_ms && now >= router->lost_ms + ROUTER_GHOST_MS)
			router_free(router);
}

uint64_t routers_publish(struct server *server)
{
	struct routers *routers = &server->routers;
	uint64_t now = loop_now_ms(server->loop);
	forget_ghosts(server, now);
	if (!server->control.routes_dirty || !server->control.settled)
		return 0;
	if (routers->published && now < routers->published_ms + ROUTES_PACE_MS)
		return routers->published_ms + ROUTES_PACE_MS - now;
	AUTO_FREE char *text = routes_text(server);
	if (!text)
		return 0; // an agent with instances has not been heard yet: what routers have is better
	server->control.routes_dirty = false;
	if (routers->published && str_eq(text, routers->text))
		return 0;
	free(routers->text);
	routers->text = TAKE_PTR(text);
	routers->version++;
	routers->published = true;
	routers->published_ms = now;
	struct router *router;
	LIST_EACH(router, &routers->all, link)
		send_table(routers, router);
	return 0;
}

static bool is_busy(const struct router *router, const char *instance)
{
	for (uint32_t i = 0; i < router->busy_count; i++)
		if (str_eq(router->busy[i], instance))
			return true;
	return false;
}

bool routers_serve(const struct server *server, uint64_t version)
{
	const struct router *router;
	LIST_EACH(router, &server->routers.all, link)
		if (router->lost_ms || router->acked < version)
			return false;
	return true;
}

bool routers_let_go(const struct server *server, const char *instance, uint64_t version)
{
	const struct routers *routers = &server->routers;
	if (list_empty(&routers->all)) // one that served before this process may not have come back yet
		return loop_now_ms(server->loop) >= routers->started_ms + ROUTER_GHOST_MS;
	const struct router *router;
	LIST_EACH(router, &routers->all, link)
		if (is_busy(router, instance))
			return false;
	return routers_serve(server, version);
}

// ---- requests

static void room(struct stream *s)
{
	struct router *router = CONTAINER_OF(s, struct router, stream);
	if (router->dirty)
		send_table(&s->rq->server->routers, router);
}

static void lost(struct router *router, struct server *server)
{
	router->lost_ms = loop_now_ms(server->loop);
	log_info("router gone router=%s", router->name);
	control_wake(server, 0);
}

// The stream is no longer open here, so the server comes along as the request's.
static void closed(struct stream *s, struct server *server)
{
	lost(CONTAINER_OF(s, struct router, stream), server);
}

void routers_stream(struct request *rq)
{
	const char *name = request_param(rq, "router");
	if (!str_is_label(name)) {
		reply_problemf(rq, 400, NULL, "'%.64s' is not a router's name: lower-case letters, digits and '-'",
			       name);
		return;
	}
	if (!lead_required(rq))
		return;
	struct router *router = router_find(rq->server, name);
	stream_close(&router->stream);
	if (!stream_open(&router->stream, rq, room, closed))
		return;
	router->lost_ms = 0;
	router->acked = 0;
	forget_busy(router);
	log_info("router connected router=%s from=%s", name, rq->from);
	send_table(&rq->server->routers, router);
	control_wake(rq->server, 0);
}

void routers_ack(struct request *rq)
{
	if (!lead_required(rq))
		return;
	struct router *router = router_find(rq->server, request_param(rq, "router"));
	struct route_ack *ack = rq->object;
	// A table of another server's time says nothing of those of this one.
	router->acked = ack->version <= rq->server->routers.version ? ack->version : 0;
	forget_busy(router);
	router->busy = TAKE_PTR(ack->busy);
	router->busy_count = ack->busy_count;
	ack->busy_count = 0;
	control_wake(rq->server, 0);
	reply_empty(rq, 204);
}
