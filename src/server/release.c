#include "server/release.h"

#include "base/str.h"
#include "image/stack.h"
#include "server/app_view.h"
#include "server/builds.h"
#include "server/change.h"
#include "server/command_check.h"
#include "server/core.h"
#include "server/image_env.h"
#include "server/list.h"

#include <errno.h>

#define STACK_DEFAULT "minimal"
#define RUNTIME_NONE "none"

// ---- resolution

void resolution_clear(struct resolution *resolution)
{
	for (uint32_t i = 0; i < resolution->layer_count; i++)
		free(resolution->layers[i]);
	pairs_free(resolution->env, resolution->env_count);
	free(resolution->layers);
	free(resolution->build_key);
	free(resolution->stack);
	free(resolution->runtime);
	free(resolution->command);
	*resolution = (struct resolution){};
}

static void add_layers(struct resolution *resolution, const struct image *image)
{
	resolution->layers = xreallocarray(resolution->layers, resolution->layer_count + image->n_layers + 1,
					   sizeof(*resolution->layers));
	for (size_t i = 0; i < image->n_layers; i++)
		resolution->layers[resolution->layer_count++] = xstrdup(image->layers[i]);
}

static void add_image(struct resolution *resolution, const struct image *image)
{
	add_layers(resolution, image);
	for (size_t i = 0; i < image->n_env; i++)
		pairs_set(&resolution->env, &resolution->env_count, image->env[i].name, image->env[i].value);
}

static int fault(struct field_path *path, const char *field)
{
	snprintf(path->text, sizeof(path->text), "spec.%s", field);
	return -EINVAL;
}

static bool lies_over(const struct image *stack, const struct image *base)
{
	if (stack->n_layers < base->n_layers)
		return false;
	size_t above = stack->n_layers - base->n_layers;
	for (size_t i = 0; i < base->n_layers; i++)
		if (!str_eq(stack->layers[above + i], base->layers[i]))
			return false;
	return true;
}

// A runtime's layer fits the stack that it was built on, and every stack over that one.
static int check_stack(const char *cache, const struct image *runtime, const struct image *stack, struct err *err)
{
	AUTO_IMAGE struct image base = {};
	if (!runtime->stack)
		return 0;
	if (stack_find(cache, runtime->stack, &base, err) < 0)
		return err_wrap(err, "runtime '%s@%s' was built on stack '%s'", runtime->name, runtime->version,
				runtime->stack);
	if (lies_over(stack, &base))
		return 0;
	err_set(err, -EINVAL, "stack '%s@%s' does not lie over '%s@%s', on which runtime '%s@%s' was built",
		stack->name, stack->version, base.name, base.version, runtime->name, runtime->version);
	return err_hint(err, "leave the stack out, or choose '%s' or one over it", base.name);
}

// What command_split says of a line with shell operators, with the stack that would take it: the one of the fewest
// layers that has a shell and fits the runtime.
static void name_shell(const char *cache, const struct image *runtime, struct err *err)
{
	struct image *all = NULL, *best = NULL;
	size_t n = 0;
	if (images_list(cache, IMAGE_STACK, &all, &n, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (all[i].has_shell && (!best || all[i].n_layers < best->n_layers) &&
		    check_stack(cache, runtime, &all[i], NULL) == 0)
			best = &all[i];
	AUTO_FREE char *hint = xstrdup(err->hint);
	if (best)
		err_hint(err, "%s (stack: %s)", hint, best->name);
	images_free(all, n);
}

// Every process has a command, and one that this stack can run.
static int check_commands(const char *cache, const struct spec *spec, const struct image *runtime,
			  const struct resolution *resolution, struct field_path *path, struct err *err)
{
	for (uint32_t i = 0; i < spec->process_count; i++) {
		const struct process *process = &spec->processes[i];
		const char *command = process->command ? process->command : resolution->command;
		snprintf(path->text, sizeof(path->text), "spec.processes.%s.command", process->name);
		if (!command) {
			err_set(err, -EINVAL, "%s: is missing, and runtime '%s' has no command of its own", path->text,
				spec->runtime ? spec->runtime : RUNTIME_NONE);
			return err_hint(err, "say which command the process '%s' runs", process->name);
		}
		struct command_check check = { .spec = spec,
					       .process = process,
					       .base_env = resolution->env,
					       .base_env_count = resolution->env_count,
					       .shell = resolution->shell };
		int r = command_check(&check, command, err);
		if (r == -EOPNOTSUPP)
			name_shell(cache, runtime, err);
		if (r < 0)
			return err_wrap(err, "%s", path->text);
	}
	path->text[0] = '\0';
	return 0;
}

// The key under which a build of this source would be kept, if its tools are there; NULL otherwise. Heap.
static char *build_key(const char *cache, const struct spec *spec, const char *artifact)
{
	struct build_place place;
	if (!spec->build.command ||
	    build_place_make(cache, spec->runtime, artifact, spec->build.command, &place, NULL) < 0)
		return NULL;
	char *key = TAKE_PTR(place.key);
	build_place_clear(&place);
	return key;
}

int resolution_make(const char *cache, const struct spec *spec, const char *artifact, struct resolution *ret,
		    struct field_path *path, struct err *err)
{
	AUTO_IMAGE struct image runtime = {}, stack = {};
	bool has_runtime = spec->runtime && !str_eq(spec->runtime, RUNTIME_NONE);
	if (has_runtime && runtime_find(cache, spec->runtime, &runtime, err) < 0) {
		err_wrap(err, "spec.runtime");
		return fault(path, "runtime");
	}
	const char *ref = spec->stack ? spec->stack : has_runtime && runtime.stack ? runtime.stack : STACK_DEFAULT;
	if (stack_find(cache, ref, &stack, err) < 0) {
		err_wrap(err, "spec.stack");
		return fault(path, "stack");
	}
	if (check_stack(cache, &runtime, &stack, err) < 0) {
		err_wrap(err, "spec.stack");
		return fault(path, "stack");
	}
	struct resolution made = { .shell = stack.has_shell };
	made.stack = xasprintf("%s@%s", stack.name, stack.version);
	for (size_t i = 0; i < stack.n_env; i++)
		pairs_set(&made.env, &made.env_count, stack.env[i].name, stack.env[i].value);
	if (has_runtime) {
		made.runtime = xasprintf("%s@%s", runtime.name, runtime.version);
		made.command = runtime.command ? xstrdup(runtime.command) : NULL;
		add_image(&made, &runtime);
	}
	add_layers(&made, &stack);
	made.build_key = build_key(cache, spec, artifact);
	int r = check_commands(cache, spec, &runtime, &made, path, err);
	if (r < 0)
		resolution_clear(&made);
	else
		*ret = made;
	return r < 0 ? -EINVAL : 0;
}

// ---- releases

static bool same_layers(const struct release *release, const struct resolution *resolution)
{
	if (release->layer_count != resolution->layer_count)
		return false;
	for (uint32_t i = 0; i < release->layer_count; i++)
		if (!str_eq(release->layers[i], resolution->layers[i]))
			return false;
	return true;
}

static bool same_env(const struct release *release, const struct resolution *resolution)
{
	if (release->base_env_count != resolution->env_count)
		return false;
	for (uint32_t i = 0; i < release->base_env_count; i++)
		if (!str_eq(release->base_env[i].name, resolution->env[i].name) ||
		    !str_eq(release->base_env[i].value, resolution->env[i].value))
			return false;
	return true;
}

bool release_is(const struct release *release, const struct resolution *resolution, const struct spec *spec,
		const char *artifact)
{
	return str_eq(release->artifact, artifact) && str_eq(release->stack, resolution->stack) &&
	       str_eq(release->runtime, resolution->runtime) && release->shell == resolution->shell &&
	       same_layers(release, resolution) && same_env(release, resolution) &&
	       fields_equal(&spec_fields, &release->spec, spec);
}

uint32_t release_next(struct server *server, const struct app_entry *entry, const char *app_key)
{
	AUTO_FREE char *prefix = xasprintf("v1/releases/%s/", app_key);
	uint64_t last = store_last_number(server->store, prefix);
	if (entry && entry->exists && entry->app.last_release > last)
		last = entry->app.last_release;
	return (uint32_t)last + 1;
}

static bool is_in_use(const struct app_entry *entry, uint32_t number)
{
	if (entry->app.release == number)
		return true;
	const struct placement_entry *p;
	LIST_EACH(p, &entry->placements, of_app)
		if (p->record.release == number)
			return true;
	return false;
}

static char *release_key(const struct release *release, uint32_t number)
{
	return xasprintf("v1/releases/%s/%s/%s/%08u", release->tenant, release->environment, release->app, number);
}

void release_put(struct store_txn *txn, const struct app_entry *entry, const struct release *release)
{
	AUTO_FREE char *key = release_key(release, release->number);
	AUTO_FREE char *text = release_text(release);
	store_txn_if_absent(txn, key);
	store_txn_put(txn, key, text, strlen(text));
	if (!entry || release->number <= RELEASES_KEPT || is_in_use(entry, release->number - RELEASES_KEPT))
		return;
	AUTO_FREE char *old = release_key(release, release->number - RELEASES_KEPT);
	store_txn_delete(txn, old);
}

// ---- which of them came up

uint32_t release_to_return_to(struct replica *replica, struct app_entry *app)
{
	uint32_t before = 0;
	for (uint32_t number = app->app.release; number-- > 1;) {
		const struct release *release = replica_release(replica, app, number);
		if (!release || !str_eq(release->app_uid, app->app.uid))
			continue;
		if (release->came_up)
			return number;
		before = before ? before : number;
	}
	return before;
}

static void noted(void *arg UNUSED, const struct store_answer *answer UNUSED)
{
	// What was not written is noted again after the next start.
}

void release_note_up(struct server *server, struct app_entry *app)
{
	struct release *release = replica_release_kept(&server->replica, app, app->app.release);
	if (!release || release->came_up)
		return;
	release->came_up = true;
	AUTO_FREE char *key = release_key(release, release->number);
	AUTO_FREE char *text = release_text(release);
	struct store_txn *txn = store_txn_new();
	store_txn_if_exists(txn, key);
	store_txn_put(txn, key, text, strlen(text));
	server_commit_leading(server, txn, noted, NULL);
}

static json_t *item(const struct record *record, const void *arg)
{
	const struct app_entry *app = arg;
	struct release release = {};
	if (release_parse_text(record_value(record), record->value_len, &release, NULL) < 0)
		return NULL;
	json_t *json = str_eq(release.app_uid, app->app.uid) ? release_json(&release, app) : NULL;
	release_clear(&release);
	return json;
}

void releases_list(struct request *rq)
{
	struct app_entry *app = request_app(rq);
	if (!app)
		return;
	AUTO_FREE char *prefix = xasprintf("v1/releases/%s/", app->key);
	list_newest_first(rq, prefix, app->created_revision, item, app);
}
