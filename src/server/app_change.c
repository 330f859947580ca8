#include "server/app_change.h"

#include "base/clock.h"
#include "base/str.h"
#include "server/app_view.h"
#include "server/change.h"
#include "server/claims.h"
#include "server/core.h"
#include "server/events.h"
#include "server/release.h"
#include "server/route.h"

void app_changed(struct request *rq)
{
	struct app_entry *app = request_find_app(rq);
	if (app)
		reply_app(rq, rq->route->status, app, true);
	else
		reply_problemf(rq, 409, NULL, "the app was deleted meanwhile");
}

void app_change_commit(struct request *rq, struct app_entry *entry, struct app *app, const struct release *release,
		       const char *type, const char *message)
{
	AUTO_STORE_TXN struct store_txn *txn = store_txn_new();
	if (change_app(rq, txn, entry, app) < 0)
		return;
	if (release) {
		claims_serialise(rq->server, txn, &entry->app.spec, &release->spec);
		release_put(txn, entry, release);
	}
	struct event event = {
		.type = (char *)type, .message = (char *)message, .by = rq->who.name, .release = app->release
	};
	event_put(rq->server, txn, entry, &event);
	AUTO_FREE char *key = xasprintf("v1/apps/%s", entry->key);
	change_commit(rq, TAKE_PTR(txn), key, message, app_changed);
}

static void set_text(char **text, const char *value)
{
	free(*text);
	*text = xstrdup(value);
}

void app_release_commit(struct request *rq, struct app_entry *entry, struct release *release, const char *reason,
			const char *type, const char *message)
{
	struct field_path path = {};
	struct err err = {};
	if (claims_check(rq->server, &release->spec, entry->app.tenant, entry->app.environment, &path, &err) < 0) {
		reply_problem(rq, 409, path.text, &err);
		return;
	}
	release->number = release_next(rq->server, entry, entry->key);
	release->created_ms = realtime_ms();
	release->came_up = false;
	set_text(&release->by, rq->who.name);
	set_text(&release->reason, reason);
	struct app app;
	app_copy(&entry->app, &app);
	app.release = app.last_release = release->number;
	spec_clear(&app.spec);
	spec_copy(&release->spec, &app.spec);
	app_change_commit(rq, entry, &app, release, type, message);
	app_clear(&app);
}
