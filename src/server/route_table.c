#include "server/route_table.h"

#include "base/str.h"
#include "server/app_state.h"
#include "server/core.h"

char *route_host(const char *host, const char *domain)
{
	return strchr(host, '.') ? xstrdup(host) : xasprintf("%s.%s", host, domain);
}

const struct process *routed_process(const struct spec *spec)
{
	const struct process *first = NULL;
	for (uint32_t i = 0; i < spec->process_count; i++) {
		const struct process *process = &spec->processes[i];
		if (!process->port)
			continue;
		if (str_eq(process->name, "web"))
			return process;
		if (!first)
			first = process;
	}
	return first;
}

static bool is_routed(const struct placement_entry *p, const struct app_entry *app, const struct process *process)
{
	return placement_is_of(p, app) && str_eq(p->record.process, process->name) && p->record.want == WANT_RUN;
}

static json_t *instance_json(const struct placement_entry *p, const struct process *process)
{
	const struct instance_report *actual = &p->actual;
	AUTO_FREE char *address = strchr(actual->address, ':') ? xstrdup(actual->address)
							       : xasprintf("%s:%u", actual->address,
									   actual->port ? actual->port : process->port);
	return json_pack("{s:s, s:s}", "id", p->record.instance, "address", address);
}

static int by_id(const void *a, const void *b)
{
	const struct placement_entry *const *x = a, *const *y = b;
	return strcmp((*x)->record.instance, (*y)->record.instance);
}

// False when the answer cannot be known yet.
static bool add_instances(struct app_entry *app, json_t *ret)
{
	const struct process *process = routed_process(&app->app.spec);
	if (!process)
		return true;
	struct placement_entry *p;
	size_t n = 0;
	LIST_EACH(p, &app->placements, of_app)
		n++;
	AUTO_FREE const struct placement_entry **ready = xcalloc(n + 1, sizeof(struct placement_entry *));
	n = 0;
	LIST_EACH(p, &app->placements, of_app) {
		if (!is_routed(p, app, process))
			continue;
		if (p->unknown && p->node->node.state != NODE_LOST)
			return false;
		if (p->heard && p->actual.state == INSTANCE_READY && !str_empty(p->actual.address))
			ready[n++] = p;
	}
	qsort(ready, n, sizeof(struct placement_entry *), by_id);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(ret, instance_json(ready[i], process));
	return true;
}

static bool is_to_run(const struct app_entry *app)
{
	const struct process *process = routed_process(&app->app.spec);
	return !process || app_wanted(&app->app, process->name) > 0;
}

static const char *state_name(struct app_entry *app, bool serves)
{
	if (app->app.stopped || (!serves && !is_to_run(app)))
		return "stopped";
	if (serves)
		return "running";
	if (app_has_become_unready(app))
		return "running"; // the router says that none is ready
	switch (app_state(app)) {
	case APP_FAILING:
		return "failing";
	case APP_COMPLETED:
		return "stopped";
	default:
		return "starting";
	}
}

static bool add_app(struct server *server, struct app_entry *app, json_t *routes)
{
	const struct spec *spec = &app->app.spec;
	if (!app->exists || !spec->route_count)
		return true;
	AUTO_JSON json_t *instances = json_array();
	if (!add_instances(app, instances))
		return false;
	const char *state = state_name(app, json_array_size(instances) > 0);
	for (uint32_t i = 0; i < spec->route_count; i++) {
		AUTO_FREE char *host = route_host(spec->routes[i].host, server->platform->domain);
		json_array_append_new(routes, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:O}", "host", host, "path",
							spec->routes[i].path, "tenant", app->app.tenant, "environment",
							app->app.environment, "app", app->app.name, "state", state,
							"instances", instances));
	}
	return true;
}

static int by_host(const void *a, const void *b)
{
	json_t *const *x = a, *const *y = b;
	int r = strcmp(json_get_text(*x, "host", ""), json_get_text(*y, "host", ""));
	return r ? r : strcmp(json_get_text(*x, "path", ""), json_get_text(*y, "path", ""));
}

static char *sorted_text(const json_t *routes)
{
	size_t n = json_array_size(routes);
	AUTO_FREE json_t **order = xcalloc(n + 1, sizeof(*order));
	for (size_t i = 0; i < n; i++)
		order[i] = json_array_get(routes, i);
	qsort(order, n, sizeof(*order), by_host);
	AUTO_JSON json_t *sorted = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append(sorted, order[i]);
	return json_to_text(sorted);
}

char *routes_text(struct server *server)
{
	AUTO_JSON json_t *routes = json_array();
	size_t at = 0;
	void *app;
	while (map_next(&server->replica.apps, &at, NULL, &app))
		if (!add_app(server, app, routes))
			return NULL;
	return sorted_text(routes);
}
