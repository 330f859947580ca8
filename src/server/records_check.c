#include "server/records_check.h"

#include "base/str.h"
#include "model/records.h"

#include <errno.h>

static int unreadable(const struct record *record, const struct err *cause, struct err *err)
{
	err_set(err, -EBADMSG, "the record '%s' cannot be read: %.600s", record_key(record), cause->text);
	return err_hint(err, "applications run on; go back to the version of dialtone that wrote it");
}

static int check_release(struct store *store, const char *app, uint32_t number, struct err *err)
{
	AUTO_FREE char *key = xasprintf("v1/releases/%s/%08u", app, number);
	const struct record *record = store_get(store, key);
	struct release release = {};
	struct err cause = {};
	if (!record)
		return 0; // an app that was never deployed, or was deleted
	if (release_parse_text(record_value(record), record->value_len, &release, &cause) < 0)
		return unreadable(record, &cause, err);
	release_clear(&release);
	return 0;
}

static int check_app(struct store *store, const struct record *record, const char *key, struct err *err)
{
	struct app app = {};
	struct err cause = {};
	if (app_parse_text(record_value(record), record->value_len, &app, &cause) < 0)
		return unreadable(record, &cause, err);
	int r = check_release(store, key, app.release, err);
	app_clear(&app);
	return r;
}

static int check_placement(struct store *store, const struct record *record, UNUSED const char *key, struct err *err)
{
	struct placement placement = {};
	struct err cause = {};
	if (placement_parse_text(record_value(record), record->value_len, &placement, &cause) < 0)
		return unreadable(record, &cause, err);
	AUTO_FREE char *app = xasprintf("%s/%s/%s", placement.tenant, placement.environment, placement.app);
	int r = check_release(store, app, placement.release, err);
	placement_clear(&placement);
	return r;
}

static int check_node(UNUSED struct store *store, const struct record *record, UNUSED const char *key, struct err *err)
{
	struct node node = {};
	struct err cause = {};
	if (node_parse_text(record_value(record), record->value_len, &node, &cause) < 0)
		return unreadable(record, &cause, err);
	node_clear(&node);
	return 0;
}

int records_check(struct store *store, struct err *err)
{
	static const struct {
		const char *prefix;
		int (*check)(struct store *store, const struct record *record, const char *key, struct err *err);
	} kinds[] = {
		{ "v1/apps/", check_app },
		{ "v1/placements/", check_placement },
		{ "v1/nodes/", check_node },
	};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct record *record = NULL;
		while ((record = store_next(store, kinds[i].prefix, record ? record_key(record) : NULL))) {
			int r = kinds[i].check(store, record, record_key(record) + strlen(kinds[i].prefix), err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}
