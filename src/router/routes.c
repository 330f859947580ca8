#include "router/routes.h"

#include "base/log.h"
#include "base/str.h"
#include "client/identity.h"
#include "io/file.h"

#include <errno.h>

#define TABLE_SIZE_MAX (64 << 20)

struct saving {
	char *path, *text;
	struct routes *routes; // NULL: it was stopped meanwhile
};

struct routes {
	struct worker *worker;
	struct client_servers *servers;
	struct client_identity *identity;
	struct client_watch *watch; // of the routes, on the server that decides
	char *name;                 // of this router
	char *file;                 // the kept table
	char *unsaved;              // the newest table's text, waiting for the write before it
	struct saving *saving;
	struct task ack;
	struct acking *acking; // the acknowledgement under way; NULL: none
	bool ack_again;
	bool away; // no routes come; has been said
};

// One to a server that no longer decides, or hangs, holds up none to the next.
struct acking {
	struct routes *routes; // NULL: another has been sent since, elsewhere
	const struct client_link *link;
};

static void swap_table(struct worker *worker, const struct route_table *from)
{
	struct table *before = worker->table;
	upstreams_unmark(&worker->upstreams);
	worker->table = table_new(from, &worker->upstreams);
	upstreams_retire(&worker->upstreams);
	table_unref(before);
}

static void save_next(struct routes *routes);

static void save_work(void *arg)
{
	struct saving *saving = arg;
	struct err err = { 0 };
	if (file_write_atomic(saving->path, saving->text, strlen(saving->text), 0600, &err) < 0)
		log_warn("route table not kept error=\"%s\"", err.text);
}

static void save_done(void *arg)
{
	struct saving *saving = arg;
	struct routes *routes = saving->routes;
	free(saving->path);
	free(saving->text);
	free(saving);
	if (!routes)
		return;
	routes->saving = NULL;
	save_next(routes);
}

static void save_next(struct routes *routes)
{
	if (routes->saving || !routes->unsaved)
		return;
	struct saving *saving = xcalloc(1, sizeof(*saving));
	*saving = (struct saving){ xstrdup(routes->file), TAKE_PTR(routes->unsaved), routes };
	routes->saving = saving;
	loop_work(routes->worker->loop, save_work, save_done, saving);
}

static void ack_done(UNUSED const struct client_answer *answer, UNUSED const struct err *err, void *arg)
{
	struct acking *acking = arg;
	struct routes *routes = acking->routes;
	free(acking);
	if (!routes)
		return;
	routes->acking = NULL;
	if (routes->ack_again)
		task_wake(&routes->ack);
}

static json_t *ack_body(struct worker *worker)
{
	json_t *busy = json_array();
	size_t at = 0;
	void *value;
	while (map_next(&worker->upstreams.by_id, &at, NULL, &value)) {
		const struct upstream *u = value;
		if (u->outstanding && !u->current)
			json_array_append_new(busy, json_stringn(u->id, strcspn(u->id, " ")));
	}
	return json_pack("{s:I, s:o}", "version", (json_int_t)worker->table->version, "busy", busy);
}

static void send_ack(struct task *task)
{
	struct routes *routes = CONTAINER_OF(task, struct routes, ack);
	struct client_link *link = client_watch_link(routes->watch);
	if (!routes->worker->table || !link)
		return;
	routes->ack_again = routes->acking && routes->acking->link == link;
	if (routes->ack_again)
		return;
	if (routes->acking)
		routes->acking->routes = NULL;
	routes->acking = xcalloc(1, sizeof(*routes->acking));
	*routes->acking = (struct acking){ routes, link };
	AUTO_FREE char *path = xasprintf("/v1/routers/%s/ack", routes->name);
	json_t *body = ack_body(routes->worker);
	client_link_call(link, "POST", path, body, ack_done, routes->acking);
	json_decref(body);
}

static void on_idle(struct upstreams *set)
{
	struct worker *worker = CONTAINER_OF(set, struct worker, upstreams);
	if (worker->routes)
		task_wake(&worker->routes->ack);
}

static void on_event(const struct sse_event *event, void *arg)
{
	struct routes *routes = arg;
	if (!str_eq(event->event, "routes"))
		return;
	struct route_table from = { 0 };
	struct err err = { 0 };
	if (route_table_parse_text(event->data, event->data_len, &from, &err) < 0) {
		log_error("route table refused error=\"%s\"", err.text);
		return;
	}
	log_debug("route table version=%llu routes=%u", (unsigned long long)from.version, from.route_count);
	swap_table(routes->worker, &from);
	route_table_clear(&from);
	free(routes->unsaved);
	routes->unsaved = xstrndup(event->data, event->data_len);
	save_next(routes);
	task_wake(&routes->ack);
}

static void on_state(bool connected, const struct err *err, void *arg)
{
	struct routes *routes = arg;
	if (connected)
		log_info("connected to the server");
	else if (!routes->away)
		log_warn("no connection to the server, serving by the last routes error=\"%s\"", err ? err->text : "");
	routes->away = !connected;
}

static void load_kept(struct routes *routes)
{
	AUTO_BUF struct buf text = BUF_INIT(TABLE_SIZE_MAX);
	struct err err = { 0 };
	struct route_table from = { 0 };
	int r = file_read(routes->file, &text, &err);
	if (r == -ENOENT)
		return;
	if (r == 0)
		r = route_table_parse_text(buf_data(&text), buf_len(&text), &from, &err);
	if (r < 0) {
		log_warn("kept route table passed over error=\"%s\"", err.text);
		return;
	}
	swap_table(routes->worker, &from);
	route_table_clear(&from);
}

static int connect_server(struct routes *routes, const struct platform *platform, struct err *err)
{
	AUTO_BUF struct buf token = BUF_INIT(4096);
	AUTO_FREE char *token_file = xasprintf("%s/secrets/node.token", platform->data);
	int r = file_read(token_file, &token, err);
	if (r < 0)
		return r;
	AUTO_FREE char *secret = buf_take(&token);
	secret[strcspn(secret, "\r\n")] = '\0';
	AUTO_FREE char *addresses = platform_servers(platform);
	AUTO_FREE char *file = xasprintf("%s/router/servers.json", platform->data);
	struct client_servers_spec servers = { .loop = routes->worker->loop,
					       .addresses = addresses,
					       .token = secret,
					       .file = platform_is_shared(platform) ? file : NULL };
	client_identity_prepare(platform->data);
	r = client_servers_new(&servers, &routes->servers, err);
	if (r < 0)
		return r;
	routes->identity = client_identity_start(&(struct client_identity_spec){ .loop = routes->worker->loop,
										  .servers = routes->servers,
										  .data = platform->data,
										  .token = secret });
	AUTO_FREE char *path = xasprintf("/v1/routers/%s/routes", routes->name);
	struct client_watch_spec spec = { .path = path, .on_event = on_event, .on_state = on_state, .arg = routes };
	routes->watch = client_servers_watch(routes->servers, &spec);
	return 0;
}

int routes_start(struct worker *worker, const struct platform *platform, struct routes **ret, struct err *err)
{
	AUTO_FREE char *folder = xasprintf("%s/router", platform->data);
	int r = dir_make(folder, 0700, err);
	if (r < 0)
		return r;
	struct routes *routes = xcalloc(1, sizeof(*routes));
	routes->worker = worker;
	routes->name = xasprintf("router-%s", platform->id);
	routes->file = xasprintf("%s/routes.json", folder);
	task_init(&routes->ack, worker->loop, "ack", send_ack);
	worker->routes = routes;
	worker->upstreams.on_idle = on_idle;
	load_kept(routes);
	r = connect_server(routes, platform, err);
	if (r < 0) {
		routes_stop(routes);
		return r;
	}
	*ret = routes;
	return 0;
}

void routes_stop(struct routes *routes)
{
	if (!routes)
		return;
	routes->worker->routes = NULL;
	client_watch_stop(routes->watch);
	client_identity_stop(routes->identity);
	client_servers_free(routes->servers);
	if (routes->saving)
		routes->saving->routes = NULL;
	task_clear(&routes->ack);
	free(routes->acking);
	free(routes->name);
	free(routes->file);
	free(routes->unsaved);
	free(routes);
}
