#include "model/records.h"

#include "base/str.h"

#define TIME_MAX ((uint64_t)INT64_MAX)
#define NAME_FIELD(struct_, member_) FIELD(struct_, member_, FIELD_LABEL, REQUIRED, 1, 63)
#define TEXT_FIELD(struct_, member_, flags_, max_) FIELD(struct_, member_, FIELD_TEXT, flags_, 0, max_)
#define TIME_FIELD(struct_, member_) FIELD(struct_, member_, FIELD_TIME, OPTIONAL, 0, TIME_MAX)
#define U32_FIELD(struct_, member_, flags_) FIELD(struct_, member_, FIELD_U32, flags_, 0, UINT32_MAX)
#define BYTES_FIELD(struct_, member_) FIELD(struct_, member_, FIELD_BYTES, OPTIONAL, 0, INT64_MAX)

static const struct field tenant_items[] = {
	NAME_FIELD(tenant, name),
	TEXT_FIELD(tenant, uid, OPTIONAL, 64),
	TIME_FIELD(tenant, created_ms),
};
const struct fields tenant_fields = FIELDS(tenant, tenant_items, "Tenant");

static const struct field environment_items[] = {
	NAME_FIELD(environment, tenant),
	NAME_FIELD(environment, name),
	TEXT_FIELD(environment, uid, OPTIONAL, 64),
	TIME_FIELD(environment, created_ms),
};
const struct fields environment_fields = FIELDS(environment, environment_items, "Environment");

static const struct field app_items[] = {
	NAME_FIELD(app, tenant),
	NAME_FIELD(app, environment),
	NAME_FIELD(app, name),
	TEXT_FIELD(app, uid, REQUIRED, 64),
	TIME_FIELD(app, created_ms),
	TIME_FIELD(app, updated_ms),
	U32_FIELD(app, release, OPTIONAL),
	U32_FIELD(app, last_release, OPTIONAL),
	U32_FIELD(app, restart, OPTIONAL),
	FIELD(app, stopped, FIELD_BOOL, OPTIONAL, 0, 1),
	FIELD_LIST(app, counts, count_count, FIELD_MAP, OPTIONAL, 64, .of = &count_fields),
	FIELD(app, spec, FIELD_OBJECT, OPTIONAL, 0, 0, .of = &spec_fields),
};
const struct fields app_fields = FIELDS(app, app_items, "App");

uint32_t app_wanted(const struct app *app, const char *process)
{
	const struct process *found = spec_process(&app->spec, process);
	if (app->stopped || !found)
		return 0;
	for (uint32_t i = 0; i < app->count_count; i++)
		if (str_eq(app->counts[i].name, process))
			return app->counts[i].value;
	return found->instances;
}

static const struct field release_items[] = {
	NAME_FIELD(release, tenant),
	NAME_FIELD(release, environment),
	NAME_FIELD(release, app),
	TEXT_FIELD(release, app_uid, REQUIRED, 64),
	FIELD(release, number, FIELD_U32, REQUIRED, 1, 99999999),
	TIME_FIELD(release, created_ms),
	TEXT_FIELD(release, by, OPTIONAL, 128),
	TEXT_FIELD(release, reason, OPTIONAL, 256),
	FIELD(release, artifact, FIELD_TEXT, REQUIRED, 0, 128, .check = check_digest),
	TEXT_FIELD(release, stack, OPTIONAL, 256),
	TEXT_FIELD(release, runtime, OPTIONAL, 256),
	FIELD_LIST(release, layers, layer_count, FIELD_ARRAY, OPTIONAL, 64, .of = &digest_fields),
	FIELD_LIST(release, base_env, base_env_count, FIELD_MAP, OPTIONAL, 200, .of = &env_value_fields,
		   .check = check_env_name),
	FIELD(release, shell, FIELD_BOOL, OPTIONAL, 0, 1),
	FIELD(release, came_up, FIELD_BOOL, OPTIONAL, 0, 1),
	FIELD(release, spec, FIELD_OBJECT, OPTIONAL, 0, 0, .of = &spec_fields),
};
const struct fields release_fields = FIELDS(release, release_items, "Release");

static const char *const wants[] = { [WANT_RUN] = "run", [WANT_STOP] = "stop", NULL };

static const struct field placement_items[] = {
	TEXT_FIELD(placement, instance, REQUIRED, 64),
	TEXT_FIELD(placement, node, REQUIRED, 128),
	NAME_FIELD(placement, tenant),
	NAME_FIELD(placement, environment),
	NAME_FIELD(placement, app),
	TEXT_FIELD(placement, app_uid, REQUIRED, 64),
	NAME_FIELD(placement, process),
	U32_FIELD(placement, index, REQUIRED),
	U32_FIELD(placement, release, REQUIRED),
	U32_FIELD(placement, restart, OPTIONAL),
	U32_FIELD(placement, generation, OPTIONAL),
	U32_FIELD(placement, moves, OPTIONAL | HIDDEN),
	FIELD(placement, want, FIELD_ENUM, REQUIRED, 0, 0, .names = wants),
	TEXT_FIELD(placement, replaces, OPTIONAL, 64),
	TEXT_FIELD(placement, reason, OPTIONAL, 512),
	TIME_FIELD(placement, created_ms),
	FIELD(placement, stop_ms, FIELD_TIME, OPTIONAL | HIDDEN, 0, TIME_MAX),
};
const struct fields placement_fields = FIELDS(placement, placement_items, "Placement");

static const char *const node_states[] = {
	[NODE_READY] = "ready", [NODE_LOST] = "lost", [NODE_DRAINING] = "draining", NULL
};

static const struct field node_items[] = {
	TEXT_FIELD(node, name, REQUIRED, 128),
	TEXT_FIELD(node, address, OPTIONAL, 256),
	TEXT_FIELD(node, zone, OPTIONAL, 128),
	TEXT_FIELD(node, boot, OPTIONAL, 64),
	FIELD(node, state, FIELD_ENUM, OPTIONAL, 0, 0, .names = node_states),
	TIME_FIELD(node, since_ms),
	BYTES_FIELD(node, memory_bytes),
	BYTES_FIELD(node, disk_bytes),
	U32_FIELD(node, cpu_millis, OPTIONAL),
};
const struct fields node_fields = FIELDS(node, node_items, "Node");

static const struct field stored_artifact_items[] = {
	FIELD(stored_artifact, digest, FIELD_TEXT, REQUIRED, 0, 128, .check = check_digest),
	NAME_FIELD(stored_artifact, tenant),
	BYTES_FIELD(stored_artifact, size_bytes),
	U32_FIELD(stored_artifact, files, OPTIONAL),
	TIME_FIELD(stored_artifact, created_ms),
	TEXT_FIELD(stored_artifact, by, OPTIONAL, 128),
	FIELD_LIST(stored_artifact, servers, server_count, FIELD_ARRAY, OPTIONAL | HIDDEN, 100, .of = &word_fields),
};
const struct fields stored_artifact_fields = FIELDS(stored_artifact, stored_artifact_items, "Artifact");

static const struct field build_result_items[] = {
	TEXT_FIELD(build_result, key, REQUIRED, 128),
	FIELD(build_result, artifact, FIELD_TEXT, REQUIRED, 0, 128, .check = check_digest),
	TIME_FIELD(build_result, created_ms),
	FIELD(build_result, took_ms, FIELD_MS, OPTIONAL, 0, UINT32_MAX),
};
const struct fields build_result_fields = FIELDS(build_result, build_result_items, "BuildResult");

static const char *const roles[] = { [ROLE_OPERATOR] = "operator", [ROLE_NODE] = "node", NULL };

static const struct field token_items[] = {
	TEXT_FIELD(token, name, REQUIRED, 128),
	FIELD(token, hash, FIELD_TEXT, REQUIRED, 0, 128, .check = check_digest),
	FIELD(token, role, FIELD_ENUM, REQUIRED, 0, 0, .names = roles),
	TIME_FIELD(token, created_ms),
	TEXT_FIELD(token, server, OPTIONAL | HIDDEN, 128),
};
const struct fields token_fields = FIELDS(token, token_items, "Token");

static const struct field server_info_items[] = {
	TEXT_FIELD(server_info, name, REQUIRED, 64),
	TEXT_FIELD(server_info, api, REQUIRED, 256),
	TEXT_FIELD(server_info, version, OPTIONAL, 64),
	FIELD(server_info, term, FIELD_U64, OPTIONAL | HIDDEN, 0, INT64_MAX,
	      .about = "of the one that decides; each next one has a greater one"),
};
const struct fields server_info_fields = FIELDS(server_info, server_info_items, "Server");

static const struct field event_items[] = {
	FIELD(event, seq, FIELD_U64, OPTIONAL, 0, INT64_MAX),
	TIME_FIELD(event, at_ms),
	TEXT_FIELD(event, type, REQUIRED, 64),
	TEXT_FIELD(event, message, OPTIONAL, 4096),
	TEXT_FIELD(event, process, OPTIONAL, 64),
	TEXT_FIELD(event, instance, OPTIONAL, 64),
	TEXT_FIELD(event, node, OPTIONAL, 128),
	TEXT_FIELD(event, by, OPTIONAL, 128),
	U32_FIELD(event, release, OPTIONAL | HIDDEN),
	U32_FIELD(event, index, OPTIONAL),
};
const struct fields event_fields = FIELDS(event, event_items, "Event");

static const struct field audit_items[] = {
	FIELD(audit, seq, FIELD_U64, OPTIONAL, 0, INT64_MAX),
	TIME_FIELD(audit, at_ms),
	TEXT_FIELD(audit, who, REQUIRED, 128),
	TEXT_FIELD(audit, role, OPTIONAL, 64),
	TEXT_FIELD(audit, from, OPTIONAL, 256),
	TEXT_FIELD(audit, action, REQUIRED, 1024),
	FIELD_AS(audit, object, "target", FIELD_TEXT, OPTIONAL, 0, 1024),
	TEXT_FIELD(audit, outcome, REQUIRED, 64),
	U32_FIELD(audit, status, OPTIONAL),
	TEXT_FIELD(audit, detail, OPTIONAL, 4096),
};
const struct fields audit_fields = FIELDS(audit, audit_items, "Audit");
