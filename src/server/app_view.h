// An app and its instances as the API shows them.
#pragma once

#include "server/views.h"

enum { CHANGED_UNSAID = -1 };

// changed: 0, 1 or CHANGED_UNSAID, when the member is left out.
json_t *app_json(struct server *server, struct app_entry *app, int changed);

// NULL when nothing is under way; freed with rollout_view_free (NULL is fine).
struct rollout_view *rollout_view_new(const struct app_entry *app);
void rollout_view_free(struct rollout_view *view);
json_t *instance_json(const struct placement_entry *p);
// At most limit of them behind the cursor (which is cut up; NULL: from the first). NULL when it is none; *ret_next, on
// the heap, is set when there are more.
json_t *instances_page(const struct app_entry *app, char *cursor, size_t limit, char **ret_next);
json_t *instances_json(const struct app_entry *app); // array, by process and index, the old before the new
json_t *release_json(const struct release *release, const struct app_entry *app);

// The app's placements in the order of instances_json; the caller frees. *ret_n: how many.
const struct placement_entry **app_placements(const struct app_entry *app, size_t *ret_n);

void reply_app(struct request *rq, unsigned status, struct app_entry *app, int changed); // with its ETag
