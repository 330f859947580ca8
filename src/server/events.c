#include "server/events.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "server/change.h"
#include "server/core.h"
#include "server/list.h"

#include <assert.h>

enum { EVENTS_PER_TXN = 20, REMOVED_MAX = 2, EVENTS_WAITING_MAX = 2000 };

static char *event_key(const struct server *server, const char *app_key, uint64_t seq)
{
	return xasprintf("v1/events/%s/%010llu%s", app_key, (unsigned long long)seq, server->suffix);
}

static void find_numbers(struct server *server, const char *app_key, uint64_t *first, uint64_t *next)
{
	AUTO_FREE char *prefix = xasprintf("v1/events/%s/", app_key);
	*first = store_first_number(server->store, prefix);
	*next = store_last_number(server->store, prefix) + 1;
}

// Removes the event, or events of several servers, of that number.
static int remove_number(struct server *server, struct store_txn *txn, const char *app_key, uint64_t seq)
{
	AUTO_FREE char *prefix = xasprintf("v1/events/%s/%010llu", app_key, (unsigned long long)seq);
	const struct record *r = NULL;
	int n = 0;
	for (; n < REMOVED_MAX && (r = store_next(server->store, prefix, r ? record_key(r) : NULL)); n++)
		store_txn_delete(txn, record_key(r));
	return n;
}

static void put(struct server *server, struct store_txn *txn, const char *app_key, struct event *event, uint64_t *first)
{
	if (!event->at_ms)
		event->at_ms = realtime_ms();
	AUTO_FREE char *key = event_key(server, app_key, event->seq);
	AUTO_FREE char *text = event_text(event);
	store_txn_put(txn, key, text, strlen(text));
	// Two at most: what transactions that failed have left is caught up with after the next start.
	for (int n = 0, looked = 0; n < REMOVED_MAX && looked < 2 && *first + EVENTS_MAX <= event->seq; looked++)
		n += remove_number(server, txn, app_key, (*first)++);
}

void event_put(struct server *server, struct store_txn *txn, struct app_entry *app, struct event *event)
{
	// Other servers count too.
	if (!app->next_event || store_is_shared(server->store)) {
		uint64_t first, next;
		find_numbers(server, app->key, &first, &next);
		app->first_event = first > app->first_event ? first : app->first_event;
		app->next_event = next > app->next_event ? next : app->next_event;
	}
	event->seq = app->next_event++;
	put(server, txn, app->key, event, &app->first_event);
}

void event_put_named(struct server *server, struct store_txn *txn, const char *app_key, struct event *event)
{
	struct app_entry *app = map_get(&server->replica.apps, app_key);
	if (app) {
		event_put(server, txn, app, event);
		return;
	}
	uint64_t first;
	find_numbers(server, app_key, &first, &event->seq);
	put(server, txn, app_key, event, &first);
}

void event_add(struct server *server, struct app_entry *app, const struct event *event)
{
	struct control *control = &server->control;
	if (!server_leads(server) || control->event_count == EVENTS_WAITING_MAX)
		return; // the store is not keeping up; the newest facts are in the app's state anyway
	control->events = xreallocarray(control->events, control->event_count + 1, sizeof(*control->events));
	control->event_apps = xreallocarray(control->event_apps, control->event_count + 1, sizeof(char *));
	struct event *copy = &control->events[control->event_count];
	event_copy(event, copy);
	if (!copy->at_ms)
		copy->at_ms = realtime_ms();
	control->event_apps[control->event_count++] = xstrdup(app->key);
	control_wake(server, 0);
}

static void written(void *arg UNUSED, const struct store_answer *answer)
{
	if (answer->result != STORE_OK)
		log_warn("events not written reason=\"%s\"", answer->reason);
}

static void flush_some(struct server *server, uint32_t from, uint32_t to)
{
	struct control *control = &server->control;
	struct store_txn *txn = store_txn_new();
	for (uint32_t i = from; i < to; i++) {
		struct app_entry *app = map_get(&server->replica.apps, control->event_apps[i]);
		if (app && app->exists)
			event_put(server, txn, app, &control->events[i]);
		event_clear(&control->events[i]);
		free(control->event_apps[i]);
	}
	if (store_txn_ops(txn))
		server_commit_leading(server, txn, written, NULL);
	else
		store_txn_free(txn);
}

void events_flush(struct server *server)
{
	struct control *control = &server->control;
	for (uint32_t i = 0; i < control->event_count; i += EVENTS_PER_TXN) {
		uint32_t to = i + EVENTS_PER_TXN;
		flush_some(server, i, to < control->event_count ? to : control->event_count);
	}
	control->event_count = 0;
}

void events_drop(struct server *server)
{
	struct control *control = &server->control;
	for (uint32_t i = 0; i < control->event_count; i++) {
		event_clear(&control->events[i]);
		free(control->event_apps[i]);
	}
	control->event_count = 0;
}

static bool is_same(const struct event *event, const char *type, const char *instance, uint64_t at_ms)
{
	return str_eq(event->type, type) && str_eq(event->instance, instance) && event->at_ms >= at_ms;
}

bool event_is_known(struct server *server, struct app_entry *app, const char *type, const char *instance,
		    uint64_t at_ms)
{
	const struct control *control = &server->control;
	for (uint32_t i = 0; i < control->event_count; i++)
		if (str_eq(control->event_apps[i], app->key) && is_same(&control->events[i], type, instance, at_ms))
			return true;
	AUTO_FREE char *prefix = xasprintf("v1/events/%s/", app->key);
	const struct record *r = NULL;
	while ((r = store_next(server->store, prefix, r ? record_key(r) : NULL))) {
		struct event event = {};
		if (event_parse_text(record_value(r), r->value_len, &event, NULL) < 0)
			continue;
		bool same = is_same(&event, type, instance, at_ms);
		event_clear(&event);
		if (same)
			return true;
	}
	return false;
}

static json_t *item(const struct record *record, const void *arg UNUSED)
{
	json_t *json = NULL;
	json_from_bytes(record_value(record), record->value_len, &json, NULL);
	return json;
}

void events_list(struct request *rq)
{
	struct app_entry *app = request_app(rq);
	if (!app)
		return;
	AUTO_FREE char *prefix = xasprintf("v1/events/%s/", app->key);
	list_newest_first(rq, prefix, app->created_revision, item, NULL);
}
