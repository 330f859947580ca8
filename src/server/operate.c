#include "server/operate.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "server/app_change.h"
#include "server/app_view.h"
#include "server/change.h"
#include "server/claims.h"
#include "server/core.h"
#include "server/list.h"
#include "server/release.h"

#include <errno.h>

static const struct field scale_items[] = {
	FIELD(scale, process, FIELD_LABEL, OPTIONAL, 1, 63, .about = "not needed when there is one, or for web"),
	FIELD(scale, instances, FIELD_U32, REQUIRED, 0, PROCESS_INSTANCES_MAX),
};
const struct fields scale_fields = FIELDS(scale, scale_items, "Scale");

static const struct field rollback_items[] = {
	FIELD(rollback, release, FIELD_U32, OPTIONAL, 0, 99999999, .about = "whose content to take; 0: the last one before that came up"),
};
const struct fields rollback_fields = FIELDS(rollback, rollback_items, "Rollback");

static const struct field command_items[] = {
	FIELD_LIST(exec_request, command, command_count, FIELD_ARRAY, REQUIRED, 1000, .min = 1, .of = &word_fields),
	FIELD(exec_request, tty, FIELD_BOOL, OPTIONAL, 0, 1),
	FIELD_LIST(exec_request, env, env_count, FIELD_MAP, OPTIONAL, 1000, .of = &env_value_fields,
		   .check = check_env_name),
	FIELD(exec_request, process, FIELD_LABEL, OPTIONAL, 1, 63, .about = "of run: whose limits and environment"),
};
const struct fields exec_request_fields = FIELDS(exec_request, command_items, "Command");

// ---- reading

static int by_name(const void *a, const void *b)
{
	const struct app_entry *const *x = a, *const *y = b;
	return strcmp((*x)->app.name, (*y)->app.name);
}

// The apps of the request's environment behind the cursor, sorted by name. The caller frees.
static struct app_entry **sorted_apps(struct request *rq, const char *cursor, size_t *ret_n)
{
	struct map *apps = &rq->server->replica.apps;
	struct app_entry **sorted = xcalloc(apps->count + 1, sizeof(*sorted));
	size_t at = 0, n = 0;
	void *value;
	while (map_next(apps, &at, NULL, &value)) {
		struct app_entry *app = value;
		if (app->exists && str_eq(app->app.tenant, request_param(rq, "tenant")) &&
		    str_eq(app->app.environment, request_param(rq, "environment")) &&
		    (!cursor || strcmp(app->app.name, cursor) > 0))
			sorted[n++] = app;
	}
	qsort(sorted, n, sizeof(*sorted), by_name);
	*ret_n = n;
	return sorted;
}

void apps_list(struct request *rq)
{
	AUTO_LIST_PAGE struct list_page page = {};
	if (list_page_read_names(rq, &page) < 0)
		return;
	replica_catch_up(&rq->server->replica);
	size_t n;
	AUTO_FREE struct app_entry **sorted = sorted_apps(rq, page.cursor, &n);
	json_t *items = json_array();
	size_t i = 0;
	for (; i < n && i < page.limit; i++)
		json_array_append_new(items, app_json(rq->server, sorted[i], CHANGED_UNSAID));
	list_answer_names(rq, items, i < n ? sorted[i - 1]->app.name : NULL);
}

void apps_get(struct request *rq)
{
	struct app_entry *app = request_app(rq);
	if (app)
		reply_app(rq, 200, app, CHANGED_UNSAID);
}

void apps_instances(struct request *rq)
{
	struct app_entry *app = request_app(rq);
	AUTO_LIST_PAGE struct list_page page = {};
	if (!app || list_page_read(rq, &page) < 0)
		return;
	AUTO_FREE char *next = NULL;
	json_t *items = instances_page(app, page.cursor, page.limit, &next);
	if (items)
		list_answer(rq, items, next);
	else
		reply_problemf(rq, 400, NULL, "query parameter 'cursor' is not the `next` of a page of instances");
}

// ---- changing

static bool set_count(struct app *app, const char *process, uint32_t instances)
{
	for (uint32_t i = 0; i < app->count_count; i++) {
		if (!str_eq(app->counts[i].name, process))
			continue;
		bool changed = app->counts[i].value != instances;
		app->counts[i].value = instances;
		return changed;
	}
	if (spec_process(&app->spec, process)->instances == instances)
		return false;
	app->counts = xreallocarray(app->counts, app->count_count + 1, sizeof(*app->counts));
	app->counts[app->count_count++] = (struct count){ xstrdup(process), instances };
	return true;
}

static const char *scaled_process(const struct app *app, const char *named)
{
	if (named)
		return spec_process(&app->spec, named) ? named : NULL;
	if (app->spec.process_count == 1)
		return app->spec.processes[0].name;
	return spec_process(&app->spec, "web") ? "web" : NULL;
}

int no_process(const struct app *app, const char *named, struct err *err)
{
	AUTO_BUF struct buf names = BUF_INIT(4096);
	for (uint32_t i = 0; i < app->spec.process_count; i++)
		buf_addf(&names, "%s%s", i ? ", " : "", app->spec.processes[i].name);
	err_set(err, -ENOENT, "app '%s' has no process '%.64s'", app->name, named);
	return err_hint(err, "its processes are: %s", buf_str(&names));
}

void apps_scale(struct request *rq)
{
	struct app_entry *entry = request_app(rq);
	const struct scale *scale = rq->object;
	if (!entry)
		return;
	const char *process = scaled_process(&entry->app, scale->process);
	if (!process) {
		struct err err = {};
		no_process(&entry->app, scale->process ? scale->process : "web", &err);
		err_wrap(&err, "process");
		reply_problem(rq, 400, "process", &err);
		return;
	}
	struct app app;
	app_copy(&entry->app, &app);
	AUTO_FREE char *message = xasprintf("%s: %u to %u instances by %s", process, app_wanted(&app, process),
					    scale->instances, rq->who.name);
	if (set_count(&app, process, scale->instances))
		app_change_commit(rq, entry, &app, NULL, "scaled", message);
	else
		reply_app(rq, 200, entry, false);
	app_clear(&app);
}

static void set_stopped(struct request *rq, bool stopped)
{
	struct app_entry *entry = request_app(rq);
	if (!entry)
		return;
	if (entry->app.stopped == stopped) {
		reply_app(rq, 200, entry, false);
		return;
	}
	struct app app;
	app_copy(&entry->app, &app);
	app.stopped = stopped;
	AUTO_FREE char *message = xasprintf("%s by %s", stopped ? "stopped" : "started", rq->who.name);
	app_change_commit(rq, entry, &app, NULL, stopped ? "stopped" : "started", message);
	app_clear(&app);
}

void apps_stop(struct request *rq)
{
	set_stopped(rq, true);
}

void apps_start(struct request *rq)
{
	set_stopped(rq, false);
}

void apps_restart(struct request *rq)
{
	struct app_entry *entry = request_app(rq);
	if (!entry)
		return;
	if (entry->app.stopped) {
		reply_problemf(rq, 409, "start it instead", "app '%s' is stopped", entry->app.name);
		return;
	}
	struct app app;
	app_copy(&entry->app, &app);
	app.restart++;
	AUTO_FREE char *message = xasprintf("restarted by %s", rq->who.name);
	app_change_commit(rq, entry, &app, NULL, "restarted", message);
	app_clear(&app);
}

// ---- rollback

static const struct release *rollback_target(struct request *rq, struct app_entry *entry)
{
	const struct rollback *asked = rq->object;
	uint32_t number = asked->release ? asked->release : release_to_return_to(&rq->server->replica, entry);
	const struct release *release = number ? replica_release(&rq->server->replica, entry, number) : NULL;
	if (release && str_eq(release->app_uid, entry->app.uid))
		return release;
	if (number)
		reply_problemf(rq, 404, "`dialtone releases` lists what there is", "app '%s' has no release %u",
			       entry->app.name, number);
	else
		reply_problemf(rq, 409, NULL, "app '%s' has no earlier release", entry->app.name);
	return NULL;
}

void apps_rollback(struct request *rq)
{
	struct app_entry *entry = request_app(rq);
	const struct release *target = entry ? rollback_target(rq, entry) : NULL;
	if (!target)
		return;
	if (target->number == entry->app.release) {
		reply_app(rq, 200, entry, false);
		return;
	}
	AUTO_FREE char *reason = xasprintf("rollback to %u", target->number);
	AUTO_FREE char *message =
		xasprintf("rolled back to the content of release %u by %s", target->number, rq->who.name);
	struct release release;
	release_copy(target, &release);
	app_release_commit(rq, entry, &release, reason, "rolled_back", message);
	release_clear(&release);
}

// ---- delete

static void deleted(struct request *rq)
{
	reply_empty(rq, 204);
}

void apps_delete(struct request *rq)
{
	struct app_entry *entry = request_app(rq);
	if (!entry)
		return;
	AUTO_FREE char *key = xasprintf("v1/apps/%s", entry->key);
	struct store_txn *txn = store_txn_new();
	store_txn_if_revision(txn, key, entry->revision);
	store_txn_delete(txn, key);
	change_commit(rq, txn, key, "deleted", deleted);
}
