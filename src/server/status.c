#include "server/status.h"

#include "base/str.h"
#include "image/stack.h"
#include "server/app_view.h"
#include "server/core.h"
#include "server/list.h"
#include "server/nodes.h"
#include "server/work.h"

#include <errno.h>

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
		n += node->exists && node->link.heard_full && node_is_connected(node);
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
	if (!routers_connected(server))
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

void status_get(struct request *rq)
{
	struct server *server = rq->server;
	const struct platform *platform = server->platform;
	replica_catch_up(&server->replica);
	unsigned wanted = 0, ready = 0, apps = count_apps(server, &wanted, &ready);
	struct store_stats stats;
	store_stats(server->store, &stats);
	json_t *store = json_pack("{s:s, s:I, s:I, s:b}", "driver", server->driver, "revision",
				  (json_int_t)stats.revision, "records", (json_int_t)stats.records, "full", stats.full);
	reply_json(rq, 200,
		   json_pack("{s:{s:s, s:s, s:s, s:s, s:s}, s:i, s:i, s:i, s:{s:i, s:i}, s:o, s:b}", "platform", "id",
			     platform->id, "domain", platform->domain, "http", platform->http, "api", platform->api,
			     "version", DIALTONE_VERSION, "nodes", heard_nodes(server), "routers",
			     count_routers(server), "apps", apps, "instances", "wanted", wanted, "ready", ready,
			     "store", store, "settled", server->control.settled));
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

static json_t *texts(char *const *items, size_t n)
{
	json_t *array = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, json_string(items[i]));
	return array;
}

static json_t *image_json(const struct image *image)
{
	json_t *json = json_pack("{s:s, s:s, s:s?, s:o, s:o, s:I, s:I}", "name", image->name, "version", image->version,
				 "about", image->about, "layers", texts(image->layers, image->n_layers), "packages",
				 texts(image->packages, image->n_packages), "bytes", (json_int_t)image->bytes,
				 "built_ms", (json_int_t)image->built_ms);
	if (image->kind == IMAGE_STACK) {
		json_object_set_new(json, "shell", json_boolean(image->has_shell));
		return json;
	}
	json_object_set_new(json, "stack", image->stack ? json_string(image->stack) : json_null());
	json_object_set_new(json, "command", image->command ? json_string(image->command) : json_null());
	json_object_set_new(json, "build_ready", json_boolean(image->build_ready));
	return json;
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
