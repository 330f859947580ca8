// Changes of an app's record, committed with their event and audit record; answered with the app.
#pragma once

#include "server/replica.h"
#include "server/request.h"

// app is what the record becomes (borrowed); release is put too, unless NULL. type and message are the event's.
void app_change_commit(struct request *rq, struct app_entry *entry, struct app *app, const struct release *release,
		       const char *type, const char *message);

// The done of such a change: answers with the app as it is now.
void app_changed(struct request *rq);

// Makes a new release with the content of `release` (which is changed: number, author, reason) the app's wanted one,
// unless its routes are another app's by now.
void app_release_commit(struct request *rq, struct app_entry *entry, struct release *release, const char *reason,
			const char *type, const char *message);
