#include "server/watch.h"

#include "base/str.h"
#include "server/app_view.h"
#include "server/change.h"
#include "server/core.h"

struct watch {
	struct stream stream;
	struct app_entry *app;
	struct list link; // app->watches
	bool dirty;
};

static void watch_free(struct watch *watch, struct server *server)
{
	struct app_entry *app = watch->app;
	stream_close(&watch->stream);
	list_remove(&watch->link);
	free(watch);
	if (list_empty(&app->watches))
		list_remove(&app->changed);
	app_entry_settle(&server->replica, app);
}

static void send_state(struct server *server, struct watch *watch)
{
	struct app_entry *app = watch->app;
	watch->dirty = !stream_writable(&watch->stream);
	if (watch->dirty)
		return;
	if (app->exists) {
		stream_event(&watch->stream, "state", app->revision,
			     json_pack("{s:o, s:o}", "app", app_json(server, app, CHANGED_UNSAID), "instances",
				       instances_json(app)));
		return;
	}
	stream_event(&watch->stream, "deleted", 0, json_pack("{s:s}", "app", strrchr(app->key, '/') + 1));
	watch_free(watch, server);
}

static void room(struct stream *s)
{
	struct watch *watch = CONTAINER_OF(s, struct watch, stream);
	if (watch->dirty)
		send_state(s->rq->server, watch);
}

static void closed(struct stream *s, struct server *server)
{
	watch_free(CONTAINER_OF(s, struct watch, stream), server);
}

void watch_app(struct request *rq)
{
	struct app_entry *app = request_app(rq);
	if (!app)
		return;
	struct watch *watch = xcalloc(1, sizeof(*watch));
	if (!stream_open(&watch->stream, rq, room, closed)) {
		free(watch);
		return;
	}
	watch->app = app;
	list_append(&app->watches, &watch->link);
	send_state(rq->server, watch);
}

static void tell(struct server *server, struct app_entry *app)
{
	list_remove(&app->changed);
	// The last watcher of a deleted app takes the entry with it.
	bool exists = app->exists;
	struct watch *watch;
	for (struct list *at = app->watches.next, *next; at != &app->watches; at = next) {
		next = at->next;
		bool last = next == &app->watches;
		watch = LIST_ENTRY(at, struct watch, link);
		send_state(server, watch);
		if (!exists && last)
			return;
	}
}

void watches_flush(struct server *server)
{
	struct replica *replica = &server->replica;
	while (!list_empty(&replica->changed_apps))
		tell(server, LIST_ENTRY(replica->changed_apps.next, struct app_entry, changed));
}
