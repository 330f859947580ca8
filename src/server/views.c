#include "server/views.h"

#define TEXT(struct_, member_) FIELD(struct_, member_, FIELD_TEXT, OPTIONAL, 0, UINT32_MAX)
#define NAME(struct_, member_) FIELD(struct_, member_, FIELD_LABEL, REQUIRED, 1, 63)
#define U32(struct_, member_) FIELD(struct_, member_, FIELD_U32, OPTIONAL, 0, UINT32_MAX)
#define U64(struct_, member_) FIELD(struct_, member_, FIELD_U64, OPTIONAL, 0, INT64_MAX)
#define BYTES(struct_, member_) FIELD(struct_, member_, FIELD_BYTES, OPTIONAL, 0, INT64_MAX)
#define TIME(struct_, member_) FIELD(struct_, member_, FIELD_TIME, OPTIONAL, 0, INT64_MAX)
#define BOOL(struct_, member_) FIELD(struct_, member_, FIELD_BOOL, OPTIONAL, 0, 1)
#define ENUM(struct_, member_, names_) FIELD(struct_, member_, FIELD_ENUM, OPTIONAL, 0, 0, .names = names_)
#define OBJECT(struct_, member_, of_) FIELD(struct_, member_, FIELD_OBJECT, OPTIONAL, 0, 0, .of = of_)
#define POINTER(struct_, member_, of_) FIELD(struct_, member_, FIELD_POINTER, OPTIONAL, 0, 0, .of = of_)
#define ARRAY(struct_, member_, count_, of_)                                                                           \
	FIELD_LIST(struct_, member_, count_, FIELD_ARRAY, OPTIONAL, UINT32_MAX, .of = of_)

static const char *const app_states[] = {
	[APP_RUNNING] = "running", [APP_STARTING] = "starting", [APP_UPDATING] = "updating",
	[APP_FAILING] = "failing", [APP_STOPPED] = "stopped",   [APP_COMPLETED] = "completed",
	NULL,
};
static const char *const rollout_states[] = { "rolling", "failed", NULL };
static const char *const wants[] = { [WANT_RUN] = "run", [WANT_STOP] = "stop", NULL };
static const char *const node_states[] = {
	[NODE_READY] = "ready",
	[NODE_LOST] = "lost",
	[NODE_DRAINING] = "draining",
	NULL,
};
static const char *const instance_states[] = {
	[INSTANCE_PENDING] = "pending",   [INSTANCE_STARTING] = "starting", [INSTANCE_READY] = "ready",
	[INSTANCE_UNREADY] = "unready",   [INSTANCE_BACKOFF] = "backoff",   [INSTANCE_FAILED] = "failed",
	[INSTANCE_STOPPING] = "stopping", [INSTANCE_STOPPED] = "stopped",   NULL,
};

// ---- app

static const struct field process_items[] = {
	U32(process_view, wanted),
	FIELD(process_view, ready, FIELD_U32, OPTIONAL, 0, UINT32_MAX, .about = "wanted to run, and ready"),
	FIELD(process_view, running, FIELD_U32, OPTIONAL, 0, UINT32_MAX, .about = "on a node, from start to end"),
	FIELD(process_view, completed, FIELD_U32, OPTIONAL, 0, UINT32_MAX,
	      .about = "ended with 0, and not to be started again by their restart policy"),
};
static const struct fields process_view_fields = FIELDS(process_view, process_items, "ProcessState");

static const struct field rollout_items[] = {
	U32(rollout_view, release),
	FIELD(rollout_view, from, FIELD_U32, OPTIONAL, 0, UINT32_MAX,
	      .about = "the release that serves until then; 0: none"),
	ENUM(rollout_view, state, rollout_states),
	FIELD(rollout_view, detail, FIELD_TEXT, OPTIONAL, 0, UINT32_MAX,
	      .about = "how far it is, or the cause of its failure"),
};
static const struct fields rollout_view_fields = FIELDS(rollout_view, rollout_items, "Rollout");

static const struct field app_items[] = {
	TEXT(app_view, uid),
	NAME(app_view, name),
	NAME(app_view, tenant),
	NAME(app_view, environment),
	OBJECT(app_view, spec, &spec_fields),
	FIELD(app_view, release, FIELD_U32, OPTIONAL, 0, UINT32_MAX, .about = "the one wanted now"),
	FIELD(app_view, stack, FIELD_TEXT, OPTIONAL, 0, UINT32_MAX, .about = "of the release, with its exact version"),
	FIELD(app_view, runtime, FIELD_TEXT, OPTIONAL, 0, UINT32_MAX, .about = "likewise; not there: none"),
	BOOL(app_view, stopped),
	ENUM(app_view, state, app_states),
	ARRAY(app_view, urls, url_count, &word_fields),
	FIELD_LIST(app_view, processes, process_count, FIELD_MAP, OPTIONAL, UINT32_MAX, .of = &process_view_fields),
	POINTER(app_view, rollout, &rollout_view_fields),
	FIELD(app_view, revision, FIELD_U64, OPTIONAL, 0, INT64_MAX, .about = "the ETag, for If-Match"),
	TIME(app_view, created_ms),
	TIME(app_view, updated_ms),
	FIELD(app_view, changed, FIELD_BOOL, OPTIONAL, 0, 1, .about = "of a change: whether it changed anything"),
};
const struct fields app_view_fields = FIELDS(app_view, app_items, "AppState");

static const struct field instance_items[] = {
	TEXT(instance_view, instance),
	TEXT(instance_view, process),
	U32(instance_view, index),
	TEXT(instance_view, node),
	U32(instance_view, release),
	ENUM(instance_view, want, wants),
	ENUM(instance_view, state, instance_states),
	TEXT(instance_view, address),
	U32(instance_view, restarts),
	TIME(instance_view, created_ms),
	TIME(instance_view, started_ms),
	POINTER(instance_view, exit, &exit_status_fields),
	POINTER(instance_view, probe, &probe_result_fields),
	TEXT(instance_view, message),
};
const struct fields instance_view_fields = FIELDS(instance_view, instance_items, "Instance");

static const struct field watch_items[] = {
	OBJECT(watch_view, app, &app_view_fields),
	ARRAY(watch_view, instances, instance_count, &instance_view_fields),
};
const struct fields watch_view_fields = FIELDS(watch_view, watch_items, "Watch");

static const struct field release_items[] = {
	U32(release_view, release),     TEXT(release_view, artifact),
	TEXT(release_view, stack),      TEXT(release_view, runtime),
	TIME(release_view, created_ms), TEXT(release_view, by),
	TEXT(release_view, reason),     OBJECT(release_view, spec, &spec_fields),
	BOOL(release_view, current),
	FIELD(release_view, came_up, FIELD_BOOL, OPTIONAL, 0, 1, .about = "all its instances were ready at some time"),
};
const struct fields release_view_fields = FIELDS(release_view, release_items, "ReleaseState");

static const struct field change_items[] = {
	TEXT(change, path),
	TEXT(change, before),
	TEXT(change, after),
};
static const struct fields change_fields = FIELDS(change, change_items, "Change");

static const struct field plan_items[] = {
	ARRAY(plan_view, changes, change_count, &change_fields),
	BOOL(plan_view, changed),
};
const struct fields plan_view_fields = FIELDS(plan_view, plan_items, "Plan");

// ---- platform

static const struct field node_items[] = {
	TEXT(node_view, name),
	TEXT(node_view, address),
	TEXT(node_view, zone),
	ENUM(node_view, state, node_states),
	FIELD(node_view, connected, FIELD_BOOL, OPTIONAL, 0, 1, .about = "its agent reads its assignments"),
	TIME(node_view, since_ms),
	BYTES(node_view, memory_bytes),
	BYTES(node_view, disk_bytes),
	U32(node_view, cpu_millis),
	U32(node_view, instances),
	OBJECT(node_view, used, &resources_fields),
	ARRAY(node_view, problems, problem_count, &word_fields),
};
const struct fields node_view_fields = FIELDS(node_view, node_items, "NodeState");

#define IMAGE_ITEMS                                                                                                    \
	TEXT(image_view, name), TEXT(image_view, version), TEXT(image_view, about),                                    \
		ARRAY(image_view, layers, layer_count, &digest_fields),                                                \
		ARRAY(image_view, packages, package_count, &word_fields), BYTES(image_view, bytes),                    \
		TIME(image_view, built_ms)

static const struct field stack_items[] = {
	IMAGE_ITEMS,
	BOOL(image_view, shell),
};
const struct fields stack_view_fields = FIELDS(image_view, stack_items, "Stack");

static const struct field runtime_items[] = {
	IMAGE_ITEMS,
	FIELD(image_view, stack, FIELD_TEXT, OPTIONAL, 0, UINT32_MAX, .about = "that it was made over"),
	FIELD(image_view, command, FIELD_TEXT, OPTIONAL, 0, UINT32_MAX, .about = "when the app names none"),
	FIELD(image_view, build_ready, FIELD_BOOL, OPTIONAL, 0, 1, .about = "builds can run on it"),
};
const struct fields runtime_view_fields = FIELDS(image_view, runtime_items, "Runtime");

static const struct field platform_items[] = {
	TEXT(platform_view, id),  TEXT(platform_view, domain),  TEXT(platform_view, http),
	TEXT(platform_view, api), TEXT(platform_view, version),
};
static const struct fields platform_fields = FIELDS(platform_view, platform_items, "Platform");

static const struct field totals_items[] = {
	U32(totals_view, wanted),
	U32(totals_view, ready),
};
static const struct fields totals_fields = FIELDS(totals_view, totals_items, "Totals");

static const struct field store_items[] = {
	TEXT(store_view, driver),
	U64(store_view, revision),
	U64(store_view, records),
	FIELD(store_view, full, FIELD_BOOL, OPTIONAL, 0, 1, .about = "its disk: nothing can be changed"),
	FIELD_LIST(store_view, members, member_count, FIELD_ARRAY, OPTIONAL | HIDDEN, 100, .of = &word_fields),
	FIELD(store_view, member, FIELD_TEXT, OPTIONAL | HIDDEN, 0, 256, .about = "the one in use"),
	FIELD(store_view, version, FIELD_TEXT, OPTIONAL | HIDDEN, 0, 64, .about = "of that member"),
	FIELD(store_view, waiting, FIELD_U64, OPTIONAL | HIDDEN, 0, INT64_MAX, .about = "changes without an answer yet"),
};
static const struct fields store_fields = FIELDS(store_view, store_items, "Store");

static const struct field status_items[] = {
	OBJECT(status_view, platform, &platform_fields),
	U32(status_view, nodes),
	U32(status_view, routers),
	U32(status_view, apps),
	OBJECT(status_view, instances, &totals_fields),
	OBJECT(status_view, store, &store_fields),
	FIELD(status_view, server, FIELD_TEXT, OPTIONAL, 0, 64, .about = "name of the one that answers"),
	FIELD_LIST(status_view, servers, server_count, FIELD_ARRAY, OPTIONAL, 1000, .of = &server_info_fields),
	FIELD(status_view, settled, FIELD_BOOL, OPTIONAL, 0, 1, .about = "since its start it has heard enough to act"),
};
const struct fields status_view_fields = FIELDS(status_view, status_items, "Status");

static const struct field audit_items[] = {
	U64(audit_view, seq),    TIME(audit_view, at_ms),  TEXT(audit_view, who),    TEXT(audit_view, role),
	TEXT(audit_view, from),  TEXT(audit_view, action), TEXT(audit_view, target), TEXT(audit_view, outcome),
	U32(audit_view, status), TEXT(audit_view, detail),
};
const struct fields audit_view_fields = FIELDS(audit_view, audit_items, "AuditRecord");

// ---- why

static const struct field missing_items[] = {
	TEXT(missing_view, process),
	U32(missing_view, wanted),
	U32(missing_view, ready),
	TEXT(missing_view, detail),
};
static const struct fields missing_fields = FIELDS(missing_view, missing_items, "Missing");

static const struct field refusal_items[] = {
	TEXT(refusal_view, process),
	TEXT(refusal_view, node),
	TEXT(refusal_view, refused),
};
static const struct fields refusal_fields = FIELDS(refusal_view, refusal_items, "Refusal");

static const struct field exit_items[] = {
	TEXT(exit_view, instance),
	TEXT(exit_view, process),
	U32(exit_view, index),
	TIME(exit_view, at_ms),
	POINTER(exit_view, exit, &exit_status_fields),
};
static const struct fields exit_fields = FIELDS(exit_view, exit_items, "LastExit");

static const struct field probe_items[] = {
	TEXT(probe_view, instance),
	TEXT(probe_view, process),
	U32(probe_view, index),
	POINTER(probe_view, probe, &probe_result_fields),
};
static const struct fields probe_fields = FIELDS(probe_view, probe_items, "LastProbe");

static const struct field reached_items[] = {
	TEXT(reached_view, host),
	TEXT(reached_view, path),
	FIELD(reached_view, instances, FIELD_U32, OPTIONAL, 0, UINT32_MAX, .about = "that get its requests"),
};
static const struct fields reached_fields = FIELDS(reached_view, reached_items, "ReachedRoute");

static const struct field why_items[] = {
	TEXT(why_view, app),
	ENUM(why_view, state, app_states),
	TEXT(why_view, summary),
	POINTER(why_view, rollout, &rollout_view_fields),
	ARRAY(why_view, routes, route_count, &reached_fields),
	ARRAY(why_view, missing, missing_count, &missing_fields),
	ARRAY(why_view, nodes, node_count, &refusal_fields),
	ARRAY(why_view, exits, exit_count, &exit_fields),
	ARRAY(why_view, probes, probe_count, &probe_fields),
	ARRAY(why_view, hints, hint_count, &word_fields),
};
const struct fields why_view_fields = FIELDS(why_view, why_items, "Why");
