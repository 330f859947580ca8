#include "server/deploy.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "image/artifact.h"
#include "image/stack.h"
#include "server/app_change.h"
#include "server/app_view.h"
#include "server/change.h"
#include "server/claims.h"
#include "server/core.h"
#include "server/events.h"
#include "server/release.h"
#include "server/work.h"

#include <errno.h>

static const struct field deployment_items[] = {
	FIELD(deployment, spec, FIELD_OBJECT, REQUIRED, 0, 0, .of = &spec_fields),
	FIELD(deployment, artifact, FIELD_TEXT, REQUIRED, 0, 128, .check = check_digest,
	      .about = "digest of an uploaded artifact"),
};
const struct fields deployment_fields = FIELDS(deployment, deployment_items, "Deployment");

// One deployment, from the look into the cache (on the pool) to the answer.
struct deploy {
	struct request *rq;
	struct deployment *wanted; // the request's
	char *cache;
	struct resolution resolution;
	int failed;
	struct field_path path;
	struct err err;
	void (*decide)(struct deploy *deploy);
	struct release release; // being made
	struct app app;
};

static void deploy_free(struct deploy *deploy)
{
	request_unref(deploy->rq);
	resolution_clear(&deploy->resolution);
	release_clear(&deploy->release);
	app_clear(&deploy->app);
	free(deploy->cache);
	free(deploy);
}

static void look_up(void *arg)
{
	struct deploy *deploy = arg;
	deploy->failed = resolution_make(deploy->cache, &deploy->wanted->spec, deploy->wanted->artifact,
					 &deploy->resolution, &deploy->path, &deploy->err);
}

// A process without a command of its own runs the runtime's: the release says so in full.
static void fill_commands(struct spec *spec, const struct resolution *resolution)
{
	for (uint32_t i = 0; i < spec->process_count; i++)
		if (!spec->processes[i].command && resolution->command)
			spec->processes[i].command = xstrdup(resolution->command);
}

static void looked_up(void *arg)
{
	struct deploy *deploy = arg;
	struct server *server = deploy->rq->server;
	replica_catch_up(&server->replica);
	if (deploy->failed < 0) {
		reply_problem(deploy->rq, 400, deploy->path.text, &deploy->err);
	} else if (server->closing) {
		reply_problemf(deploy->rq, 503, "ask again", "the server is being stopped");
	} else {
		fill_commands(&deploy->wanted->spec, &deploy->resolution);
		deploy->decide(deploy);
	}
	deploy_free(deploy);
}

static void begin(struct request *rq, void (*decide)(struct deploy *deploy))
{
	struct deployment *wanted = rq->object;
	if (!str_eq(wanted->spec.name, request_param(rq, "app"))) {
		struct err err = {};
		err_set(&err, -EINVAL, "spec.name: is '%s', but the path says '%.64s'", wanted->spec.name,
			request_param(rq, "app"));
		reply_problem(rq, 400, "spec.name", &err);
		return;
	}
	struct deploy *deploy = xcalloc(1, sizeof(*deploy));
	deploy->rq = request_ref(rq);
	deploy->wanted = wanted;
	deploy->cache = xstrdup(rq->server->platform->cache);
	deploy->decide = decide;
	server_work(rq->server, look_up, looked_up, deploy);
}

static const struct release *current_release(struct server *server, struct app_entry *app)
{
	return app ? replica_release(&server->replica, app, app->app.release) : NULL;
}

// ---- admission

static bool artifact_is_there(struct deploy *deploy)
{
	const char *artifact = deploy->wanted->artifact, *tenant = request_param(deploy->rq, "tenant");
	AUTO_FREE char *key = xasprintf("v1/artifacts/%s/%s", tenant, artifact);
	if (store_get(deploy->rq->server->store, key))
		return true;
	struct err err = {};
	err_set(&err, -ENOENT, "artifact: '%s' was not uploaded to tenant '%s'", artifact, tenant);
	err_hint(&err, "upload it first: PUT /v1/tenants/%s/artifacts/%s; `dialtone push` does", tenant, artifact);
	reply_problem(deploy->rq, 409, "artifact", &err);
	return false;
}

static bool admit(struct deploy *deploy)
{
	struct request *rq = deploy->rq;
	if (!claims_check(rq->server, &deploy->wanted->spec, request_param(rq, "tenant"),
			  request_param(rq, "environment"), &deploy->path, &deploy->err))
		return true;
	reply_problem(rq, 409, deploy->path.text, &deploy->err);
	return false;
}

// ---- PUT

static void fill_release(struct deploy *deploy, const struct app_entry *entry)
{
	struct request *rq = deploy->rq;
	struct release *release = &deploy->release;
	struct resolution *from = &deploy->resolution;
	AUTO_FREE char *key = xasprintf("%s/%s/%s", deploy->app.tenant, deploy->app.environment, deploy->app.name);
	*release = (struct release){
		.tenant = xstrdup(deploy->app.tenant),
		.environment = xstrdup(deploy->app.environment),
		.app = xstrdup(deploy->app.name),
		.app_uid = xstrdup(deploy->app.uid),
		.number = release_next(rq->server, entry, key),
		.created_ms = realtime_ms(),
		.by = xstrdup(rq->who.name),
		.reason = xstrdup("push"),
		.artifact = xstrdup(deploy->wanted->artifact),
		.stack = TAKE_PTR(from->stack),
		.runtime = TAKE_PTR(from->runtime),
		.layers = TAKE_PTR(from->layers),
		.layer_count = from->layer_count,
		.base_env = TAKE_PTR(from->env),
		.base_env_count = from->env_count,
		.shell = from->shell,
	};
	from->layer_count = from->env_count = 0;
	spec_copy(&deploy->wanted->spec, &release->spec);
	deploy->app.release = deploy->app.last_release = release->number;
}

// The app as it will be, without a release yet.
static void fill_app(struct deploy *deploy, const struct app_entry *entry)
{
	struct app *app = &deploy->app;
	if (entry) {
		app_copy(&entry->app, app);
	} else {
		char uid[UID_SIZE];
		uid_new(uid);
		*app = (struct app){ .tenant = xstrdup(request_param(deploy->rq, "tenant")),
				     .environment = xstrdup(request_param(deploy->rq, "environment")),
				     .name = xstrdup(request_param(deploy->rq, "app")),
				     .uid = xstrdup(uid),
				     .created_ms = realtime_ms() };
	}
	app->stopped = false;
}

// What `scale` set stays, unless this spec asks for another number than the one before it, or lacks the process.
static void keep_counts(struct app *app, const struct spec *wanted)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < app->count_count; i++) {
		const struct process *old = spec_process(&app->spec, app->counts[i].name);
		const struct process *new = spec_process(wanted, app->counts[i].name);
		if (old && new && old->instances == new->instances && app->counts[i].value != new->instances)
			app->counts[n++] = app->counts[i];
		else
			free(app->counts[i].name);
	}
	app->count_count = n;
}

// The artifact's record is written anew, as it is: a sweep that looked before this release was there then leaves it.
static void keep_artifact(struct store *store, struct store_txn *txn, const char *key)
{
	const struct record *record = store_get(store, key);
	store_txn_if_exists(txn, key);
	if (record)
		store_txn_put(txn, key, record_value(record), record->value_len);
}

static void put_app(struct deploy *deploy, struct app_entry *entry, bool new_release)
{
	struct request *rq = deploy->rq;
	struct server *server = rq->server;
	struct spec none = {};
	AUTO_STORE_TXN struct store_txn *txn = store_txn_new();
	fill_app(deploy, entry);
	const struct spec *before = entry ? &entry->app.spec : &none;
	if (new_release) {
		fill_release(deploy, entry);
		claims_serialise(server, txn, before, &deploy->wanted->spec);
		AUTO_FREE char *artifact_key =
			xasprintf("v1/artifacts/%s/%s", deploy->app.tenant, deploy->wanted->artifact);
		keep_artifact(server->store, txn, artifact_key);
		release_put(txn, entry, &deploy->release);
		keep_counts(&deploy->app, &deploy->wanted->spec);
		spec_clear(&deploy->app.spec);
		spec_copy(&deploy->wanted->spec, &deploy->app.spec);
	}
	if (change_app(rq, txn, entry, &deploy->app) < 0)
		return;
	AUTO_FREE char *message = new_release ? xasprintf("release %u by %s", deploy->app.release, rq->who.name)
					      : xasprintf("started by %s", rq->who.name);
	struct event event = { .type = (char *)(new_release ? "deployed" : "started"),
			       .message = message,
			       .by = rq->who.name,
			       .release = deploy->app.release };
	AUTO_FREE char *app_key = xasprintf("%s/%s/%s", deploy->app.tenant, deploy->app.environment, deploy->app.name);
	event_put_named(server, txn, app_key, &event);
	AUTO_FREE char *key = xasprintf("v1/apps/%s", app_key);
	change_commit(rq, TAKE_PTR(txn), key, message, app_changed);
}

static void decide_put(struct deploy *deploy)
{
	struct request *rq = deploy->rq;
	struct app_entry *entry = request_find_app(rq);
	if (!if_match_holds(rq, entry) || !artifact_is_there(deploy) || !admit(deploy))
		return;
	const struct release *current = current_release(rq->server, entry);
	bool same =
		current && release_is(current, &deploy->resolution, &deploy->wanted->spec, deploy->wanted->artifact);
	if (same && !entry->app.stopped)
		reply_app(rq, 200, entry, false);
	else
		put_app(deploy, entry, !same);
}

static void synced(void *arg, const struct store_answer *answer)
{
	AUTO_REQUEST struct request *rq = arg;
	if (answer->result == STORE_OK)
		begin(rq, decide_put);
	else
		reply_problemf(rq, 503, "ask again", "the store cannot say whether the artifact is there: %s", answer->reason);
}

// An artifact may have come to another server a moment ago, a build's result for example: the store is asked, not only
// what this server has seen of it.
void deploy_put(struct request *rq)
{
	struct store *store = rq->server->store;
	const struct deployment *wanted = rq->object;
	AUTO_FREE char *key = xasprintf("v1/artifacts/%s/%s", request_param(rq, "tenant"), wanted->artifact);
	if (!store_is_shared(store) || store_get(store, key))
		begin(rq, decide_put);
	else
		store_commit(store, store_txn_new(), synced, request_ref(rq));
}

// ---- plan

static void add_text_change(struct changes *changes, const char *path, const char *before, const char *after)
{
	if (!str_eq(before, after))
		changes_add(changes, path, before, after);
}

// What a build of this artifact gave, when that is known; otherwise the artifact itself. Heap.
static char *built_artifact(struct deploy *deploy)
{
	const char *source = deploy->wanted->artifact;
	if (!deploy->resolution.build_key)
		return xstrdup(source);
	AUTO_FREE char *key =
		xasprintf("v1/builds/%s/%s", request_param(deploy->rq, "tenant"), deploy->resolution.build_key);
	const struct record *record = store_get(deploy->rq->server->store, key);
	struct build_result result = {};
	if (!record || build_result_parse_text(record_value(record), record->value_len, &result, NULL) < 0)
		return xasprintf("(to be built from %s)", source);
	char *artifact = TAKE_PTR(result.artifact);
	build_result_clear(&result);
	return artifact;
}

// "sha256:0123456789ab sha256:…", top first. Heap.
static char *layers_text(char *const *layers, uint32_t n)
{
	AUTO_BUF struct buf text = BUF_INIT(SIZE_MAX);
	for (uint32_t i = 0; i < n; i++)
		buf_addf(&text, "%s%.19s", i ? " " : "", layers[i]);
	return buf_take(&text);
}

static char *env_text(const struct pair *env, uint32_t n)
{
	AUTO_BUF struct buf text = BUF_INIT(SIZE_MAX);
	for (uint32_t i = 0; i < n; i++)
		buf_addf(&text, "%s%s=%s", i ? " " : "", env[i].name, env[i].value);
	return buf_take(&text);
}

// A stack or runtime that was built again may have other content under the same name and version.
static void add_content_changes(struct changes *changes, const struct release *current, const struct resolution *next)
{
	if (!current || !str_eq(current->stack, next->stack) || !str_eq(current->runtime, next->runtime))
		return;
	AUTO_FREE char *old_layers = layers_text(current->layers, current->layer_count);
	AUTO_FREE char *layers = layers_text(next->layers, next->layer_count);
	add_text_change(changes, "stack.layers", old_layers, layers);
	AUTO_FREE char *old_env = env_text(current->base_env, current->base_env_count);
	AUTO_FREE char *env = env_text(next->env, next->env_count);
	add_text_change(changes, "stack.env", old_env, env);
}

static void decide_plan(struct deploy *deploy)
{
	struct request *rq = deploy->rq;
	if (!admit(deploy))
		return;
	struct app_entry *entry = request_find_app(rq);
	const struct release *current = current_release(rq->server, entry);
	struct changes changes = {};
	spec_diff(entry ? &entry->app.spec : NULL, &deploy->wanted->spec, &changes);
	AUTO_FREE char *artifact = built_artifact(deploy);
	add_text_change(&changes, "artifact", current ? current->artifact : NULL, artifact);
	add_text_change(&changes, "stack.version", current ? current->stack : NULL, deploy->resolution.stack);
	add_text_change(&changes, "runtime.version", current ? current->runtime : NULL, deploy->resolution.runtime);
	add_content_changes(&changes, current, &deploy->resolution);
	if (entry && entry->app.stopped)
		changes_add(&changes, "stopped", "true", "false");
	struct plan_view view = { .changes = changes.items,
				  .change_count = changes.count,
				  .changed = changes.count > 0 };
	reply_json(rq, 200, plan_view_write(&view));
	changes_clear(&changes);
}

void deploy_plan(struct request *rq)
{
	begin(rq, decide_plan);
}
