#include "server/status.h"

#include "base/str.h"
#include "image/stack.h"
#include "server/app_view.h"
#include "server/core.h"
#include "server/list.h"
#include "server/nodes.h"
#include "server/views.h"
#include "server/work.h"
#include "store/etcd.h"

#include <errno.h>

enum { MEMBERS_MAX = 100 };

void status_livez(struct request *rq)
{
	reply_json(rq, 200, json_pack("{s:s}", "status", "alive"));
}

static unsigned heard_nodes(const struct server *server)
{
	unsigned n = 0;
	size_t at = 0;
	void *value;
	while (map_next(&server->replica.nodes, &at, NULL, &value)) {
		const struct node_entry *node = value;
		n += node->exists && node->link.heard_full && node_is_connected((struct server *)server, node);
	}
	return n;
}

// Ready: the store is open (there would be no answer otherwise), an agent has reported, a router is connected.
void status_readyz(struct request *rq)
{
	struct server *server = rq->server;
	replica_catch_up(&server->replica);
	json_t *missing = json_array();
	if (!heard_nodes(server))
		json_array_append_new(missing, json_string("no node agent has reported"));
	if (server_leads(server) && !routers_connected(server))
		json_array_append_new(missing, json_string("no router is connected"));
	if (!json_array_size(missing)) {
		json_decref(missing);
		reply_json(rq, 200, json_pack("{s:s}", "status", "ready"));
		return;
	}
	struct err err = {};
	err_set(&err, -EAGAIN, "the platform is not ready: %s", json_string_value(json_array_get(missing, 0)));
	reply_problem_with(rq, 503, NULL, &err, json_pack("{s:o}", "missing", missing));
}

static unsigned count_routers(const struct server *server)
{
	unsigned n = 0;
	const struct router *router;
	LIST_EACH(router, &server->routers.all, link)
		n += !router->lost_ms;
	return n;
}

static unsigned count_apps(const struct server *server, unsigned *wanted, unsigned *ready)
{
	unsigned apps = 0;
	size_t at = 0;
	void *value;
	while (map_next(&server->replica.apps, &at, NULL, &value)) {
		const struct app_entry *app = value;
		if (!app->exists)
			continue;
		apps++;
		for (uint32_t i = 0; i < app->app.spec.process_count; i++) {
			*wanted += app_wanted(&app->app, app->app.spec.processes[i].name);
			*ready += app_counts(app, app->app.spec.processes[i].name).ready;
		}
	}
	return apps;
}

// "etcd://A,B,C" as a list; pieces is the text that it points into.
static uint32_t split_members(char *pieces, char *ret[MEMBERS_MAX])
{
	uint32_t n = 0;
	for (char *member; n < MEMBERS_MAX && (member = strsep(&pieces, ","));)
		ret[n++] = member;
	return n;
}

static void note_shared(struct server *server, struct store_view *view)
{
	struct store_etcd_stats etcd;
	struct store_stats stats;
	store_etcd_stats(server->store, &etcd);
	store_stats(server->store, &stats);
	view->member = etcd.member;
	view->version = etcd.version;
	view->waiting = stats.waiting;
}

void status_get(struct request *rq)
{
	struct server *server = rq->server;
	const struct platform *platform = server->platform;
	replica_catch_up(&server->replica);
	unsigned wanted = 0, ready = 0, apps = count_apps(server, &wanted, &ready);
	struct store_stats stats;
	store_stats(server->store, &stats);
	const char *url =
		platform->store && str_starts(platform->store, "etcd://") ? platform->store + strlen("etcd://") : "";
	AUTO_FREE char *pieces = xstrdup(url);
	char *members[MEMBERS_MAX];
	struct servers_told told;
	lead_list(server, &told);
	struct status_view view = {
		.platform = { platform->id, platform->domain, platform->http, platform->api, DIALTONE_VERSION },
		.nodes = heard_nodes(server),
		.routers = count_routers(server),
		.apps = apps,
		.instances = { wanted, ready },
		.store = { .driver = server->driver,
			   .revision = stats.revision,
			   .records = stats.records,
			   .full = stats.full },
		.server = server->name,
		.servers = told.servers,
		.server_count = told.server_count,
		.settled = server->control.settled,
	};
	if (store_is_shared(server->store)) {
		view.store.members = members;
		view.store.member_count = split_members(pieces, members);
		note_shared(server, &view.store);
	}
	reply_json(rq, 200, status_view_write(&view));
	servers_told_clear(&told);
}

// ---- stacks and runtimes: files, so read on the pool

struct image_list {
	struct request *rq;
	enum image_kind kind;
	char *cache;
	json_t *items;
	int failed;
	struct err err;
};

static json_t *image_json(const struct image *image)
{
	const struct image_view view = {
		.name = image->name,
		.version = image->version,
		.about = image->about,
		.layers = image->layers,
		.layer_count = (uint32_t)image->n_layers,
		.packages = image->packages,
		.package_count = (uint32_t)image->n_packages,
		.bytes = image->bytes,
		.built_ms = image->built_ms,
		.shell = image->has_shell,
		.stack = image->stack,
		.command = image->command,
		.build_ready = image->build_ready,
	};
	return fields_write(image->kind == IMAGE_STACK ? &stack_view_fields : &runtime_view_fields, &view);
}

static void read_images(void *arg)
{
	struct image_list *list = arg;
	struct image *images = NULL;
	size_t n = 0;
	list->failed = images_list(list->cache, list->kind, &images, &n, &list->err);
	if (list->failed < 0)
		return;
	list->items = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list->items, image_json(&images[i]));
	images_free(images, n);
}

static void images_were_read(void *arg)
{
	AUTO_FREE struct image_list *list = arg;
	AUTO_REQUEST struct request *rq = list->rq;
	free(list->cache);
	if (list->failed < 0)
		reply_problem(rq, status_of(list->failed), NULL, &list->err);
	else
		list_answer(rq, list->items, NULL);
}

static void list_images(struct request *rq, enum image_kind kind)
{
	struct image_list *list = xcalloc(1, sizeof(*list));
	*list = (struct image_list){ .rq = request_ref(rq),
				     .kind = kind,
				     .cache = xstrdup(rq->server->platform->cache) };
	server_work(rq->server, read_images, images_were_read, list);
}

void status_stacks(struct request *rq)
{
	list_images(rq, IMAGE_STACK);
}

void status_runtimes(struct request *rq)
{
	list_images(rq, IMAGE_RUNTIME);
}
