#include "server/why.h"

#include "base/clock.h"
#include "base/str.h"
#include "server/app_view.h"
#include "server/change.h"
#include "server/core.h"
#include "server/nodes.h"
#include "server/release.h"
#include "server/route_table.h"

struct why {
	struct why_view view;
	struct server *server;
	struct app_entry *app;
	const struct placement_entry **placements;
	size_t n;
};

static void add_hint(struct why *why, const char *hint)
{
	struct why_view *view = &why->view;
	view->hints = xreallocarray(view->hints, view->hint_count + 1, sizeof(*view->hints));
	view->hints[view->hint_count++] = xstrdup(hint);
}

// The first instance of a process that has something to say for not being ready; heap, NULL: none.
static char *first_cause(const struct why *why, const char *process)
{
	for (size_t i = 0; i < why->n; i++) {
		const struct placement_entry *p = why->placements[i];
		if (str_eq(p->record.process, process) && p->record.want == WANT_RUN &&
		    p->actual.state != INSTANCE_READY)
			return instance_cause(p);
	}
	return NULL;
}

static char *missing_detail(const struct why *why, uint32_t i)
{
	const struct app_entry *app = why->app;
	if (app_is_planned(app) && i < app->plan_count && app->plans[i].detail)
		return xstrdup(app->plans[i].detail);
	char *cause = first_cause(why, app->app.spec.processes[i].name);
	return cause ? cause : xstrdup("about to be placed");
}

static void add_missing(struct why *why)
{
	const struct spec *spec = &why->app->app.spec;
	struct why_view *view = &why->view;
	view->missing = xcalloc(spec->process_count + 1, sizeof(*view->missing));
	for (uint32_t i = 0; i < spec->process_count; i++) {
		char *name = spec->processes[i].name;
		struct process_counts counts = app_counts(why->app, name);
		uint32_t wanted = app_wanted(&why->app->app, name), ready = counts.ready;
		if (ready + counts.completed < wanted)
			view->missing[view->missing_count++] =
				(struct missing_view){ name, wanted, ready, missing_detail(why, i) };
	}
}

static void add_refusals(struct why *why)
{
	const struct app_entry *app = why->app;
	struct why_view *view = &why->view;
	for (uint32_t i = 0; app_is_planned(app) && i < app->plan_count; i++) {
		const struct process_plan *plan = &app->plans[i];
		view->nodes =
			xreallocarray(view->nodes, view->node_count + plan->refusal_count + 1, sizeof(*view->nodes));
		for (uint32_t k = 0; k < plan->refusal_count; k++)
			view->nodes[view->node_count++] =
				(struct refusal_view){ app->app.spec.processes[i].name, plan->refusals[k].node,
						       plan->refusals[k].text };
	}
}

static void add_instances(struct why *why)
{
	struct why_view *view = &why->view;
	view->exits = xcalloc(why->n + 1, sizeof(*view->exits));
	for (size_t i = 0; i < why->n; i++) {
		const struct placement *record = &why->placements[i]->record;
		const struct instance_report *actual = &why->placements[i]->actual;
		if (actual->exit)
			view->exits[view->exit_count++] =
				(struct exit_view){ record->instance, record->process, record->index,
						    actual->exit->at_ms, actual->exit };
		view->probes =
			xreallocarray(view->probes, view->probe_count + actual->probe_count + 1, sizeof(*view->probes));
		for (uint32_t k = 0; k < actual->probe_count; k++)
			view->probes[view->probe_count++] = (struct probe_view){ record->instance, record->process,
										 record->index, &actual->probes[k] };
	}
}

static uint32_t count_reached(const struct why *why)
{
	const struct process *process = routed_process(&why->app->app.spec);
	return process ? app_counts(why->app, process->name).ready : 0;
}

static void add_routes(struct why *why)
{
	const struct spec *spec = &why->app->app.spec;
	struct why_view *view = &why->view;
	view->routes = xcalloc(spec->route_count + 1, sizeof(*view->routes));
	for (uint32_t i = 0; i < spec->route_count; i++)
		view->routes[view->route_count++] =
			(struct reached_view){ route_host(spec->routes[i].host, why->server->platform->domain),
					       spec->routes[i].path, count_reached(why) };
}

static bool any_agent(struct server *server)
{
	size_t at = 0;
	void *node;
	while (map_next(&server->replica.nodes, &at, NULL, &node))
		if (node_is_connected(server, node))
			return true;
	return false;
}

static bool any_exit(const struct why *why, bool oom)
{
	for (uint32_t i = 0; i < why->view.exit_count; i++)
		if (!oom || why->view.exits[i].exit->oom)
			return true;
	return false;
}

static bool any_failing_probe(const struct why *why)
{
	for (size_t i = 0; i < why->n; i++) {
		const struct probe_result *probe = why->placements[i]->actual.probe;
		if (probe && !probe->ok && why->placements[i]->record.want == WANT_RUN)
			return true;
	}
	return false;
}

// The first instance that ends again and again; heap, NULL: none does.
static char *find_loop(const struct why *why)
{
	char *loop = NULL;
	for (size_t i = 0; i < why->n && !loop; i++)
		if (why->placements[i]->record.want == WANT_RUN)
			loop = instance_loop(why->placements[i], realtime_ms());
	return loop;
}

static void add_hints(struct why *why)
{
	struct why_view *view = &why->view;
	if (!any_agent(why->server))
		add_hint(why, "no node agent is connected: see `dialtone doctor`");
	AUTO_FREE char *loop = find_loop(why);
	if (!view->missing_count && !loop)
		return;
	bool oom = any_exit(why, true);
	if (oom)
		add_hint(why, "an instance was killed for want of memory: raise `memory` of its process");
	else if (any_exit(why, false))
		add_hint(why, "`dialtone logs` shows what it wrote before it ended");
	if (!oom && any_failing_probe(why))
		add_hint(why, "the app must listen on 0.0.0.0:$PORT and answer its health check in time");
	if (view->node_count)
		add_hint(why, "scale down, ask for less, or add a node");
	if (app_rollout(why->app) == ROLLOUT_FAILED)
		add_hint(why, release_to_return_to(&why->server->replica, why->app)
				      ? "push a corrected version, or `dialtone rollback`"
				      : "push a corrected version");
}

static char *summary(const struct why *why)
{
	const struct app *app = &why->app->app;
	if (app->stopped)
		return xasprintf("`dialtone start %s` starts it", app->name);
	char *loop = find_loop(why);
	if (loop)
		return loop;
	if (why->view.state == APP_COMPLETED)
		return xstrdup("it ended with status 0, and is not to be started again");
	if (!why->view.missing_count && app_rollout(why->app) == ROLLOUT_DONE)
		return xstrdup("nothing is missing");
	return why->view.missing_count ? xstrdup(why->view.missing[0].detail) : app_detail(why->app);
}

static void why_free(struct why *why)
{
	struct why_view *view = &why->view;
	for (uint32_t i = 0; i < view->missing_count; i++)
		free(view->missing[i].detail);
	for (uint32_t i = 0; i < view->hint_count; i++)
		free(view->hints[i]);
	for (uint32_t i = 0; i < view->route_count; i++)
		free(view->routes[i].host);
	rollout_view_free(view->rollout);
	free(view->routes);
	free(view->missing);
	free(view->nodes);
	free(view->exits);
	free(view->probes);
	free(view->hints);
	free(view->summary);
	free(why->placements);
}

void why_app(struct request *rq)
{
	struct app_entry *app = request_app(rq);
	if (!app)
		return;
	struct why why = { .server = rq->server,
			   .app = app,
			   .view = { .app = app->app.name, .state = app_state(app) } };
	why.view.rollout = rollout_view_new(app);
	why.placements = app_placements(app, &why.n);
	add_missing(&why);
	add_refusals(&why);
	add_instances(&why);
	add_routes(&why);
	add_hints(&why);
	why.view.summary = summary(&why);
	reply_json(rq, 200, why_view_write(&why.view));
	why_free(&why);
}
