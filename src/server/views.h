// What the API answers, as structs with field tables: the tables write the JSON and describe it in the OpenAPI
// document. Views borrow everything they point to; only arrays made for one are freed by who made it.
#pragma once

#include "model/diff.h"
#include "model/exchange.h"
#include "server/app_state.h"

struct process_view {
	char *name;
	uint32_t wanted, ready, running, completed;
};

struct rollout_view {
	uint32_t release;
	uint32_t from; // 0: nothing ran before
	enum rollout_state { ROLLOUT_STATE_ROLLING, ROLLOUT_STATE_FAILED } state;
	char *detail;
};

struct app_view {
	char *uid, *name, *tenant, *environment;
	struct spec spec;
	uint32_t release;
	char *stack, *runtime; // of the release, with exact versions
	bool stopped;
	enum app_state state;
	char **urls;
	uint32_t url_count;
	struct process_view *processes;
	uint32_t process_count;
	struct rollout_view *rollout; // NULL: none
	uint64_t revision, created_ms, updated_ms;
	bool changed; // of a deployment: something was changed by it
};
FIELDS_OBJECT(app_view)

struct instance_view {
	char *instance, *process;
	uint32_t index;
	char *node;
	uint32_t release;
	enum want want;
	enum instance_state state;
	char *address;
	uint32_t restarts;
	uint64_t created_ms, started_ms;
	struct exit_status *exit;
	struct probe_result *probe;
	char *message;
};
FIELDS_OBJECT(instance_view)

struct watch_view {
	struct app_view app;
	struct instance_view *instances;
	uint32_t instance_count;
};
FIELDS_OBJECT(watch_view)

struct release_view {
	uint32_t release;
	char *artifact, *stack, *runtime;
	uint64_t created_ms;
	char *by, *reason;
	struct spec spec;
	bool current, came_up;
};
FIELDS_OBJECT(release_view)

struct plan_view {
	struct change *changes;
	uint32_t change_count;
	bool changed;
};
FIELDS_OBJECT(plan_view)

struct node_view {
	char *name, *address, *zone;
	enum node_state state;
	bool connected;
	uint64_t since_ms, memory_bytes, disk_bytes;
	uint32_t cpu_millis, instances;
	struct resources used;
	char **problems;
	uint32_t problem_count;
};
FIELDS_OBJECT(node_view)

struct missing_view {
	char *process;
	uint32_t wanted, ready;
	char *detail;
};
struct refusal_view {
	char *process, *node, *refused;
};
struct exit_view {
	char *instance, *process;
	uint32_t index;
	uint64_t at_ms;
	struct exit_status *exit;
};
struct probe_view {
	char *instance, *process;
	uint32_t index;
	struct probe_result *probe;
};
struct reached_view {
	char *host, *path;
	uint32_t instances; // that get its requests
};
struct why_view {
	char *app;
	enum app_state state;
	char *summary;
	struct rollout_view *rollout;
	struct reached_view *routes;
	uint32_t route_count;
	struct missing_view *missing;
	uint32_t missing_count;
	struct refusal_view *nodes;
	uint32_t node_count;
	struct exit_view *exits;
	uint32_t exit_count;
	struct probe_view *probes;
	uint32_t probe_count;
	char **hints;
	uint32_t hint_count;
};
FIELDS_OBJECT(why_view)

struct platform_view {
	const char *id, *domain, *http, *api, *version;
};
struct totals_view {
	uint32_t wanted, ready;
};
struct store_view {
	const char *driver;
	uint64_t revision, records;
	bool full;
	// Of a shared one.
	char **members; // addresses
	uint32_t member_count;
	const char *member, *version; // in use now; what it says it is
	uint64_t waiting;             // transactions without an answer yet
};
struct status_view {
	struct platform_view platform;
	uint32_t nodes, routers, apps;
	struct totals_view instances;
	struct store_view store;
	const char *server; // the one that answers
	struct server_info *servers;
	uint32_t server_count;
	bool settled;
};
FIELDS_OBJECT(status_view)

// A stack or a runtime: two tables over the same struct.
struct image_view {
	char *name, *version, *about;
	char **layers, **packages;
	uint32_t layer_count, package_count;
	uint64_t bytes, built_ms;
	bool shell;            // stack
	char *stack, *command; // runtime
	bool build_ready;      // runtime
};
extern const struct fields stack_view_fields, runtime_view_fields;

struct audit_view {
	uint64_t seq, at_ms;
	char *who, *role, *from, *action, *target, *outcome;
	uint32_t status;
	char *detail;
};
FIELDS_OBJECT(audit_view)
