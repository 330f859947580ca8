// The spec: what an application team asks for. A manifest becomes one; PUT apps/A carries one; a release keeps one.
#pragma once

#include "model/fields.h"

enum health_type {
	HEALTH_AUTO,    // not said: http if there is a path, tcp if there is a port, otherwise process. Gone after a
			// parse.
	HEALTH_PROCESS, // ready once the process has run for 2 s
	HEALTH_TCP,     // ready when the port accepts a connection
	HEALTH_HTTP,    // ready when GET path answers 200 to 399
};

struct health {
	enum health_type type;
	char *path; // http; "/" by default
	uint32_t interval_ms, timeout_ms;
	uint32_t grace_ms; // after the start, in which a failing probe does not count
};

enum restart_policy { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };

struct restart {
	enum restart_policy policy;
	uint32_t backoff_ms; // before the second restart; doubles from there
	uint32_t cap_ms;     // of the doubling
	uint32_t reset_ms;   // a run this long starts the count anew
};

enum { BUILD_TIMEOUT_DEFAULT_MS = 15 * 60 * 1000, BUILD_TIMEOUT_MAX_MS = 2 * 3600 * 1000 };

struct build {
	char *command; // NULL: nothing to build
	uint32_t timeout_ms;
	uint64_t memory_bytes;
};

struct process {
	char *name;
	char *command; // as written; NULL: the runtime's own
	uint32_t port; // 0: none
	uint32_t instances;
	uint64_t memory_bytes;
	uint32_t cpu_millis;
	uint64_t disk_bytes;
	struct health health;
	uint32_t drain_ms;
	struct restart restart;
};

struct spec_route {
	char *host; // a full host name, or one label: the platform's domain is then added by the server
	char *path; // begins with '/'
};

struct spec {
	char *name;
	char *runtime; // "node@20", "none"; NULL: a manifest leaves it to detection; to the server the same as "none"
	char *stack;   // NULL: the platform's default
	struct build build;
	struct process *processes; // sorted by name
	uint32_t process_count;
	struct pair *env; // sorted by name
	uint32_t env_count;
	struct spec_route *routes;
	uint32_t route_count;
};

#define PORT_DEFAULT 8080
#define PROCESS_INSTANCES_MAX 1000 // of one process, in a spec and by scale

extern const struct fields health_fields, restart_fields, build_fields, process_fields, spec_route_fields;
FIELDS_OBJECT(spec)

// NULL when there is none.
struct process *spec_process(const struct spec *spec, const char *name);

// The fault of a name that an app wants to give to a variable of its own: malformed, or one that the platform sets;
// NULL: none.
const char *spec_check_env_name(const char *text);
