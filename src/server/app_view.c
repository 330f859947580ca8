#include "server/app_view.h"

#include "base/str.h"
#include "server/core.h"
#include "server/route_table.h"

#include <errno.h>

// "http://HOST:PORT" + path, without the port when it is 80.
static char *url_of(const struct server *server, const struct spec_route *route)
{
	AUTO_FREE char *host = route_host(route->host, server->platform->domain);
	const char *colon = strrchr(server->platform->http, ':');
	const char *port = colon && !str_eq(colon, ":80") ? colon : "";
	return xasprintf("http://%s%s%s", host, port, route->path ? route->path : "/");
}

static void add_urls(const struct server *server, struct app_view *view)
{
	const struct spec *spec = &view->spec;
	view->urls = xcalloc(spec->route_count + 1, sizeof(*view->urls));
	for (uint32_t i = 0; i < spec->route_count; i++)
		view->urls[view->url_count++] = url_of(server, &spec->routes[i]);
}

static void add_processes(const struct app_entry *app, struct app_view *view)
{
	const struct spec *spec = &app->app.spec;
	view->processes = xcalloc(spec->process_count + 1, sizeof(*view->processes));
	for (uint32_t i = 0; i < spec->process_count; i++) {
		struct process_counts counts = app_counts(app, spec->processes[i].name);
		view->processes[view->process_count++] =
			(struct process_view){ .name = spec->processes[i].name,
					       .wanted = app_wanted(&app->app, spec->processes[i].name),
					       .ready = counts.ready,
					       .running = counts.running,
					       .completed = counts.completed };
	}
}

struct rollout_view *rollout_view_new(const struct app_entry *app)
{
	enum rollout rollout = app_rollout(app);
	if (rollout == ROLLOUT_DONE || rollout == ROLLOUT_STOPPED)
		return NULL;
	struct rollout_view *view = xcalloc(1, sizeof(*view));
	view->release = app->app.release;
	view->from = app_old_release(app);
	view->state = rollout == ROLLOUT_ROLLING ? ROLLOUT_STATE_ROLLING : ROLLOUT_STATE_FAILED;
	view->detail = app_detail(app);
	return view;
}

void rollout_view_free(struct rollout_view *view)
{
	if (view)
		free(view->detail);
	free(view);
}

static void view_free(struct app_view *view)
{
	for (uint32_t i = 0; i < view->url_count; i++)
		free(view->urls[i]);
	free(view->urls);
	free(view->processes);
	rollout_view_free(view->rollout);
}

json_t *app_json(struct server *server, struct app_entry *entry, int changed)
{
	const struct app *app = &entry->app;
	const struct release *release = replica_release(&server->replica, entry, app->release);
	struct app_view view = {
		.uid = app->uid,
		.name = app->name,
		.tenant = app->tenant,
		.environment = app->environment,
		.spec = app->spec,
		.release = app->release,
		.stack = release ? release->stack : NULL,
		.runtime = release ? release->runtime : NULL,
		.stopped = app->stopped,
		.state = app_state(entry),
		.rollout = rollout_view_new(entry),
		.revision = entry->revision,
		.created_ms = app->created_ms,
		.updated_ms = app->updated_ms,
		.changed = changed > 0,
	};
	add_urls(server, &view);
	add_processes(entry, &view);
	json_t *json = app_view_write(&view);
	if (changed == CHANGED_UNSAID)
		json_object_del(json, "changed");
	if (!view.rollout)
		json_object_set_new(json, "rollout", json_null());
	view_free(&view);
	return json;
}

void reply_app(struct request *rq, unsigned status, struct app_entry *app, int changed)
{
	reply_json_etag(rq, status, app->revision, app_json(rq->server, app, changed));
}

json_t *instance_json(const struct placement_entry *p)
{
	const struct placement *record = &p->record;
	const struct instance_report *actual = &p->actual;
	struct instance_view view = {
		.instance = record->instance,
		.process = record->process,
		.index = record->index,
		.node = record->node,
		.release = record->release,
		.want = record->want,
		.state = actual->state,
		.address = actual->address,
		.restarts = actual->restarts,
		.created_ms = record->created_ms,
		.started_ms = actual->started_ms,
		.exit = actual->exit,
		.probe = actual->probe,
		.message = actual->message,
	};
	return instance_view_write(&view);
}

static int by_place(const void *a, const void *b)
{
	const struct placement *x = &(*(const struct placement_entry *const *)a)->record;
	const struct placement *y = &(*(const struct placement_entry *const *)b)->record;
	int r = strcmp(x->process, y->process);
	if (r)
		return r;
	if (x->index != y->index)
		return x->index < y->index ? -1 : 1;
	if (x->created_ms != y->created_ms)
		return x->created_ms < y->created_ms ? -1 : 1;
	return strcmp(x->instance, y->instance);
}

const struct placement_entry **app_placements(const struct app_entry *app, size_t *ret_n)
{
	const struct placement_entry *p;
	size_t n = 0;
	LIST_EACH(p, &app->placements, of_app)
		n++;
	const struct placement_entry **sorted = xcalloc(n + 1, sizeof(*sorted));
	n = 0;
	LIST_EACH(p, &app->placements, of_app)
		if (placement_is_of(p, app))
			sorted[n++] = p;
	qsort(sorted, n, sizeof(*sorted), by_place);
	*ret_n = n;
	return sorted;
}

json_t *instances_json(const struct app_entry *app)
{
	size_t n;
	AUTO_FREE const struct placement_entry **sorted = app_placements(app, &n);
	json_t *items = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(items, instance_json(sorted[i]));
	return items;
}

// Where a page ended: "web.3.1700000000000.abcdefghijkl", the members in the order in which instances are sorted.
static int place_parse(char *text, struct placement *ret)
{
	char *index = strchr(text, '.'), *created = index ? strchr(index + 1, '.') : NULL;
	char *instance = created ? strchr(created + 1, '.') : NULL;
	uint64_t number;
	if (!instance)
		return -EINVAL;
	*index = *created = *instance = '\0';
	if (parse_u64(index + 1, UINT32_MAX, &number) < 0 || parse_u64(created + 1, INT64_MAX, &ret->created_ms) < 0)
		return -EINVAL;
	ret->process = text;
	ret->index = (uint32_t)number;
	ret->instance = instance + 1;
	return 0;
}

json_t *instances_page(const struct app_entry *app, char *cursor, size_t limit, char **ret_next)
{
	struct placement_entry after = {};
	const struct placement_entry *key = &after;
	if (cursor && place_parse(cursor, &after.record) < 0)
		return NULL;
	size_t n, i = 0;
	AUTO_FREE const struct placement_entry **sorted = app_placements(app, &n);
	while (cursor && i < n && by_place(&sorted[i], &key) <= 0)
		i++;
	json_t *items = json_array();
	for (; i < n && json_array_size(items) < limit; i++)
		json_array_append_new(items, instance_json(sorted[i]));
	if (i < n) {
		const struct placement *last = &sorted[i - 1]->record;
		*ret_next = xasprintf("%s.%u.%llu.%s", last->process, last->index, (unsigned long long)last->created_ms,
				      last->instance);
	}
	return items;
}

json_t *release_json(const struct release *release, const struct app_entry *app)
{
	struct release_view view = {
		.release = release->number,
		.artifact = release->artifact,
		.stack = release->stack,
		.runtime = release->runtime,
		.created_ms = release->created_ms,
		.by = release->by,
		.reason = release->reason,
		.spec = release->spec,
		.current = release->number == app->app.release,
		.came_up = release->came_up,
	};
	return release_view_write(&view);
}
