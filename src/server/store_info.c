#include "base/str.h"
#include "server/store_api.h"
#include "store/etcd.h"

#define TEXT(struct_, member_) FIELD(struct_, member_, FIELD_TEXT, OPTIONAL, 0, UINT32_MAX)
#define U64(struct_, member_, about_) FIELD(struct_, member_, FIELD_U64, OPTIONAL, 0, INT64_MAX, .about = about_)
#define BYTES(struct_, member_, about_) FIELD(struct_, member_, FIELD_U64, OPTIONAL, 0, INT64_MAX, .about = about_)
#define BOOL(struct_, member_, about_) FIELD(struct_, member_, FIELD_BOOL, OPTIONAL, 0, 1, .about = about_)

static const struct field member_items[] = {
	TEXT(store_member_info, address),
	TEXT(store_member_info, version),
	FIELD(store_member_info, alarms, FIELD_TEXT, OPTIONAL, 0, UINT32_MAX, .about = "or why it does not answer"),
	BOOL(store_member_info, answers, NULL),
	BOOL(store_member_info, leads, "the others follow it"),
	BOOL(store_member_info, in_use, "the one that this server talks to"),
	BYTES(store_member_info, bytes, "of its database"),
	BYTES(store_member_info, used_bytes, "of these, in use"),
};
static const struct fields member_fields = FIELDS(store_member_info, member_items, "StoreMember");

static const struct field warning_items[] = { TEXT(store_warning, text), TEXT(store_warning, mend) };
static const struct fields warning_fields = FIELDS(store_warning, warning_items, "StoreWarning");

static const struct field store_items[] = {
	TEXT(store_info, driver),
	FIELD(store_info, epoch, FIELD_TEXT, OPTIONAL, 0, UINT32_MAX, .about = "another one after each restore"),
	U64(store_info, revision, NULL),
	U64(store_info, compacted, "history up to here may be gone"),
	U64(store_info, records, NULL),
	BYTES(store_info, bytes, "of keys and values"),
	U64(store_info, history_rows, "superseded records that are still kept"),
	BYTES(store_info, history_bytes, NULL),
	BYTES(store_info, disk_bytes, "0: not on this server's disk"),
	BYTES(store_info, ballast_bytes, "held back for a full disk; 0: given up"),
	U64(store_info, waiting, "changes without an answer yet"),
	U64(store_info, silent_ms, "since the members were last heard of"),
	BOOL(store_info, full, "only what deletes is possible"),
	FIELD_LIST(store_info, members, member_count, FIELD_ARRAY, OPTIONAL, UINT32_MAX, .of = &member_fields),
	FIELD_LIST(store_info, warnings, warning_count, FIELD_ARRAY, OPTIONAL, UINT32_MAX, .of = &warning_fields),
};
const struct fields store_info_fields = FIELDS(store_info, store_items, "StoreInfo");

struct gathering {
	struct store *store;
	void (*done)(void *arg, json_t *info);
	void *arg;
};

static void warn(struct store_info *info, char *text, const char *mend)
{
	info->warnings = xreallocarray(info->warnings, info->warning_count + 1, sizeof(*info->warnings));
	info->warnings[info->warning_count++] = (struct store_warning){ .text = text, .mend = xstrdup(mend) };
}

static void take_stats(struct store_info *info, const struct store *store)
{
	struct store_stats s;
	store_stats(store, &s);
	*info = (struct store_info){
		.driver = xstrdup(store_driver(store)),
		.epoch = xstrdup(store_epoch(store)),
		.revision = s.revision,
		.compacted = s.compacted,
		.records = s.records,
		.bytes = s.bytes,
		.history_rows = s.history_rows,
		.history_bytes = s.history_bytes,
		.disk_bytes = s.disk_bytes,
		.ballast_bytes = s.ballast,
		.waiting = s.waiting,
		.silent_ms = s.silent_ms,
		.full = s.full,
	};
	if (s.full && !store_is_shared(store))
		warn(info, xstrdup("the store's disk is full: only what deletes is possible"),
		     "make room on the disk of the platform's data directory; writes go on by themselves");
	else if (s.full)
		warn(info, xstrdup("etcd's space quota is used up: only what deletes is possible"),
		     "'etcdctl compact REVISION', 'etcdctl defrag --cluster', then 'etcdctl alarm disarm'; or raise "
		     "--quota-backend-bytes");
}

static void take_member(struct store_info *info, const struct store_member *m)
{
	const char *faults = m->answers ? store_etcd_faults(m->version) : NULL;
	info->members[info->member_count++] = (struct store_member_info){
		.address = xstrdup(m->address),
		.version = xstrdup(m->version),
		.alarms = xstrdup(m->alarms),
		.answers = m->answers,
		.leads = m->leads,
		.in_use = m->in_use,
		.bytes = m->bytes,
		.used_bytes = m->used_bytes,
	};
	if (!m->answers)
		warn(info, xasprintf("etcd member %s does not answer: %s", m->address, m->alarms),
		     "start it again, or replace it; without more than half of the members nothing can be changed");
	else if (*m->alarms)
		warn(info, xasprintf("etcd member %s says: %s", m->address, m->alarms),
		     "'etcdctl alarm list' shows it");
	if (faults)
		warn(info, xasprintf("etcd member %s: version %s %s", m->address, m->version, faults),
		     STORE_ETCD_UPGRADE);
}

static void members_came(void *arg, const struct store_member *members, size_t n)
{
	AUTO_FREE struct gathering *g = arg;
	struct store_info info;
	take_stats(&info, g->store);
	info.members = xcalloc(n ? n : 1, sizeof(*info.members));
	for (size_t i = 0; i < n; i++)
		take_member(&info, &members[i]);
	g->done(g->arg, fields_write(&store_info_fields, &info));
	fields_clear(&store_info_fields, &info);
}

void store_info_gather(struct store *store, void (*done)(void *arg, json_t *info), void *arg)
{
	enum { MEMBERS_MS = 1500 };
	struct gathering *g = xcalloc(1, sizeof(*g));
	*g = (struct gathering){ .store = store, .done = done, .arg = arg };
	if (store_is_shared(store))
		store_etcd_members(store, MEMBERS_MS, members_came, g);
	else
		members_came(g, NULL, 0);
}
