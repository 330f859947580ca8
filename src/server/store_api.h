// The store as the API shows it: its state, and all of it as a backup.
#pragma once

#include "model/fields.h"
#include "server/request.h"

struct store;

struct store_member_info {
	char *address, *version, *alarms;
	bool answers, leads, in_use;
	uint64_t bytes, used_bytes;
};
struct store_warning {
	char *text, *mend;
};
struct store_info {
	char *driver, *epoch;
	uint64_t revision, compacted, records, bytes, history_rows, history_bytes, disk_bytes, ballast_bytes;
	uint64_t waiting, silent_ms;
	bool full;
	struct store_member_info *members;
	uint32_t member_count;
	struct store_warning *warnings;
	uint32_t warning_count;
};
extern const struct fields store_info_fields;

// What a store says of itself, as GET /v1/store answers. done is called once, later, with JSON that it is to own.
void store_info_gather(struct store *store, void (*done)(void *arg, json_t *info), void *arg);

void store_api_get(struct request *rq);     // GET /v1/store
void store_api_backup(struct request *rq);  // GET /v1/store/backup
void store_api_compact(struct request *rq); // POST /v1/store/compact
