#include "model/exchange.h"

#include <assert.h>

#define TEXT_FIELD(struct_, member_, flags_, max_) FIELD(struct_, member_, FIELD_TEXT, flags_, 0, max_)
#define TIME_FIELD(struct_, member_, flags_) FIELD(struct_, member_, FIELD_TIME, flags_, 0, INT64_MAX)
#define U32_FIELD(struct_, member_, flags_) FIELD(struct_, member_, FIELD_U32, flags_, 0, UINT32_MAX)
#define U64_FIELD(struct_, member_, flags_) FIELD(struct_, member_, FIELD_U64, flags_, 0, INT64_MAX)
#define BYTES_FIELD(struct_, member_) FIELD(struct_, member_, FIELD_BYTES, OPTIONAL, 0, INT64_MAX)

static const char *const wants[] = { [WANT_RUN] = "run", [WANT_STOP] = "stop", NULL };

static const struct field assignment_items[] = {
	TEXT_FIELD(assignment, instance, REQUIRED, 64),
	U32_FIELD(assignment, generation, REQUIRED),
	FIELD(assignment, want, FIELD_ENUM, REQUIRED, 0, 0, .names = wants),
	TEXT_FIELD(assignment, tenant, REQUIRED, 63),
	TEXT_FIELD(assignment, environment, REQUIRED, 63),
	TEXT_FIELD(assignment, app, REQUIRED, 63),
	TEXT_FIELD(assignment, app_uid, REQUIRED, 64),
	TEXT_FIELD(assignment, process, REQUIRED, 63),
	U32_FIELD(assignment, index, OPTIONAL),
	U32_FIELD(assignment, release, OPTIONAL),
	FIELD(assignment, artifact, FIELD_TEXT, OPTIONAL, 0, 128, .check = check_digest),
	FIELD_LIST(assignment, layers, layer_count, FIELD_ARRAY, OPTIONAL, 64, .of = &digest_fields),
	FIELD_LIST(assignment, command, command_count, FIELD_ARRAY, OPTIONAL, 1000, .of = &word_fields),
	FIELD_LIST(assignment, env, env_count, FIELD_MAP, OPTIONAL, 2000, .of = &env_value_fields,
		   .check = check_env_name),
	FIELD(assignment, port, FIELD_U32, OPTIONAL, 0, 65535),
	BYTES_FIELD(assignment, memory_bytes),
	U32_FIELD(assignment, cpu_millis, OPTIONAL),
	BYTES_FIELD(assignment, disk_bytes),
	U32_FIELD(assignment, pids, OPTIONAL),
	FIELD(assignment, health, FIELD_OBJECT, OPTIONAL, 0, 0, .of = &health_fields),
	FIELD(assignment, drain_ms, FIELD_MS, OPTIONAL, 0, UINT32_MAX),
	FIELD(assignment, restart, FIELD_OBJECT, OPTIONAL, 0, 0, .of = &restart_fields),
};
const struct fields assignment_fields = FIELDS(assignment, assignment_items, "Assignment");

static const struct field assignments_items[] = {
	U64_FIELD(assignments, revision, OPTIONAL),
	FIELD(assignments, full, FIELD_BOOL, OPTIONAL, 0, 1),
	FIELD_LIST(assignments, set, set_count, FIELD_ARRAY, OPTIONAL, 100000, .of = &assignment_fields),
	FIELD_LIST(assignments, remove, remove_count, FIELD_ARRAY, OPTIONAL, 100000, .of = &word_fields),
};
const struct fields assignments_fields = FIELDS(assignments, assignments_items, "Assignments");

static const struct field servers_told_items[] = {
	U64_FIELD(servers_told, revision, OPTIONAL),
	FIELD_LIST(servers_told, servers, server_count, FIELD_ARRAY, OPTIONAL, 1000, .of = &server_info_fields),
};
const struct fields servers_told_fields = FIELDS(servers_told, servers_told_items, "Servers");

static const char *const instance_states[] = {
	[INSTANCE_PENDING] = "pending",   [INSTANCE_STARTING] = "starting", [INSTANCE_READY] = "ready",
	[INSTANCE_UNREADY] = "unready",   [INSTANCE_BACKOFF] = "backoff",   [INSTANCE_FAILED] = "failed",
	[INSTANCE_STOPPING] = "stopping", [INSTANCE_STOPPED] = "stopped",   NULL,
};

const char *instance_state_name(enum instance_state state)
{
	assert((unsigned)state < INSTANCE_STATES);
	return instance_states[state];
}

static const struct field exit_items[] = {
	U32_FIELD(exit_status, status, OPTIONAL),
	U32_FIELD(exit_status, signal, OPTIONAL),
	FIELD(exit_status, oom, FIELD_BOOL, OPTIONAL, 0, 1),
	FIELD(exit_status, unknown, FIELD_BOOL, OPTIONAL | HIDDEN, 0, 1, .about = "nobody saw it end"),
	TIME_FIELD(exit_status, at_ms, OPTIONAL),
	FIELD_LIST(exit_status, lines, line_count, FIELD_ARRAY, OPTIONAL, 100, .of = &word_fields),
};
const struct fields exit_status_fields = FIELDS(exit_status, exit_items, "Exit");

static const struct field probe_items[] = {
	FIELD(probe_result, ok, FIELD_BOOL, REQUIRED, 0, 1),
	TEXT_FIELD(probe_result, detail, OPTIONAL, 1024),
	TIME_FIELD(probe_result, since_ms, OPTIONAL),
	TIME_FIELD(probe_result, at_ms, OPTIONAL),
	U32_FIELD(probe_result, count, OPTIONAL),
	U32_FIELD(probe_result, took_ms, OPTIONAL),
};
const struct fields probe_result_fields = FIELDS(probe_result, probe_items, "Probe");

static const struct field instance_items[] = {
	TEXT_FIELD(instance_report, instance, REQUIRED, 64),
	U32_FIELD(instance_report, generation, OPTIONAL),
	FIELD(instance_report, state, FIELD_ENUM, REQUIRED, 0, 0, .names = instance_states),
	TEXT_FIELD(instance_report, address, OPTIONAL, 256),
	FIELD(instance_report, port, FIELD_U32, OPTIONAL | HIDDEN, 0, 65535),
	U32_FIELD(instance_report, restarts, OPTIONAL),
	TIME_FIELD(instance_report, started_ms, OPTIONAL),
	FIELD(instance_report, exit, FIELD_POINTER, OPTIONAL, 0, 0, .of = &exit_status_fields),
	FIELD(instance_report, probe, FIELD_POINTER, OPTIONAL, 0, 0, .of = &probe_result_fields),
	FIELD_LIST(instance_report, probes, probe_count, FIELD_ARRAY, OPTIONAL, 100, .of = &probe_result_fields),
	TEXT_FIELD(instance_report, message, OPTIONAL, 4096),
};
const struct fields instance_report_fields = FIELDS(instance_report, instance_items, "InstanceReport");

static const struct field resources_items[] = {
	BYTES_FIELD(resources, memory_bytes),
	BYTES_FIELD(resources, disk_bytes),
	U32_FIELD(resources, cpu_millis, OPTIONAL),
	U32_FIELD(resources, instances, OPTIONAL),
};
const struct fields resources_fields = FIELDS(resources, resources_items, "Resources");

static const struct field node_report_items[] = {
	TEXT_FIELD(node_report, name, REQUIRED, 128),
	TEXT_FIELD(node_report, address, OPTIONAL, 256),
	TEXT_FIELD(node_report, zone, OPTIONAL, 128),
	BYTES_FIELD(node_report, memory_bytes),
	BYTES_FIELD(node_report, disk_bytes),
	U32_FIELD(node_report, cpu_millis, OPTIONAL),
	FIELD(node_report, used, FIELD_OBJECT, OPTIONAL, 0, 0, .of = &resources_fields),
	FIELD_LIST(node_report, problems, problem_count, FIELD_ARRAY, OPTIONAL, 1000, .of = &word_fields),
};
static const struct fields node_report_fields = FIELDS(node_report, node_report_items, "NodeReport");

static const struct field past_app_items[] = {
	TEXT_FIELD(past_app, tenant, REQUIRED, 63),
	TEXT_FIELD(past_app, environment, REQUIRED, 63),
	TEXT_FIELD(past_app, app, REQUIRED, 63),
	TEXT_FIELD(past_app, app_uid, REQUIRED, 64),
};
static const struct fields past_app_fields = FIELDS(past_app, past_app_items, "PastApp");

static const struct field report_items[] = {
	TEXT_FIELD(report, boot, REQUIRED, 64),
	U64_FIELD(report, seq, REQUIRED),
	FIELD(report, full, FIELD_BOOL, REQUIRED, 0, 1),
	FIELD(report, node, FIELD_OBJECT, REQUIRED, 0, 0, .of = &node_report_fields),
	FIELD_LIST(report, instances, instance_count, FIELD_ARRAY, OPTIONAL, 100000, .of = &instance_report_fields),
	FIELD_LIST(report, past, past_count, FIELD_ARRAY, OPTIONAL, 100000, .of = &past_app_fields),
};
const struct fields report_fields = FIELDS(report, report_items, "Report");

static const struct field route_instance_items[] = {
	TEXT_FIELD(route_instance, id, REQUIRED, 64),
	TEXT_FIELD(route_instance, address, REQUIRED, 256),
};
static const struct fields route_instance_fields = FIELDS(route_instance, route_instance_items, "RouteInstance");

static const char *const route_states[] = {
	[ROUTE_RUNNING] = "running",
	[ROUTE_STOPPED] = "stopped",
	[ROUTE_FAILING] = "failing",
	[ROUTE_STARTING] = "starting",
	NULL,
};

static const struct field route_entry_items[] = {
	TEXT_FIELD(route_entry, host, REQUIRED, 253),
	TEXT_FIELD(route_entry, path, OPTIONAL, 1024),
	TEXT_FIELD(route_entry, tenant, OPTIONAL, 63),
	TEXT_FIELD(route_entry, environment, OPTIONAL, 63),
	TEXT_FIELD(route_entry, app, OPTIONAL, 63),
	FIELD(route_entry, state, FIELD_ENUM, REQUIRED, 0, 0, .names = route_states),
	FIELD_LIST(route_entry, instances, instance_count, FIELD_ARRAY, OPTIONAL, 100000, .of = &route_instance_fields),
};
static const struct fields route_entry_fields = FIELDS(route_entry, route_entry_items, "Route");

static const struct field route_table_items[] = {
	U64_FIELD(route_table, version, REQUIRED),
	FIELD_LIST(route_table, routes, route_count, FIELD_ARRAY, OPTIONAL, 1000000, .of = &route_entry_fields),
};
const struct fields route_table_fields = FIELDS(route_table, route_table_items, "RouteTable");

static const struct field route_ack_items[] = {
	U64_FIELD(route_ack, version, REQUIRED),
	FIELD_LIST(route_ack, busy, busy_count, FIELD_ARRAY, OPTIONAL, 100000, .of = &word_fields),
};
const struct fields route_ack_fields = FIELDS(route_ack, route_ack_items, "RouteAck");
