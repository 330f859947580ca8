#include "store/backup.h"

#include "base/clock.h"
#include "base/str.h"
#include "store/driver.h"
#include "store/record.h"

#include <errno.h>

static bool stands_for_a_process(const char *key)
{
	return str_eq(key, "v1/leader") || str_starts(key, "v1/servers/");
}

void backup_take(const struct store *store, const char *platform, struct backup *ret)
{
	struct backup backup = { .revision = store_revision(store), .created_ms = realtime_ms() };
	size_t room = 0;
	snprintf(backup.platform, sizeof(backup.platform), "%s", platform);
	snprintf(backup.driver, sizeof(backup.driver), "%s", store->driver->name);
	snprintf(backup.epoch, sizeof(backup.epoch), "%s", store_epoch(store));
	for (const struct record *r = store_next(store, "", NULL); r; r = store_next(store, "", record_key(r))) {
		if (stands_for_a_process(record_key(r)))
			continue;
		if (backup.count == room) {
			room = room ? 2 * room : 64;
			backup.records = xreallocarray(backup.records, room, sizeof(*backup.records));
		}
		backup.records[backup.count++] = record_ref(r);
	}
	*ret = backup;
}

void backup_clear(struct backup *backup)
{
	for (size_t i = 0; i < backup->count; i++)
		record_unref(backup->records[i]);
	free(backup->records);
	*backup = (struct backup){ 0 };
}

static int differs(const char *key, const char *how, struct err *err)
{
	return err_set(err, -EUCLEAN, "key '%.200s' %s", key, how);
}

int backup_compare(const struct backup *backup, const struct store *store, struct err *err)
{
	size_t i = 0;
	for (const struct record *r = store_next(store, "", NULL); r; r = store_next(store, "", record_key(r))) {
		if (stands_for_a_process(record_key(r)))
			continue;
		const struct record *own = i < backup->count ? backup->records[i] : NULL;
		int order = own ? strcmp(record_key(own), record_key(r)) : 1;
		if (order > 0)
			return differs(record_key(r), "is there and should not be", err);
		if (order < 0)
			return differs(record_key(own), "is missing", err);
		if (own->value_len != r->value_len || memcmp(record_value(own), record_value(r), r->value_len) != 0)
			return differs(record_key(r), "has another value", err);
		i++;
	}
	return i < backup->count ? differs(record_key(backup->records[i]), "is missing", err) : 0;
}
