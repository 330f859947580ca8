#include "agent/history.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "io/file.h"
#include "model/json.h"

#include <errno.h>

enum { PRUNE_EVERY_MS = 600 * 1000 };

static void past_free(struct past *past)
{
	list_remove(&past->link);
	free(past->id);
	free(past->tenant);
	free(past->environment);
	free(past->app);
	free(past->app_uid);
	free(past->process);
	free(past);
}

static void remove_work(void *arg)
{
	struct err err = { 0 };
	if (tree_remove(arg, &err) < 0)
		log_warn("old logs stay: %s", err.text);
}

static void drop(struct history *history, struct past *past)
{
	loop_work(history->loop, remove_work, free, xasprintf("%s/%s", history->instances, past->id));
	past_free(past);
}

static unsigned newer_of_app(const struct history *history, const struct past *than)
{
	unsigned n = 0;
	const struct past *past;
	LIST_EACH(past, &history->past, link) {
		bool newer = past->ended_ms > than->ended_ms || (past->ended_ms == than->ended_ms && past > than);
		n += newer && str_eq(past->app_uid, than->app_uid);
	}
	return n;
}

static void prune_too_old(struct timer *timer)
{
	struct history *history = CONTAINER_OF(timer, struct history, prune);
	uint64_t now_ms = realtime_ms();
	struct past *past;
	LIST_EACH(past, &history->past, link) {
		if (now_ms > past->ended_ms + HISTORY_MS)
			drop(history, past);
	}
	timer_set(&history->prune, PRUNE_EVERY_MS);
}

static void prune_too_many(struct history *history, const char *app_uid)
{
	struct past *past;
	LIST_EACH(past, &history->past, link) {
		if (str_eq(past->app_uid, app_uid) && newer_of_app(history, past) >= HISTORY_PER_APP)
			drop(history, past);
	}
}

void history_init(struct history *history, struct loop *loop, const char *instances)
{
	*history = (struct history){ .loop = loop, .instances = xstrdup(instances) };
	list_init(&history->past);
	timer_init(&history->prune, loop, prune_too_old);
	timer_set(&history->prune, PRUNE_EVERY_MS);
}

void history_clear(struct history *history)
{
	if (!history->loop)
		return;
	struct past *past;
	LIST_EACH(past, &history->past, link)
		past_free(past);
	timer_clear(&history->prune);
	free(history->instances);
	*history = (struct history){ 0 };
}

void history_add(struct history *history, const struct assignment *a, uint64_t ended_ms)
{
	struct past *past = xcalloc(1, sizeof(*past));
	*past = (struct past){
		.id = xstrdup(a->instance),
		.tenant = xstrdup(a->tenant),
		.environment = xstrdup(a->environment),
		.app = xstrdup(a->app),
		.app_uid = xstrdup(a->app_uid),
		.process = xstrdup(a->process),
		.index = a->index,
		.ended_ms = ended_ms,
	};
	list_append(&history->past, &past->link);
	prune_too_many(history, a->app_uid);
}

static struct past *find(const struct history *history, const char *id)
{
	struct past *past;
	LIST_EACH(past, &history->past, link) {
		if (str_eq(past->id, id))
			return past;
	}
	return NULL;
}

bool history_has(const struct history *history, const char *id)
{
	return find(history, id) != NULL;
}

struct past_app *history_apps(const struct history *history, size_t *ret_n)
{
	struct map seen = { 0 };
	struct past_app *apps = NULL;
	size_t n = 0;
	struct past *past;
	LIST_EACH(past, &history->past, link) {
		if (map_get(&seen, past->app_uid))
			continue;
		map_set(&seen, past->app_uid, past);
		apps = xreallocarray(apps, n + 1, sizeof(*apps));
		apps[n++] = (struct past_app){ past->tenant, past->environment, past->app, past->app_uid };
	}
	map_clear(&seen);
	*ret_n = n;
	return apps;
}

void history_drop_app(struct history *history, const char *app_uid)
{
	struct past *past;
	LIST_EACH(past, &history->past, link) {
		if (str_eq(past->app_uid, app_uid))
			drop(history, past);
	}
}

void history_forget(struct history *history, const char *id)
{
	struct past *past = find(history, id);
	if (past)
		past_free(past);
}

int past_write(const char *dir, const struct assignment *a, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/past", dir);
	AUTO_JSON json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "instance", a->instance, "tenant",
					   a->tenant, "environment", a->environment, "app", a->app, "app_uid", a->app_uid,
					   "process", a->process, "index", (json_int_t)a->index, "ended_ms",
					   (json_int_t)realtime_ms());
	AUTO_FREE char *text = json_to_text(json);
	return file_write_durable(path, text, strlen(text), 0600, err);
}

int past_read(const char *dir, struct assignment *ret, uint64_t *ret_ended_ms, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/past", dir);
	AUTO_BUF struct buf text = BUF_INIT(64 << 10);
	AUTO_JSON json_t *json = NULL;
	int r = file_read(path, &text, err);
	if (r < 0)
		return r;
	r = json_from_bytes(buf_data(&text), buf_len(&text), &json, err);
	if (r < 0)
		return err_wrap(err, "%s", path);
	*ret = (struct assignment){
		.instance = xstrdup(json_get_text(json, "instance", "")),
		.tenant = xstrdup(json_get_text(json, "tenant", "")),
		.environment = xstrdup(json_get_text(json, "environment", "")),
		.app = xstrdup(json_get_text(json, "app", "")),
		.app_uid = xstrdup(json_get_text(json, "app_uid", "")),
		.process = xstrdup(json_get_text(json, "process", "")),
		.index = (uint32_t)json_get_u64(json, "index", 0),
	};
	*ret_ended_ms = json_get_u64(json, "ended_ms", 0);
	return 0;
}
