#include "server/replica.h"

#include "base/log.h"
#include "base/str.h"
#include "server/core.h"
#include "server/nodes.h"

// ---- entries

static struct app_entry *app_entry(struct replica *replica, const char *key)
{
	struct app_entry *app = map_get(&replica->apps, key);
	if (app)
		return app;
	app = xcalloc(1, sizeof(*app));
	app->key = xstrdup(key);
	list_init(&app->placements);
	list_init(&app->watches);
	list_init(&app->changed);
	map_set(&replica->apps, key, app);
	return app;
}

static void release_free(struct release *release)
{
	release_clear(release);
	free(release);
}

void process_plans_free(struct process_plan *plans, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t k = 0; k < plans[i].refusal_count; k++) {
			free(plans[i].refusals[k].node);
			free(plans[i].refusals[k].text);
		}
		free(plans[i].refusals);
		free(plans[i].detail);
	}
	free(plans);
}

static void app_entry_free(struct app_entry *app)
{
	size_t at = 0;
	void *release;
	while (map_next(&app->releases, &at, NULL, &release))
		release_free(release);
	map_clear(&app->releases);
	process_plans_free(app->plans, app->plan_count);
	app_clear(&app->app);
	list_remove(&app->changed);
	free(app->key);
	free(app);
}

void app_entry_settle(struct replica *replica, struct app_entry *app)
{
	if (app->exists || app->leftover || !list_empty(&app->placements) || !list_empty(&app->watches))
		return;
	map_remove(&replica->apps, app->key);
	app_entry_free(app);
}

struct node_entry *replica_node(struct replica *replica, const char *name)
{
	struct node_entry *node = map_get(&replica->nodes, name);
	if (node)
		return node;
	node = xcalloc(1, sizeof(*node));
	node->name = xstrdup(name);
	list_init(&node->placements);
	map_set(&replica->nodes, name, node);
	return node;
}

static void node_entry_free(struct node_entry *node)
{
	node_link_clear(&node->link);
	node_clear(&node->node);
	free(node->name);
	free(node);
}

static void placement_entry_free(struct placement_entry *p)
{
	list_remove(&p->of_app);
	list_remove(&p->of_node);
	placement_clear(&p->record);
	instance_report_clear(&p->actual);
	free(p);
}

void app_mark(struct replica *replica, struct app_entry *app)
{
	if (!list_empty(&app->watches) && list_empty(&app->changed))
		list_append(&replica->changed_apps, &app->changed);
	control_wake(replica->server, 0);
}

static bool release_in_use(const struct app_entry *app, uint32_t number)
{
	if (app->exists && app->app.release == number)
		return true;
	struct placement_entry *p;
	LIST_EACH(p, &app->placements, of_app)
		if (p->record.release == number)
			return true;
	return false;
}

// Releases that nobody needs any more leave memory; the store has them.
static void app_entry_trim(struct app_entry *app)
{
	struct map kept = {};
	size_t at = 0;
	const char *number;
	void *release;
	while (map_next(&app->releases, &at, &number, &release)) {
		if (release_in_use(app, ((struct release *)release)->number))
			map_set(&kept, number, release);
		else
			release_free(release);
	}
	map_clear(&app->releases);
	app->releases = kept;
}

// ---- one record applied

static void apply_tenant(struct replica *replica, const struct record *record, const char *name)
{
	static char present;
	if (record->deleted)
		map_remove(&replica->tenants, name);
	else
		map_set(&replica->tenants, name, &present);
}

static void apply_environment(struct replica *replica, const struct record *record, const char *name)
{
	static char present;
	if (record->deleted)
		map_remove(&replica->environments, name);
	else
		map_set(&replica->environments, name, &present);
}

static void unreadable(const struct record *record, const struct err *err)
{
	log_error("unreadable record key=%s error=\"%s\"", record_key(record), err->text);
}

static void apply_app(struct replica *replica, const struct record *record, const char *key)
{
	struct app app = {};
	struct err err = {};
	if (!record->deleted && app_parse_text(record_value(record), record->value_len, &app, &err) < 0) {
		unreadable(record, &err);
		return;
	}
	struct app_entry *entry = app_entry(replica, key);
	app_clear(&entry->app);
	entry->app = app;
	entry->leftover |= record->deleted;
	entry->announced_known &= !record->deleted;
	entry->exists = !record->deleted;
	entry->revision = record->mod_revision;
	entry->created_revision = record->create_revision;
	app_entry_trim(entry);
	app_mark(replica, entry);
	control_wake(replica->server, CONTROL_ROUTES);
	app_entry_settle(replica, entry);
}

static void apply_node(struct replica *replica, const struct record *record, const char *name)
{
	struct node node = {};
	struct err err = {};
	if (!record->deleted && node_parse_text(record_value(record), record->value_len, &node, &err) < 0) {
		unreadable(record, &err);
		return;
	}
	struct node_entry *entry = replica_node(replica, name);
	node_clear(&entry->node);
	entry->node = node;
	entry->exists = !record->deleted;
	entry->revision = record->mod_revision;
	control_wake(replica->server, 0);
}

static void drop_placement(struct replica *replica, const char *instance)
{
	struct placement_entry *p = map_remove(&replica->placements, instance);
	if (!p)
		return;
	struct app_entry *app = p->app;
	node_link_removed(&p->node->link, p);
	app_mark(replica, app);
	placement_entry_free(p);
	app_entry_trim(app);
	app_entry_settle(replica, app);
}

static struct placement_entry *placement_entry(struct replica *replica, const struct placement *record)
{
	struct placement_entry *p = map_get(&replica->placements, record->instance);
	if (p)
		return p;
	AUTO_FREE char *key = xasprintf("%s/%s/%s", record->tenant, record->environment, record->app);
	p = xcalloc(1, sizeof(*p));
	p->app = app_entry(replica, key);
	p->node = replica_node(replica, record->node);
	p->unknown = replica->loading && !p->node->link.heard_full;
	// Its agent heard of it from another server, perhaps before this one did, and what it reported was passed over.
	p->node->link.behind |= !server_leads(replica->server);
	list_append(&p->app->placements, &p->of_app);
	list_append(&p->node->placements, &p->of_node);
	map_set(&replica->placements, record->instance, p);
	return p;
}

static void apply_placement(struct replica *replica, const struct record *record, const char *rest)
{
	const char *instance = strchr(rest, '/');
	struct placement placement = {};
	struct err err = {};
	control_wake(replica->server, CONTROL_ROUTES);
	if (record->deleted) {
		drop_placement(replica, instance ? instance + 1 : rest);
		return;
	}
	if (placement_parse_text(record_value(record), record->value_len, &placement, &err) < 0) {
		unreadable(record, &err);
		return;
	}
	struct placement_entry *p = placement_entry(replica, &placement);
	placement_clear(&p->record);
	p->record = placement;
	p->revision = record->mod_revision;
	p->node->link.dirty = true;
	app_mark(replica, p->app);
}

static void apply_token(struct replica *replica, const struct record *record, const char *hash)
{
	struct token *token = NULL;
	struct err err = {};
	if (!record->deleted) {
		token = xcalloc(1, sizeof(*token));
		if (token_parse_text(record_value(record), record->value_len, token, &err) < 0) {
			unreadable(record, &err);
			free(token);
			return;
		}
	}
	struct token *old = token ? map_set(&replica->tokens, hash, token) : map_remove(&replica->tokens, hash);
	if (old)
		token_clear(old);
	free(old);
}

// Releases never change, but for this.
static void apply_release(struct replica *replica, const struct record *record, const char *rest)
{
	const char *number = strrchr(rest, '/');
	AUTO_FREE char *key = number ? xstrndup(rest, (size_t)(number - rest)) : NULL;
	struct app_entry *app = key ? map_get(&replica->apps, key) : NULL;
	char name[16];
	snprintf(name, sizeof(name), "%lu", number ? strtoul(number + 1, NULL, 10) : 0);
	struct release *known = app ? map_get(&app->releases, name) : NULL, release = {};
	if (!known || record->deleted || release_parse_text(record_value(record), record->value_len, &release, NULL) < 0)
		return;
	known->came_up |= release.came_up;
	release_clear(&release);
}

static void apply_server(struct replica *replica, const struct record *record UNUSED, const char *name UNUSED)
{
	lead_wake(replica->server);
}

static const struct kind {
	const char *prefix;
	void (*apply)(struct replica *replica, const struct record *record, const char *rest);
} kinds[] = {
	{ "v1/tenants/", apply_tenant }, { "v1/environments/", apply_environment },
	{ "v1/tokens/", apply_token },   { "v1/nodes/", apply_node },
	{ "v1/apps/", apply_app },       { "v1/placements/", apply_placement },
	{ "v1/releases/", apply_release }, { "v1/servers/", apply_server },
	{ "v1/leader", apply_server },
};

static void apply(struct replica *replica, const struct record *record)
{
	const char *key = record_key(record);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (str_starts(key, kinds[i].prefix))
			kinds[i].apply(replica, record, key + strlen(kinds[i].prefix));
}

// ---- the whole

static void free_all(struct map *map, void (*free_one)(void *value))
{
	size_t at = 0;
	void *value;
	while (map_next(map, &at, NULL, &value))
		free_one(value);
	map_clear(map);
}

static void free_token(void *token)
{
	token_clear(token);
	free(token);
}

// Entries whose record is gone, after changes were missed.
static void sweep(struct replica *replica)
{
	size_t at = 0;
	const char *name;
	void *value;
	while (map_next(&replica->apps, &at, &name, &value)) {
		struct app_entry *app = value;
		AUTO_FREE char *key = xasprintf("v1/apps/%s", name);
		if (!store_get(replica->store, key))
			app->exists = false;
	}
	AUTO_FREE char **gone = xcalloc(replica->placements.count + 1, sizeof(*gone));
	size_t n = 0;
	for (at = 0; map_next(&replica->placements, &at, NULL, &value);) {
		struct placement_entry *p = value;
		AUTO_FREE char *key = xasprintf("v1/placements/%s/%s", p->node->name, p->record.instance);
		if (!store_get(replica->store, key))
			gone[n++] = p->record.instance;
	}
	for (size_t i = 0; i < n; i++)
		drop_placement(replica, gone[i]);
}

// Apps that were deleted while their releases and events were still to be removed.
static void find_leftovers(struct replica *replica, const char *prefix)
{
	const struct record *r = NULL;
	while ((r = store_next(replica->store, prefix, r ? record_key(r) : NULL))) {
		const char *rest = record_key(r) + strlen(prefix), *number = strrchr(rest, '/');
		AUTO_FREE char *key = xstrndup(rest, number ? (size_t)(number - rest) : strlen(rest));
		struct app_entry *app = app_entry(replica, key);
		app->leftover |= !app->exists || r->create_revision < app->created_revision;
	}
}

static void load(struct replica *replica)
{
	replica->loading = true;
	free_all(&replica->tokens, free_token); // a right that was taken away meanwhile must not stay
	map_clear(&replica->tenants);
	map_clear(&replica->environments);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct record *r = NULL;
		while ((r = store_next(replica->store, kinds[i].prefix, r ? record_key(r) : NULL)))
			apply(replica, r);
	}
	sweep(replica);
	find_leftovers(replica, "v1/releases/");
	find_leftovers(replica, "v1/events/");
	replica->loading = false;
	store_watch_start(&replica->watch, replica->store, "v1/", store_revision(replica->store), &replica->task);
}

void replica_catch_up(struct replica *replica)
{
	while (replica->watch.store) { // not stopped: the server is not being closed
		struct store_event event;
		switch (store_watch_next(&replica->watch, &event)) {
		case STORE_WATCH_EVENT:
			apply(replica, event.record);
			break;
		case STORE_WATCH_IDLE:
			return;
		case STORE_WATCH_LIST_AGAIN:
			store_watch_stop(&replica->watch);
			load(replica);
			break;
		}
	}
}

static void changed(struct task *task)
{
	replica_catch_up(CONTAINER_OF(task, struct replica, task));
}

void replica_open(struct replica *replica, struct server *server)
{
	*replica = (struct replica){ .server = server, .store = server->store };
	list_init(&replica->changed_apps);
	task_init(&replica->task, server->loop, "replica", changed);
	load(replica);
}

static void free_placement(void *p)
{
	placement_entry_free(p);
}

static void free_node(void *node)
{
	node_entry_free(node);
}

static void free_app(void *app)
{
	app_entry_free(app);
}

void replica_close(struct replica *replica)
{
	if (!replica->server)
		return;
	store_watch_stop(&replica->watch);
	task_clear(&replica->task);
	free_all(&replica->placements, free_placement);
	free_all(&replica->nodes, free_node);
	free_all(&replica->apps, free_app);
	free_all(&replica->tokens, free_token);
	map_clear(&replica->tenants);
	map_clear(&replica->environments);
}

struct app_entry *replica_app(const struct replica *replica, const char *tenant, const char *environment,
			      const char *app)
{
	AUTO_FREE char *key = xasprintf("%s/%s/%s", tenant, environment, app);
	struct app_entry *entry = map_get(&replica->apps, key);
	return entry && entry->exists ? entry : NULL;
}

struct release *replica_release_kept(struct replica *replica, struct app_entry *app, uint32_t number)
{
	char name[16];
	snprintf(name, sizeof(name), "%u", number);
	struct release *release = map_get(&app->releases, name);
	if (release)
		return release;
	AUTO_FREE char *key = xasprintf("v1/releases/%s/%08u", app->key, number);
	const struct record *record = store_get(replica->store, key);
	if (!record)
		return NULL;
	struct err err = {};
	release = xcalloc(1, sizeof(*release));
	if (release_parse_text(record_value(record), record->value_len, release, &err) < 0) {
		unreadable(record, &err);
		free(release);
		return NULL;
	}
	map_set(&app->releases, name, release);
	return release;
}

const struct release *replica_release(struct replica *replica, struct app_entry *app, uint32_t number)
{
	return replica_release_kept(replica, app, number);
}

bool placement_is_of(const struct placement_entry *p, const struct app_entry *app)
{
	return p->app == app && app->exists && str_eq(p->record.app_uid, app->app.uid);
}
